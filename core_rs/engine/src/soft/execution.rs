//! Soft state of executions: the effects of their facts outside of the durable state.
//!
//! Owns how leases, backoffs, pauses, charges and notices follow the facts. Refuses to decide
//! facts.

use crate::command::Taker;
use crate::fact::{Backoff, Entity, ExecutionChange, ExecutionFact, RequeueCause};
use crate::reply::Notice;
use crate::rules::id::{Birth, ExecutionId};
use crate::rules::limits::{CANCEL_GRACE_MS, PREFETCH_PAUSE_MS, RELEASE_PAUSE_MS};
use crate::soft::{About, Hold, Soft, Told};
use crate::state::State;
use crate::time::Now;

impl Soft {
    /// Follows a fact about an execution that was just applied.
    pub(super) fn follow_execution(
        &mut self,
        state: &State,
        fact: &ExecutionFact,
        about: Option<About>,
        now: Now,
    ) {
        let birth = fact.birth;
        match &fact.change {
            ExecutionChange::CancelRequested { .. } => self.cancel_requested(state, birth, now),
            ExecutionChange::Requeued { cause, backoff, .. } => {
                self.requeued(state, birth, *cause, *backoff, about, now);
            }
            ExecutionChange::Due => {
                self.backoffs.set(Entity::Execution(birth), None);
                self.rearm(Entity::Execution(birth));
            }
            ExecutionChange::Concluded(verdict) => {
                self.drop_hold(state, birth, about, verdict.ended.outcome.is_none(), now);
                self.backoffs.set(Entity::Execution(birth), None);
                self.pauses.remove(birth);
                self.wakes.set(Entity::Execution(birth), None);
            }
            ExecutionChange::Ended(ended) => {
                self.drop_hold(state, birth, about, ended.outcome.is_none(), now);
                self.backoffs.set(Entity::Execution(birth), None);
                self.pauses.remove(birth);
                self.wakes.set(Entity::Execution(birth), None);
            }
            // A lease begins in [`Self::leased`], which knows the worker.
            ExecutionChange::Enqueued(_)
            | ExecutionChange::Carried(_)
            | ExecutionChange::Promoted { .. }
            | ExecutionChange::Discarded
            | ExecutionChange::Deleted
            | ExecutionChange::Leased { .. } => {}
        }
        if let Some(about) = about {
            self.publish(state, about.queue);
        }
    }

    /// Follows a new lease: its liveness is tracked from now on, and its tenant is charged.
    pub fn leased(&mut self, state: &State, birth: Birth, taker: &Taker, now: Now) {
        let (Some(slot), Some(holding)) = (state.slot(birth), state.holding(birth)) else {
            return;
        };
        let attempt_ms = now.mono_ms.saturating_add(state.attempt_ms(birth));
        let mut hold = Hold::new(holding.duration_ms, attempt_ms, taker.stream, now);
        hold.token = Some(holding.token);
        hold.charged_us = self.estimates.charge(slot.queue);
        hold.offer = Some(taker.offer);
        hold.is_prefetched = taker.prefetches;
        if let Some(shares) = self.offers.shares_mut(taker.offer) {
            let tenant = state.tenants().queue(slot.queue).tenant;
            shares.serve(tenant, hold.charged_us);
        }
        self.holds.insert(birth, hold);
        self.rearm(Entity::Execution(birth));
    }

    fn requeued(
        &mut self,
        state: &State,
        birth: Birth,
        cause: RequeueCause,
        backoff: Option<Backoff>,
        about: Option<About>,
        now: Now,
    ) {
        let waited = self.holds.get(birth).is_some_and(Hold::waits);
        self.drop_hold(state, birth, about, cause.outcome().is_none(), now);
        if let Some(Backoff { delay_ms, .. }) = backoff {
            let until = now.mono_ms.saturating_add(delay_ms);
            self.backoffs.set(Entity::Execution(birth), Some(until));
        }
        let worker = state
            .extras(birth)
            .and_then(|extras| extras.last_worker.clone());
        if let (RequeueCause::Released, Some(worker)) = (cause, worker) {
            let pause_ms = if waited {
                PREFETCH_PAUSE_MS
            } else {
                RELEASE_PAUSE_MS
            };
            let until_ms = now.mono_ms + pause_ms;
            self.pauses.add(birth, worker, until_ms);
        }
        self.rearm(Entity::Execution(birth));
    }

    /// Charges a tenant for a lease that already ran longer than was charged.
    pub fn charge_so_far(&mut self, state: &State, birth: Birth, now: Now) {
        let hold = self.holds.get(birth).copied();
        let (Some(mut hold), Some(slot)) = (hold, state.slot(birth)) else {
            return;
        };
        let used_us = hold.used_us(now);
        let more_us = used_us.saturating_sub(hold.charged_us);
        if more_us == 0 {
            return;
        }
        hold.charged_us = used_us;
        if let Some(shares) = hold.offer.and_then(|offer| self.offers.shares_mut(offer)) {
            shares.charge(state.tenants().queue(slot.queue).tenant, more_us);
        }
        self.holds.replace(birth, hold);
    }

    /// Follows the end of a lease: the tenant's charge becomes the time really used, and a worker
    /// that did not end the lease itself is told.
    pub(super) fn drop_hold(
        &mut self,
        state: &State,
        birth: Birth,
        about: Option<About>,
        tell: bool,
        now: Now,
    ) {
        self.advances.remove(birth);
        let Some(hold) = self.holds.remove(birth) else {
            return;
        };
        let was_silent = self.holds.silence_end(&hold) <= now.mono_ms;
        if let Some(stream) = hold.stream.filter(|_| tell && was_silent) {
            self.holds.lost(stream);
        }
        let Some(about) = about else { return };
        let used_us = hold.used_us(now);
        if !hold.waits() {
            self.estimates.learn(about.queue, used_us);
        }
        if let Some(shares) = hold.offer.and_then(|offer| self.offers.shares_mut(offer)) {
            let tenant = state.tenants().queue(about.queue).tenant;
            shares.settle(tenant, hold.charged_us, used_us);
        }
        if tell {
            self.tell(&hold, about.id, Notice::Lost);
        }
    }

    pub(super) fn tell(&mut self, hold: &Hold, id: ExecutionId, notice: Notice) {
        if let (Some(stream), Some(token)) = (hold.stream, hold.token) {
            self.told.push(Told {
                stream,
                id,
                token,
                notice,
            });
        }
    }

    fn cancel_requested(&mut self, state: &State, birth: Birth, now: Now) {
        let Some(mut hold) = self.holds.get(birth).copied() else {
            return;
        };
        hold.grace_ms = Some(now.mono_ms + CANCEL_GRACE_MS);
        self.holds.replace(birth, hold);
        if let Some(id) = state.id(birth) {
            self.tell(&hold, id, Notice::Cancel);
        }
        self.rearm(Entity::Execution(birth));
    }

    /// Lifts the pauses that are over. Returns whether there were any.
    pub fn lift_pauses(&mut self, birth: Birth, now: Now) -> bool {
        let lifted = self.pauses.lift(birth, now);
        self.rearm(Entity::Execution(birth));
        lifted
    }
}
