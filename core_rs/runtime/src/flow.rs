//! Flow: how many bytes came in that are not decided and durable yet.
//!
//! Owns the bounds on them: of one stream, whose reading pauses, and of all together, beyond
//! which calls are refused. Refuses to know what the bytes are.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::message::Ticket;

/// Bytes of one stream before its reading pauses.
const PAUSE_BYTES: usize = 1 << 20;
/// Bytes of everything before unary calls are refused.
pub(crate) const MOST_BYTES: usize = 256 << 20;

#[derive(Default)]
struct Stream {
    bytes: usize,
    paused: bool,
}

/// What came in and is not decided and durable yet.
#[derive(Default)]
pub(crate) struct Flow {
    streams: Mutex<BTreeMap<Ticket, Stream>>,
    total: AtomicUsize,
}

impl Flow {
    /// A call came in. False: there is no room for it.
    pub(crate) fn call(&self, size: usize) -> bool {
        let before = self.total.fetch_add(size, Ordering::Relaxed);
        // A lone call always has room, whatever its size.
        let fits = before == 0 || before + size <= MOST_BYTES;
        if !fits {
            self.total.fetch_sub(size, Ordering::Relaxed);
        }
        fits
    }

    /// A message of a stream came in. False: its reading pauses until [`Self::decided`] says so.
    pub(crate) fn message(&self, stream: Ticket, size: usize) -> bool {
        self.total.fetch_add(size, Ordering::Relaxed);
        let mut streams = self.streams.lock();
        let stream = streams.entry(stream).or_default();
        stream.bytes += size;
        stream.paused |= stream.bytes > PAUSE_BYTES;
        !stream.paused
    }

    /// So many bytes are decided and durable, or nobody waits for them any more. True: the
    /// stream they came on may be read again.
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

    /// A stream is gone.
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
