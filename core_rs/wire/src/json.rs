//! JSON text of encoded values.
//!
//! Owns the one form in which a value becomes text: compact, with the keys of objects in the order
//! of RFC 8785, and numbers as JavaScript writes them. Refuses to check values: they were checked
//! when they came.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::DecodeError;
use crate::scan::{Fields, Malformed, Wire};

/// The text of an encoded `google.protobuf.Value`: a string is itself, any other value is its JSON.
///
/// # Errors
/// [`DecodeError`] where the bytes are no such value.
pub(crate) fn text(value: &[u8]) -> Result<String, DecodeError> {
    let mut out = String::new();
    let written = match only(value) {
        Ok((3, Wire::Bytes(bare))) => utf_8(bare).map(|bare| out.push_str(bare)),
        Ok(field) => put_field(&mut out, field),
        Err(malformed) => Err(malformed),
    };
    written.map_err(|malformed| DecodeError::malformed("Value", &malformed))?;
    Ok(out)
}

fn only(value: &[u8]) -> Result<(u32, Wire<'_>), Malformed> {
    Fields::of(value).next().unwrap_or(Err(Malformed))
}

fn utf_8(bytes: &[u8]) -> Result<&str, Malformed> {
    str::from_utf8(bytes).map_err(|_| Malformed)
}

fn put_value(out: &mut String, value: &[u8]) -> Result<(), Malformed> {
    put_field(out, only(value)?)
}

// The recursion goes at most as deep as the value was allowed to nest when it came.
fn put_field(out: &mut String, field: (u32, Wire<'_>)) -> Result<(), Malformed> {
    match field {
        (1, _) => out.push_str("null"),
        (2, wire) => put_number(out, f64::from_bits(wire.uint())),
        (3, wire) => put_text(out, utf_8(wire.bytes())?),
        (4, wire) => out.push_str(if wire.uint() == 0 { "false" } else { "true" }),
        (5, wire) => put_object(out, wire.bytes())?,
        (6, wire) => put_array(out, wire.bytes())?,
        _ => return Err(Malformed),
    }
    Ok(())
}

fn put_array(out: &mut String, array: &[u8]) -> Result<(), Malformed> {
    out.push('[');
    for (index, item) in Fields::of(array).enumerate() {
        if index > 0 {
            out.push(',');
        }
        put_value(out, item?.1.bytes())?;
    }
    out.push(']');
    Ok(())
}

fn put_object(out: &mut String, object: &[u8]) -> Result<(), Malformed> {
    // RFC 8785 orders keys by their UTF-16 code units.
    let mut entries = BTreeMap::new();
    for field in Fields::of(object) {
        let (key, value) = entry(field?.1.bytes())?;
        entries.insert(key.encode_utf16().collect::<Vec<_>>(), (key, value));
    }
    out.push('{');
    for (index, (key, value)) in entries.into_values().enumerate() {
        if index > 0 {
            out.push(',');
        }
        put_text(out, key);
        out.push(':');
        put_value(out, value)?;
    }
    out.push('}');
    Ok(())
}

/// The key and the encoded value of a map's entry.
pub(crate) fn entry(bytes: &[u8]) -> Result<(&str, &[u8]), Malformed> {
    let (mut key, mut value) = (&[][..], &[][..]);
    for field in Fields::of(bytes) {
        match field? {
            (1, wire) => key = wire.bytes(),
            (2, wire) => value = wire.bytes(),
            _ => {}
        }
    }
    Ok((utf_8(key)?, value))
}

fn put_text(out: &mut String, text: &str) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            plain => out.push(plain),
        }
    }
    out.push('"');
}

/// Writes a number as JavaScript does: its shortest digits, with an exponent where it is very large
/// or very small.
fn put_number(out: &mut String, number: f64) {
    if number == 0.0 {
        return out.push('0');
    }
    if number < 0.0 {
        out.push('-');
    }
    let shortest = format!("{:e}", number.abs());
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let digits = mantissa.replace('.', "");
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let zeros = |many: usize| "0".repeat(many);
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let point = exponent + 1;
    match usize::try_from(point) {
        Ok(whole) if (count..=21).contains(&point) => {
            out.push_str(&digits);
            out.push_str(&zeros(whole - digits.len()));
        }
        Ok(whole) if (1..=21).contains(&point) => {
            let _ = write!(out, "{}.{}", &digits[..whole], &digits[whole..]);
        }
        _ if (-5..=0).contains(&point) => {
            let nothing = usize::try_from(-point).unwrap_or(0);
            let _ = write!(out, "0.{}{digits}", zeros(nothing));
        }
        _ => {
            let sign = if exponent < 0 { '-' } else { '+' };
            let _ = write!(out, "{mantissa}e{sign}{}", exponent.abs());
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::value::Kind;
    use prost_types::{ListValue, Struct, Value};

    use super::*;

    fn of(kind: Kind) -> Value {
        Value { kind: Some(kind) }
    }

    fn shown(value: &Value) -> String {
        text(&value.encode_to_vec()).unwrap()
    }

    #[test]
    fn numbers_are_written_as_javascript_writes_them() {
        let cases = [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (-2.5, "-2.5"),
            (1_234_567.0, "1234567"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (0.000_001, "0.000001"),
            (1e-7, "1e-7"),
            (0.1 + 0.2, "0.30000000000000004"),
            (333_333_333.333_333_3, "333333333.3333333"),
        ];
        for (number, expected) in cases {
            assert_eq!(expected, shown(&of(Kind::NumberValue(number))));
        }
    }

    #[test]
    fn a_string_is_bare_and_everything_else_is_compact_json() {
        let text = of(Kind::StringValue("a \"b\"\n\u{1}é".into()));
        assert_eq!("a \"b\"\n\u{1}é", shown(&text));
        let list = of(Kind::ListValue(ListValue {
            values: vec![text, of(Kind::NullValue(0)), of(Kind::BoolValue(true))],
        }));
        let fields = [
            ("b".to_owned(), list),
            ("a".to_owned(), of(Kind::BoolValue(false))),
        ];
        let object = of(Kind::StructValue(Struct {
            fields: fields.into(),
        }));
        let expected = r#"{"a":false,"b":["a \"b\"\n\u0001é",null,true]}"#;
        assert_eq!(expected, shown(&object));
    }

    #[test]
    fn keys_are_in_the_order_of_utf_16() {
        let keys = ["\u{ffff}", "\u{10000}", "z"].map(str::to_owned);
        let fields = keys.map(|key| (key, of(Kind::NullValue(0))));
        let object = of(Kind::StructValue(Struct {
            fields: fields.into(),
        }));
        let expected = "{\"z\":null,\"\u{10000}\":null,\"\u{ffff}\":null}";
        assert_eq!(expected, shown(&object));
    }

    #[test]
    fn bytes_that_are_no_value_are_refused() {
        for bytes in [&[][..], &[0x1A, 0x05], &[0x1A, 0x01, 0xFF], &[0x3A, 0x00]] {
            assert!(text(bytes).is_err(), "{bytes:?}");
        }
    }
}
