//! Wakes: when to look at an execution again, on the monotonic clock, at most one for each.
//!
//! Owns the order of them. Refuses to know the reasons: whoever looks decides what is due.

use std::collections::{BTreeMap, BTreeSet};

use crate::rules::id::Birth;

/// At most one wake for each execution.
#[derive(Debug, Default)]
pub struct Wakes {
    at: BTreeMap<Birth, u64>,
    order: BTreeSet<(u64, Birth)>,
}

impl Wakes {
    /// Sets, moves or clears the wake of an execution.
    pub fn set(&mut self, birth: Birth, at_ms: Option<u64>) {
        let before = match at_ms {
            Some(at_ms) => self.at.insert(birth, at_ms),
            None => self.at.remove(&birth),
        };
        if before != at_ms {
            if let Some(before) = before {
                self.order.remove(&(before, birth));
            }
            if let Some(at_ms) = at_ms {
                self.order.insert((at_ms, birth));
            }
        }
    }

    /// The earliest.
    #[must_use]
    pub fn first(&self) -> Option<(u64, Birth)> {
        self.order.first().copied()
    }
}
