//! Applying facts: the only mutation of the state, live and on replay alike.
//!
//! Owns what each fact changes. Refuses to judge it: a fact was decided already. A fact that
//! cannot follow what was folded before means a damaged log, and is named.

use std::sync::Arc;

use thiserror::Error;

use crate::fact::{
    Births, Ended, Fact, FactKind, Holding, Living, Outcome, OutcomeKind, Progress, RequeueCause,
};
use crate::rules::id::Birth;
use crate::rules::status::Phase;
use crate::state::{Extras, Rank, Slot, State};

/// A fact that cannot follow what was folded before it: the log is damaged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Impossible {
    /// It speaks of an execution that is not there.
    #[error("a fact speaks of execution number {birth}, which is not there")]
    Unknown {
        /// Which.
        birth: Birth,
    },
    /// A carried entity differs from the folded one.
    #[error("execution number {birth} was carried as another than the log made it")]
    CarriedDiffers {
        /// Which.
        birth: Birth,
    },
    /// The execution is in no state to follow it.
    #[error("execution number {birth} holds no lease that a fact could end")]
    NotHeld {
        /// Which.
        birth: Birth,
    },
}

impl State {
    /// Folds one fact in. Answers the last state of an execution that it ended.
    ///
    /// # Errors
    /// [`Impossible`] where the fact does not fit: the log is damaged.
    pub fn apply(&mut self, fact: &Fact) -> Result<Option<Box<Living>>, Impossible> {
        let at_ms = fact.at_ms;
        self.pass_time(at_ms);
        if changed(&fact.kind).is_some_and(|birth| self.is_unseen(birth)) {
            return Ok(None);
        }
        match &fact.kind {
            FactKind::Enqueued(living) => self.enqueued(living, at_ms),
            FactKind::Carried(living) => self.carried(living)?,
            FactKind::Due(birth) => self.due(*birth, at_ms)?,
            FactKind::Leased {
                birth,
                holding,
                attempt,
            } => {
                self.leased(*birth, holding, *attempt, at_ms)?;
            }
            FactKind::Requeued {
                birth,
                cause,
                next_attempt_at_ms,
                ..
            } => {
                self.requeued(*birth, *cause, *next_attempt_at_ms, at_ms)?;
            }
            FactKind::CancelRequested { birth, cancel } => {
                self.change(*birth, at_ms)?;
                self.extras.entry(*birth).or_default().cancel = Some(cancel.clone());
            }
            FactKind::Ended(ended) => return self.ended(ended, at_ms).map(Some),
            FactKind::LimitSet {
                tenant,
                callable,
                max_running,
            } => {
                self.limit_set(tenant, callable.as_ref(), *max_running);
            }
            FactKind::RoundBegan { next_birth } => self.round_began(*next_birth),
            FactKind::BatchAccepted { request, births } => {
                self.requests.insert(*request, births.clone(), at_ms);
            }
        }
        Ok(None)
    }

    /// A trimmed log begins anywhere before a round that was walked to its end. Until that round
    /// carries an execution, or if it ended before, facts about it mean nothing.
    fn is_unseen(&self, birth: Birth) -> bool {
        birth < self.unseen_below && self.slots.get(birth).is_none()
    }

    fn round_began(&mut self, next_birth: Birth) {
        self.next_birth = self.next_birth.max(next_birth);
        if self.unseen_below != 0 {
            self.unseen_below = next_birth;
        }
    }

    /// Facts of that time were decided: none after them will be of an earlier.
    pub(crate) const fn pass_time(&mut self, at_ms: u64) {
        if at_ms > self.last_at_ms {
            self.last_at_ms = at_ms;
        }
    }

    fn enqueued(&mut self, living: &Living, at_ms: u64) {
        if living.id.birth == 1 {
            // The log is whole: everything it speaks of is in it.
            self.unseen_below = 0;
        }
        if let Some(request) = living.request {
            let births = Births::Run {
                first: living.id.birth,
                count: 1,
            };
            self.requests.insert(request, births, at_ms);
        }
        self.admit(living);
    }

    fn carried(&mut self, living: &Living) -> Result<(), Impossible> {
        let birth = living.id.birth;
        match self.living(birth) {
            Some(known) if known == *living => Ok(()),
            Some(_) => Err(Impossible::CarriedDiffers { birth }),
            None => {
                self.admit(living);
                Ok(())
            }
        }
    }

    fn admit(&mut self, living: &Living) {
        let birth = living.id.birth;
        self.next_birth = self.next_birth.max(birth + 1);
        let tenant = self.tenants.intern(&living.tenant);
        let queue = self.tenants.intern_queue(tenant, &living.callable);
        self.tenants.tenant_mut(tenant).living.insert(birth);
        if let Some(key) = &living.dedup_key {
            self.dedup.insert((tenant, key.clone()), birth);
        }
        let policy = self.policies.intern(&living.policy);
        self.slots.insert(birth, new_slot(living, queue, policy));
        let extras = extras_of(living);
        if !extras.is_empty() {
            self.extras.insert(birth, Box::new(extras));
        }
        if let Some(holding) = &living.progress.holding {
            self.holdings.insert(birth, holding.clone());
        }
        let rank = Rank::of(living.priority, birth);
        self.tenants.enter(queue, living.progress.phase, rank);
        if let Some(instant) = self.next_instant(birth) {
            self.timers.insert((instant, birth));
        }
    }

    /// When an execution wants to be looked at by the wall clock.
    fn next_instant(&self, birth: Birth) -> Option<u64> {
        let slot = self.slots.get(birth)?;
        let extras = self.extras.get(&birth)?;
        let not_before = extras
            .not_before_ms
            .filter(|_| slot.phase == Phase::Pending);
        let start = extras.start_deadline_ms.filter(|_| slot.attempt == 0);
        [not_before, start, extras.deadline_ms]
            .into_iter()
            .flatten()
            .min()
    }

    fn rearm(&mut self, birth: Birth, before: Option<u64>) {
        let after = self.next_instant(birth);
        if before != after {
            if let Some(instant) = before {
                self.timers.remove(&(instant, birth));
            }
            if let Some(instant) = after {
                self.timers.insert((instant, birth));
            }
        }
    }

    /// Counts a change and hands out the slot.
    fn change(&mut self, birth: Birth, at_ms: u64) -> Result<&mut Slot, Impossible> {
        let slot = self
            .slots
            .get_mut(birth)
            .ok_or(Impossible::Unknown { birth })?;
        slot.version += 1;
        slot.updated_at_ms = at_ms;
        Ok(slot)
    }

    fn move_to(&mut self, birth: Birth, phase: Phase, at_ms: u64) -> Result<(), Impossible> {
        let before = self.next_instant(birth);
        let slot = self.change(birth, at_ms)?;
        let (from, queue) = (slot.phase, slot.queue);
        slot.phase = phase;
        let rank = Rank::of(slot.priority, birth);
        self.tenants.leave(queue, from, rank);
        self.tenants.enter(queue, phase, rank);
        self.rearm(birth, before);
        Ok(())
    }

    fn due(&mut self, birth: Birth, at_ms: u64) -> Result<(), Impossible> {
        self.move_to(birth, Phase::Ready, at_ms)?;
        self.edit_extras(birth, |extras| extras.next_attempt_at_ms = None);
        Ok(())
    }

    fn leased(
        &mut self,
        birth: Birth,
        holding: &Holding,
        attempt: u32,
        at_ms: u64,
    ) -> Result<(), Impossible> {
        let before = self.next_instant(birth);
        let slot = self
            .slots
            .get_mut(birth)
            .ok_or(Impossible::Unknown { birth })?;
        slot.attempt = attempt;
        slot.started_at_ms = at_ms;
        self.rearm(birth, before);
        self.holdings.insert(birth, holding.clone());
        self.move_to(birth, Phase::Running, at_ms)
    }

    fn requeued(
        &mut self,
        birth: Birth,
        cause: RequeueCause,
        next_attempt_at_ms: Option<u64>,
        at_ms: u64,
    ) -> Result<(), Impossible> {
        let holding = self
            .holdings
            .remove(&birth)
            .ok_or(Impossible::NotHeld { birth })?;
        let retrying = next_attempt_at_ms.is_some();
        self.move_to(
            birth,
            if retrying {
                Phase::Retrying
            } else {
                Phase::Ready
            },
            at_ms,
        )?;
        if let Some(slot) = self.slots.get_mut(birth) {
            count(slot, cause);
        }
        let extras = self.extras.entry(birth).or_default();
        extras.next_attempt_at_ms = next_attempt_at_ms;
        extras.last_worker = Some(holding.worker);
        if let Some(kind) = cause.outcome() {
            extras.outcome = Some(Outcome {
                token: holding.token,
                kind,
            });
        }
        Ok(())
    }

    fn ended(&mut self, ended: &Ended, at_ms: u64) -> Result<Box<Living>, Impossible> {
        let birth = ended.birth;
        self.change(birth, at_ms)?;
        let mut last = self.living(birth).ok_or(Impossible::Unknown { birth })?;
        close(&mut last.progress, ended.outcome);
        self.forget(birth, &last);
        Ok(Box::new(last))
    }

    fn forget(&mut self, birth: Birth, last: &Living) {
        if let Some(instant) = self.next_instant(birth) {
            self.timers.remove(&(instant, birth));
        }
        self.extras.remove(&birth);
        self.holdings.remove(&birth);
        let Some(slot) = self.slots.remove(birth) else {
            return;
        };
        self.policies.release(slot.policy);
        self.tenants
            .leave(slot.queue, slot.phase, Rank::of(slot.priority, birth));
        let tenant = self.tenants.queue(slot.queue).tenant;
        self.tenants.tenant_mut(tenant).living.remove(&birth);
        if let Some(key) = &last.dedup_key {
            let held = (tenant, key.clone());
            if self.dedup.get(&held) == Some(&birth) {
                self.dedup.remove(&held);
            }
        }
    }

    fn edit_extras(&mut self, birth: Birth, edit: impl FnOnce(&mut Extras)) {
        if let Some(extras) = self.extras.get_mut(&birth) {
            edit(extras);
            if extras.is_empty() {
                self.extras.remove(&birth);
            }
        }
    }

    fn limit_set(&mut self, tenant: &Arc<str>, callable: Option<&Arc<str>>, most: Option<u32>) {
        let tenant = self.tenants.intern(tenant);
        match callable {
            None => self.tenants.tenant_mut(tenant).max_running = most,
            Some(callable) => {
                let queue = self.tenants.intern_queue(tenant, callable);
                self.tenants.queue_mut(queue).max_running = most;
            }
        }
    }
}

/// The execution that a fact changes, and that must be there for it.
fn changed(kind: &FactKind) -> Option<Birth> {
    match kind {
        FactKind::Ended(ended) => Some(ended.birth),
        FactKind::Due(birth)
        | FactKind::Leased { birth, .. }
        | FactKind::Requeued { birth, .. }
        | FactKind::CancelRequested { birth, .. } => Some(*birth),
        _ => None,
    }
}

fn new_slot(living: &Living, queue: u32, policy: u32) -> Slot {
    let progress = &living.progress;
    Slot {
        random: living.id.random,
        queued_at_ms: living.queued_at_ms,
        updated_at_ms: progress.updated_at_ms,
        started_at_ms: progress.started_at_ms.unwrap_or(0),
        queue,
        policy,
        seconds: living.id.seconds,
        version: progress.version,
        attempt: progress.attempt,
        payload_bytes: living.payload_bytes,
        spent: u16::try_from(progress.spent).unwrap_or(u16::MAX),
        losses: progress.losses,
        undelivered: progress.undelivered,
        priority: living.priority,
        phase: progress.phase,
    }
}

fn extras_of(living: &Living) -> Extras {
    let progress = &living.progress;
    Extras {
        not_before_ms: living.not_before_ms,
        start_deadline_ms: living.start_deadline_ms,
        deadline_ms: living.deadline_ms,
        dedup_key: living.dedup_key.clone(),
        next_attempt_at_ms: progress.next_attempt_at_ms,
        last_worker: progress.last_worker.clone(),
        cancel: progress.cancel.clone(),
        outcome: progress.outcome,
    }
}

const fn count(slot: &mut Slot, cause: RequeueCause) {
    match cause {
        RequeueCause::Failed | RequeueCause::AttemptTimeout => {
            slot.spent = slot.spent.saturating_add(1);
        }
        RequeueCause::LeaseLost => slot.losses = slot.losses.saturating_add(1),
        RequeueCause::Undelivered => slot.undelivered = slot.undelivered.saturating_add(1),
        RequeueCause::Throttled | RequeueCause::Released => {}
    }
}

/// The last state of an execution keeps its last holder and what that one reported.
fn close(progress: &mut Progress, outcome: Option<OutcomeKind>) {
    if let Some(holding) = progress.holding.take() {
        if let Some(kind) = outcome {
            progress.outcome = Some(Outcome {
                token: holding.token,
                kind,
            });
        }
        progress.last_worker = Some(holding.worker);
    }
    progress.next_attempt_at_ms = None;
}
