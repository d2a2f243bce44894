//! Turns: a tenant that is new to an offer gets its first lease soon.
//!
//! Owns the count of leases that others got while a newcomer waited. Refuses to know passes and
//! estimates of worker time, which the engine decides by. The bound holds only for offers whose
//! workers run everything for about the same time: where one execution takes a thousand times as
//! long as another, fairness of worker time is not fairness of turns.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use backlane_engine::command::OfferSpec;
use backlane_engine::state::{Queue, State};

use super::{Checked, must};

const SOON: &str = "a newcomer is served before others get many leases";

/// Most leases that each other tenant may get while a newcomer waits. In theory a newcomer begins
/// beside the tenant that is served next. In practice charges for what runs already are corrected
/// meanwhile, and each lease that was charged too much gives its tenant a few turns.
const MOST_TURNS: usize = 32;

/// Leases by the tenant that got them.
type Turns = BTreeMap<Arc<str>, usize>;

#[derive(Debug, Default)]
struct Pool {
    /// The tenants that had a lease under the offer.
    served: BTreeSet<Arc<str>>,
    /// The tenants that wait for their first lease, and what others got meanwhile.
    waiting: BTreeMap<Arc<str>, Turns>,
}

/// The turns of the tenants under each offer.
#[derive(Debug, Default)]
pub(super) struct Pools(BTreeMap<OfferSpec, Pool>);

impl Pools {
    /// Watches an offer from now on.
    pub(super) fn watch(&mut self, offer: OfferSpec) {
        self.0.insert(offer, Pool::default());
    }

    /// Forgets the past: a server that starts anew knows nothing of it either.
    pub(super) fn restart(&mut self) {
        for pool in self.0.values_mut() {
            *pool = Pool::default();
        }
    }

    /// Notes that a tenant gets a lease under an offer. The state is the one before the lease.
    pub(super) fn leased(
        &mut self,
        state: &State,
        offer: &OfferSpec,
        tenant: &Arc<str>,
    ) -> Checked {
        let Some(Pool { served, waiting }) = self.0.get_mut(offer) else {
            return Ok(());
        };
        served.insert(tenant.clone());
        let admissible = admissible(state, offer);
        // A newcomer whose executions were cancelled or taken by other workers begins anew.
        waiting.retain(|name, _| admissible.contains(name));
        waiting.remove(tenant);
        for newcomer in admissible.difference(served) {
            let turns = waiting.entry(newcomer.clone()).or_default();
            let turns = turns.entry(tenant.clone()).or_default();
            *turns += 1;
            must(*turns <= MOST_TURNS, SOON, || {
                format!("{newcomer} waits, and {tenant} got {turns} leases of {offer:?}")
            })?;
        }
        Ok(())
    }
}

/// The tenants that have an execution which could be leased under an offer.
fn admissible(state: &State, offer: &OfferSpec) -> BTreeSet<Arc<str>> {
    let tenants = state.tenants();
    let ready = |queue: &Queue| !queue.ready.is_empty() && !queue.is_full();
    let queues = tenants.queues().filter(|(_, queue)| ready(queue));
    let offered = queues.filter_map(|(_, queue)| {
        let tenant = tenants.tenant(queue.tenant);
        let admissible = !tenant.is_full() && offer.matches(&tenant.name, &queue.callable);
        admissible.then(|| tenant.name.clone())
    });
    offered.collect()
}
