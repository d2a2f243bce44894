//! Leases in the log: whether a better execution was passed over.
//!
//! Owns the check of one lease. Refuses to know how leases end.

use std::sync::Arc;

use backlane_engine::rules::id::Birth;
use backlane_engine::rules::status::Phase;

use super::super::{Checked, better_one, broken, must};
use super::{LEGAL, LIMITS, LogCheck, ORDER, PAUSE_MS};

impl LogCheck {
    pub(super) fn may_be_leased(&mut self, birth: Birth, worker: &Arc<str>, at_ms: u64) -> Checked {
        let state = &self.emitted;
        let Some(slot) = state.slot(birth) else {
            return Err(broken(
                LEGAL,
                format!("execution {birth} was leased and does not exist"),
            ));
        };
        self.edges
            .may_run(birth, |birth| self.end_of(birth).map(|(_, status)| status))?;
        must(slot.phase == Phase::Ready, LEGAL, || {
            format!("{birth} is {:?}", slot.phase)
        })?;
        let queue = state.tenants().queue(slot.queue);
        let tenant = state.tenants().tenant(queue.tenant);
        let full = queue.is_full() || tenant.is_full();
        must(!full, LIMITS, || {
            format!("{birth} of {} was leased", tenant.name)
        })?;
        let Some(offer) = self.offers.get(worker) else {
            return Err(broken(LEGAL, format!("unknown worker {worker}")));
        };
        let offered = offer.matches(&tenant.name, &queue.callable);
        must(offered, "no call reads or writes across tenants", || {
            format!(
                "{worker} got {birth} of {}, {}",
                tenant.name, queue.callable
            )
        })?;
        let better = better_one(state, offer, birth, self.walls.earliest, |other| {
            self.may_be_kept_from(other, worker, at_ms)
        });
        must(better.is_none(), ORDER, || {
            format!("{worker} got {birth}, not {better:?}")
        })?;
        self.pools.leased(state, offer, &tenant.name)
    }

    pub(super) fn may_be_kept_from(&self, birth: Birth, worker: &Arc<str>, at_ms: u64) -> bool {
        let released = self.released.get(&(birth, worker.clone()));
        released
            .is_some_and(|released| at_ms <= released + PAUSE_MS || self.jumped_at_ms >= *released)
    }
}
