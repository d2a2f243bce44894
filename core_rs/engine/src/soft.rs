//! Soft state: data that need not survive a restart.
//!
//! Owns liveness of leases, backoffs on the monotonic clock, pauses after a release, offers,
//! virtual time, and the entities that are set aside. Refuses to be the only source of anything:
//! soft state is rebuilt from [`State`] at each start, and no execution is lost with it.

mod execution;
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
use crate::fact::{Entity, FactKind, TenantFact};
use crate::reply::Notice;
use crate::rules::id::{Birth, ExecutionId, LeaseToken};
use crate::rules::limits::CANCEL_GRACE_MS;
use crate::rules::status::Phase;
use crate::state::{QueueKey, State};
use crate::time::Now;

/// A notice for the worker of a stream, to be sent once the facts are durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// The stream of the worker.
    pub stream: StreamKey,
    /// Id of the execution.
    pub id: ExecutionId,
    /// Token of the lease.
    pub token: LeaseToken,
    /// The message for the worker.
    pub notice: Notice,
}

/// All data of the engine that is not durable.
#[derive(Debug, Default)]
pub struct Soft {
    /// Liveness of leases and streams.
    pub holds: Holds,
    /// The offers of workers, and the next executions for each offer.
    pub offers: Offers,
    /// Virtual time, which shares workers fairly between tenants.
    pub fair: Fair,
    /// Times on the monotonic clock at which entities must be looked at again.
    pub wakes: Wakes,
    /// Notices for streams.
    pub told: Vec<Told>,
    backoffs: BTreeMap<Birth, u64>,
    pauses: BTreeMap<Birth, Vec<(Arc<str>, u64)>>,
    // Entities whose state contradicts itself, each with the contradiction.
    aside: BTreeMap<Entity, Box<str>>,
}

/// The execution that a fact changed, as it was before the fact.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// Birth number of the execution.
    pub birth: Birth,
    /// The queue of the execution.
    pub queue: QueueKey,
    /// Id of the execution.
    pub id: ExecutionId,
    /// Whether a worker held the execution.
    pub held: bool,
}

impl Soft {
    /// The soft state after a start: every live lease gets one more period, and every delay
    /// continues.
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
                soft.rearm(Entity::Execution(*birth));
            }
        }
        for birth in state.slots().births_from(0) {
            let extras = state.extras(birth);
            if let Some(at_ms) = extras.and_then(|extras| extras.next_attempt_at_ms) {
                soft.backoffs.insert(birth, now.mono_of(at_ms));
                soft.rearm(Entity::Execution(birth));
            }
        }
        for queue in 0..u32::try_from(state.tenants().queues_len()).unwrap_or(0) {
            soft.publish(state, queue);
        }
        soft
    }

    /// End of the execution's backoff, on the monotonic clock.
    #[must_use]
    pub fn backoff(&self, birth: Birth) -> Option<u64> {
        self.backoffs.get(&birth).copied()
    }

    /// Time until which an execution is withheld from a worker that released it.
    #[must_use]
    pub fn paused_until(&self, birth: Birth, worker: &str, now: Now) -> Option<u64> {
        let pauses = self.pauses.get(&birth)?;
        let of_worker = pauses.iter().filter(|(paused, _)| **paused == *worker);
        of_worker
            .map(|(_, until)| *until)
            .filter(|until| *until > now.mono_ms)
            .max()
    }

    /// Sets an entity aside until the next restart: no more decisions are made about it.
    pub fn set_aside(&mut self, entity: Entity, why: &str) {
        self.aside.insert(entity, why.into());
        self.wakes.set(entity, None);
    }

    /// The contradiction for which an entity was set aside; `None` if it was not.
    #[must_use]
    pub fn set_aside_why(&self, entity: Entity) -> Option<&str> {
        self.aside.get(&entity).map(AsRef::as_ref)
    }

    /// Every entity that was set aside, each with the contradiction.
    pub fn all_set_aside(&self) -> impl Iterator<Item = (Entity, &str)> + '_ {
        self.aside.iter().map(|(entity, why)| (*entity, &**why))
    }

    /// Sets the wake of an entity to the earliest time at which it must be looked at.
    pub fn rearm(&mut self, entity: Entity) {
        let wake = match entity {
            Entity::Execution(birth) => self.next_wake(birth),
        };
        let wake = wake.filter(|_| !self.aside.contains_key(&entity));
        self.wakes.set(entity, wake);
    }

    fn next_wake(&self, birth: Birth) -> Option<u64> {
        let hold = self.holds.get(birth).map(|hold| self.holds.next_look(hold));
        let backoff = self.backoffs.get(&birth).copied();
        let pauses = self.pauses.get(&birth);
        let pause = pauses.and_then(|pauses| pauses.iter().map(|(_, until)| *until).min());
        [hold, backoff, pause].into_iter().flatten().min()
    }

    /// Follows a fact that was just applied. `about` is the execution that the fact changed.
    pub fn follow(&mut self, state: &State, kind: &FactKind, about: Option<About>, now: Now) {
        match kind {
            FactKind::Execution(fact) => self.follow_execution(state, fact, about, now),
            FactKind::Tenant(TenantFact::LimitSet { tenant, .. }) => {
                self.limit_changed(state, tenant);
            }
            FactKind::Request(_) | FactKind::Log(_) => {}
        }
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

    /// Whether the soft state agrees with the durable state; tests call this after every step.
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
