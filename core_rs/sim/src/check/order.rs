//! The order: no worker gets an execution while a better one of the same tenant was admissible.
//!
//! Owns a simple search through all unfinished executions of the tenant. Refuses to share code with
//! the engine's own search.

use backlane_engine::command::OfferSpec;
use backlane_engine::rules::id::Birth;
use backlane_engine::rules::status::Phase;
use backlane_engine::state::{Rank, State};

/// A better execution that the worker could have had instead of `taken`, if there is one.
/// `kept_from` says which executions may have been withheld from the worker for a while.
#[must_use]
pub fn better_one(
    state: &State,
    offer: &OfferSpec,
    taken: Birth,
    at_ms: u64,
    kept_from: impl Fn(Birth) -> bool,
) -> Option<Birth> {
    let slot = state.slot(taken)?;
    let tenants = state.tenants();
    let tenant = tenants.queue(slot.queue).tenant;
    let name = &tenants.tenant(tenant).name;
    let rank = Rank::of(slot.priority, taken);
    let better = |birth: &Birth| {
        let Some(other) = state.slot(*birth) else {
            return false;
        };
        let queue = tenants.queue(other.queue);
        Rank::of(other.priority, *birth) < rank
            && is_due(state, *birth, at_ms)
            && !queue.is_full()
            && offer.matches(name, &queue.callable)
            && !kept_from(*birth)
    };
    tenants.tenant(tenant).living.iter().copied().find(better)
}

fn is_due(state: &State, birth: Birth, at_ms: u64) -> bool {
    let phase = state.slot(birth).map(|slot| slot.phase);
    let not_before = state.extras(birth).and_then(|extras| extras.not_before_ms);
    phase == Some(Phase::Ready)
        || phase == Some(Phase::Pending) && not_before.is_some_and(|instant| instant <= at_ms)
}
