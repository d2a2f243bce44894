//! The durable state: the result of applying all facts of the log.
//!
//! Owns the data of every unfinished execution, and how a fact changes it. Refuses to decide
//! anything, and to hold data that a replay of the log would not restore.

mod agenda;
mod apply;
mod bytes;
mod compact;
mod edges;
mod extras;
mod families;
mod limits;
mod names;
mod parked;
mod policies;
mod requests;
mod slots;
mod tenants;
mod times;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use agenda::Agenda;
pub use apply::Impossible;
pub(crate) use apply::actions_of;
pub use edges::Edges;
pub use extras::Extras;
pub use families::Families;
use parked::Parked;
use policies::Policies;
pub use requests::{Lookup, RequestIndex, hour_of, oldest_hour};
pub use slots::{Slot, Slots};
pub use tenants::{Gone, Queue, QueueKey, Rank, Tenant, TenantKey, Tenants};
pub use times::{EntityKey, Times};

use crate::fact::{Entity, Holding, Living, Policy, Progress, Run};
use crate::reply::Counts;
use crate::rules::access::VisibleTenant;
use crate::rules::id::{Birth, ExecutionId};
use crate::rules::status::Status;

/// The number of a limit within one process: a tenant's own limit, or the limit of one of its
/// queues.
pub type LimitKey = (TenantKey, Option<QueueKey>);

/// All durable data of one shard that the engine needs.
#[derive(Debug, Default)]
pub struct State {
    shard: u16,
    next_birth: Birth,
    last_at_ms: u64,
    // After a trim, the log may hold facts about executions that it does not introduce. Facts about
    // executions with a lower birth number are skipped while the execution is unknown.
    unseen_below: Birth,
    slots: Slots,
    extras: BTreeMap<Birth, Box<Extras>>,
    holdings: BTreeMap<Birth, Holding>,
    // The runs of executions that recorded something or are paused.
    runs: BTreeMap<Birth, Box<Run>>,
    // What suspended executions have instead of extras and a run.
    parked: Parked,
    policies: Policies,
    tenants: Tenants,
    // Times of the wall clock at which changes are due: at most one for each entity.
    timers: Times,
    dedup: BTreeMap<(TenantKey, Box<str>), Birth>,
    // The unfinished redrive of each execution that is being redriven.
    redrives: BTreeMap<Birth, Birth>,
    requests: RequestIndex,
    // The limits that are set, for tenants and for queues.
    limits: BTreeSet<LimitKey>,
    edges: Edges,
    families: Families,
    agenda: Agenda,
}

impl State {
    /// The state before the first fact.
    #[must_use]
    pub fn new(shard: u16) -> Self {
        Self {
            shard,
            next_birth: 1,
            // Facts about unknown executions are skipped until the log shows where it begins.
            unseen_below: Birth::MAX,
            ..Self::default()
        }
    }

    /// The number of the shard.
    #[must_use]
    pub const fn shard(&self) -> u16 {
        self.shard
    }

    /// The birth number that the next execution will get.
    #[must_use]
    pub const fn next_birth(&self) -> Birth {
        self.next_birth
    }

    /// Time of the newest fact. The times of facts never decrease.
    #[must_use]
    pub const fn last_at_ms(&self) -> u64 {
        self.last_at_ms
    }

    /// The slot of an unfinished execution.
    #[must_use]
    pub fn slot(&self, birth: Birth) -> Option<&Slot> {
        self.slots.get(birth)
    }

    /// Every unfinished execution.
    #[must_use]
    pub const fn slots(&self) -> &Slots {
        &self.slots
    }

    /// The fields that only some executions have.
    #[must_use]
    pub fn extras(&self, birth: Birth) -> Option<Cow<'_, Extras>> {
        if let Some(extras) = self.extras.get(&birth) {
            return Some(Cow::Borrowed(&**extras));
        }
        let (extras, _) = self.parked.get(birth)?;
        (!extras.is_empty()).then_some(Cow::Owned(extras))
    }

    /// The live lease of an execution.
    #[must_use]
    pub fn holding(&self, birth: Birth) -> Option<&Holding> {
        self.holdings.get(&birth)
    }

    /// Every live lease. The counts of running executions are derived from these alone.
    #[must_use]
    pub const fn holdings(&self) -> &BTreeMap<Birth, Holding> {
        &self.holdings
    }

    /// The run of an unfinished execution, if it recorded something or is paused.
    #[must_use]
    pub fn run(&self, birth: Birth) -> Option<Cow<'_, Run>> {
        if let Some(run) = self.runs.get(&birth) {
            return Some(Cow::Borrowed(&**run));
        }
        let (_, run) = self.parked.get(birth)?;
        run.map(|run| Cow::Owned(*run))
    }

    /// Whether any unfinished execution recorded something or is paused.
    #[must_use]
    pub fn has_runs(&self) -> bool {
        !self.runs.is_empty() || !self.parked.is_empty()
    }

    /// The run of an unfinished execution, also if nothing was recorded.
    #[must_use]
    pub fn run_of(&self, birth: Birth) -> Run {
        let was_leased = self.slots.get(birth).is_some_and(|slot| slot.attempt > 0);
        let run = self.run(birth).map(Cow::into_owned);
        run.unwrap_or_else(|| Run::unrecorded(was_leased))
    }

    /// Whether a client paused the execution.
    #[must_use]
    pub fn is_paused(&self, birth: Birth) -> bool {
        self.run(birth).is_some_and(|run| run.is_paused)
    }

    /// Ordinal of the newest lease of an execution, from 1.
    #[must_use]
    pub fn lease_ordinal(&self, birth: Birth) -> u32 {
        let attempt = self.slots.get(birth).map_or(0, |slot| slot.attempt);
        attempt.saturating_add(self.run(birth).map_or(0, |run| run.resumes))
    }

    /// Begin of the newest lease of an execution, in milliseconds since the epoch.
    #[must_use]
    pub fn leased_at_ms(&self, birth: Birth) -> u64 {
        let continued = self.run(birth).and_then(|run| run.leased_at_ms);
        let first = || self.slots.get(birth).map_or(0, |slot| slot.started_at_ms);
        continued.unwrap_or_else(first)
    }

    /// The longest time that the live or the next lease may take, in milliseconds: the rest of a
    /// suspended attempt, or a whole attempt.
    #[must_use]
    pub fn attempt_ms(&self, birth: Birth) -> u64 {
        let left = self.run(birth).and_then(|run| run.left_ms);
        let whole = || {
            let slot = self.slots.get(birth);
            slot.map_or(0, |slot| self.policy(slot).timeout_ms)
        };
        left.unwrap_or_else(whole)
    }

    /// Tenants and their queues.
    #[must_use]
    pub const fn tenants(&self) -> &Tenants {
        &self.tenants
    }

    /// Forgets a name of a tenant or callable that has no executions, while many such names are in
    /// memory. Call it after each fact, until nothing is gone.
    pub(crate) fn forget_idle_name(&mut self) -> Option<Gone> {
        self.tenants.forget_idle()
    }

    /// The policy that a slot refers to.
    #[must_use]
    pub fn policy(&self, slot: &Slot) -> &Policy {
        self.policies.get(slot.policy)
    }

    /// The times at which changes are due, earliest first, each with its entity.
    pub fn timers(&self) -> impl Iterator<Item = (u64, Entity)> + '_ {
        self.timers.in_order()
    }

    /// The unfinished execution that has a dedup key.
    #[must_use]
    pub fn dedup(&self, tenant: TenantKey, key: &str) -> Option<Birth> {
        // A map of owned pairs has no look-up by a borrowed pair.
        self.dedup.get(&(tenant, key.into())).copied()
    }

    /// The dependencies of blocked executions.
    #[must_use]
    pub const fn edges(&self) -> &Edges {
        &self.edges
    }

    /// The families of spawned executions.
    #[must_use]
    pub const fn families(&self) -> &Families {
        &self.families
    }

    /// The open items of the agenda.
    #[must_use]
    pub const fn agenda(&self) -> &Agenda {
        &self.agenda
    }

    /// The unfinished execution that redrives this one.
    #[must_use]
    pub fn redrive_of(&self, birth: Birth) -> Option<Birth> {
        self.redrives.get(&birth).copied()
    }

    /// The request ids that are in memory.
    #[must_use]
    pub const fn requests(&self) -> &RequestIndex {
        &self.requests
    }

    /// The index of request ids, for telling it which ids are durable or in the store. Changing the
    /// index does not change the durable state: the index is a cache of the store's tables.
    pub const fn requests_mut(&mut self) -> &mut RequestIndex {
        &mut self.requests
    }

    /// The id of an unfinished execution.
    #[must_use]
    pub fn id(&self, birth: Birth) -> Option<ExecutionId> {
        let slot = self.slots.get(birth)?;
        Some(ExecutionId {
            seconds: slot.seconds,
            salt: slot.salt,
            birth,
            random: slot.random,
        })
    }

    /// The slot of an id, if the execution is unfinished and belongs to the tenant.
    #[must_use]
    pub fn find(&self, tenant: &VisibleTenant, id: &ExecutionId) -> Option<&Slot> {
        let slot = self.find_any(id)?;
        (**self.tenant_name(slot) == **tenant).then_some(slot)
    }

    /// The name of the tenant that a slot belongs to.
    #[must_use]
    pub fn tenant_name(&self, slot: &Slot) -> &Arc<str> {
        let tenant = self.tenants.queue(slot.queue).tenant;
        &self.tenants.tenant(tenant).name
    }

    /// The slot of an id, if the execution is unfinished, for any tenant.
    #[must_use]
    pub fn find_any(&self, id: &ExecutionId) -> Option<&Slot> {
        let slot = self.slots.get(id.birth)?;
        (self.id(id.birth) == Some(*id)).then_some(slot)
    }

    /// All data of an unfinished execution, as one value.
    #[must_use]
    pub fn living(&self, birth: Birth) -> Option<Living> {
        let slot = self.slots.get(birth)?;
        let queue = self.tenants.queue(slot.queue);
        let extras = self.extras(birth);
        let extras = extras.as_deref();
        Some(Living {
            id: self.id(birth)?,
            tenant: self.tenants.tenant(queue.tenant).name.clone(),
            callable: queue.callable.clone(),
            priority: slot.priority,
            queued_at_ms: slot.queued_at_ms,
            policy: *self.policies.get(slot.policy),
            not_before_ms: extras.and_then(|extras| extras.not_before_ms),
            start_deadline_ms: extras.and_then(|extras| extras.start_deadline_ms),
            deadline_ms: extras.and_then(|extras| extras.deadline_ms),
            dedup_key: extras.and_then(|extras| extras.dedup_key.clone()),
            waits_for: self.edges.waits_for(birth).into(),
            stands_for: self.edges.stands_for(birth).into(),
            ancestors: self.families.ancestors(birth).into(),
            verdict: extras.and_then(|extras| extras.verdict.clone()),
            request: None,
            payload_bytes: slot.payload_bytes,
            retried_from: extras.and_then(|extras| extras.retried_from),
            progress: self.progress(birth, slot, extras),
        })
    }

    fn progress(&self, birth: Birth, slot: &Slot, extras: Option<&Extras>) -> Progress {
        let run = self.run(birth);
        let run = run.as_deref();
        Progress {
            phase: slot.phase,
            attempt: slot.attempt,
            spent: u32::from(slot.spent),
            losses: slot.losses,
            undelivered: slot.undelivered,
            version: slot.version,
            updated_at_ms: slot.updated_at_ms,
            started_at_ms: (slot.started_at_ms != 0).then_some(slot.started_at_ms),
            backoff: extras.and_then(|extras| extras.backoff),
            holding: self.holdings.get(&birth).cloned(),
            last_worker: extras.and_then(|extras| extras.last_worker.clone()),
            last_failed: extras.and_then(|extras| extras.last_failed),
            cancel: extras.and_then(|extras| extras.cancel.clone()),
            outcome: extras.and_then(|extras| extras.outcome),
            resumes: run.map_or(0, |run| run.resumes),
            is_paused: run.is_some_and(|run| run.is_paused),
            leased_at_ms: run.and_then(|run| run.leased_at_ms),
        }
    }

    /// Whether the execution was asked to stop.
    #[must_use]
    pub fn is_cancel_requested(&self, birth: Birth) -> bool {
        self.extras(birth)
            .is_some_and(|extras| extras.cancel.is_some())
    }

    /// The numbers of a tenant's unfinished executions by phase.
    #[must_use]
    pub fn counts(&self, tenant: TenantKey) -> Counts {
        let queues = self.tenants.queues_of(tenant);
        queues.fold(Counts::default(), |sum, key| {
            let counts = self.tenants.queue(key).counts();
            Counts {
                ready: sum.ready + counts.ready,
                pending: sum.pending + counts.pending,
                retrying: sum.retrying + counts.retrying,
                running: sum.running + counts.running,
                suspended: sum.suspended + counts.suspended,
                held: sum.held + counts.held,
                ending: sum.ending + counts.ending,
            }
        })
    }

    /// Enqueue time of the oldest queued execution.
    #[must_use]
    pub fn oldest_queued_at_ms(&self, tenant: TenantKey) -> Option<u64> {
        let mut living = self.tenants.tenant(tenant).living.iter();
        living.find_map(|birth| {
            let slot = self.slots.get(*birth)?;
            (slot.phase.status() == Status::Queued).then_some(slot.queued_at_ms)
        })
    }

    /// The difference between the counts of running executions and the live leases, summed over
    /// queues and tenants. The leases are right; any difference is a defect of the program.
    #[must_use]
    pub fn permit_drift(&self) -> u64 {
        let (mut by_queue, mut by_tenant) = (BTreeMap::new(), BTreeMap::new());
        for slot in self
            .holdings
            .keys()
            .filter_map(|birth| self.slots.get(*birth))
        {
            let tenant = self.tenants.queue(slot.queue).tenant;
            *by_queue.entry(slot.queue).or_insert(0_u64) += 1;
            *by_tenant.entry(tenant).or_insert(0_u64) += 1;
        }
        let off = |counted: u64, held: Option<&u64>| counted.abs_diff(held.copied().unwrap_or(0));
        let queues = self.tenants.queues();
        let queues = queues.map(|(key, queue)| off(queue.counts().running, by_queue.get(&key)));
        let tenants = self.tenants.all();
        let tenants = tenants.map(|(key, tenant)| off(tenant.running, by_tenant.get(&key)));
        queues.chain(tenants).sum()
    }
}
