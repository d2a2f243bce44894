//! Peek: the next executions of a tenant, in the order in which they would be leased.

use std::collections::BTreeSet;

use crate::command::OfferSpec;
use crate::engine::Engine;
use crate::rules::access::VisibleTenant;
use crate::rules::id::Birth;
use crate::state::Rank;
use crate::time::Now;

use super::admission::{blocker, queue_blocker};

impl Engine {
    /// The executions of a tenant that could be leased now under an offer, best first, at most
    /// `most`.
    #[must_use]
    pub fn peek(
        &self,
        tenant: &VisibleTenant,
        offer: &OfferSpec,
        most: usize,
        now: Now,
    ) -> Vec<Birth> {
        let tenants = self.state.tenants();
        let Some(key) = tenants.by_name(tenant) else {
            return Vec::new();
        };
        // Queues at their limit are skipped as a whole: they may hold millions of executions.
        let open = |queue: &u32| {
            let offered = offer.matches(tenant, &tenants.queue(*queue).callable);
            offered && queue_blocker(tenants, *queue).is_none()
        };
        let mut queues: Vec<_> = tenants
            .queues_of(key)
            .filter(open)
            .map(|queue| tenants.queue(queue).ready.iter().copied())
            .collect();
        // Merges the ordered queues: each step takes the best head and advances that queue.
        let mut heads: BTreeSet<(Rank, usize)> = BTreeSet::new();
        heads.extend(
            queues
                .iter_mut()
                .enumerate()
                .filter_map(|(at, q)| Some((q.next()?, at))),
        );
        let mut next = Vec::new();
        while let Some((rank, at)) = heads.pop_first() {
            if next.len() == most {
                break;
            }
            heads.extend(queues[at].next().map(|rank| (rank, at)));
            if blocker(&self.state, &self.soft, rank.birth(), None, now).is_none() {
                next.push(rank.birth());
            }
        }
        next
    }
}
