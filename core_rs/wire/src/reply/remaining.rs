//! Remaining times: fields that are counted down until their message leaves.
//!
//! Owns the form of these fields, and the replies that have them. Refuses to know when a reply
//! leaves: the runtime does.
//!
//! A renewed lease counts from the renewal. Its reply is encoded then and leaves when earlier
//! decisions are durable, which may be much later. A remaining time must be that of the leaving,
//! because the worker counts it from the arrival. So the field is written when the reply is encoded
//! and overwritten when it leaves. The new number is never larger, so it fits into the bytes of the
//! old one.

use backlane_engine::reply::LeaseEnds;

use crate::put;

/// An encoded reply, with the remaining times in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timed {
    /// The encoded reply.
    pub bytes: Vec<u8>,
    /// The remaining times to count down before the reply leaves.
    pub countdowns: Vec<Countdown>,
}

/// One remaining time of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Countdown {
    place: usize,
    until_ms: u64,
}

impl From<Vec<u8>> for Timed {
    fn from(bytes: Vec<u8>) -> Self {
        let countdowns = Vec::new();
        Self { bytes, countdowns }
    }
}

impl Countdown {
    /// Overwrites the remaining time in an encoded reply with that of a later time, in monotonic
    /// milliseconds.
    pub fn count(&self, reply: &mut [u8], mono_ms: u64) {
        let place = reply.get_mut(self.place..).unwrap_or_default();
        put::over_varint(place, self.until_ms.saturating_sub(mono_ms));
    }

    // Moves with its bytes to a later place.
    const fn moved(self, by: usize) -> Self {
        Self {
            place: self.place + by,
            until_ms: self.until_ms,
        }
    }
}

impl Timed {
    /// Adds the remaining times of a renewed lease to the message that is being written: until the
    /// lease is lost in the field `tag`, and until the attempt times out in the field after it.
    pub(super) fn put_ends(&mut self, tag: u32, ends: LeaseEnds, mono_ms: u64) {
        for (tag, until_ms) in [(tag, ends.lease_ms), (tag + 1, ends.attempt_ms)] {
            let remaining_ms = until_ms.saturating_sub(mono_ms);
            put::some_uint(&mut self.bytes, tag, Some(remaining_ms));
            let place = self.bytes.len() - put::varint_len(remaining_ms);
            self.countdowns.push(Countdown { place, until_ms });
        }
    }

    /// Adds a message whose fields `write` adds.
    pub(super) fn message(&mut self, tag: u32, write: impl FnOnce(&mut Self)) {
        let earlier = self.countdowns.len();
        let mut written = 0;
        let mut bytes = std::mem::take(&mut self.bytes);
        put::message(&mut bytes, tag, |out| {
            std::mem::swap(&mut self.bytes, out);
            write(self);
            std::mem::swap(&mut self.bytes, out);
            written = out.len();
        });
        // The fields of a long message were moved to make room for its length.
        let by = bytes.len() - written;
        self.bytes = bytes;
        for countdown in self.countdowns.iter_mut().skip(earlier) {
            *countdown = countdown.moved(by);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::generated::backlane::v1::{Lease, LeaseResponse};

    proptest! {
        #[test]
        fn remaining_times_are_those_of_the_leaving(
            lease_ms: u64, attempt_ms: u64, decided_ms: u64, later_ms: u64, filler in 0..300_usize,
        ) {
            let left_ms = decided_ms.saturating_add(later_ms);
            let mut reply = Timed::default();
            for _ in 0..2 {
                reply.message(1, |lease| {
                    put::text(&mut lease.bytes, 2, &"t".repeat(filler));
                    lease.put_ends(6, LeaseEnds { lease_ms, attempt_ms }, decided_ms);
                });
            }
            for countdown in &reply.countdowns {
                countdown.count(&mut reply.bytes, left_ms);
            }
            let lease = Lease {
                lease_token: "t".repeat(filler),
                lease_remaining_ms: Some(lease_ms.saturating_sub(left_ms)),
                attempt_remaining_ms: Some(attempt_ms.saturating_sub(left_ms)),
                ..Lease::default()
            };
            let expected = LeaseResponse { leases: vec![lease.clone(), lease] };
            prop_assert_eq!(expected, LeaseResponse::decode(&reply.bytes[..]).unwrap());
        }
    }
}
