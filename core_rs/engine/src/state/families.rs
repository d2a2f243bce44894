//! Families: which executions were spawned by which others.
//!
//! Owns the ancestors of unfinished executions, in both directions. An execution that was not
//! spawned, and one without children, needs no memory here. Refuses to know what the end of an
//! ancestor means.
//!
//! A child names all ancestors that were unfinished when it was spawned. So the descendants of an
//! execution are found without those between, which may have ended.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use crate::rules::id::Birth;

/// The families of all unfinished executions.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Families {
    // By descendant, the nearest ancestor first.
    ancestors: BTreeMap<Birth, Box<[Birth]>>,
    // Pairs of ancestor and descendant.
    descendants: BTreeSet<(Birth, Birth)>,
}

impl Families {
    /// The ancestors of an unfinished execution that were unfinished when it was spawned, the
    /// nearest first: that one is its parent.
    #[must_use]
    pub fn ancestors(&self, birth: Birth) -> &[Birth] {
        self.ancestors.get(&birth).map_or(&[], |all| &all[..])
    }

    /// The unfinished descendants of an execution with a birth number above `after`, in order.
    pub fn descendants(&self, ancestor: Birth, after: Birth) -> impl Iterator<Item = Birth> + '_ {
        let from = (Excluded((ancestor, after)), Unbounded);
        let pairs = self.descendants.range(from);
        let own = pairs.take_while(move |(of, _)| *of == ancestor);
        own.map(|(_, descendant)| *descendant)
    }

    /// The unfinished descendants of an execution that are older than `before`, the youngest first.
    pub fn descendants_before(
        &self,
        ancestor: Birth,
        before: Birth,
    ) -> impl Iterator<Item = Birth> + '_ {
        let pairs = self.descendants.range((ancestor, 0)..(ancestor, before));
        pairs.rev().map(|(_, descendant)| *descendant)
    }

    /// Whether an execution has unfinished descendants.
    #[must_use]
    pub fn has_descendants(&self, ancestor: Birth) -> bool {
        self.descendants(ancestor, 0).next().is_some()
    }

    pub(super) fn admit(&mut self, birth: Birth, ancestors: &[Birth]) {
        if !ancestors.is_empty() {
            let pairs = ancestors.iter().map(|ancestor| (*ancestor, birth));
            self.descendants.extend(pairs);
            self.ancestors.insert(birth, ancestors.into());
        }
    }

    pub(super) fn forget(&mut self, birth: Birth) {
        for ancestor in self.ancestors.remove(&birth).unwrap_or_default() {
            self.descendants.remove(&(ancestor, birth));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_are_found_without_those_between() {
        let mut families = Families::default();
        families.admit(2, &[1]);
        families.admit(3, &[2, 1]);
        families.forget(2);
        assert_eq!(vec![3], families.descendants(1, 0).collect::<Vec<_>>());
        assert_eq!(vec![3], families.descendants(2, 0).collect::<Vec<_>>());
        assert_eq!(
            Vec::<Birth>::new(),
            families.descendants(1, 3).collect::<Vec<_>>()
        );
        families.forget(3);
        assert_eq!(Families::default(), families);
        assert!(!families.has_descendants(1));
    }
}
