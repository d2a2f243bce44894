//! The trace: the events of a run, as a hash of all and the text of the last ones.
//!
//! Owns the hash and the texts. Refuses to influence a run: a run writes to the trace and never
//! reads it.

use std::collections::VecDeque;

const KEPT: usize = 60;

/// The events of a run.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    hash: u64,
    last: VecDeque<String>,
    aloud: bool,
}

impl Trace {
    /// An empty trace; `aloud` prints each event at once.
    #[must_use]
    pub(crate) fn new(aloud: bool) -> Self {
        Self {
            hash: 0xCBF2_9CE4_8422_2325,
            last: VecDeque::new(),
            aloud,
        }
    }

    /// Notes an event.
    pub(crate) fn note(&mut self, step: u64, event: &str) {
        let line = format!("{step:>6}  {event}");
        // FNV-1a gives the same hash on all platforms and versions.
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
        if self.aloud {
            println!("{line}");
        }
        self.last.push_back(line);
        if self.last.len() > KEPT {
            self.last.pop_front();
        }
    }

    /// The hash of every event so far.
    #[must_use]
    pub(crate) const fn hash(&self) -> u64 {
        self.hash
    }

    /// The texts of the last events, oldest first.
    pub(crate) fn last(&self) -> impl Iterator<Item = &str> {
        self.last.iter().map(String::as_str)
    }
}
