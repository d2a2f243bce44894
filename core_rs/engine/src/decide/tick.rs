//! Tick: what the clocks bring about.
//!
//! One function says what is due for an execution; a timer or wake is only a hint of when to
//! ask. Before a command touches an execution, what is due for that one is applied, so that the
//! order of time holds even while a mass of others is worked off in bounded chunks.

use crate::command::Failure;
use crate::engine::Engine;
use crate::fact::{Actor, Ended, ErrorRecord, FactKind, RequeueCause};
use crate::rules::id::Birth;
use crate::rules::limits::MAX_UNDELIVERED;
use crate::rules::retry::{Category, Verdict};
use crate::rules::status::{EndReason, Phase, Status};
use crate::time::Now;

impl Engine {
    /// Applies what is due, at most `most` looks. Answers whether more is due already.
    pub fn tick(&mut self, most: usize, now: Now) -> bool {
        for _ in 0..most {
            let Some(birth) = self.next_look(now) else {
                return false;
            };
            self.look(birth, now);
        }
        self.next_look(now).is_some()
    }

    /// When to tick next: wall and monotonic milliseconds, whichever comes first.
    #[must_use]
    pub fn next_tick(&self) -> (Option<u64>, Option<u64>) {
        let instant = self.state.first_timer().map(|(at_ms, _)| at_ms);
        (instant, self.soft.wakes.first().map(|(at_ms, _)| at_ms))
    }

    fn next_look(&self, now: Now) -> Option<Birth> {
        let timer = self
            .state
            .first_timer()
            .filter(|(at_ms, _)| *at_ms <= self.at_ms(now));
        let wake = self
            .soft
            .wakes
            .first()
            .filter(|(at_ms, _)| *at_ms <= now.mono_ms);
        timer.or(wake).map(|(_, birth)| birth)
    }

    fn look(&mut self, birth: Birth, now: Now) {
        if self.catch_up(birth, now) {
            return;
        }
        if !self.soft.lift_pauses(birth, now) {
            self.charge_so_far(birth, now);
        }
        self.soft.rearm(birth);
    }

    /// Applies what is due for one execution. Answers whether anything was.
    pub(crate) fn catch_up(&mut self, birth: Birth, now: Now) -> bool {
        let mut any = false;
        while let Some(fact) = self.due(birth, now) {
            self.commit(fact, now);
            any = true;
        }
        any
    }

    fn due(&self, birth: Birth, now: Now) -> Option<FactKind> {
        let slot = self.state.slot(birth)?;
        let at_ms = self.at_ms(now);
        let extras = self.state.extras(birth);
        let passed = |instant: Option<u64>| instant.is_some_and(|instant| instant <= at_ms);
        if passed(extras.and_then(|extras| extras.deadline_ms)) {
            return Some(self.timed_out(birth, EndReason::Deadline, now));
        }
        let start_deadline = extras.and_then(|extras| extras.start_deadline_ms);
        if slot.attempt == 0 && passed(start_deadline) {
            return Some(self.timed_out(birth, EndReason::StartDeadline, now));
        }
        let not_before = extras.and_then(|extras| extras.not_before_ms);
        match slot.phase {
            Phase::Pending => passed(not_before).then_some(FactKind::Due(birth)),
            Phase::Retrying => {
                let over = self
                    .soft
                    .backoff(birth)
                    .is_none_or(|until| until <= now.mono_ms);
                over.then_some(FactKind::Due(birth))
            }
            Phase::Ready => None,
            Phase::Running => self.due_of_lease(birth, now),
        }
    }

    fn due_of_lease(&self, birth: Birth, now: Now) -> Option<FactKind> {
        let hold = self.soft.holds.get(birth)?;
        let reached = |at_ms: u64| at_ms <= now.mono_ms;
        if hold.grace_ms.is_some_and(reached) {
            return self.cancelled_by_flag(birth, None);
        }
        if reached(hold.attempt_ms) {
            return Some(self.attempt_timed_out(birth, now));
        }
        reached(self.soft.holds.expiry(hold)).then(|| self.lease_lost(birth, now))
    }

    fn attempt_timed_out(&self, birth: Birth, now: Now) -> FactKind {
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
            Verdict::Retry { delay_ms } | Verdict::Throttled { delay_ms } => FactKind::Requeued {
                birth,
                cause: RequeueCause::AttemptTimeout,
                next_attempt_at_ms: Some(self.at_ms(now).saturating_add(delay_ms)),
                error: Some(Box::new(self.clock_error(
                    birth,
                    EndReason::AttemptTimeout,
                    now,
                ))),
            },
            Verdict::End => self.timed_out(birth, EndReason::AttemptTimeout, now),
        }
    }

    fn lease_lost(&self, birth: Birth, now: Now) -> FactKind {
        if let Some(cancelled) = self.cancelled_by_flag(birth, None) {
            return cancelled;
        }
        let acknowledged = self
            .soft
            .holds
            .get(birth)
            .is_none_or(|hold| hold.acknowledged);
        let cause = match self.state.slot(birth) {
            // At most once: the worker may have it, whatever was acknowledged.
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
                return self.worker_lost(birth, now);
            }
            _ => RequeueCause::LeaseLost,
        };
        FactKind::Requeued {
            birth,
            cause,
            next_attempt_at_ms: None,
            error: None,
        }
    }

    fn worker_lost(&self, birth: Birth, now: Now) -> FactKind {
        FactKind::Ended(Box::new(Ended {
            birth,
            status: Status::Failed,
            reason: EndReason::WorkerLost,
            actor: Actor::clock(),
            output: None,
            error: Some(Box::new(self.clock_error(
                birth,
                EndReason::WorkerLost,
                now,
            ))),
            outcome: None,
        }))
    }

    fn timed_out(&self, birth: Birth, reason: EndReason, now: Now) -> FactKind {
        FactKind::Ended(Box::new(Ended {
            birth,
            status: Status::Timeout,
            reason,
            actor: Actor::clock(),
            output: None,
            error: Some(Box::new(self.clock_error(birth, reason, now))),
            outcome: None,
        }))
    }

    fn clock_error(&self, birth: Birth, reason: EndReason, now: Now) -> ErrorRecord {
        let (category, code, message) = match reason {
            EndReason::StartDeadline => (
                Category::Timeout,
                "START_DEADLINE",
                "no worker took it before start_deadline",
            ),
            EndReason::Deadline => (
                Category::Timeout,
                "DEADLINE",
                "it was not finished before its deadline",
            ),
            EndReason::WorkerLost => (
                Category::KernelInternal,
                "WORKER_LOST",
                "its workers fell silent too often",
            ),
            _ => (
                Category::Timeout,
                "ATTEMPT_TIMEOUT",
                "an attempt ran longer than timeout_ms",
            ),
        };
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
