//! Trace context.
//!
//! Owns the syntax of a `traceparent`. Refuses to know traces: it is kept and shown.

use crate::fields::{self, Checked, must};

/// Checks a W3C `traceparent` (Trace Context, §3.2): version, trace id, parent id and flags;
/// versions after 00 may go on.
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
