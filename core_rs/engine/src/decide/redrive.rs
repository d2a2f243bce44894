//! Redrive: an execution that failed, timed out or was cancelled is enqueued once more.
//!
//! Owns which executions may be redriven, and that each has one unfinished redrive at most. Refuses
//! to change the old execution, and to know what the new one takes over from it: the caller makes
//! the new one from the old payload.

use crate::command::{Known, NewExecution, Redrive};
use crate::engine::Engine;
use crate::error::Refusal;
use crate::reply::Made;
use crate::rules::access::VisibleTenant;
use crate::rules::id::{Birth, ExecutionId};
use crate::rules::status::Status;
use crate::time::Now;

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
        let Redrive { tenant, id, .. } = redrive;
        let ended = self.over(tenant, id, "redriven", known, now)?;
        if !ended.may_be_redriven() {
            return Err(Refusal::TransitionNotAllowed {
                execution_id: id.to_string(),
                status: ended,
                event: "redriven",
            });
        }
        let Some(birth) = self.living_redrive(id.birth, now) else {
            return Ok(None);
        };
        if let Some(request) = &redrive.request {
            self.keep_request(request, redrive.actor.clone(), &[birth], now)?;
        }
        Ok(Some(existing(birth)))
    }

    /// Enqueues `new` as the redrive of an execution that is over, or finds the execution that an
    /// earlier redrive made.
    ///
    /// # Errors
    /// The same as [`Self::find_redrive`], and those of [`Self::enqueue`].
    pub fn redrive(
        &mut self,
        redrive: &Redrive,
        new: NewExecution,
        known: &Known,
        now: Now,
    ) -> Result<Made, Refusal> {
        if let Some(made) = self.find_redrive(redrive, known, now)? {
            return Ok(made);
        }
        let new = NewExecution {
            request: redrive.request.clone(),
            retried_from: Some(redrive.id.birth),
            ..new
        };
        self.enqueue(new, known, now)
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
        if self.state.find(tenant, id).is_some() {
            self.catch_up(id.birth, now);
        }
        if let Some(slot) = self.state.find(tenant, id) {
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

const fn existing(birth: Birth) -> Made {
    Made {
        birth,
        existing: true,
    }
}
