//! Trace context of an execution.
//!
//! Owns the syntax of a `traceparent`. Refuses to interpret traces: a `traceparent` is only kept
//! and shown.

use crate::fields::{self, Checked, must};

/// Checks a W3C `traceparent` (Trace Context, §3.2): version, trace id, parent id and flags.
/// Versions after 00 may append further parts.
pub(crate) fn check(traceparent: &str) -> Checked<()> {
    const RULE: &str = "must be a W3C traceparent";
    if traceparent.is_empty() {
        return Ok(());
    }
    fields::short("traceparent", Some(traceparent))?;
    let parts: Vec<&str> = traceparent.split('-').collect();
    let is_hex = |part: &str, length: usize| {
        part.len() == length
            && part
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_id = |part: &str, length| is_hex(part, length) && part.bytes().any(|byte| byte != b'0');
    let is_valid = match parts[..] {
        [version, trace, parent, flags, ref more @ ..] => {
            is_hex(version, 2)
                && version != "ff"
                && (version != "00" || more.is_empty())
                && is_id(trace, 32)
                && is_id(parent, 16)
                && is_hex(flags, 2)
                && traceparent.bytes().all(|byte| byte.is_ascii_graphic())
        }
        _ => false,
    };
    must(is_valid, "traceparent", RULE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_example_of_the_standard_and_later_versions_are_accepted() {
        for taken in [
            "",
            KNOWN,
            &KNOWN.replacen("00", "cc", 1),
            &format!("cc{}-x", &KNOWN[2..]),
        ] {
            assert_eq!(Ok(()), check(taken), "{taken}");
        }
    }

    #[test]
    fn values_that_the_standard_calls_invalid_are_refused() {
        let refused = [
            KNOWN.to_uppercase(),
            KNOWN.replacen("00", "ff", 1),
            format!("{KNOWN}-x"),
            KNOWN.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            KNOWN.replace("00f067aa0ba902b7", &"0".repeat(16)),
            KNOWN[..54].to_owned(),
            format!("cc{}-{}", &KNOWN[2..], "x".repeat(256)),
        ];
        for text in refused {
            assert!(check(&text).is_err(), "{text}");
        }
    }
}
