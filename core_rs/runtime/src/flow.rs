//! Flow: counts the bytes that came in and are not yet decided and durable.
//!
//! Owns the limits on these bytes: beyond the limit of a stream its reading pauses; beyond the
//! limit of all streams and calls together, calls are refused. Refuses to know the contents of the
//! bytes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::message::Ticket;

/// Bytes of one stream beyond which its reading pauses.
const PAUSE_BYTES: usize = 1 << 20;
/// Bytes of all calls and streams beyond which unary calls are refused.
pub(crate) const MOST_BYTES: usize = 128 << 20;

#[derive(Default)]
struct Stream {
    bytes: usize,
    paused: bool,
}

/// The bytes that came in and are not yet decided and durable.
#[derive(Default)]
pub(crate) struct Flow {
    streams: Mutex<BTreeMap<Ticket, Stream>>,
    total: AtomicUsize,
}

impl Flow {
    /// Counts a unary call that came in. Returns false if there is no room for the call.
    pub(crate) fn call(&self, size: usize) -> bool {
        let before = self.total.fetch_add(size, Ordering::Relaxed);
        // A call without others before it always has room, whatever its size.
        let fits = before == 0 || before + size <= MOST_BYTES;
        if !fits {
            self.total.fetch_sub(size, Ordering::Relaxed);
        }
        fits
    }

    /// Counts a message of a stream. Returns false if the reading of the stream must pause until
    /// [`Self::decided`] returns true.
    pub(crate) fn message(&self, stream: Ticket, size: usize) -> bool {
        self.total.fetch_add(size, Ordering::Relaxed);
        let mut streams = self.streams.lock();
        let stream = streams.entry(stream).or_default();
        stream.bytes += size;
        stream.paused |= stream.bytes > PAUSE_BYTES;
        !stream.paused
    }

    /// Subtracts bytes that are decided and durable, or that no caller waits for any more. Returns
    /// true if the stream of these bytes may be read again.
    pub(crate) fn decided(&self, ticket: Ticket, size: usize) -> bool {
        self.total.fetch_sub(size, Ordering::Relaxed);
        let mut streams = self.streams.lock();
        let Some(stream) = streams.get_mut(&ticket) else {
            return false;
        };
        stream.bytes = stream.bytes.saturating_sub(size);
        let resumes = stream.paused && stream.bytes <= PAUSE_BYTES / 2;
        stream.paused &= !resumes;
        resumes
    }

    /// Forgets a stream that has ended.
    pub(crate) fn close(&self, stream: Ticket) {
        self.streams.lock().remove(&stream);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_pauses_over_its_bound_and_resumes_at_half_of_it() {
        let flow = Flow::default();
        assert!(flow.message(1, PAUSE_BYTES));
        assert!(!flow.message(1, 1));
        assert!(flow.message(2, 1));
        assert!(!flow.decided(1, PAUSE_BYTES / 2));
        assert!(flow.decided(1, 1));
        assert!(!flow.decided(1, 1));
    }

    #[test]
    fn calls_are_refused_while_there_is_no_room() {
        let flow = Flow::default();
        assert!(flow.call(MOST_BYTES + 1));
        assert!(!flow.call(1));
        flow.decided(1, MOST_BYTES + 1);
        assert!(flow.call(1));
    }
}
