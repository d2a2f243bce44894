//! Enqueue: making executions, or meeting those that a request id or dedup key leads to.

use std::collections::{BTreeMap, BTreeSet};

use crate::command::{DedupPolicy, Known, Needs, NewExecution, Request};
use crate::engine::Engine;
use crate::error::Refusal;
use crate::fact::{Actor, Births, Ended, FactKind, Living, Progress};
use crate::reply::Made;
use crate::rules::id::{Birth, ExecutionId, KSUID_EPOCH_SECONDS};
use crate::rules::status::{ActorKind, EndReason, Phase, Status};
use crate::state::Lookup;
use crate::time::Now;

impl Engine {
    /// What must be read before requests can be decided. Ask again with what was read until
    /// nothing more is needed.
    #[must_use]
    pub fn needs_for_requests<'a>(
        &self,
        requests: impl IntoIterator<Item = &'a Request>,
        known: &Known,
        now: Now,
    ) -> Needs {
        let mut needs = Needs::default();
        for request in requests {
            let key = request.key.key;
            match self.find_request(key, known, now) {
                None => needs.requests.push(key),
                Some(Some((_, births))) => {
                    let unread = |birth: &Birth| {
                        self.state.slot(*birth).is_none() && !known.finished.contains_key(birth)
                    };
                    needs
                        .finished
                        .extend(births.to_vec().into_iter().filter(unread));
                }
                Some(None) => {}
            }
        }
        needs
    }

    /// The outer `None`: only the store can tell.
    #[expect(
        clippy::option_option,
        reason = "unknown, known to be unused, known to be used"
    )]
    fn find_request(
        &self,
        key: [u8; 16],
        known: &Known,
        now: Now,
    ) -> Option<Option<([u8; 16], Births)>> {
        match self.state.requests().look_up(key, self.at_ms(now)) {
            Lookup::Used(body, births) => Some(Some((body, births))),
            Lookup::Unused => Some(None),
            Lookup::Maybe => {
                let read = known.requests.get(&key)?;
                Some(
                    read.as_ref()
                        .map(|request| (request.body, request.births.clone())),
                )
            }
        }
    }

    /// What a request id led to before, if it was used.
    fn repeated(
        &self,
        request: Option<&Request>,
        known: &Known,
        now: Now,
    ) -> Result<Option<Births>, Refusal> {
        let Some(request) = request else {
            return Ok(None);
        };
        let used = self.find_request(request.key.key, known, now).flatten();
        let Some((body, births)) = used else {
            return Ok(None);
        };
        let request_id = request.id.to_string();
        if body != request.key.body {
            return Err(Refusal::RequestIdReused { request_id });
        }
        let gone = |birth: &Birth| {
            let finished = known.finished.get(birth).is_some_and(Option::is_some);
            self.state.slot(*birth).is_none() && !finished
        };
        if births.to_vec().iter().any(gone) {
            return Err(Refusal::ExecutionDeleted { request_id });
        }
        Ok(Some(births))
    }

    /// Makes one execution, or answers the one that its request id or dedup key leads to.
    ///
    /// # Errors
    /// A [`Refusal`]; nothing changed.
    pub fn enqueue(
        &mut self,
        new: &NewExecution,
        known: &Known,
        now: Now,
    ) -> Result<Made, Refusal> {
        if let Some(births) = self.repeated(new.request.as_ref(), known, now)? {
            let birth = births.to_vec().first().copied().unwrap_or(0);
            return Ok(Made {
                birth,
                existing: true,
            });
        }
        self.catch_up_dedup(new, now);
        self.may_take(std::slice::from_ref(new))?;
        let made = self.make(new, now);
        if let Some(request) = new.request.as_ref().filter(|_| made.existing) {
            // No birth carries this request's id, and a repeat must not make a new execution.
            self.keep_request(request, &[made.birth], now);
        }
        Ok(made)
    }

    fn keep_request(&mut self, request: &Request, births: &[Birth], now: Now) {
        let (request, births) = (request.key, Births::of(births));
        self.commit(FactKind::BatchAccepted { request, births }, now);
    }

    /// Makes all of the executions or none. `request` stands for the batch as a whole.
    ///
    /// # Errors
    /// A [`Refusal`]; nothing changed.
    pub fn enqueue_batch(
        &mut self,
        items: &[NewExecution],
        request: Option<&Request>,
        known: &Known,
        now: Now,
    ) -> Result<(Vec<Made>, bool), Refusal> {
        if let Some(births) = self.repeated(request, known, now)? {
            let met = |birth| Made {
                birth,
                existing: true,
            };
            return Ok((births.to_vec().into_iter().map(met).collect(), true));
        }
        for item in items {
            self.catch_up_dedup(item, now);
        }
        self.may_take(items)?;
        let made: Vec<_> = items.iter().map(|item| self.make(item, now)).collect();
        if let Some(request) = request {
            let births: Vec<_> = made.iter().map(|made| made.birth).collect();
            self.keep_request(request, &births, now);
        }
        Ok((made, false))
    }

    fn catch_up_dedup(&mut self, new: &NewExecution, now: Now) {
        if let Some(birth) = self.dedup_holder(new) {
            self.catch_up(birth, now);
        }
    }

    fn dedup_holder(&self, new: &NewExecution) -> Option<Birth> {
        let tenant = self.state.tenants().by_name(&new.tenant)?;
        self.state.dedup(tenant, new.dedup_key.as_deref()?)
    }

    /// Whether [`Self::make`] will succeed for every item in turn.
    fn may_take(&self, items: &[NewExecution]) -> Result<(), Refusal> {
        if self.store_is_full {
            return Err(Refusal::DiskFull);
        }
        let mut more: BTreeMap<&str, u64> = BTreeMap::new();
        let mut keys: BTreeSet<(&str, &str)> = BTreeSet::new();
        for item in items {
            let holder = self.dedup_holder(item);
            let earlier = item
                .dedup_key
                .as_deref()
                .is_some_and(|key| !keys.insert((&item.tenant, key)));
            if item.dedup_policy == DedupPolicy::Reject && (earlier || holder.is_some()) {
                return Err(self.already_exists(item, holder));
            }
            *more.entry(&item.tenant).or_default() += u64::from(!earlier && holder.is_none());
        }
        more.into_iter()
            .try_for_each(|(tenant, more)| self.may_hold(tenant, more))
    }

    fn already_exists(&self, item: &NewExecution, holder: Option<Birth>) -> Refusal {
        let id = holder.and_then(|birth| self.state.id(birth));
        Refusal::AlreadyExists {
            dedup_key: item.dedup_key.as_deref().unwrap_or_default().to_owned(),
            execution_id: id.map_or_else(|| "an earlier item".to_owned(), |id| id.to_string()),
        }
    }

    fn may_hold(&self, tenant: &str, more: u64) -> Result<(), Refusal> {
        let limit = self.limits.max_queue_per_tenant;
        let key = self.state.tenants().by_name(tenant);
        let held = key.map_or(0, |key| {
            self.state.tenants().tenant(key).living.len() as u64
        });
        if held + more > limit {
            return Err(Refusal::QueueFull {
                tenant: tenant.to_owned(),
                limit,
            });
        }
        Ok(())
    }

    fn make(&mut self, new: &NewExecution, now: Now) -> Made {
        if let Some(birth) = self.dedup_holder(new) {
            let running = self
                .state
                .slot(birth)
                .is_some_and(|slot| slot.phase == Phase::Running);
            if running || new.dedup_policy != DedupPolicy::ReplaceQueued {
                return Made {
                    birth,
                    existing: true,
                };
            }
            self.commit(replaced(birth), now);
        }
        let living = self.newborn(new, now);
        let birth = living.id.birth;
        self.commit(FactKind::Enqueued(Box::new(living)), now);
        Made {
            birth,
            existing: false,
        }
    }

    fn newborn(&self, new: &NewExecution, now: Now) -> Living {
        let at_ms = self.at_ms(now);
        let due = new.not_before_ms.is_none_or(|instant| instant <= at_ms);
        let seconds = (at_ms / 1_000).saturating_sub(KSUID_EPOCH_SECONDS);
        Living {
            id: ExecutionId {
                seconds: u32::try_from(seconds).unwrap_or(u32::MAX),
                shard: self.state.shard(),
                birth: self.state.next_birth(),
                random: new.random,
            },
            tenant: new.tenant.clone(),
            callable: new.callable.clone(),
            priority: new.priority,
            queued_at_ms: at_ms,
            policy: new.policy,
            not_before_ms: new.not_before_ms,
            start_deadline_ms: new.start_deadline_ms,
            deadline_ms: new.deadline_ms,
            dedup_key: new.dedup_key.clone(),
            request: new.request.as_ref().map(|request| request.key),
            payload_bytes: new.payload_bytes,
            progress: Progress::newborn(if due { Phase::Ready } else { Phase::Pending }, at_ms),
        }
    }
}

fn replaced(birth: Birth) -> FactKind {
    FactKind::Ended(Box::new(Ended {
        birth,
        status: Status::Cancelled,
        reason: EndReason::Replaced,
        actor: Actor::named(ActorKind::Engine, ""),
        output: None,
        error: None,
        outcome: None,
    }))
}
