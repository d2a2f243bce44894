//! The text of KSUIDs: 20 bytes as 27 digits to the base 62.
//!
//! Owns the two conversions. They are written here instead of taken from a KSUID crate: such crates
//! bring a source of randomness and a calendar, and the engine must have neither. Refuses to know
//! what the bytes mean.

use std::fmt;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const TEXT_DIGITS: usize = 27;

/// Writes the 27 digits of a KSUID.
pub(super) fn write(out: &mut fmt::Formatter<'_>, bytes: [u8; 20]) -> fmt::Result {
    out.write_str(std::str::from_utf8(&encode(bytes)).unwrap_or_default())
}

// The 160 bits are divided as five limbs of 32 bits, five digits at a time, as KSUID's own code
// does. This needs no big-number crate, and a third of the time of one digit at a time.
fn encode(bytes: [u8; 20]) -> [u8; TEXT_DIGITS] {
    let mut limbs = [0_u64; 5];
    for (limb, chunk) in limbs.iter_mut().zip(bytes.chunks_exact(4)) {
        *limb = chunk
            .iter()
            .fold(0, |sum, byte| (sum << 8) | u64::from(*byte));
    }
    let mut text = [b'0'; TEXT_DIGITS];
    for chunk in text.rchunks_mut(5) {
        let mut rest = 0;
        for limb in &mut limbs {
            let value = (rest << 32) | *limb;
            *limb = value / 62_u64.pow(5);
            rest = value % 62_u64.pow(5);
        }
        for digit in chunk.iter_mut().rev() {
            *digit = BASE62[usize::try_from(rest % 62).unwrap_or(0)];
            rest /= 62;
        }
    }
    text
}

/// The 20 bytes of a KSUID whose text has 27 digits; `None` for any other text.
pub(super) fn decode(text: &str) -> Option<[u8; 20]> {
    if text.len() != TEXT_DIGITS {
        return None;
    }
    let mut limbs = [0_u64; 5];
    for byte in text.bytes() {
        let mut carry = value_of(byte)?;
        for limb in limbs.iter_mut().rev() {
            let value = *limb * 62 + carry;
            *limb = value & 0xFFFF_FFFF;
            carry = value >> 32;
        }
        if carry != 0 {
            return None;
        }
    }
    let mut bytes = [0; 20];
    for (chunk, limb) in bytes.chunks_exact_mut(4).zip(limbs) {
        chunk.copy_from_slice(&limb.to_be_bytes()[4..]);
    }
    Some(bytes)
}

fn value_of(byte: u8) -> Option<u64> {
    match byte {
        b'0'..=b'9' => Some(u64::from(byte - b'0')),
        b'A'..=b'Z' => Some(u64::from(byte - b'A') + 10),
        b'a'..=b'z' => Some(u64::from(byte - b'a') + 36),
        _ => None,
    }
}
