//! Redrive: an execution that failed, timed out or was cancelled is enqueued once more.
//!
//! Owns which executions may be redriven, that each has one unfinished redrive at most, and that
//! the steps which the new one takes over are recorded with its birth. Refuses to change the old
//! execution, and to know what the new one takes over from it: the caller makes the new one from
//! the old payload and the old run.

mod dependents;

use crate::command::{Known, NewExecution, Redrive, TakenStep};
use crate::engine::Engine;
use crate::error::Refusal;
use crate::fact::RunChange;
use crate::reply::Made;
use crate::row::ActionContents;
use crate::rules::access::VisibleTenant;
use crate::rules::id::{Birth, ExecutionId};
use crate::rules::run::Course;
use crate::rules::status::Status;
use crate::time::Now;

use super::run::run_changes;

impl Engine {
    /// Finds the execution that an earlier redrive made: by the request id, or an unfinished one
    /// of the same execution. `None` means that a new execution is to be made, with
    /// [`Self::redrive`].
    ///
    /// # Errors
    /// [`Refusal::TransitionNotAllowed`] where the execution is unfinished or completed;
    /// [`Refusal::ExecutionNotFound`]; [`Refusal::RequestIdReused`];
    /// [`Refusal::ExecutionDeleted`]; [`Refusal::DataDamaged`]. Then nothing has changed.
    pub fn find_redrive(
        &mut self,
        redrive: &Redrive,
        known: &Known,
        now: Now,
    ) -> Result<Option<Made>, Refusal> {
        if let Some(births) = self.repeated(redrive.request.as_ref(), known)? {
            let birth = births.to_vec().first().copied().unwrap_or(0);
            return Ok(Some(existing(birth)));
        }
        self.may_be_redriven(redrive, known, now)?;
        let Some(birth) = self.living_redrive(redrive.id.birth, now) else {
            return Ok(None);
        };
        if let Some(request) = &redrive.request {
            self.keep_request(request, redrive.actor.clone(), &[birth], now)?;
        }
        Ok(Some(existing(birth)))
    }

    /// Enqueues `new` as the redrive of an execution that is over, or finds the execution that an
    /// earlier redrive made. A new one begins with `steps`, in their order.
    ///
    /// # Errors
    /// The same as [`Self::find_redrive`], and those of [`Self::enqueue`];
    /// [`Refusal::DataDamaged`] where the steps make no run.
    pub fn redrive(
        &mut self,
        redrive: &Redrive,
        new: NewExecution,
        steps: Vec<TakenStep>,
        known: &Known,
        now: Now,
    ) -> Result<Made, Refusal> {
        if let Some(made) = self.find_redrive(redrive, known, now)? {
            return Ok(made);
        }
        let taken_over = taken_over(&redrive.id, steps)?;
        let actor = new.actor.clone();
        let new = NewExecution {
            request: redrive.request.clone(),
            retried_from: Some(redrive.id.birth),
            ..new
        };
        let made = self.enqueue(new, known, now)?;
        if let Some((change, contents)) = taken_over.filter(|_| !made.existing) {
            self.commit(run_changes(actor, made.birth, change, contents), now)?;
        }
        Ok(made)
    }

    fn may_be_redriven(
        &mut self,
        redrive: &Redrive,
        known: &Known,
        now: Now,
    ) -> Result<(), Refusal> {
        let Redrive { tenant, id, .. } = redrive;
        let ended = self.over(tenant, id, "redriven", known, now)?;
        if ended.may_be_redriven() {
            return Ok(());
        }
        Err(Refusal::TransitionNotAllowed {
            execution_id: id.to_string(),
            status: ended,
            event: "redriven",
        })
    }

    /// The unfinished redrive of an execution, after all that is due for it.
    fn living_redrive(&mut self, birth: Birth, now: Now) -> Option<Birth> {
        let redrive = self.state.redrive_of(birth)?;
        self.catch_up(redrive, now);
        self.state.redrive_of(birth)
    }

    /// The final status of a tenant's execution that is over. `event` is what is asked for.
    ///
    /// # Errors
    /// [`Refusal::TransitionNotAllowed`] where the execution is unfinished;
    /// [`Refusal::ExecutionNotFound`]; [`Refusal::DataDamaged`].
    pub(super) fn over(
        &mut self,
        tenant: &VisibleTenant,
        id: &ExecutionId,
        event: &'static str,
        known: &Known,
        now: Now,
    ) -> Result<Status, Refusal> {
        if let Some(slot) = self.current(tenant, id, now) {
            return Err(Refusal::TransitionNotAllowed {
                execution_id: id.to_string(),
                status: slot.phase.status(),
                event,
            });
        }
        let finished = self.finished(id, known)?;
        let visible = finished.filter(|done| *done.tenant == **tenant);
        let found = visible.map(|done| done.status);
        found.ok_or_else(|| Refusal::ExecutionNotFound {
            execution_id: id.to_string(),
            tenant: tenant.to_string(),
        })
    }
}

/// What records the steps that an execution takes over from the one that it redrives; `None`
/// without steps, so that nothing is recorded of a run that has none.
fn taken_over(
    from: &ExecutionId,
    steps: Vec<TakenStep>,
) -> Result<Option<(RunChange, Vec<ActionContents>)>, Refusal> {
    if steps.is_empty() {
        return Ok(None);
    }
    let mut course = Course::default();
    let actions: Vec<_> = steps.iter().map(TakenStep::action).collect();
    for action in &actions {
        course.take(*action).map_err(|why| Refusal::DataDamaged {
            subject: from.to_string(),
            what: format!("a step that its redrive takes over {why}"),
        })?;
    }
    let contents: Vec<_> = steps.into_iter().map(|step| step.contents).collect();
    let bytes = contents.iter().map(ActionContents::bytes);
    let change = RunChange::TakenOver {
        actions: actions.into(),
        bytes: bytes.fold(0, u32::saturating_add),
    };
    Ok(Some((change, contents)))
}

const fn existing(birth: Birth) -> Made {
    Made {
        birth,
        existing: true,
    }
}
