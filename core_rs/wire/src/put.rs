//! Writing protobuf by hand, in one pass.
//!
//! Owns the encoding of single fields. Refuses to know any message. A field that holds the default
//! of proto3 is left out; the functions `some_*` write every value that is present.

/// Milliseconds since the epoch of the last instant that a Timestamp can hold: the end of the year
/// 9999.
const LAST_MS: u64 = 253_402_300_799_999;

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LENGTH: u32 = 2;
const FIXED32: u32 = 5;

/// Writes an integer without a field key.
pub(crate) fn varint(out: &mut Vec<u8>, value: u64) {
    let mut digits = [0; 10];
    let count = varint_digits(value, &mut digits);
    out.extend_from_slice(&digits[..count]);
}

// Splits a number into groups of seven bits, the lowest first. All bytes but the last have their
// highest bit set. Returns the number of bytes.
fn varint_digits(mut value: u64, digits: &mut [u8; 10]) -> usize {
    let mut count = 0;
    while value >= 0x80 {
        digits[count] = value.to_le_bytes()[0] | 0x80;
        value >>= 7;
        count += 1;
    }
    digits[count] = value.to_le_bytes()[0];
    count + 1
}

/// Number of bytes of an integer.
pub(crate) fn varint_len(value: u64) -> usize {
    varint_digits(value, &mut [0; 10])
}

/// Overwrites the integer at the beginning of `place` with one that is not larger, in as many
/// bytes. Digits that the smaller one does not need are zero.
pub(crate) fn over_varint(place: &mut [u8], value: u64) {
    let mut rest = value;
    for byte in place {
        let has_next = *byte & 0x80;
        *byte = (rest.to_le_bytes()[0] & 0x7F) | has_next;
        rest >>= 7;
        if has_next == 0 {
            return;
        }
    }
}

fn key(out: &mut Vec<u8>, tag: u32, kind: u32) {
    varint(out, u64::from(tag << 3 | kind));
}

/// Writes an integer, unless it is 0.
pub(crate) fn uint(out: &mut Vec<u8>, tag: u32, value: impl Into<u64>) {
    let value = value.into();
    if value != 0 {
        some_uint(out, tag, Some(value));
    }
}

/// Writes an integer that is present, even if it is 0.
pub(crate) fn some_uint(out: &mut Vec<u8>, tag: u32, value: Option<impl Into<u64>>) {
    if let Some(value) = value {
        key(out, tag, VARINT);
        varint(out, value.into());
    }
}

/// Writes a number of eight bytes, even if it is 0.
pub(crate) fn fixed64(out: &mut Vec<u8>, tag: u32, value: u64) {
    key(out, tag, FIXED64);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Writes a number of four bytes, unless it is 0.
pub(crate) fn fixed32(out: &mut Vec<u8>, tag: u32, value: u32) {
    if value != 0 {
        key(out, tag, FIXED32);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// Writes bytes or text, even if empty.
pub(crate) fn bytes(out: &mut Vec<u8>, tag: u32, value: &[u8]) {
    key(out, tag, LENGTH);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// Writes bytes, unless they are empty.
pub(crate) fn filled(out: &mut Vec<u8>, tag: u32, value: &[u8]) {
    if !value.is_empty() {
        bytes(out, tag, value);
    }
}

/// Writes text, unless it is empty.
pub(crate) fn text(out: &mut Vec<u8>, tag: u32, value: &str) {
    filled(out, tag, value.as_bytes());
}

/// Writes text that is present, even if it is empty.
pub(crate) fn some_text(out: &mut Vec<u8>, tag: u32, value: Option<&str>) {
    if let Some(value) = value {
        bytes(out, tag, value.as_bytes());
    }
}

/// Writes a message whose fields `write` adds. The length is known only afterwards: one byte is
/// reserved for the length, which suffices for most messages; a longer message is moved to make
/// room.
pub(crate) fn message(out: &mut Vec<u8>, tag: u32, write: impl FnOnce(&mut Vec<u8>)) {
    key(out, tag, LENGTH);
    prefixed(out, write);
}

/// Writes a message without a field key, preceded by its length: the form in which facts follow one
/// another.
pub(crate) fn prefixed(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let place = out.len();
    out.push(0);
    let start = out.len();
    write(out);
    let written = out.len() - start;
    let mut length = [0; 10];
    let digits = varint_digits(written as u64, &mut length);
    out.resize(out.len() + digits - 1, 0);
    out.copy_within(start..start + written, place + digits);
    out[place..place + digits].copy_from_slice(&length[..digits]);
}

/// Writes a google.protobuf.Timestamp. Instants after the year 9999 become the last instant of that
/// year.
pub(crate) fn timestamp(out: &mut Vec<u8>, tag: u32, at_ms: u64) {
    let at_ms = at_ms.min(LAST_MS);
    message(out, tag, |out| {
        uint(out, 1, at_ms / 1_000);
        uint(out, 2, at_ms % 1_000 * 1_000_000);
    });
}

/// Writes a google.protobuf.Timestamp that is present.
pub(crate) fn some_timestamp(out: &mut Vec<u8>, tag: u32, at_ms: Option<u64>) {
    if let Some(at_ms) = at_ms {
        timestamp(out, tag, at_ms);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;
    use prost_types::Timestamp;

    use super::*;

    #[test]
    fn an_instant_after_the_year_9999_becomes_the_last_instant_of_that_year() {
        let mut out = Vec::new();
        prefixed(&mut out, |out| timestamp(out, 1, u64::MAX));
        let stamp = Timestamp::decode(&out[3..]).unwrap();
        assert_eq!("9999-12-31T23:59:59.999Z", stamp.to_string());
    }

    proptest! {
        #[test]
        fn a_message_of_any_length_has_its_length_in_front(length in 0..40_000_usize) {
            let mut out = vec![9];
            prefixed(&mut out, |out| out.resize(out.len() + length, 7));
            let mut rest = &out[1..];
            prop_assert_eq!(length as u64, prost::encoding::decode_varint(&mut rest).unwrap());
            prop_assert_eq!(vec![7; length], rest);
        }

        #[test]
        fn varints_are_encoded_as_by_prost(value: u64) {
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            varint(&mut ours, value);
            prost::encoding::encode_varint(value, &mut theirs);
            prop_assert_eq!(theirs, ours);
        }
    }
}
