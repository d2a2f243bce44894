//! Edges: which executions wait for which others.
//!
//! Owns the dependencies of blocked executions, in both directions. An execution that is not
//! blocked has no entry here, and an execution without dependents needs no memory here. Refuses to
//! know how an execution ended.
//!
//! A dependent waits for a *gate*: the birth number of the execution that it depends on. When an
//! execution is replaced, the new one takes over its gates, so that no dependent has to be changed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use crate::rules::id::Birth;

/// The dependencies of all blocked executions.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Edges {
    // By dependent.
    waits_for: BTreeMap<Birth, Box<[Birth]>>,
    // Pairs of gate and dependent.
    dependents: BTreeSet<(Birth, Birth)>,
    // The execution that took over a gate.
    heirs: BTreeMap<Birth, Birth>,
    // The gates that an execution took over.
    stands_for: BTreeMap<Birth, Box<[Birth]>>,
}

impl Edges {
    /// The gates that a blocked execution waits for.
    #[must_use]
    pub fn waits_for(&self, dependent: Birth) -> &[Birth] {
        self.waits_for
            .get(&dependent)
            .map_or(&[], |gates| &gates[..])
    }

    /// The gates that an execution took over from executions which it replaced.
    #[must_use]
    pub fn stands_for(&self, birth: Birth) -> &[Birth] {
        self.stands_for.get(&birth).map_or(&[], |gates| &gates[..])
    }

    /// The executions that wait for a gate, with a birth number above `after`, in order.
    pub fn dependents(&self, gate: Birth, after: Birth) -> impl Iterator<Item = Birth> + '_ {
        let from = self.dependents.range((Excluded((gate, after)), Unbounded));
        from.take_while(move |(of, _)| *of == gate)
            .map(|(_, dependent)| *dependent)
    }

    /// The gates of an execution that somebody waits for.
    pub fn awaited_gates(&self, birth: Birth) -> impl Iterator<Item = Birth> + '_ {
        let gates = [birth]
            .into_iter()
            .chain(self.stands_for(birth).iter().copied());
        gates.filter(|gate| self.dependents(*gate, 0).next().is_some())
    }

    /// The execution that opens a gate.
    #[must_use]
    pub fn owner(&self, gate: Birth) -> Birth {
        self.heirs.get(&gate).copied().unwrap_or(gate)
    }

    /// Whether nothing waits for anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.dependents.is_empty() && self.heirs.is_empty()
    }

    pub(super) fn admit(&mut self, birth: Birth, waits_for: &[Birth], stands_for: &[Birth]) {
        if !waits_for.is_empty() {
            let pairs = waits_for.iter().map(|gate| (*gate, birth));
            self.dependents.extend(pairs);
            self.waits_for.insert(birth, waits_for.into());
        }
        if !stands_for.is_empty() {
            let heirs = stands_for.iter().map(|gate| (*gate, birth));
            self.heirs.extend(heirs);
            self.stands_for.insert(birth, stands_for.into());
        }
    }

    /// Notes that an execution waits for nothing any more.
    pub(super) fn unblock(&mut self, birth: Birth) {
        for gate in self.waits_for.remove(&birth).unwrap_or_default() {
            self.dependents.remove(&(gate, birth));
        }
    }

    /// Forgets an execution that ended. Its dependents stay until they are settled.
    pub(super) fn forget(&mut self, birth: Birth) {
        self.unblock(birth);
        for gate in self.stands_for.remove(&birth).unwrap_or_default() {
            if self.heirs.get(&gate) == Some(&birth) {
                self.heirs.remove(&gate);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_execution_that_is_not_blocked_and_replaced_nothing_takes_no_memory() {
        let mut edges = Edges::default();
        edges.admit(1, &[], &[]);
        assert_eq!(Edges::default(), edges);
        edges.admit(2, &[1], &[]);
        edges.unblock(2);
        edges.admit(3, &[], &[1]);
        edges.forget(3);
        assert_eq!(Edges::default(), edges);
    }

    #[test]
    fn dependents_come_in_order_and_after_a_birth_number() {
        let mut edges = Edges::default();
        edges.admit(5, &[1, 2], &[]);
        edges.admit(4, &[1], &[]);
        let of = |gate, after| edges.dependents(gate, after).collect::<Vec<_>>();
        assert_eq!(vec![4, 5], of(1, 0));
        assert_eq!(vec![5], of(1, 4));
        assert_eq!(vec![5], of(2, 0));
        assert_eq!(Vec::<Birth>::new(), of(3, 0));
    }

    #[test]
    fn a_gate_is_opened_by_the_newest_heir() {
        let mut edges = Edges::default();
        edges.admit(2, &[1], &[]);
        edges.admit(3, &[], &[1]);
        edges.forget(1);
        assert_eq!(3, edges.owner(1));
        assert_eq!(vec![1], edges.awaited_gates(3).collect::<Vec<_>>());
        // The heir of the heir is admitted after the heir was forgotten.
        edges.forget(3);
        assert_eq!(1, edges.owner(1));
        edges.admit(4, &[], &[1, 3]);
        assert_eq!(4, edges.owner(1));
        assert_eq!(vec![1], edges.awaited_gates(4).collect::<Vec<_>>());
    }
}
