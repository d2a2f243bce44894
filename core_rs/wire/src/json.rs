//! JSON text of outputs.
//!
//! Owns how an encoded `google.protobuf.Value` is written as text. Refuses to read JSON text.

use std::fmt::Write as _;

use prost::Message as _;
use prost_types::Value;
use prost_types::value::Kind;

/// The largest integers that numbers hold exactly.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The text of an encoded value: a string bare, any other value as compact JSON. `None` where the
/// bytes are no value.
pub(crate) fn text(encoded: &[u8]) -> Option<String> {
    let kind = Value::decode(encoded).ok()?.kind?;
    if let Kind::StringValue(text) = kind {
        return Some(text);
    }
    let mut out = String::new();
    put(&mut out, Some(&kind));
    Some(out)
}

// The recursion goes as deep as the value nests, which the server's limits bound.
fn put(out: &mut String, kind: Option<&Kind>) {
    match kind {
        None | Some(Kind::NullValue(_)) => out.push_str("null"),
        Some(Kind::BoolValue(value)) => out.push_str(if *value { "true" } else { "false" }),
        Some(Kind::NumberValue(number)) => put_number(out, *number),
        Some(Kind::StringValue(text)) => put_text(out, text),
        Some(Kind::ListValue(list)) => {
            out.push('[');
            for (index, value) in list.values.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                put(out, value.kind.as_ref());
            }
            out.push(']');
        }
        Some(Kind::StructValue(object)) => {
            out.push('{');
            for (index, (key, value)) in object.fields.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                put_text(out, key);
                out.push(':');
                put(out, value.kind.as_ref());
            }
            out.push('}');
        }
    }
}

fn put_number(out: &mut String, number: f64) {
    // Writing to a String cannot fail.
    let _ = if number.fract() == 0.0 && number.abs() <= EXACT {
        write!(out, "{number:.0}")
    } else {
        write!(out, "{number:?}")
    };
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
            letter if letter < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(letter));
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use prost_types::{ListValue, Struct};

    use super::*;

    fn of(kind: Kind) -> Value {
        Value { kind: Some(kind) }
    }

    fn written(kind: Kind) -> String {
        text(&of(kind).encode_to_vec()).unwrap()
    }

    #[test]
    fn a_string_is_bare_and_any_other_value_compact() {
        assert_eq!("a \"b\"", written(Kind::StringValue("a \"b\"".into())));
        assert_eq!("null", written(Kind::NullValue(0)));
        let values = [
            Kind::BoolValue(true),
            Kind::NumberValue(-3.0),
            Kind::NumberValue(0.5),
            Kind::NumberValue(1e300),
            Kind::StringValue("\"\\\n\r\t\u{1}é".into()),
        ];
        let list = Kind::ListValue(ListValue {
            values: values.map(of).into(),
        });
        let fields = [("a".to_owned(), of(list)), ("b".into(), Value::default())];
        let object = Kind::StructValue(Struct {
            fields: fields.into(),
        });
        let expected = r#"{"a":[true,-3,0.5,1e300,"\"\\\n\r\t\u0001é"],"b":null}"#;
        assert_eq!(expected, written(object));
    }

    #[test]
    fn bytes_that_are_no_value_have_no_text() {
        assert_eq!(None, text(&[]));
        assert_eq!(None, text(&[0xFF]));
    }
}
