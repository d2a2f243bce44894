//! JSON values, carried as they came.
//!
//! Owns the check that bytes are a `google.protobuf.Value` which stands for JSON, and how deep
//! it nests. Refuses to take it apart: what was sent is what is stored and given back.

use prost::bytes::{Buf, BufMut};
use prost::encoding::{DecodeContext, WireType, decode_varint, encode_key, encode_varint};
use prost::{DecodeError, Message};
use thiserror::Error;

use crate::scan::{Fields, Malformed, Wire};

/// An encoded `google.protobuf.Value`, byte for byte as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct RawValue(Vec<u8>);

/// Why bytes are no JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum NotJson {
    /// Not a message of that kind.
    #[error("must be a google.protobuf.Value")]
    Malformed,
    /// No kind of value is set, or more than one.
    #[error("must set exactly one kind of value, at every level")]
    Kind,
    /// JSON has no such numbers.
    #[error("must hold finite numbers only")]
    Number,
    /// JSON is text.
    #[error("must hold UTF-8 text only")]
    Text,
    /// Arrays and objects within each other.
    #[error("must nest no deeper than the server's limit")]
    Depth,
}

impl From<Malformed> for NotJson {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl RawValue {
    /// JSON null.
    pub(crate) const NULL: [u8; 2] = [0x08, 0x00];

    /// The encoded message.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The encoded message.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Checks that this is a JSON value of at most `depth` arrays and objects within each other.
    pub(crate) fn check(&self, depth: usize) -> Result<(), NotJson> {
        check_value(&self.0, depth)
    }
}

impl From<Vec<u8>> for RawValue {
    fn from(encoded: Vec<u8>) -> Self {
        Self(encoded)
    }
}

// Recursion goes no deeper than `depth`, which the caller chose.
fn check_value(value: &[u8], depth: usize) -> Result<(), NotJson> {
    let mut fields = Fields::of(value);
    let field = fields.next().ok_or(NotJson::Kind)??;
    if !fields.rest().is_empty() {
        return Err(NotJson::Kind);
    }
    match field {
        (1, Wire::Varint(0)) | (4, Wire::Varint(_)) => Ok(()),
        (2, Wire::Fixed64(bits)) if f64::from_bits(bits).is_finite() => Ok(()),
        (2, Wire::Fixed64(_)) => Err(NotJson::Number),
        (3, Wire::Bytes(text)) => check_text(text),
        (5, Wire::Bytes(object)) => check_object(object, deeper(depth)?),
        (6, Wire::Bytes(array)) => check_array(array, deeper(depth)?),
        _ => Err(NotJson::Kind),
    }
}

fn deeper(depth: usize) -> Result<usize, NotJson> {
    depth.checked_sub(1).ok_or(NotJson::Depth)
}

fn check_text(text: &[u8]) -> Result<(), NotJson> {
    std::str::from_utf8(text)
        .map(|_| ())
        .map_err(|_| NotJson::Text)
}

fn check_array(array: &[u8], depth: usize) -> Result<(), NotJson> {
    for field in Fields::of(array) {
        match field? {
            (1, Wire::Bytes(value)) => check_value(value, depth)?,
            _ => return Err(NotJson::Malformed),
        }
    }
    Ok(())
}

fn check_object(object: &[u8], depth: usize) -> Result<(), NotJson> {
    for field in Fields::of(object) {
        match field? {
            (1, Wire::Bytes(entry)) => check_entry(entry, depth)?,
            _ => return Err(NotJson::Malformed),
        }
    }
    Ok(())
}

fn check_entry(entry: &[u8], depth: usize) -> Result<(), NotJson> {
    let mut values = 0;
    for field in Fields::of(entry) {
        match field? {
            (1, Wire::Bytes(key)) => check_text(key)?,
            (2, Wire::Bytes(value)) => {
                values += 1;
                check_value(value, depth)?;
            }
            _ => return Err(NotJson::Malformed),
        }
    }
    if values == 1 {
        Ok(())
    } else {
        Err(NotJson::Kind)
    }
}

// Merging two encodings of a message is joining their bytes. Keys and outermost lengths are
// written anew, in the one form that every encoder writes.
impl Message for RawValue {
    fn encode_raw(&self, out: &mut impl BufMut) {
        out.put_slice(&self.0);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        from: &mut impl Buf,
        _: DecodeContext,
    ) -> Result<(), DecodeError> {
        encode_key(tag, wire_type, &mut self.0);
        let length = match wire_type {
            WireType::Varint => {
                encode_varint(decode_varint(from)?, &mut self.0);
                return Ok(());
            }
            WireType::SixtyFourBit => 8,
            WireType::ThirtyTwoBit => 4,
            WireType::LengthDelimited => {
                let length = decode_varint(from)?;
                encode_varint(length, &mut self.0);
                usize::try_from(length).unwrap_or(usize::MAX)
            }
            // No value has groups: an empty key is refused by the check.
            WireType::StartGroup | WireType::EndGroup => usize::MAX,
        };
        if length > from.remaining() {
            // The library's own error for it: there is no public way to make one.
            return decode_varint(&mut &[][..]).map(|_| ());
        }
        self.0.put(from.take(length));
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost_types::value::Kind;
    use prost_types::{ListValue, Struct, Value};

    use super::*;
    use crate::fixtures::json;
    use crate::generated::backlane::v1::CompleteResult;

    fn raw(value: &Value) -> RawValue {
        RawValue(value.encode_to_vec())
    }

    fn of(kind: Kind) -> Value {
        Value { kind: Some(kind) }
    }

    fn nested(levels: usize) -> Value {
        (0..levels).fold(of(Kind::BoolValue(true)), |inner, level| {
            if level % 2 == 0 {
                return of(Kind::ListValue(ListValue {
                    values: vec![inner],
                }));
            }
            let fields = [("key".to_owned(), inner)].into();
            of(Kind::StructValue(Struct { fields }))
        })
    }

    #[test]
    fn null_is_what_every_encoder_writes() {
        assert_eq!(RawValue::NULL, *raw(&of(Kind::NullValue(0))).as_bytes());
        assert_eq!(Ok(()), RawValue(RawValue::NULL.to_vec()).check(0));
    }

    #[test]
    fn depth_counts_arrays_and_objects_within_each_other() {
        assert_eq!(Ok(()), raw(&nested(24)).check(24));
        assert_eq!(Err(NotJson::Depth), raw(&nested(25)).check(24));
        assert_eq!(Ok(()), raw(&nested(0)).check(0));
    }

    #[test]
    fn nesting_far_beyond_the_limit_is_refused_without_following_it() {
        let mut bytes = RawValue::NULL.to_vec();
        for _ in 0..10_000 {
            // A list's item, and the list as a value.
            for key in [0x0A, 0x32] {
                let mut outer = vec![key];
                encode_varint(bytes.len() as u64, &mut outer);
                outer.append(&mut bytes);
                bytes = outer;
            }
        }
        assert_eq!(Err(NotJson::Depth), RawValue(bytes).check(24));
    }

    #[test]
    fn what_json_cannot_say_is_refused() {
        let number = |number| raw(&of(Kind::NumberValue(number)));
        let two_kinds = [&RawValue::NULL[..], &[0x20, 0x01]].concat();
        let empty_in_list = of(Kind::ListValue(ListValue {
            values: vec![Value { kind: None }],
        }));
        let cases = [
            (number(f64::NAN), NotJson::Number),
            (number(f64::INFINITY), NotJson::Number),
            (RawValue(vec![]), NotJson::Kind),
            (RawValue(two_kinds), NotJson::Kind),
            (raw(&empty_in_list), NotJson::Kind),
            (RawValue(vec![0x08, 0x01]), NotJson::Kind),
            (RawValue(vec![0x1A, 0x01, 0xFF]), NotJson::Text),
            (
                RawValue(vec![0x2A, 0x04, 0x0A, 0x02, 0x0A, 0x00]),
                NotJson::Kind,
            ),
            (RawValue(vec![0x1A, 0x05]), NotJson::Malformed),
        ];
        for (value, problem) in cases {
            assert_eq!(Err(problem), value.check(24), "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn any_json_is_taken_and_kept_to_the_byte(value in json()) {
            let sent = value.encode_to_vec();
            // The same message with the value's own type, as a client builds it.
            let mut message = vec![0x1A];
            encode_varint(sent.len() as u64, &mut message);
            message.extend(&sent);
            let output = CompleteResult::decode(&message[..]).unwrap().output.unwrap();
            prop_assert_eq!(Ok(()), output.check(24));
            prop_assert_eq!(&sent, output.as_bytes());
            let again = CompleteResult { output: Some(output), ..CompleteResult::default() };
            prop_assert_eq!(message, again.encode_to_vec());
        }

        #[test]
        fn any_bytes_are_judged(bytes: Vec<u8>) {
            let _ = RawValue(bytes.clone()).check(24);
            let _ = CompleteResult::decode(&bytes[..]);
        }

        #[test]
        fn broken_json_is_judged(value in json(), place: usize, byte: u8) {
            let mut bytes = value.encode_to_vec();
            let place = place % bytes.len();
            bytes[place] = byte;
            let _ = RawValue(bytes).check(24);
        }
    }
}
