//! Encoded replies.
//!
//! Owns the messages that answer calls and streams. Refuses to know the contents of records:
//! [`crate::record`] encodes those.

mod producer;
mod remaining;
mod worker;

pub use producer::*;
pub use remaining::{Countdown, Timed};
pub use worker::*;

use crate::put;

// A reply that repeats one encoded message, with spare capacity for further fields.
fn repeated(tag: u32, messages: &[Vec<u8>]) -> Vec<u8> {
    let bytes: usize = messages.iter().map(|message| message.len() + 6).sum();
    let mut out = Vec::with_capacity(bytes + 64);
    for message in messages {
        put::bytes(&mut out, tag, message);
    }
    out
}

// A reply of one encoded record and the flag `existing`.
fn record_and_existing(record: &[u8], existing: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(record.len() + 8);
    put::bytes(&mut out, 1, record);
    put::uint(&mut out, 2, existing);
    out
}

#[cfg(test)]
mod tests;
