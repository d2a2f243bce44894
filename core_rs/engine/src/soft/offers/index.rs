//! Which offers cover a callable, and which queues an offer covers.
//!
//! Owns the look-ups in both directions. Their cost depends on the number of matches, not on the
//! number of offers or queues. Refuses to know heads and tenants' shares.

use std::collections::{BTreeMap, BTreeSet};

use crate::command::{OfferKey, OfferSpec, patterns_of};
use crate::rules::access::TenantScope;
use crate::state::{QueueKey, Tenants};

/// The offers by the patterns that they name.
#[derive(Debug, Default)]
pub(super) struct PatternIndex {
    by_pattern: BTreeMap<Box<str>, BTreeSet<OfferKey>>,
}

impl PatternIndex {
    /// Adds an offer under each of its patterns.
    pub(super) fn add(&mut self, key: OfferKey, spec: &OfferSpec) {
        for pattern in &spec.callables {
            let offers = self.by_pattern.entry(pattern.clone()).or_default();
            offers.insert(key);
        }
    }

    /// Removes an offer from all of its patterns.
    pub(super) fn remove(&mut self, key: OfferKey, spec: &OfferSpec) {
        for pattern in &spec.callables {
            if let Some(offers) = self.by_pattern.get_mut(pattern) {
                offers.remove(&key);
                if offers.is_empty() {
                    self.by_pattern.remove(pattern);
                }
            }
        }
    }

    /// The offers with a pattern that matches the callable.
    pub(super) fn covering(&self, callable: &str) -> BTreeSet<OfferKey> {
        let matching = patterns_of(callable);
        let offers = matching.filter_map(|pattern| self.by_pattern.get(&*pattern));
        offers.flatten().copied().collect()
    }
}

/// The queues that an offer covers.
pub(super) fn covered(spec: &OfferSpec, tenants: &Tenants) -> BTreeSet<QueueKey> {
    let patterns = spec.callables.iter();
    match &spec.tenants {
        TenantScope::Any => patterns
            .flat_map(|pattern| tenants.queues_matching(pattern))
            .collect(),
        TenantScope::Only(names) => {
            let known: Vec<_> = names
                .iter()
                .filter_map(|name| tenants.by_name(name))
                .collect();
            let of = |tenant, pattern| tenants.tenant(tenant).queues_matching(pattern);
            patterns
                .flat_map(|pattern| known.iter().flat_map(move |tenant| of(*tenant, pattern)))
                .collect()
        }
    }
}
