//! Soft state: data that need not survive a restart.
//!
//! Owns liveness of leases, backoffs on the monotonic clock, pauses after a release, offers,
//! virtual time, and the entities that are set aside. Refuses to be the only source of anything:
//! soft state is rebuilt from [`State`] at each start, and no execution is lost with it.

mod advances;
mod execution;
mod fair;
mod holds;
mod offers;
mod pauses;
mod retention;
mod run;
mod seen;
mod wakes;

use std::collections::{BTreeMap, BTreeSet};

pub use advances::Advances;
pub use fair::{Estimates, Shares};
pub use holds::{Hold, Holds, Renewal, StreamLife};
pub use offers::Offers;
pub use pauses::Pauses;
pub use retention::RetentionClock;
pub use seen::Seen;
pub use wakes::Wakes;

use crate::command::StreamKey;
use crate::fact::{Backoff, Entity, FactKind, ItemNumber, TenantFact};
use crate::reply::Notice;
use crate::rules::id::{Birth, ExecutionId, LeaseToken};
use crate::rules::limits::CANCEL_GRACE_MS;
use crate::rules::status::Phase;
use crate::state::{Gone, QueueKey, State};
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
    /// What workers offered before they left.
    pub seen: Seen,
    /// The expected worker time of each queue's executions.
    pub estimates: Estimates,
    /// The clock of retention.
    pub retention: RetentionClock,
    /// The progress that workers have reported.
    pub advances: Advances,
    /// Notices for streams.
    pub told: Vec<Told>,
    /// Items of the agenda for which an execution could not be changed.
    pub(crate) troubled: BTreeSet<ItemNumber>,
    // Times on the monotonic clock at which leases and pauses must be looked at again.
    wakes: Wakes,
    // The ends of backoffs and of waits for a duration. They are apart from the wakes, so that such
    // a time is in memory once for each execution and once in order.
    backoffs: Wakes,
    pauses: Pauses,
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
        let mut soft = Self {
            retention: RetentionClock::start(state.last_at_ms(), now),
            ..Self::default()
        };
        for (birth, holding) in state.holdings() {
            if state.slot(*birth).is_some() {
                let timeout_ms = state.attempt_ms(*birth);
                let attempt_ends_ms = state.leased_at_ms(*birth).saturating_add(timeout_ms);
                let attempt_ms = now.mono_end(attempt_ends_ms, timeout_ms);
                let mut hold = Hold::new(holding.duration_ms, attempt_ms, None, now);
                hold.is_sent = true;
                hold.acknowledged = true;
                let extras = state.extras(*birth);
                hold.grace_ms = extras
                    .as_ref()
                    .and_then(|extras| extras.cancel.as_ref())
                    .map(|cancel| now.mono_end(cancel.at_ms + CANCEL_GRACE_MS, CANCEL_GRACE_MS));
                soft.holds.insert(*birth, hold);
                soft.rearm(Entity::Execution(*birth));
            }
        }
        for birth in state.slots().births_from(0) {
            let extras = state.extras(birth);
            if let Some(Backoff { delay_ms, until_ms }) = extras.and_then(|extras| extras.backoff) {
                let end = now.mono_end(until_ms, delay_ms);
                soft.backoffs.set(Entity::Execution(birth), Some(end));
            }
            soft.time_waits(state, birth, now);
        }
        for birth in state.slots().births_from(0) {
            // Its last descendant may have ended without its own end being decided.
            if state
                .slot(birth)
                .is_some_and(|slot| slot.phase == Phase::Ending)
            {
                soft.wakes.set(Entity::Execution(birth), Some(0));
            }
        }
        for (queue, _) in state.tenants().queues() {
            soft.publish(state, queue);
        }
        soft
    }

    /// End of the execution's backoff or of its first wait for a duration, on the monotonic clock.
    #[must_use]
    pub fn backoff(&self, birth: Birth) -> Option<u64> {
        self.backoffs.get(Entity::Execution(birth))
    }

    /// The pauses after releases.
    #[must_use]
    pub const fn pauses(&self) -> &Pauses {
        &self.pauses
    }

    /// Sets an entity aside until the next restart: no more decisions are made about it.
    pub fn set_aside(&mut self, entity: Entity, why: &str) {
        self.aside.insert(entity, why.into());
        self.wakes.set(entity, None);
        self.backoffs.set(entity, None);
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

    /// The times on the monotonic clock at which entities must be looked at, in order.
    pub fn looks(&self) -> impl Iterator<Item = (u64, Entity)> + '_ {
        let (wakes, backoffs) = (self.wakes.in_order(), self.backoffs.in_order());
        let (mut wakes, mut backoffs) = (wakes.peekable(), backoffs.peekable());
        std::iter::from_fn(move || match (wakes.peek(), backoffs.peek()) {
            (Some(wake), Some(backoff)) if backoff < wake => backoffs.next(),
            (Some(_), _) => wakes.next(),
            (None, _) => backoffs.next(),
        })
    }

    /// Sets the wake of an entity to the earliest time at which its lease and its pauses must be
    /// looked at.
    pub fn rearm(&mut self, entity: Entity) {
        let wake = match entity {
            Entity::Execution(birth) => self.next_wake(birth),
            Entity::Agenda(_) => None,
        };
        let wake = wake.filter(|_| !self.aside.contains_key(&entity));
        self.wakes.set(entity, wake);
    }

    fn next_wake(&self, birth: Birth) -> Option<u64> {
        let hold = self
            .holds
            .get(birth)
            .and_then(|hold| self.holds.next_look(hold));
        let pause = self.pauses.next_end(birth);
        [hold, pause].into_iter().flatten().min()
    }

    /// Follows a fact that was just applied. `about` is the execution that the fact changed.
    pub fn follow(&mut self, state: &State, kind: &FactKind, about: Option<About>, now: Now) {
        match kind {
            FactKind::Execution(fact) => self.follow_execution(state, fact, about, now),
            FactKind::Tenant(TenantFact::LimitSet { tenant, .. }) => {
                self.limit_changed(state, tenant);
            }
            FactKind::Run(fact) => self.follow_run(state, fact, about, now),
            FactKind::Request(_) | FactKind::Log(_) | FactKind::Agenda(_) => {}
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
        self.offers.publish(state.tenants(), queue);
    }

    /// Forgets a name that the state no longer has.
    pub fn forget(&mut self, gone: Gone) {
        if let Some(queue) = gone.queue {
            self.offers.forget_queue(queue);
            self.estimates.forget(queue);
        }
        if let Some(tenant) = gone.tenant {
            self.offers.forget_tenant(tenant);
        }
    }

    /// Whether the soft state agrees with the durable state; tests call this after every step.
    #[must_use]
    pub fn is_consistent(&self, state: &State) -> bool {
        let held = state
            .holdings()
            .keys()
            .all(|birth| self.holds.get(*birth).is_some());
        let extra = self.holds.len() == state.holdings().len();
        let waits = |birth| {
            let slot = state.slot(birth);
            slot.is_some_and(|slot| matches!(slot.phase, Phase::Retrying | Phase::Suspended))
        };
        let mut backs = self.backoffs.in_order();
        let backs = backs.all(|(_, entity)| entity.execution().is_some_and(waits));
        let mut advances = self.advances.births();
        let advances = advances.all(|birth| self.holds.get(birth).is_some());
        held && extra && backs && advances
    }
}
