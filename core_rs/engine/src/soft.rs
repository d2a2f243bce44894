//! Soft state: what need not survive a restart.
//!
//! Owns liveness of leases, backoffs on the monotonic clock, pauses after a release, offers and
//! virtual time. Refuses to be the truth of anything: it is rebuilt from [`State`] at a start,
//! and forgetting it loses no execution.

mod fair;
mod holds;
mod offers;
mod wakes;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use fair::Fair;
pub use holds::{Hold, Holds, Renewal, StreamLife};
pub use offers::Offers;
pub use wakes::Wakes;

use crate::command::StreamKey;
use crate::fact::{FactKind, RequeueCause};
use crate::reply::Notice;
use crate::rules::id::{Birth, ExecutionId, LeaseToken};
use crate::rules::limits::{CANCEL_GRACE_MS, RELEASE_PAUSE_MS};
use crate::rules::status::Phase;
use crate::state::{QueueKey, State};
use crate::time::Now;

/// Something a stream's worker must be told once the facts are durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Whom.
    pub stream: StreamKey,
    /// Of which execution.
    pub id: ExecutionId,
    /// Of which lease.
    pub token: LeaseToken,
    /// What.
    pub notice: Notice,
}

/// Everything the engine knows that is not durable.
#[derive(Debug, Default)]
pub struct Soft {
    /// Liveness of leases and streams.
    pub holds: Holds,
    /// What workers offer, and who is next.
    pub offers: Offers,
    /// Virtual time between tenants.
    pub fair: Fair,
    /// When to look at an execution again, on the monotonic clock.
    pub wakes: Wakes,
    /// What streams must be told.
    pub told: Vec<Told>,
    backoffs: BTreeMap<Birth, u64>,
    pauses: BTreeMap<Birth, Vec<(Arc<str>, u64)>>,
}

/// What a fact was about, as it stood before.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// Which execution.
    pub birth: Birth,
    /// Where it queues.
    pub queue: QueueKey,
    /// Its id.
    pub id: ExecutionId,
}

impl Soft {
    /// The soft state after a start: every lease gets one more period, every clock runs on.
    #[must_use]
    pub fn rebuild(state: &State, now: Now) -> Self {
        let mut soft = Self::default();
        for (birth, holding) in state.holdings() {
            if let Some(slot) = state.slot(*birth) {
                let attempt_ms = now.mono_of(
                    slot.started_at_ms
                        .saturating_add(state.policy(slot).timeout_ms),
                );
                let mut hold = Hold::new(holding.duration_ms, attempt_ms, None, now);
                hold.acknowledged = true;
                hold.grace_ms = state
                    .extras(*birth)
                    .and_then(|extras| extras.cancel.as_ref())
                    .map(|cancel| now.mono_of(cancel.at_ms + CANCEL_GRACE_MS));
                soft.holds.insert(*birth, hold);
                soft.rearm(*birth);
            }
        }
        for birth in state.slots().births_from(0) {
            let extras = state.extras(birth);
            if let Some(at_ms) = extras.and_then(|extras| extras.next_attempt_at_ms) {
                soft.backoffs.insert(birth, now.mono_of(at_ms));
                soft.rearm(birth);
            }
        }
        for queue in 0..u32::try_from(state.tenants().queues_len()).unwrap_or(0) {
            soft.publish(state, queue);
        }
        soft
    }

    /// When a backoff is over, on the monotonic clock.
    #[must_use]
    pub fn backoff(&self, birth: Birth) -> Option<u64> {
        self.backoffs.get(&birth).copied()
    }

    /// Until when an execution is kept from a worker that gave it back.
    #[must_use]
    pub fn paused_until(&self, birth: Birth, worker: &str, now: Now) -> Option<u64> {
        let pauses = self.pauses.get(&birth)?;
        let of_worker = pauses.iter().filter(|(paused, _)| **paused == *worker);
        of_worker
            .map(|(_, until)| *until)
            .filter(|until| *until > now.mono_ms)
            .max()
    }

    /// Lifts the pauses that are over; answers whether any was.
    pub fn lift_pauses(&mut self, birth: Birth, now: Now) -> bool {
        let Some(pauses) = self.pauses.get_mut(&birth) else {
            return false;
        };
        let before = pauses.len();
        pauses.retain(|(_, until)| *until > now.mono_ms);
        let lifted = pauses.len() < before;
        if pauses.is_empty() {
            self.pauses.remove(&birth);
        }
        self.rearm(birth);
        lifted
    }

    /// Sets the one wake of an execution to the earliest of its reasons to be looked at.
    pub fn rearm(&mut self, birth: Birth) {
        let hold = self.holds.get(birth).map(|hold| self.holds.next_look(hold));
        let backoff = self.backoffs.get(&birth).copied();
        let pauses = self.pauses.get(&birth);
        let pause = pauses.and_then(|pauses| pauses.iter().map(|(_, until)| *until).min());
        let wake = [hold, backoff, pause].into_iter().flatten().min();
        self.wakes.set(birth, wake);
    }

    /// Follows a fact that was just applied. `about` is who it was about.
    pub fn follow(&mut self, state: &State, kind: &FactKind, about: Option<About>, now: Now) {
        match kind {
            FactKind::LimitSet { tenant, .. } => self.limit_changed(state, tenant),
            FactKind::CancelRequested { birth, .. } => self.cancel_requested(state, *birth, now),
            FactKind::Requeued {
                birth,
                cause,
                next_attempt_at_ms,
                ..
            } => {
                self.requeued(state, *birth, *cause, *next_attempt_at_ms, about, now);
            }
            FactKind::Due(birth) => {
                self.backoffs.remove(birth);
                self.rearm(*birth);
            }
            FactKind::Ended(ended) => {
                self.drop_hold(ended.birth, about, ended.outcome.is_none(), now);
                self.backoffs.remove(&ended.birth);
                self.pauses.remove(&ended.birth);
                self.wakes.set(ended.birth, None);
            }
            _ => {}
        }
        if let Some(about) = about {
            self.publish(state, about.queue);
        }
    }

    /// A lease was decided for a taker: its hold begins, its tenant is charged.
    pub fn leased(&mut self, state: &State, birth: Birth, stream: Option<StreamKey>, now: Now) {
        let (Some(slot), Some(holding)) = (state.slot(birth), state.holding(birth)) else {
            return;
        };
        let attempt_ms = now.mono_ms.saturating_add(state.policy(slot).timeout_ms);
        let mut hold = Hold::new(holding.duration_ms, attempt_ms, stream, now);
        hold.token = Some(holding.token);
        let tenant = state.tenants().queue(slot.queue).tenant;
        hold.charged_us = self.fair.charge_estimate(tenant, slot.queue);
        self.offers.pass_changed(tenant, &self.fair);
        self.holds.insert(birth, hold);
        self.rearm(birth);
    }

    fn requeued(
        &mut self,
        state: &State,
        birth: Birth,
        cause: RequeueCause,
        next_attempt_at_ms: Option<u64>,
        about: Option<About>,
        now: Now,
    ) {
        self.drop_hold(birth, about, cause.outcome().is_none(), now);
        if let Some(at_ms) = next_attempt_at_ms {
            self.backoffs.insert(birth, now.mono_of(at_ms));
        }
        let worker = state
            .extras(birth)
            .and_then(|extras| extras.last_worker.clone());
        if let (RequeueCause::Released, Some(worker)) = (cause, worker) {
            let until = now.mono_ms + RELEASE_PAUSE_MS;
            self.pauses.entry(birth).or_default().push((worker, until));
        }
        self.rearm(birth);
    }

    /// The hold ends: the tenant's charge becomes what it really used, and a holder that did not
    /// end it itself is told.
    fn drop_hold(&mut self, birth: Birth, about: Option<About>, tell: bool, now: Now) {
        let Some(hold) = self.holds.remove(birth) else {
            return;
        };
        let Some(about) = about else { return };
        let used_us = now.mono_ms.saturating_sub(hold.leased_ms) * 1_000;
        self.fair.settle(about.queue, hold.charged_us, used_us);
        if tell {
            self.tell(&hold, about.id, Notice::Lost);
        }
    }

    fn tell(&mut self, hold: &Hold, id: ExecutionId, notice: Notice) {
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
        self.rearm(birth);
    }

    fn limit_changed(&mut self, state: &State, tenant: &str) {
        if let Some(tenant) = state.tenants().by_name(tenant) {
            for queue in state.tenants().queues_of(tenant).collect::<Vec<_>>() {
                self.publish(state, queue);
            }
        }
    }

    /// Brings the offers up to date with a queue and its tenant.
    pub fn publish(&mut self, state: &State, queue: QueueKey) {
        let tenant = state.tenants().queue(queue).tenant;
        self.fair.make_room(state.tenants());
        if self.offers.publish(state.tenants(), queue, &self.fair) {
            self.fair.came_back(tenant);
        }
        self.offers.pass_changed(tenant, &self.fair);
    }

    /// Whether an execution stands where a wake or a timer could be right: for audits.
    #[must_use]
    pub fn is_consistent(&self, state: &State) -> bool {
        let held = state
            .holdings()
            .keys()
            .all(|birth| self.holds.get(*birth).is_some());
        let extra = self.holds.len() == state.holdings().len();
        let backs = self.backoffs.keys().all(|birth| {
            state
                .slot(*birth)
                .is_some_and(|slot| slot.phase == Phase::Retrying)
        });
        held && extra && backs
    }
}
