//! The agenda: work on many executions that is done in chunks.
//!
//! Owns the open items, and the gates that will open for nobody. Refuses to do the work: `decide`
//! does.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use crate::fact::{Item, ItemNumber, Work};
use crate::rules::id::Birth;

/// The open items of the agenda.
#[derive(Debug, PartialEq, Eq)]
pub struct Agenda {
    items: BTreeMap<ItemNumber, Item>,
    // Gates whose execution ended otherwise than completed, while dependents are still to be
    // skipped.
    failed: BTreeSet<Birth>,
    next: ItemNumber,
}

impl Default for Agenda {
    fn default() -> Self {
        Self {
            items: BTreeMap::new(),
            failed: BTreeSet::new(),
            next: 1,
        }
    }
}

impl Agenda {
    /// The open items after a number, in order.
    pub fn items_after(&self, after: ItemNumber) -> impl Iterator<Item = (ItemNumber, Item)> + '_ {
        let items = self.items.range((Excluded(after), Unbounded));
        items.map(|(number, item)| (*number, *item))
    }

    /// An open item.
    #[must_use]
    pub fn item(&self, number: ItemNumber) -> Option<Item> {
        self.items.get(&number).copied()
    }

    /// The number that the next item will get.
    #[must_use]
    pub const fn next(&self) -> ItemNumber {
        self.next
    }

    /// Number of open items.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is no open item.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether the execution of a gate ended otherwise than completed, and dependents are still to
    /// be skipped.
    #[must_use]
    pub fn has_failed(&self, gate: Birth) -> bool {
        self.failed.contains(&gate)
    }

    pub(super) fn open(&mut self, number: ItemNumber, item: Item) {
        self.begin_at(number + 1);
        if let Some(gate) = failed_gate(item) {
            self.failed.insert(gate);
        }
        self.items.insert(number, item);
    }

    pub(super) fn advance(&mut self, number: ItemNumber, after: Birth) {
        if let Some(item) = self.items.get_mut(&number) {
            item.after = after;
        }
    }

    pub(super) fn close(&mut self, number: ItemNumber) {
        if let Some(gate) = self.items.remove(&number).and_then(failed_gate) {
            self.failed.remove(&gate);
        }
    }

    /// Notes that numbers below this one were used.
    pub(super) fn begin_at(&mut self, next: ItemNumber) {
        self.next = self.next.max(next);
    }
}

const fn failed_gate(item: Item) -> Option<Birth> {
    match item.work {
        Work::Settle {
            gate,
            completed: false,
            ..
        } => Some(gate),
        Work::Settle { .. } => None,
    }
}
