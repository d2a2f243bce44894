//! Writing protobuf by hand, in one pass.
//!
//! Owns the encoding of single fields. Refuses to know any message. Fields of plain proto3 are
//! left out where they hold their default; `some_*` writes whatever is there.

/// Milliseconds of the last instant a Timestamp can name: the end of the year 9999.
const LAST_MS: u64 = 253_402_300_799_999;

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LENGTH: u32 = 2;
const FIXED32: u32 = 5;

/// An integer without a key.
pub(crate) fn varint(out: &mut Vec<u8>, value: u64) {
    let mut digits = [0; 10];
    let count = varint_digits(value, &mut digits);
    out.extend_from_slice(&digits[..count]);
}

// Seven bits a byte, the lowest first; all but the last byte have their highest bit set. Returns
// how many there are.
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

fn key(out: &mut Vec<u8>, tag: u32, kind: u32) {
    varint(out, u64::from(tag << 3 | kind));
}

/// An integer, left out where it is 0.
pub(crate) fn uint(out: &mut Vec<u8>, tag: u32, value: impl Into<u64>) {
    let value = value.into();
    if value != 0 {
        some_uint(out, tag, Some(value));
    }
}

/// An integer that may be 0, where there is one.
pub(crate) fn some_uint(out: &mut Vec<u8>, tag: u32, value: Option<impl Into<u64>>) {
    if let Some(value) = value {
        key(out, tag, VARINT);
        varint(out, value.into());
    }
}

/// A number of eight bytes, always written.
pub(crate) fn fixed64(out: &mut Vec<u8>, tag: u32, value: u64) {
    key(out, tag, FIXED64);
    out.extend_from_slice(&value.to_le_bytes());
}

/// A number of four bytes, left out where the number is 0.
pub(crate) fn fixed32(out: &mut Vec<u8>, tag: u32, value: u32) {
    if value != 0 {
        key(out, tag, FIXED32);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// Bytes or text, always written.
pub(crate) fn bytes(out: &mut Vec<u8>, tag: u32, value: &[u8]) {
    key(out, tag, LENGTH);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// Bytes, left out where they are empty.
pub(crate) fn filled(out: &mut Vec<u8>, tag: u32, value: &[u8]) {
    if !value.is_empty() {
        bytes(out, tag, value);
    }
}

/// Text, left out where it is empty.
pub(crate) fn text(out: &mut Vec<u8>, tag: u32, value: &str) {
    filled(out, tag, value.as_bytes());
}

/// Text that may be empty, where there is one.
pub(crate) fn some_text(out: &mut Vec<u8>, tag: u32, value: Option<&str>) {
    if let Some(value) = value {
        bytes(out, tag, value.as_bytes());
    }
}

/// A message whose fields `write` writes. Its length is known afterwards: one byte is kept for
/// it, which is enough for most, and what was written moves where it is not.
pub(crate) fn message(out: &mut Vec<u8>, tag: u32, write: impl FnOnce(&mut Vec<u8>)) {
    key(out, tag, LENGTH);
    prefixed(out, write);
}

/// The same without a key: the form in which facts follow one another.
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

/// A google.protobuf.Timestamp; instants after the year 9999 become its last.
pub(crate) fn timestamp(out: &mut Vec<u8>, tag: u32, at_ms: u64) {
    let at_ms = at_ms.min(LAST_MS);
    message(out, tag, |out| {
        uint(out, 1, at_ms / 1_000);
        uint(out, 2, at_ms % 1_000 * 1_000_000);
    });
}

/// A google.protobuf.Timestamp, where there is one.
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
    fn an_instant_beyond_the_calendar_is_its_last() {
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
        fn varints_are_those_of_protobuf(value: u64) {
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            varint(&mut ours, value);
            prost::encoding::encode_varint(value, &mut theirs);
            prop_assert_eq!(theirs, ours);
        }
    }
}
