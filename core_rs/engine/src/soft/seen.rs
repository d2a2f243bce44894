//! Seen: what workers offered before they left.
//!
//! Owns the newest time at which each offer was in use, for a bounded number of offers. Refuses to
//! know which offers are in use now.

use std::collections::BTreeMap;

use crate::command::OfferSpec;

/// Most offers that are remembered. The one that was used longest ago is forgotten first.
const KEPT: usize = 256;

/// The offers that ended.
#[derive(Debug, Default)]
pub struct Seen {
    // Milliseconds since the epoch.
    at_ms: BTreeMap<OfferSpec, u64>,
}

impl Seen {
    /// Notes that nobody has this offer any more.
    pub fn note(&mut self, spec: &OfferSpec, at_ms: u64) {
        if let Some(last) = self.at_ms.get_mut(spec) {
            *last = at_ms;
            return;
        }
        if self.at_ms.len() >= KEPT {
            let oldest = self.at_ms.iter().min_by_key(|(_, at_ms)| **at_ms);
            if let Some(oldest) = oldest.map(|(spec, _)| spec.clone()) {
                self.at_ms.remove(&oldest);
            }
        }
        self.at_ms.insert(spec.clone(), at_ms);
    }

    /// When an offer that covers this tenant and callable was last in use, in milliseconds since
    /// the epoch.
    #[must_use]
    pub fn last(&self, tenant: &str, callable: &str) -> Option<u64> {
        let covering = self.at_ms.iter();
        let covering = covering.filter(|(spec, _)| spec.matches(tenant, callable));
        covering.map(|(_, at_ms)| *at_ms).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(callable: &str) -> OfferSpec {
        OfferSpec {
            callables: [callable.into()].into(),
            ..OfferSpec::default()
        }
    }

    #[test]
    fn the_newest_time_of_every_covering_offer_counts() {
        let mut seen = Seen::default();
        seen.note(&offer("mail.*"), 10);
        seen.note(&offer("mail.send"), 20);
        seen.note(&offer("mail.*"), 15);
        assert_eq!(Some(20), seen.last("acme", "mail.send"));
        assert_eq!(Some(15), seen.last("acme", "mail.get"));
        assert_eq!(None, seen.last("acme", "report"));
    }

    #[test]
    fn the_offer_that_was_used_longest_ago_is_forgotten_first() {
        let mut seen = Seen::default();
        for number in 0..KEPT as u64 {
            seen.note(&offer(&format!("c{number}")), number);
        }
        seen.note(&offer("c0"), 1_000);
        seen.note(&offer("new"), 1_001);
        assert_eq!(KEPT, seen.at_ms.len());
        assert_eq!(Some(1_000), seen.last("acme", "c0"));
        assert_eq!(None, seen.last("acme", "c1"));
    }
}
