//! Tick: the changes that time brings about.
//!
//! One function says what is due for an execution. A timer or wake only hints when to ask that
//! function. Before a command touches an execution, the changes due for that execution are applied:
//! so the order of time holds even while a large number of other due changes is worked off in
//! bounded chunks.

use crate::command::Failure;
use crate::engine::{Decision, Engine};
use crate::error::Refusal;
use crate::fact::{
    Actor, Backoff, Ended, Entity, ErrorRecord, ExecutionChange, FactKind, RequeueCause,
};
use crate::rules::id::Birth;
use crate::rules::limits::MAX_UNDELIVERED;
use crate::rules::retry::{Category, Verdict};
use crate::rules::status::{EndReason, Phase, Status};
use crate::time::Now;

impl Engine {
    /// Applies due changes, until it has looked at `most` entities or decided as many facts. One
    /// look may decide many: an end leads to others. Returns whether more changes are due.
    pub fn tick(&mut self, most: usize, now: Now) -> bool {
        self.soft.retention.follow(now);
        let enough = self.waiting_decisions().saturating_add(most);
        for _ in 0..most {
            if self.waiting_decisions() >= enough {
                break;
            }
            let Some(entity) = self.next_look(now) else {
                return false;
            };
            match entity {
                Entity::Execution(birth) => self.look(birth, now),
                // The agenda is worked off in steps of its own: see [`Self::step_agenda`].
                Entity::Agenda(_) => {}
            }
        }
        self.next_look(now).is_some()
    }

    /// The times of the next tick, in wall and monotonic milliseconds; the earlier one counts.
    #[must_use]
    pub fn next_tick(&self) -> (Option<u64>, Option<u64>) {
        (
            self.first_open(self.state.timers()),
            self.first_open(self.soft.looks()),
        )
    }

    fn first_open(&self, mut times: impl Iterator<Item = (u64, Entity)>) -> Option<u64> {
        let open = times.find(|(_, entity)| self.is_open(*entity));
        open.map(|(at_ms, _)| at_ms)
    }

    /// Whether decisions about an entity are possible: false once the entity was set aside.
    pub(super) fn is_open(&self, entity: Entity) -> bool {
        self.soft.set_aside_why(entity).is_none()
    }

    fn next_look(&self, now: Now) -> Option<Entity> {
        // Times that callers gave are compared with the wall clock as it is now, even after the
        // clock was set back.
        let timers = self.state.timers();
        let timers = timers.take_while(|(due_ms, _)| *due_ms <= now.wall_ms);
        let wakes = self.soft.looks();
        let wakes = wakes.take_while(|(due_ms, _)| *due_ms <= now.mono_ms);
        let mut due = timers.chain(wakes).map(|(_, entity)| entity);
        due.find(|entity| self.is_open(*entity))
    }

    fn look(&mut self, birth: Birth, now: Now) {
        if self.catch_up(birth, now) {
            return;
        }
        if !self.soft.lift_pauses(birth, now) {
            self.charge_so_far(birth, now);
        }
        self.soft.rearm(Entity::Execution(birth));
    }

    /// Applies the changes that are due for one execution. Returns whether any change was due.
    pub(crate) fn catch_up(&mut self, birth: Birth, now: Now) -> bool {
        let mut any = false;
        while let Some(decision) = self.due(birth, now) {
            if self.commit(decision, now).is_err() {
                // The execution is set aside now, so nothing more is due for it.
                return true;
            }
            any = true;
        }
        any
    }

    fn due(&self, birth: Birth, now: Now) -> Option<Decision> {
        let slot = self.state.slot(birth)?;
        if !self.is_open(Entity::Execution(birth)) {
            return None;
        }
        let extras = self.state.extras(birth);
        let extras = extras.as_deref();
        let passed = |instant: Option<u64>| instant.is_some_and(|instant| instant <= now.wall_ms);
        if passed(extras.and_then(|extras| extras.deadline_ms)) {
            return Some(self.timed_out(birth, EndReason::Deadline, now));
        }
        let start_deadline = extras.and_then(|extras| extras.start_deadline_ms);
        if slot.attempt == 0 && slot.phase != Phase::Ending && passed(start_deadline) {
            return Some(self.timed_out(birth, EndReason::StartDeadline, now));
        }
        let not_before = extras.and_then(|extras| extras.not_before_ms);
        match slot.phase {
            Phase::Pending => passed(not_before).then(|| due_now(birth)),
            Phase::Retrying => {
                let until = self.soft.backoff(birth);
                let over = until.is_none_or(|until| until <= now.mono_ms);
                over.then(|| due_now(birth))
            }
            Phase::Ready | Phase::Held | Phase::Blocked => None,
            Phase::Suspended => self.wait_over(birth, now),
            Phase::Ending => self.verdict(birth),
            Phase::Running => self.due_of_lease(birth, now),
        }
    }

    fn due_of_lease(&self, birth: Birth, now: Now) -> Option<Decision> {
        let hold = self.soft.holds.get(birth)?;
        let reached = |at_ms: u64| at_ms <= now.mono_ms;
        if hold.grace_ms.is_some_and(reached) {
            return self.cancelled_by_flag(birth, None);
        }
        if !hold.is_sent {
            return None;
        }
        if hold.attempt_end().is_some_and(reached) {
            return Some(self.attempt_timed_out(birth, now));
        }
        reached(self.soft.holds.expiry(hold)).then(|| self.lease_lost(birth, now))
    }

    fn attempt_timed_out(&self, birth: Birth, now: Now) -> Decision {
        if let Some(cancelled) = self.cancelled_by_flag(birth, None) {
            return cancelled;
        }
        let failure = Failure {
            category: Category::Timeout,
            message: Box::default(),
            code: None,
            extra: Box::default(),
            retryable: true,
            retry_after_ms: None,
            throttled: false,
        };
        match self.judge(birth, &failure) {
            Verdict::Retry { delay_ms } | Verdict::Throttled { delay_ms } => {
                let error = self.clock_error(birth, EndReason::AttemptTimeout, now);
                let backoff = Some(Backoff::from_now(delay_ms, now));
                requeued(Actor::clock(), birth, RequeueCause::AttemptTimeout, backoff)
                    .with_error(error)
            }
            Verdict::End => self.timed_out(birth, EndReason::AttemptTimeout, now),
        }
    }

    fn lease_lost(&self, birth: Birth, now: Now) -> Decision {
        if let Some(cancelled) = self.cancelled_by_flag(birth, None) {
            return cancelled;
        }
        let hold = self.soft.holds.get(birth);
        let acknowledged = hold.is_none_or(|hold| hold.acknowledged);
        let cause = match self.state.slot(birth) {
            // Such an execution may run at most once, and the worker may have received the lease
            // even though it acknowledged nothing.
            Some(slot)
                if self.state.policy(slot).max_worker_losses > 1
                    && !acknowledged
                    && slot.undelivered < MAX_UNDELIVERED =>
            {
                RequeueCause::Undelivered
            }
            Some(slot)
                if u32::from(slot.losses) + 1 >= self.state.policy(slot).max_worker_losses =>
            {
                let reason = EndReason::WorkerLost;
                return self.ended_by_clock(birth, Status::Failed, reason, now);
            }
            _ => RequeueCause::LeaseLost,
        };
        requeued(Actor::clock(), birth, cause, None)
    }

    fn timed_out(&self, birth: Birth, reason: EndReason, now: Now) -> Decision {
        self.ended_by_clock(birth, Status::Timeout, reason, now)
    }

    fn ended_by_clock(
        &self,
        birth: Birth,
        status: Status,
        reason: EndReason,
        now: Now,
    ) -> Decision {
        let ended = Ended {
            status,
            reason,
            outcome: None,
        };
        ends(Actor::clock(), birth, ended).with_error(self.clock_error(birth, reason, now))
    }

    /// Ends an execution whose payload, or an action of its run, is damaged on the disk: no worker
    /// can run it.
    ///
    /// # Errors
    /// [`Refusal::SetAside`] where the execution was set aside.
    pub fn end_damaged(&mut self, birth: Birth, what: &str, now: Now) -> Result<(), Refusal> {
        if self.state.slot(birth).is_none() {
            return Ok(());
        }
        let decision = self.cancelled_by_flag(birth, None).unwrap_or_else(|| {
            let ended = Ended {
                status: Status::Failed,
                reason: EndReason::DataDamaged,
                outcome: None,
            };
            let message = format!("the execution's data is damaged on the disk: {what}");
            let category = Category::KernelInternal;
            let error = self.error(birth, category, "DATA_DAMAGED", &message, now);
            ends(Actor::engine(), birth, ended).with_error(error)
        });
        self.commit(decision, now)
    }

    fn clock_error(&self, birth: Birth, reason: EndReason, now: Now) -> ErrorRecord {
        let losses = self.state.slot(birth).map(|slot| {
            let most = self.state.policy(slot).max_worker_losses;
            format!(
                "lease lost {} of {most} allowed times",
                u32::from(slot.losses) + 1
            )
        });
        let (category, code, message) = match reason {
            EndReason::StartDeadline => (
                Category::Timeout,
                "START_DEADLINE",
                "no worker leased the execution before start_deadline".to_owned(),
            ),
            EndReason::Deadline => (
                Category::Timeout,
                "DEADLINE",
                "the execution was not finished before its deadline".to_owned(),
            ),
            EndReason::WorkerLost => (
                Category::KernelInternal,
                "WORKER_LOST",
                losses.unwrap_or_default(),
            ),
            _ => (
                Category::Timeout,
                "ATTEMPT_TIMEOUT",
                "the attempt ran longer than timeout_ms".to_owned(),
            ),
        };
        self.error(birth, category, code, &message, now)
    }

    fn error(
        &self,
        birth: Birth,
        category: Category,
        code: &str,
        message: &str,
        now: Now,
    ) -> ErrorRecord {
        ErrorRecord {
            category,
            message: message.into(),
            code: Some(code.into()),
            attempt: self.state.slot(birth).map_or(0, |slot| slot.attempt),
            occurred_at_ms: self.at_ms(now),
            extra: Box::default(),
        }
    }
}

fn due_now(birth: Birth) -> Decision {
    let kind = FactKind::execution(birth, ExecutionChange::Due);
    Decision::of(Actor::clock(), kind)
}

/// A decision that ends an execution.
pub(super) fn ends(actor: Actor, birth: Birth, ended: Ended) -> Decision {
    let kind = FactKind::execution(birth, ExecutionChange::Ended(ended));
    Decision::of(actor, kind)
}

/// A decision that ends a lease and queues its execution again.
pub(super) fn requeued(
    actor: Actor,
    birth: Birth,
    cause: RequeueCause,
    backoff: Option<Backoff>,
) -> Decision {
    let change = ExecutionChange::Requeued {
        cause,
        backoff,
        is_unbegun: false,
    };
    Decision::of(actor, FactKind::execution(birth, change))
}
