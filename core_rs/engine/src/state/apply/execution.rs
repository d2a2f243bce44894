//! Applies facts about executions.
//!
//! Owns how a fact changes an execution's slot, lease, queue and timer. Every fact is checked
//! before anything changes: [`State::check_execution`] says whether the state allows the fact, and
//! the other functions only change the state. Refuses to know why a fact was decided.

use crate::fact::Births;
use crate::fact::{
    Backoff, CancelAsked, Ended, Entity, ExecutionChange, ExecutionFact, Fact, Holding, Living,
    Outcome, OutcomeKind, Progress, RequeueCause, Verdict,
};
use crate::row::KEPT_ATTEMPTS;
use crate::rules::id::Birth;
use crate::rules::status::{Phase, Status};
use crate::state::{Extras, Impossible, Rank, Slot, State};

impl State {
    /// Checks whether the state allows the fact. Changes nothing.
    pub(super) fn check_execution(&self, fact: &ExecutionFact) -> Result<(), Impossible> {
        let birth = fact.birth;
        let phase = self.slots.get(birth).map(|slot| slot.phase);
        let held = self.holdings.contains_key(&birth);
        let fits = match (&fact.change, phase) {
            (ExecutionChange::Enqueued(_), phase) => phase.is_none(),
            (ExecutionChange::Carried(living), _) => return self.check_carried(living),
            (ExecutionChange::Discarded | ExecutionChange::Deleted, phase) => {
                phase.is_none() && birth < self.next_birth
            }
            (_, None) => return Err(Impossible::Unknown { birth }),
            (ExecutionChange::Due, Some(phase)) => {
                matches!(phase, Phase::Pending | Phase::Retrying)
            }
            (ExecutionChange::Leased { .. }, Some(phase)) => phase == Phase::Ready && !held,
            (ExecutionChange::Requeued { cause, .. }, Some(_)) if cause.is_of_rows() => false,
            (
                ExecutionChange::Requeued { .. } | ExecutionChange::CancelRequested { .. },
                Some(phase),
            ) => phase == Phase::Running && held,
            (ExecutionChange::Ended(_), Some(phase)) => (phase == Phase::Running) == held,
            (ExecutionChange::Promoted { .. }, Some(phase)) => phase == Phase::Blocked,
            (ExecutionChange::Concluded(_), Some(phase)) => {
                phase != Phase::Ending && (phase == Phase::Running) == held
            }
        };
        if fits {
            return Ok(());
        }
        Err(Impossible::NotAllowed { birth, phase })
    }

    fn check_carried(&self, living: &Living) -> Result<(), Impossible> {
        let birth = living.id.birth;
        match self.living(birth) {
            Some(known) if known != *living => Err(Impossible::CarriedDiffers { birth }),
            Some(_) | None => Ok(()),
        }
    }

    /// Applies a fact that was checked. Returns the last state of an execution that the fact ended.
    pub(super) fn apply_execution(
        &mut self,
        fact: &ExecutionFact,
        envelope: &Fact,
    ) -> Option<Box<Living>> {
        let (birth, at_ms) = (fact.birth, envelope.at_ms);
        match &fact.change {
            ExecutionChange::Enqueued(living) => self.enqueued(living, at_ms),
            ExecutionChange::Carried(living) => self.carried(living),
            ExecutionChange::Due => self.due(birth, at_ms),
            ExecutionChange::Leased { holding, attempt } => {
                self.leased(birth, holding, *attempt, at_ms);
            }
            ExecutionChange::Requeued {
                cause,
                backoff,
                is_unbegun,
            } => {
                let keeps_rest = *is_unbegun || *cause == RequeueCause::Undelivered;
                self.run_requeued(birth, keeps_rest);
                self.requeued(birth, *cause, *backoff, at_ms);
            }
            ExecutionChange::CancelRequested { reason } => {
                self.change(birth, at_ms);
                self.extras.entry(birth).or_default().cancel = Some(CancelAsked {
                    at_ms,
                    reason: *reason,
                    actor: envelope.actor.clone(),
                });
            }
            ExecutionChange::Ended(ended) => return self.ended(birth, *ended, at_ms),
            ExecutionChange::Concluded(verdict) => self.concluded(birth, verdict, at_ms),
            ExecutionChange::Promoted { is_due } => self.promoted(birth, *is_due, at_ms),
            // Only the rows of an execution that is over change.
            ExecutionChange::Discarded | ExecutionChange::Deleted => {}
        }
        None
    }

    fn enqueued(&mut self, living: &Living, at_ms: u64) {
        if living.id.birth == 1 {
            // The log is complete: every execution that it mentions is in it.
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

    fn carried(&mut self, living: &Living) {
        if self.slots.get(living.id.birth).is_none() {
            self.admit(living);
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
        self.edges
            .admit(birth, &living.waits_for, &living.stands_for);
        if let Some(from) = living.retried_from {
            self.redrives.insert(from, birth);
        }
        self.families.admit(birth, &living.ancestors);
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
            self.timers.insert(instant, Entity::Execution(birth));
        }
    }

    /// The next time of the wall clock at which a change is due for an execution.
    pub(super) fn next_instant(&self, birth: Birth) -> Option<u64> {
        let slot = self.slots.get(birth)?;
        let wait = self.next_wait_end(birth, slot.phase);
        let Some(extras) = self.extras.get(&birth) else {
            return wait;
        };
        let not_before = extras
            .not_before_ms
            .filter(|_| slot.phase == Phase::Pending);
        let start = extras
            .start_deadline_ms
            .filter(|_| slot.attempt == 0 && slot.phase != Phase::Ending);
        [not_before, start, extras.deadline_ms, wait]
            .into_iter()
            .flatten()
            .min()
    }

    pub(super) fn rearm(&mut self, birth: Birth, before: Option<u64>) {
        let after = self.next_instant(birth);
        if before != after {
            if let Some(instant) = before {
                self.timers.remove(instant, Entity::Execution(birth));
            }
            if let Some(instant) = after {
                self.timers.insert(instant, Entity::Execution(birth));
            }
        }
    }

    /// Counts a change: increases the version and sets its time.
    pub(super) fn change(&mut self, birth: Birth, at_ms: u64) {
        if let Some(slot) = self.slots.get_mut(birth) {
            slot.version += 1;
            slot.updated_at_ms = at_ms;
        }
    }

    /// Moves an execution to another phase, after `edit` has changed its slot.
    pub(super) fn move_to(
        &mut self,
        birth: Birth,
        phase: Phase,
        at_ms: u64,
        edit: impl FnOnce(&mut Slot),
    ) {
        let before = self.next_instant(birth);
        self.change(birth, at_ms);
        let Some(slot) = self.slots.get_mut(birth) else {
            return;
        };
        edit(slot);
        let (from, queue) = (slot.phase, slot.queue);
        slot.phase = phase;
        let rank = Rank::of(slot.priority, birth);
        self.tenants.leave(queue, from, rank);
        self.tenants.enter(queue, phase, rank);
        self.rearm(birth, before);
    }

    fn due(&mut self, birth: Birth, at_ms: u64) {
        let phase = self.ready_or_held(birth);
        self.move_to(birth, phase, at_ms, |_| ());
        self.edit_extras(birth, |extras| extras.backoff = None);
    }

    fn promoted(&mut self, birth: Birth, is_due: bool, at_ms: u64) {
        let phase = if is_due {
            self.ready_or_held(birth)
        } else {
            Phase::Pending
        };
        self.move_to(birth, phase, at_ms, |_| ());
        self.edges.unblock(birth);
    }

    fn leased(&mut self, birth: Birth, holding: &Holding, attempt: u32, at_ms: u64) {
        let mut continues = false;
        self.move_to(birth, Phase::Running, at_ms, |slot| {
            continues = slot.attempt == attempt;
            if !continues {
                slot.attempt = attempt;
                slot.started_at_ms = at_ms;
            }
        });
        self.run_leased(birth, continues, at_ms);
        self.holdings.insert(birth, holding.clone());
    }

    fn requeued(
        &mut self,
        birth: Birth,
        cause: RequeueCause,
        backoff: Option<Backoff>,
        at_ms: u64,
    ) {
        let Some(holding) = self.holdings.remove(&birth) else {
            return;
        };
        let phase = match backoff {
            Some(_) => Phase::Retrying,
            None => self.ready_or_held(birth),
        };
        self.move_to(birth, phase, at_ms, |slot| count(slot, cause));
        let ordinal = self.lease_ordinal(birth);
        let extras = self.extras.entry(birth).or_default();
        extras.backoff = backoff;
        extras.last_worker = Some(holding.worker);
        if cause.has_error() {
            extras.last_failed = Some(ordinal);
        } else {
            // The row with the last error is removed once enough other attempts have followed.
            let is_kept = |failed: &u32| failed + KEPT_ATTEMPTS > ordinal;
            extras.last_failed = extras.last_failed.filter(is_kept);
        }
        if let Some(kind) = cause.outcome() {
            extras.outcome = Some(Outcome {
                token: holding.token,
                kind,
            });
        }
    }

    /// The lease ends, and the execution is unfinished until its last descendant has ended.
    fn concluded(&mut self, birth: Birth, verdict: &Verdict, at_ms: u64) {
        self.edges.unblock(birth);
        self.move_to(birth, Phase::Ending, at_ms, |_| ());
        let holding = self.holdings.remove(&birth);
        if holding.is_some() {
            self.run_requeued(birth, false);
        }
        let extras = self.extras.entry(birth).or_default();
        extras.backoff = None;
        if let Some(holding) = holding {
            if let Some(kind) = verdict.ended.outcome {
                let token = holding.token;
                extras.outcome = Some(Outcome { token, kind });
            }
            extras.last_worker = Some(holding.worker);
        }
        if verdict.ended.status == Status::Cancelled && extras.cancel.is_none() {
            extras.cancel = Some(CancelAsked {
                at_ms,
                reason: verdict.ended.reason,
                actor: verdict.actor.clone(),
            });
        }
        extras.verdict = Some(Box::new(verdict.clone()));
    }

    fn ended(&mut self, birth: Birth, ended: Ended, at_ms: u64) -> Option<Box<Living>> {
        self.change(birth, at_ms);
        let mut last = self.living(birth)?;
        close(&mut last.progress, ended.outcome);
        self.forget(birth, &last);
        Some(Box::new(last))
    }

    fn forget(&mut self, birth: Birth, last: &Living) {
        if let Some(instant) = self.next_instant(birth) {
            self.timers.remove(instant, Entity::Execution(birth));
        }
        self.extras.remove(&birth);
        self.holdings.remove(&birth);
        self.runs.remove(&birth);
        self.edges.forget(birth);
        self.families.forget(birth);
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
        if let Some(from) = last.retried_from {
            self.redrives.remove(&from);
        }
        self.tenants.may_be_idle(slot.queue);
    }

    fn edit_extras(&mut self, birth: Birth, edit: impl FnOnce(&mut Extras)) {
        if let Some(extras) = self.extras.get_mut(&birth) {
            edit(extras);
            if extras.is_empty() {
                self.extras.remove(&birth);
            }
        }
    }
}

fn new_slot(living: &Living, queue: u32, policy: u32) -> Slot {
    let progress = &living.progress;
    Slot {
        random: living.id.random,
        salt: living.id.salt,
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
        backoff: progress.backoff,
        last_worker: progress.last_worker.clone(),
        last_failed: progress.last_failed,
        cancel: progress.cancel.clone(),
        outcome: progress.outcome,
        retried_from: living.retried_from,
        verdict: living.verdict.clone(),
    }
}

const fn count(slot: &mut Slot, cause: RequeueCause) {
    match cause {
        RequeueCause::Failed | RequeueCause::AttemptTimeout => {
            slot.spent = slot.spent.saturating_add(1);
        }
        RequeueCause::LeaseLost => slot.losses = slot.losses.saturating_add(1),
        RequeueCause::Undelivered => slot.undelivered = slot.undelivered.saturating_add(1),
        RequeueCause::Throttled
        | RequeueCause::Released
        | RequeueCause::Suspended
        | RequeueCause::Cancelled => {}
    }
}

/// Fills the last state of an execution: the worker that held it, and that worker's report.
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
    progress.backoff = None;
}
