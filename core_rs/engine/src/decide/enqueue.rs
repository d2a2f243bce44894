//! Enqueue: creates executions, or finds those that a request id or a dedup key stands for.
//!
//! Owns idempotency and the limits on new executions. Refuses to know the contents of a payload.

use std::collections::{BTreeMap, BTreeSet};

use crate::command::{DedupPolicy, Known, Needs, NewExecution, Read, Request};
use crate::engine::{Contents, Decision, Engine};
use crate::error::Refusal;
use crate::fact::{
    Actor, Births, Ended, Entity, ExecutionChange, FactKind, Living, Progress, RequestFact, Work,
};
use crate::reply::Made;
use crate::rules::id::{Birth, ExecutionId, KSUID_EPOCH_SECONDS};
use crate::rules::limits::SETTLED_AT_ONCE;
use crate::rules::status::{EndReason, Phase, Status};
use crate::state::Lookup;
use crate::time::Now;

use super::agenda::skipped;
use super::dependency::{Sofar, Upstreams};
use super::tick::ends;

/// A request id that was used before: the hash of its body, and the executions of its reply.
type Used = ([u8; 16], Births);

impl Engine {
    /// What the runtime must read before these executions can be enqueued. `whole` is the request
    /// id of a batch. Call it again with the rows that were read, until nothing more is needed.
    #[must_use]
    pub fn needs_for_new<'a>(
        &self,
        new: impl IntoIterator<Item = &'a NewExecution> + Clone,
        whole: Option<&'a Request>,
        known: &Known,
    ) -> Needs {
        let items = new.clone().into_iter();
        let requests = items.filter_map(|new| new.request.as_ref()).chain(whole);
        let dependencies = self.needs_for_dependencies(new, known);
        self.needs_for_requests(requests, known).and(dependencies)
    }

    /// What the runtime must read before these requests can be decided. Call it again with the rows
    /// that were read, until nothing more is needed.
    #[must_use]
    pub fn needs_for_requests<'a>(
        &self,
        requests: impl IntoIterator<Item = &'a Request>,
        known: &Known,
    ) -> Needs {
        let mut needs = Needs::default();
        for request in requests {
            let key = request.key.key;
            match self.find_request(key, known) {
                Read::Found(Some((_, births))) => {
                    let unread = |birth: &Birth| {
                        !self.is_known(*birth) && !known.finished.contains_key(birth)
                    };
                    let births = births.to_vec().into_iter();
                    needs.finished.extend(births.filter(unread));
                }
                Read::Absent => needs.requests.push(key),
                Read::Found(None) | Read::Damaged(_) => {}
            }
        }
        needs
    }

    /// Whether memory has an execution: the execution is unfinished, or it ended just now.
    fn is_known(&self, birth: Birth) -> bool {
        self.state.slot(birth).is_some() || self.just_ended(birth).is_some()
    }

    /// What is known about a request id. `Absent` means that only the store can tell.
    fn find_request(&self, key: [u8; 16], known: &Known) -> Read<Option<Used>> {
        match self
            .state
            .requests()
            .look_up(key, self.soft.retention.now_ms())
        {
            Lookup::Used(body, births) => Read::Found(Some((body, births))),
            Lookup::Unused => Read::Found(None),
            Lookup::Maybe => match known.requests.get(&key) {
                None => Read::Absent,
                Some(Read::Absent) => Read::Found(None),
                Some(Read::Found(used)) => Read::Found(Some((used.body, used.births.clone()))),
                Some(Read::Damaged(what)) => Read::Damaged(what.clone()),
            },
        }
    }

    /// The executions of the earlier request with this id, where the id was used before.
    pub(super) fn repeated(
        &self,
        request: Option<&Request>,
        known: &Known,
    ) -> Result<Option<Births>, Refusal> {
        let Some(request) = request else {
            return Ok(None);
        };
        let request_id = request.id.to_string();
        let (body, births) = match self.find_request(request.key.key, known) {
            Read::Found(Some(used)) => used,
            Read::Found(None) | Read::Absent => return Ok(None),
            Read::Damaged(what) => return Err(damaged_request(&request_id, &what)),
        };
        if body != request.key.body {
            return Err(Refusal::RequestIdReused { request_id });
        }
        for birth in births.to_vec() {
            match known.finished.get(&birth) {
                _ if self.is_known(birth) => {}
                Some(Read::Found(_)) => {}
                Some(Read::Damaged(what)) => return Err(damaged_request(&request_id, what)),
                Some(Read::Absent) | None => {
                    return Err(Refusal::ExecutionDeleted { request_id });
                }
            }
        }
        Ok(Some(births))
    }

    /// The execution of the earlier request with the same id, where the id was used before.
    pub(super) fn repeated_one(
        &self,
        new: &NewExecution,
        known: &Known,
    ) -> Result<Option<Made>, Refusal> {
        let births = self.repeated(new.request.as_ref(), known)?;
        Ok(births.map(|births| Made {
            birth: births.to_vec().first().copied().unwrap_or(0),
            existing: true,
        }))
    }

    /// Enqueues one execution, or finds the one that its request id or dedup key stands for.
    ///
    /// # Errors
    /// A [`Refusal`]; then nothing has changed.
    pub fn enqueue(&mut self, new: NewExecution, known: &Known, now: Now) -> Result<Made, Refusal> {
        if let Some(made) = self.repeated_one(&new, known)? {
            return Ok(made);
        }
        self.catch_up_for(&new, now);
        let one = std::slice::from_ref(&new);
        self.may_take(one, known).map_err(|(_, refusal)| refusal)?;
        let (request, actor) = (new.request.clone(), new.actor.clone());
        let made = self.make(new, &mut Sofar::default(), known, now)?;
        if let Some(request) = request.filter(|_| made.existing) {
            // The execution was found by its dedup key, so no fact of its birth holds this request
            // id. The id must be kept, or a repetition could enqueue a new execution.
            self.keep_request(&request, actor, &[made.birth], now)?;
        }
        Ok(made)
    }

    pub(super) fn keep_request(
        &mut self,
        request: &Request,
        actor: Actor,
        births: &[Birth],
        now: Now,
    ) -> Result<(), Refusal> {
        let (request, births) = (request.key, Births::of(births));
        let fact = RequestFact { request, births };
        self.commit(Decision::of(actor, FactKind::Request(fact)), now)
    }

    /// Enqueues all executions of a batch or none. `request` is the request id of the batch.
    ///
    /// # Errors
    /// A [`Refusal`]; then nothing has changed.
    pub fn enqueue_batch(
        &mut self,
        items: Vec<NewExecution>,
        request: Option<&Request>,
        known: &Known,
        now: Now,
    ) -> Result<(Vec<Made>, bool), Refusal> {
        if let Some(births) = self.repeated(request, known)? {
            let met = |birth| Made {
                birth,
                existing: true,
            };
            return Ok((births.to_vec().into_iter().map(met).collect(), true));
        }
        for item in &items {
            self.catch_up_for(item, now);
        }
        let checked = self.may_take(&items, known);
        checked.map_err(|(at, refusal)| refusal.within(&format!("items[{at}]")))?;
        let actor = items
            .first()
            .map_or_else(Actor::engine, |item| item.actor.clone());
        let mut sofar = Sofar::default();
        let made = items
            .into_iter()
            .map(|item| self.make(item, &mut sofar, known, now));
        let made = made.collect::<Result<Vec<_>, _>>()?;
        if let Some(request) = request {
            let births: Vec<_> = made.iter().map(|made| made.birth).collect();
            self.keep_request(request, actor, &births, now)?;
        }
        Ok((made, false))
    }

    pub(super) fn catch_up_for(&mut self, new: &NewExecution, now: Now) {
        if let Some(birth) = self.dedup_holder(new) {
            self.catch_up(birth, now);
        }
        self.catch_up_dependencies(new, now);
    }

    pub(super) fn dedup_holder(&self, new: &NewExecution) -> Option<Birth> {
        let tenant = self.state.tenants().by_name(&new.tenant)?;
        self.state.dedup(tenant, new.dedup_key.as_deref()?)
    }

    /// Checks that [`Self::make`] will succeed for every item in turn. A refusal comes with the
    /// position of its item.
    pub(super) fn may_take(
        &self,
        items: &[NewExecution],
        known: &Known,
    ) -> Result<(), (usize, Refusal)> {
        if self.store_is_full {
            return Err((0, Refusal::DiskFull));
        }
        let mut more: BTreeMap<&str, u64> = BTreeMap::new();
        let mut keys: BTreeSet<(&str, &str)> = BTreeSet::new();
        for (at, item) in items.iter().enumerate() {
            let holder = self.dedup_holder(item);
            let replaced = holder.filter(|_| item.dedup_policy == DedupPolicy::ReplaceQueued);
            self.refuse_replacing(replaced)
                .and_then(|()| self.may_depend(item, at, replaced, known))
                .map_err(|refusal| (at, refusal))?;
            let earlier = item
                .dedup_key
                .as_deref()
                .is_some_and(|key| !keys.insert((&item.tenant, key)));
            if item.dedup_policy == DedupPolicy::Reject && (earlier || holder.is_some()) {
                return Err((at, self.already_exists(item, holder)));
            }
            *more.entry(&item.tenant).or_default() += u64::from(!earlier && holder.is_none());
        }
        more.into_iter()
            .try_for_each(|(tenant, more)| self.may_hold(tenant, more))
            .map_err(|refusal| (0, refusal))
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

    /// Refuses to replace an execution that was set aside.
    fn refuse_replacing(&self, holder: Option<Birth>) -> Result<(), Refusal> {
        match holder {
            Some(birth) => self.refuse_set_aside(Entity::Execution(birth)),
            None => Ok(()),
        }
    }

    pub(super) fn make(
        &mut self,
        new: NewExecution,
        sofar: &mut Sofar,
        known: &Known,
        now: Now,
    ) -> Result<Made, Refusal> {
        let mut stands_for = Vec::new();
        if let Some(birth) = self.dedup_holder(&new) {
            let slot = self.state.slot(birth);
            // A suspended execution has begun as well.
            let running = slot.is_some_and(|slot| slot.phase.status() == Status::Running);
            if running || new.dedup_policy != DedupPolicy::ReplaceQueued {
                sofar.ids.extend(self.state.id(birth));
                return Ok(Made {
                    birth,
                    existing: true,
                });
            }
            stands_for = self.replace(birth, &new, sofar, known, now)?;
        }
        let upstreams = self.upstreams(&new, sofar, known);
        let living = self.newborn(&new, &upstreams, stands_for, now);
        let (id, birth) = (living.id, living.id.birth);
        let change = ExecutionChange::Enqueued(Box::new(living));
        let contents = Contents {
            payload: Some(new.payload),
            depends_on: upstreams.ids.into(),
            ..Contents::default()
        };
        let decision = Decision::of(new.actor, FactKind::execution(birth, change));
        self.commit(decision.with(contents), now)?;
        sofar.ids.push(id);
        if let Some(failed) = upstreams.failed {
            let cause = Entity::Execution(failed);
            self.commit(skipped(birth).because_of(cause), now)?;
        }
        Ok(Made {
            birth,
            existing: false,
        })
    }

    /// Ends an execution whose place the next one takes. Returns the gates that the next one takes
    /// over, so that the dependents of the replaced execution follow it.
    fn replace(
        &mut self,
        birth: Birth,
        new: &NewExecution,
        sofar: &mut Sofar,
        known: &Known,
        now: Now,
    ) -> Result<Vec<Birth>, Refusal> {
        let next = self.state.next_birth();
        let waits_for = self.upstreams(new, sofar, known).waits_for;
        // Dependents that the new execution itself waits for cannot wait for it: they are skipped,
        // and so is the new one.
        let follow = !self.waits_for(&waits_for, birth, &mut sofar.looks);
        let decision = replaced(birth).because_of(Entity::Execution(next));
        self.commit_alone(decision, now)?;
        if !follow {
            self.settle(&mut { SETTLED_AT_ONCE }, now);
            return Ok(Vec::new());
        }
        sofar.successors.insert(birth, next);
        let mut gates = Vec::new();
        self.unsettled.retain(|work| match work {
            Work::Settle { gate, .. } => {
                gates.push(*gate);
                false
            }
            Work::Cancel { .. } => true,
        });
        Ok(gates)
    }

    fn newborn(
        &self,
        new: &NewExecution,
        upstreams: &Upstreams,
        stands_for: Vec<Birth>,
        now: Now,
    ) -> Living {
        let at_ms = self.at_ms(now);
        let due = new
            .not_before_ms
            .is_none_or(|instant| instant <= now.wall_ms);
        let phase = match due {
            _ if !upstreams.waits_for.is_empty() || upstreams.failed.is_some() => Phase::Blocked,
            true => Phase::Ready,
            false => Phase::Pending,
        };
        let seconds = (at_ms / 1_000).saturating_sub(KSUID_EPOCH_SECONDS);
        Living {
            id: ExecutionId {
                seconds: u32::try_from(seconds).unwrap_or(u32::MAX),
                salt: new.random.salt,
                birth: self.state.next_birth(),
                random: new.random.random,
            },
            tenant: new.tenant.shared(),
            callable: new.callable.clone(),
            priority: new.priority,
            queued_at_ms: at_ms,
            policy: new.policy,
            not_before_ms: new.not_before_ms,
            start_deadline_ms: new.start_deadline_ms,
            deadline_ms: new.deadline_ms,
            dedup_key: new.dedup_key.clone(),
            waits_for: upstreams.waits_for.iter().copied().collect(),
            stands_for: stands_for.into(),
            ancestors: self.ancestors_of_child(new.parent).into(),
            verdict: None,
            request: new.request.as_ref().map(|request| request.key),
            payload_bytes: new.payload.row_bytes(upstreams.ids.len()),
            retried_from: new.retried_from,
            progress: Progress::newborn(phase, at_ms),
        }
    }
}

fn replaced(birth: Birth) -> Decision {
    let ended = Ended {
        status: Status::Cancelled,
        reason: EndReason::Replaced,
        outcome: None,
    };
    ends(Actor::engine(), birth, ended)
}

fn damaged_request(request_id: &str, what: &str) -> Refusal {
    Refusal::DataDamaged {
        subject: format!("request id {request_id}"),
        what: what.to_owned(),
    }
}
