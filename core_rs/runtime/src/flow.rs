//! Flow: counts the bytes that came in and are not yet decided and durable.
//!
//! Owns the limits on these bytes. Beyond the limit of a stream its reading pauses. Beyond the
//! limit of all streams together, a stream that sends large messages is refused, so that clients
//! that do not read their replies cannot use up the room of others. Unary calls have room of their
//! own.
//! Refuses to know the contents of the bytes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::message::Ticket;

/// Bytes of one stream beyond which its reading pauses.
const PAUSE_BYTES: usize = 1 << 20;
/// Bytes of all streams beyond which a stream is refused that has more than its share undecided.
pub(crate) const STREAM_BYTES: usize = 64 << 20;
/// Bytes of all unary calls beyond which calls are refused.
pub(crate) const CALL_BYTES: usize = 64 << 20;

#[derive(Default)]
struct Stream {
    bytes: usize,
    paused: bool,
}

/// The bytes that came in and are not yet decided and durable.
#[derive(Default)]
pub(crate) struct Flow {
    streams: Mutex<Streams>,
    calls: AtomicUsize,
}

#[derive(Default)]
struct Streams {
    by_ticket: BTreeMap<Ticket, Stream>,
    bytes: usize,
}

/// What follows for a stream from a message that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// The stream can be read further.
    GoesOn,
    /// The reading pauses until [`Flow::decided`] returns true.
    Pauses,
    /// The message has no room: the stream must end. The message is not counted.
    Ends,
}

impl Flow {
    /// Counts a unary call that came in. Returns false if there is no room for the call.
    pub(crate) fn call(&self, size: usize) -> bool {
        let before = self.calls.fetch_add(size, Ordering::Relaxed);
        // A call without others before it always has room, whatever its size.
        let fits = before == 0 || before + size <= CALL_BYTES;
        if !fits {
            self.calls.fetch_sub(size, Ordering::Relaxed);
        }
        fits
    }

    /// Counts a stream that was opened.
    pub(crate) fn open(&self, stream: Ticket) {
        self.streams.lock().by_ticket.entry(stream).or_default();
    }

    /// Counts a message of a stream.
    pub(crate) fn message(&self, stream: Ticket, size: usize) -> Reading {
        let mut streams = self.streams.lock();
        let all = streams.bytes + size;
        let Some(stream) = streams.by_ticket.get_mut(&stream) else {
            // The stream has ended, and nothing decides the message.
            return Reading::Pauses;
        };
        // A stream without others always has room, whatever the size of its message.
        if all > STREAM_BYTES && all > size && stream.bytes + size > PAUSE_BYTES {
            return Reading::Ends;
        }
        stream.bytes += size;
        stream.paused |= stream.bytes > PAUSE_BYTES;
        let reading = if stream.paused {
            Reading::Pauses
        } else {
            Reading::GoesOn
        };
        streams.bytes = all;
        reading
    }

    /// Subtracts the bytes of a unary call that was decided.
    pub(crate) fn call_decided(&self, size: usize) {
        self.calls.fetch_sub(size, Ordering::Relaxed);
    }

    /// Subtracts bytes of a stream that are decided and durable. Returns true if the stream may be
    /// read again.
    pub(crate) fn decided(&self, stream: Ticket, size: usize) -> bool {
        let mut streams = self.streams.lock();
        let Streams { by_ticket, bytes } = &mut *streams;
        let Some(stream) = by_ticket.get_mut(&stream) else {
            return false;
        };
        *bytes = bytes.saturating_sub(size);
        stream.bytes = stream.bytes.saturating_sub(size);
        let resumes = stream.paused && stream.bytes <= PAUSE_BYTES / 2;
        stream.paused &= !resumes;
        resumes
    }

    /// Forgets a stream that has ended.
    pub(crate) fn close(&self, stream: Ticket) {
        let mut streams = self.streams.lock();
        if let Some(stream) = streams.by_ticket.remove(&stream) {
            streams.bytes = streams.bytes.saturating_sub(stream.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_streams(tickets: std::ops::RangeInclusive<Ticket>) -> Flow {
        let flow = Flow::default();
        tickets.for_each(|ticket| flow.open(ticket));
        flow
    }

    #[test]
    fn a_stream_pauses_over_its_bound_and_resumes_at_half_of_it() {
        let flow = with_streams(1..=2);
        assert_eq!(Reading::GoesOn, flow.message(1, PAUSE_BYTES));
        assert_eq!(Reading::Pauses, flow.message(1, 1));
        assert_eq!(Reading::GoesOn, flow.message(2, 1));
        assert!(!flow.decided(1, PAUSE_BYTES / 2));
        assert!(flow.decided(1, 1));
        assert!(!flow.decided(1, 1));
    }

    #[test]
    fn calls_are_refused_while_there_is_no_room() {
        let flow = Flow::default();
        assert!(flow.call(CALL_BYTES + 1));
        assert!(!flow.call(1));
        flow.call_decided(CALL_BYTES + 1);
        assert!(flow.call(1));
    }

    #[test]
    fn streams_that_use_up_their_room_leave_room_for_calls_and_for_small_streams() {
        let flow = with_streams(1..=20);
        let large = 16 << 20;
        let readings: Vec<_> = (1..=20).map(|stream| flow.message(stream, large)).collect();
        let refused = readings.iter().filter(|one| **one == Reading::Ends);
        assert_eq!(20 - STREAM_BYTES / large, refused.count());
        assert!(flow.call(large));
        assert_eq!(Reading::GoesOn, flow.message(20, 1_000));
    }

    #[test]
    fn a_stream_that_ended_gives_its_room_back() {
        let flow = with_streams(1..=2);
        flow.message(1, STREAM_BYTES);
        flow.close(1);
        assert!(!flow.decided(1, STREAM_BYTES), "it is counted no more");
        assert_eq!(Reading::Pauses, flow.message(2, STREAM_BYTES));
    }
}
