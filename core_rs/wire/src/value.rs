//! JSON values, kept in the encoded form in which they came.
//!
//! Owns the check that bytes are a `google.protobuf.Value` which stands for JSON, and of the
//! nesting depth. Refuses to decode the value: the server stores and returns the bytes that were
//! sent.

use prost::bytes::{Buf, BufMut};
use prost::encoding::{DecodeContext, WireType, decode_varint, encode_key, encode_varint};
use prost::{DecodeError, Message};
use thiserror::Error;

use crate::scan::{Fields, Malformed, Wire};

/// An encoded `google.protobuf.Value`, with exactly the bytes that were sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct RawValue(Vec<u8>);

/// Why bytes are not an acceptable JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum NotJson {
    /// The bytes are not a `google.protobuf.Value`.
    #[error("must be a google.protobuf.Value")]
    Malformed,
    /// A value sets no kind, or more than one.
    #[error("must set exactly one kind of value, at every level")]
    Kind,
    /// A number is infinite or NaN, which JSON cannot write.
    #[error("must hold finite numbers only")]
    Number,
    /// A text is not UTF-8.
    #[error("must hold UTF-8 text only")]
    Text,
    /// Arrays and objects nest more than this many levels deep.
    #[error("must nest at most {0} levels deep")]
    Depth(usize),
}

impl From<Malformed> for NotJson {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl RawValue {
    /// The encoding of JSON null.
    pub(crate) const NULL: [u8; 2] = [0x08, 0x00];

    /// The encoded message, borrowed.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The encoded message, owned.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Checks that the bytes are a JSON value whose arrays and objects nest at most `depth` levels
    /// deep.
    pub(crate) fn check(&self, depth: usize) -> Result<(), NotJson> {
        let (most, left) = (depth, depth);
        check_value(&self.0, Depth { most, left })
    }
}

impl From<Vec<u8>> for RawValue {
    fn from(encoded: Vec<u8>) -> Self {
        Self(encoded)
    }
}

/// How deeply a value may nest, and how much of that is left at a place in it.
#[derive(Clone, Copy)]
struct Depth {
    most: usize,
    left: usize,
}

impl Depth {
    /// One level further down.
    fn deeper(self) -> Result<Self, NotJson> {
        let left = self.left.checked_sub(1).ok_or(NotJson::Depth(self.most))?;
        Ok(Self { left, ..self })
    }
}

// The recursion goes at most as deep as `depth` says, which the server's limits bound.
fn check_value(value: &[u8], depth: Depth) -> Result<(), NotJson> {
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
        (5, Wire::Bytes(object)) => check_object(object, depth.deeper()?),
        (6, Wire::Bytes(array)) => check_array(array, depth.deeper()?),
        _ => Err(NotJson::Kind),
    }
}

fn check_text(text: &[u8]) -> Result<(), NotJson> {
    std::str::from_utf8(text)
        .map(|_| ())
        .map_err(|_| NotJson::Text)
}

fn check_array(array: &[u8], depth: Depth) -> Result<(), NotJson> {
    for field in Fields::of(array) {
        match field? {
            (1, Wire::Bytes(value)) => check_value(value, depth)?,
            _ => return Err(NotJson::Malformed),
        }
    }
    Ok(())
}

fn check_object(object: &[u8], depth: Depth) -> Result<(), NotJson> {
    for field in Fields::of(object) {
        match field? {
            (1, Wire::Bytes(entry)) => check_entry(entry, depth)?,
            _ => return Err(NotJson::Malformed),
        }
    }
    Ok(())
}

fn check_entry(entry: &[u8], depth: Depth) -> Result<(), NotJson> {
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

// Joining the bytes of two encodings merges the messages. Keys and outermost lengths are written
// anew, in the one form that every encoder uses.
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
            // No field of a Value is a group. The length makes an invalid key, which the check
            // refuses.
            WireType::StartGroup | WireType::EndGroup => usize::MAX,
        };
        if length > from.remaining() {
            // This call returns the error of the library: prost has no public constructor for one.
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
        assert_eq!(Err(NotJson::Depth(24)), raw(&nested(25)).check(24));
        assert_eq!(Ok(()), raw(&nested(0)).check(0));
    }

    #[test]
    fn nesting_far_beyond_the_limit_is_refused_without_deep_recursion() {
        let mut bytes = RawValue::NULL.to_vec();
        for _ in 0..10_000 {
            // The keys of an item in a list, and of the list in a value.
            for key in [0x0A, 0x32] {
                let mut outer = vec![key];
                encode_varint(bytes.len() as u64, &mut outer);
                outer.append(&mut bytes);
                bytes = outer;
            }
        }
        assert_eq!(Err(NotJson::Depth(24)), RawValue(bytes).check(24));
    }

    #[test]
    fn values_that_json_cannot_express_are_refused() {
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
        fn any_json_is_accepted_and_kept_to_the_byte(value in json()) {
            let sent = value.encode_to_vec();
            // The same message, built as a client builds it.
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
        fn any_bytes_are_checked_without_a_panic(bytes: Vec<u8>) {
            let _ = RawValue(bytes.clone()).check(24);
            let _ = CompleteResult::decode(&bytes[..]);
        }

        #[test]
        fn broken_json_is_checked_without_a_panic(value in json(), place: usize, byte: u8) {
            let mut bytes = value.encode_to_vec();
            let place = place % bytes.len();
            bytes[place] = byte;
            let _ = RawValue(bytes).check(24);
        }
    }
}
