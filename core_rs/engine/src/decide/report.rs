//! Reports: what workers report about their leases, and the decisions that follow.

use crate::command::{Failure, Held, Known, Needs, Report, StreamKey};
use crate::engine::{Contents, Decision, Engine};
use crate::error::Refusal;
use crate::fact::{
    Actor, Backoff, Ended, Entity, ErrorRecord, ExecutionChange, FactKind, Living, Outcome,
    OutcomeKind, RequeueCause,
};
use crate::reply::Settled;
use crate::rules::access::Principal;
use crate::rules::id::{Birth, ExecutionId, LeaseToken};
use crate::rules::retry::{Trouble, Verdict, jitter_seed, verdict};
use crate::rules::status::{EndReason, Status};
use crate::soft::{Hold, Renewal};
use crate::time::Now;

use super::tick::{ends, requeued};

/// The caller of a report, and the rows that were read for the decision.
#[derive(Debug, Clone, Copy)]
pub struct Speaker<'a> {
    /// The caller.
    pub principal: &'a Principal,
    /// Finished executions that the reports name.
    pub known: &'a Known,
}

impl Engine {
    /// What the runtime must read before reports on those executions can be decided.
    #[must_use]
    pub fn needs_for<'a>(
        &self,
        ids: impl IntoIterator<Item = &'a ExecutionId>,
        known: &Known,
    ) -> Needs {
        let births = ids.into_iter().map(|id| id.birth).filter(|birth| {
            let possible = *birth < self.state.next_birth();
            possible && self.state.slot(*birth).is_none() && !known.finished.contains_key(birth)
        });
        Needs {
            finished: births.collect(),
            requests: Vec::new(),
        }
    }

    /// Decides a worker's report.
    ///
    /// # Errors
    /// [`Refusal::LeaseLost`] for a token that is not the live one, unless it repeats the report
    /// that ended its lease; [`Refusal::ExecutionNotFound`]. Then nothing has changed.
    pub fn report(
        &mut self,
        held: &Held,
        report: &Report,
        speaker: Speaker<'_>,
        now: Now,
    ) -> Result<Settled, Refusal> {
        self.catch_up_visible(held, speaker, now);
        match self.live_lease(held, speaker, Some(report.kind()))? {
            Lease::Repeated(status) => Ok(Settled::at(status)),
            Lease::Live => {
                let birth = held.id.birth;
                if *report != Report::Released {
                    // A result shows that the attempt has begun.
                    self.acknowledge(held, now);
                }
                let decision = self.await_descendants(self.follows(birth, report, now));
                let status = status_after(&decision);
                self.commit(decision, now)?;
                Ok(Settled::at(status))
            }
        }
    }

    /// Checks that a lease is live, after what is due for its execution was applied.
    ///
    /// # Errors
    /// The same as [`Self::report`].
    pub(super) fn must_hold(
        &mut self,
        held: &Held,
        speaker: Speaker<'_>,
        now: Now,
    ) -> Result<(), Refusal> {
        self.catch_up_visible(held, speaker, now);
        self.live_lease(held, speaker, None).map(drop)
    }

    /// Restarts the period of a lease.
    ///
    /// # Errors
    /// The same as [`Self::report`].
    pub fn renew(
        &mut self,
        held: &Held,
        duration_ms: Option<u64>,
        stream: Option<StreamKey>,
        speaker: Speaker<'_>,
        now: Now,
    ) -> Result<Settled, Refusal> {
        let birth = held.id.birth;
        self.catch_up_visible(held, speaker, now);
        self.live_lease(held, speaker, None)?;
        let lost = || Refusal::LeaseLost {
            execution_id: held.id.to_string(),
        };
        let token = held.token.ok_or_else(lost)?;
        self.soft.holds.heard(
            birth,
            Renewal {
                token,
                duration_ms,
                stream,
            },
            now,
        );
        self.charge_so_far(birth, now);
        self.soft.rearm(Entity::Execution(birth));
        let kept = self.soft.holds.get(birth);
        let ends = kept.map(|hold| self.soft.holds.ends(hold));
        Ok(Settled {
            status: Status::Running,
            expires_at_ms: ends.map(|ends| now.wall_of(ends.lease_ms)),
            ends,
            cancel_requested: self.state.is_cancel_requested(birth),
            pause_requested: self.state.is_paused(birth),
        })
    }

    /// Notes that a lease leaves the server, because it is durable: from now on its period runs. A
    /// token that is not live is ignored.
    pub fn sent(&mut self, held: &Held, now: Now) {
        let birth = held.id.birth;
        if self.holds_with(held) {
            let timeout_ms = self.state.attempt_ms(birth);
            self.soft.holds.sent(birth, timeout_ms, now);
            self.soft.rearm(Entity::Execution(birth));
        }
    }

    /// Notes that a lease has arrived at its worker, and that the attempt of a prefetched lease
    /// begins. A token that is not live is ignored.
    pub fn acknowledge(&mut self, held: &Held, now: Now) {
        let birth = held.id.birth;
        if self.holds_with(held) {
            let timeout_ms = self.state.attempt_ms(birth);
            self.soft.holds.acknowledge(birth, timeout_ms, now);
            self.soft.rearm(Entity::Execution(birth));
        }
    }

    /// Takes back a lease that never left the server: the execution is queued again at its old
    /// position, and no attempt is spent.
    pub fn undeliver(&mut self, held: &Held, now: Now) {
        if self.holds_with(held) {
            let birth = held.id.birth;
            let decision = self.cancelled_by_flag(birth, None).unwrap_or_else(|| {
                requeued(Actor::engine(), birth, RequeueCause::Undelivered, None)
            });
            // A refusal means that the execution has been set aside. No caller waits for this
            // decision.
            let _ = self.commit(decision, now);
        }
    }

    fn holds_with(&self, held: &Held) -> bool {
        let live = self.state.holding(held.id.birth).map(|own| own.token);
        live.is_some() && live == held.token && self.state.find_any(&held.id).is_some()
    }

    /// Charges a long attempt while it runs, so that its tenant does not get ahead of others
    /// meanwhile.
    pub(crate) fn charge_so_far(&mut self, birth: Birth, now: Now) {
        self.soft.charge_so_far(&self.state, birth, now);
    }

    /// Applies what is due for the execution, if the caller may see it.
    pub(super) fn catch_up_visible(&mut self, held: &Held, speaker: Speaker<'_>, now: Now) {
        let slot = self.state.find_any(&held.id);
        if slot.is_some_and(|slot| speaker.principal.may_see(self.state.tenant_name(slot))) {
            self.catch_up(held.id.birth, now);
        }
    }

    pub(super) fn live_lease(
        &self,
        held: &Held,
        speaker: Speaker<'_>,
        kind: Option<OutcomeKind>,
    ) -> Result<Lease, Refusal> {
        let repeats = |outcome: Option<Outcome>| {
            outcome.is_some_and(|own| Some(own.token) == held.token && Some(own.kind) == kind)
        };
        let lost = Refusal::LeaseLost {
            execution_id: held.id.to_string(),
        };
        if let Some(slot) = self.state.find_any(&held.id) {
            if !speaker.principal.may_see(self.state.tenant_name(slot)) {
                return Err(not_found(&held.id));
            }
            let live: Option<LeaseToken> = self.state.holding(held.id.birth).map(|own| own.token);
            if live.is_some() && live == held.token {
                return Ok(Lease::Live);
            }
            let outcome = self
                .state
                .extras(held.id.birth)
                .and_then(|extras| extras.outcome);
            return if repeats(outcome) {
                Ok(Lease::Repeated(slot.phase.status()))
            } else {
                Err(lost)
            };
        }
        let done = self.finished(&held.id, speaker.known)?;
        match done.filter(|done| speaker.principal.may_see(&done.tenant)) {
            Some(done) if repeats(done.outcome) => Ok(Lease::Repeated(done.status)),
            Some(_) => Err(lost),
            None => Err(not_found(&held.id)),
        }
    }

    fn follows(&self, birth: Birth, report: &Report, now: Now) -> Decision {
        let outcome = Some(report.kind());
        if let Report::Completed(output) = report {
            let ended = Ended {
                status: Status::Completed,
                reason: EndReason::Completed,
                outcome,
            };
            let output = Some(output.clone());
            return ends(Actor::holder(), birth, ended).with(Contents {
                output,
                ..Contents::default()
            });
        }
        if let Some(cancelled) = self.cancelled_by_flag(birth, outcome) {
            return cancelled;
        }
        match report {
            Report::Failed(failure) => self.after_failure(birth, failure, now),
            Report::Completed(_) | Report::Released => self.released(birth),
        }
    }

    fn released(&self, birth: Birth) -> Decision {
        let change = ExecutionChange::Requeued {
            cause: RequeueCause::Released,
            backoff: None,
            is_unbegun: self.soft.holds.get(birth).is_some_and(Hold::waits),
        };
        Decision::of(Actor::holder(), FactKind::execution(birth, change))
    }

    /// The end of an execution whose cancellation was requested: every end of its lease, except
    /// with an output, ends the execution as well.
    pub(crate) fn cancelled_by_flag(
        &self,
        birth: Birth,
        outcome: Option<OutcomeKind>,
    ) -> Option<Decision> {
        let cancel = self.state.extras(birth)?.cancel.clone()?;
        let ended = Ended {
            status: Status::Cancelled,
            reason: cancel.reason,
            outcome,
        };
        Some(ends(cancel.actor, birth, ended))
    }

    fn after_failure(&self, birth: Birth, failure: &Failure, now: Now) -> Decision {
        let error = Box::new(ErrorRecord {
            category: failure.category,
            message: failure.message.clone(),
            code: failure.code.clone(),
            attempt: self.state.slot(birth).map_or(0, |slot| slot.attempt),
            occurred_at_ms: self.at_ms(now),
            extra: failure.extra.clone(),
        });
        let again = |cause, delay_ms: u64| {
            let backoff = Some(Backoff::from_now(delay_ms, now));
            requeued(Actor::holder(), birth, cause, backoff)
        };
        let decision = match self.judge(birth, failure) {
            Verdict::Retry { delay_ms } => again(RequeueCause::Failed, delay_ms),
            Verdict::Throttled { delay_ms } => again(RequeueCause::Throttled, delay_ms),
            Verdict::End => {
                let ended = Ended {
                    status: Status::Failed,
                    reason: EndReason::Failed,
                    outcome: Some(OutcomeKind::Failed),
                };
                ends(Actor::holder(), birth, ended)
            }
        };
        decision.with_error(error)
    }

    /// Decides whether another attempt follows an attempt that failed like this.
    pub(crate) fn judge(&self, birth: Birth, failure: &Failure) -> Verdict {
        let living: Option<Living> = self.state.living(birth);
        let Some(living) = living else {
            return Verdict::End;
        };
        verdict(&Trouble {
            retry: living.policy.retry.as_ref(),
            category: failure.category,
            retryable: failure.retryable,
            throttled: failure.throttled,
            retry_after_ms: failure.retry_after_ms,
            spent: living.progress.spent + 1,
            seed: jitter_seed(&living.id.to_bytes(), living.progress.attempt),
        })
    }
}

/// The status of the execution after a decision about its lease.
fn status_after(decision: &Decision) -> Status {
    let change = decision.kind.as_execution().map(|fact| &fact.change);
    match change {
        Some(ExecutionChange::Ended(ended)) => ended.status,
        Some(ExecutionChange::Concluded(_)) => Status::Running,
        _ => Status::Queued,
    }
}

pub(super) enum Lease {
    Live,
    Repeated(Status),
}

fn not_found(id: &ExecutionId) -> Refusal {
    Refusal::ExecutionNotFound {
        execution_id: id.to_string(),
        tenant: String::new(),
    }
}
