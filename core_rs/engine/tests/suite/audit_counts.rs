//! The audit of what the state counts: redrives, permits and limits.
//!
//! Owns these checks. Refuses to know facts.

use std::collections::BTreeMap;

use backlane_engine::rules::status::Phase;
use backlane_engine::state::{Rank, State};

use crate::audit::births;

/// Checks that each execution has one unfinished redrive at most, and that it is found.
pub(crate) fn check_redrives(state: &State) {
    for living in births(state)
        .into_iter()
        .filter_map(|birth| state.living(birth))
    {
        if let Some(from) = living.retried_from {
            assert_eq!(Some(living.id.birth), state.redrive_of(from));
        }
    }
}

/// Checks that every count equals the number of slots or leases that it counts.
pub(crate) fn check_permits(state: &State) {
    assert_eq!(0, state.permit_drift());
    let tenants = state.tenants();
    let mut by_queue: BTreeMap<u32, [u64; 7]> = BTreeMap::new();
    let mut ready: BTreeMap<u32, Vec<Rank>> = BTreeMap::new();
    for birth in births(state) {
        let slot = state.slot(birth).expect("a listed birth has a slot");
        by_queue.entry(slot.queue).or_default()[column(slot.phase)] += 1;
        let waits = !state.edges().waits_for(birth).is_empty();
        assert_eq!(slot.phase == Phase::Blocked, waits, "{birth}");
        assert_eq!(slot.phase == Phase::Running, state.holding(birth).is_some());
        if slot.phase == Phase::Ready {
            ready
                .entry(slot.queue)
                .or_default()
                .push(Rank::of(slot.priority, birth));
        }
    }
    for (key, queue) in tenants.queues() {
        let counts = queue.counts();
        let counted = [
            counts.pending,
            counts.ready,
            counts.retrying,
            counts.running,
            counts.suspended,
            counts.held,
            counts.ending,
        ];
        assert_eq!(
            by_queue.remove(&key).unwrap_or_default(),
            counted,
            "{}",
            queue.callable
        );
        let mut ranks = ready.remove(&key).unwrap_or_default();
        ranks.sort();
        assert_eq!(ranks, queue.ready.iter().copied().collect::<Vec<_>>());
    }
    for (key, tenant) in tenants.all() {
        assert_eq!(state.counts(key).running, tenant.running);
    }
}

/// The count that an execution in a phase belongs to.
const fn column(phase: Phase) -> usize {
    match phase {
        Phase::Pending | Phase::Blocked => 0,
        Phase::Ready => 1,
        Phase::Retrying => 2,
        Phase::Running => 3,
        Phase::Suspended => 4,
        Phase::Held => 5,
        Phase::Ending => 6,
    }
}
