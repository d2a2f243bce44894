//! Records: payloads and endings kept in memory.
//!
//! Owns which stay. Refuses to read any: what is missing is read from the store. Nothing leaves
//! before it is durable, so what the store does not have yet is always here.

use std::collections::{BTreeMap, VecDeque};

use backlane_engine::rules::id::Birth;
use backlane_store::Bytes;

// What an entry costs besides its bytes: a reference count, a map entry, a place in the order.
const ENTRY_BYTES: usize = 96;

#[derive(Debug, Default)]
struct Kept {
    bytes: BTreeMap<Birth, Bytes>,
    order: VecDeque<(u64, Birth)>,
    total: usize,
    most: usize,
}

impl Kept {
    fn insert(&mut self, birth: Birth, bytes: Bytes, sequence: u64) {
        self.total += bytes.len() + ENTRY_BYTES;
        self.order.push_back((sequence, birth));
        if let Some(before) = self.bytes.insert(birth, bytes) {
            self.total -= before.len() + ENTRY_BYTES;
        }
    }

    fn evict(&mut self, durable: u64) {
        while self.total > self.most {
            let Some((_, birth)) = self.order.front().copied().filter(|(at, _)| *at < durable)
            else {
                break;
            };
            self.order.pop_front();
            if let Some(bytes) = self.bytes.remove(&birth) {
                self.total -= bytes.len() + ENTRY_BYTES;
            }
        }
    }
}

/// The payloads and endings in memory.
#[derive(Debug, Default)]
pub(super) struct Records {
    payloads: Kept,
    endings: Kept,
}

impl Records {
    pub(super) fn new(most_bytes: usize) -> Self {
        let kept = || Kept {
            most: most_bytes / 2,
            ..Kept::default()
        };
        Self {
            payloads: kept(),
            endings: kept(),
        }
    }

    /// What an execution was made with, written with the fact of that sequence.
    pub(super) fn insert_payload(&mut self, birth: Birth, bytes: Bytes, sequence: u64) {
        self.payloads.insert(birth, bytes, sequence);
    }

    /// How an execution ended, written with the fact of that sequence.
    pub(super) fn insert_ending(&mut self, birth: Birth, bytes: Bytes, sequence: u64) {
        self.endings.insert(birth, bytes, sequence);
    }

    pub(super) fn payload(&self, birth: Birth) -> Option<&Bytes> {
        self.payloads.bytes.get(&birth)
    }

    pub(super) fn ending(&self, birth: Birth) -> Option<&Bytes> {
        self.endings.bytes.get(&birth)
    }

    /// Lets the oldest go that are durable, down to the size allowed.
    pub(super) fn evict(&mut self, durable: u64) {
        self.payloads.evict(durable);
        self.endings.evict(durable);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_but_none_that_is_not_durable() {
        let mut records = Records::new(0);
        for birth in 1..=3 {
            records.insert_payload(birth, Bytes::from([0; 8]), birth);
        }
        records.evict(3);
        let kept: Vec<_> = (1..=3)
            .filter(|birth| records.payload(*birth).is_some())
            .collect();
        assert_eq!(vec![3], kept);
    }
}
