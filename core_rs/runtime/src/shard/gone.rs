//! The executions that were deleted lately.
//!
//! Owns their birth numbers. Their rows are still in the store until the commit is durable, and a
//! read that began before may bring them, or some of them, even later. So whoever gets rows asks
//! here first. Refuses to forget an execution whose deletion is not durable.

use std::collections::{BTreeSet, VecDeque};

use backlane_engine::rules::id::Birth;

/// Number of deleted executions that are remembered, at least. A read takes far less time than so
/// many deletions.
const REMEMBERED: usize = 16_384;

/// The executions that were deleted lately.
#[derive(Debug, Default)]
pub(super) struct Gone {
    births: BTreeSet<Birth>,
    /// In the order of their facts' sequence numbers.
    order: VecDeque<(u64, Birth)>,
}

impl Gone {
    /// Notes an execution that the fact with this sequence number deletes.
    pub(super) fn add(&mut self, birth: Birth, sequence: u64) {
        if self.births.insert(birth) {
            self.order.push_back((sequence, birth));
        }
    }

    pub(super) fn has(&self, birth: Birth) -> bool {
        self.births.contains(&birth)
    }

    /// Forgets the oldest, if there are many.
    pub(super) fn evict(&mut self, durable: u64) {
        while self.order.len() > REMEMBERED {
            let oldest = self.order.front().filter(|(at, _)| *at < durable);
            let Some((_, birth)) = oldest.copied() else {
                return;
            };
            self.order.pop_front();
            self.births.remove(&birth);
        }
    }
}
