//! Cancel: a queued execution ends; the worker that holds a running one is asked to stop.
//!
//! Owns the two outcomes of a cancel. Refuses to wait for the worker: a timer ends the execution
//! after a grace period.

use crate::command::{Cancel, Known};
use crate::engine::{Decision, Engine};
use crate::error::Refusal;
use crate::fact::{Ended, ExecutionChange, FactKind};
use crate::rules::status::{EndReason, Phase, Status};
use crate::time::Now;

use super::run::end_decided;
use super::tick::ends;

impl Engine {
    /// Cancels an execution. Cancelling it again gives the same reply.
    ///
    /// # Errors
    /// [`Refusal::TransitionNotAllowed`] where the execution has finished;
    /// [`Refusal::EndDecided`] where another end than a cancellation is decided;
    /// [`Refusal::ExecutionNotFound`].
    pub fn cancel(&mut self, cancel: &Cancel, known: &Known, now: Now) -> Result<(), Refusal> {
        let birth = cancel.id.birth;
        let slot = self.unfinished(&cancel.tenant, &cancel.id, "cancelled", known, now)?;
        if slot.phase == Phase::Ending {
            return self.cancel_concluded(cancel);
        }
        let (reason, actor) = (EndReason::CancelRequested, cancel.actor.clone());
        // A suspended execution has no worker to ask.
        if slot.phase != Phase::Running {
            let ended = Ended {
                status: Status::Cancelled,
                reason,
                outcome: None,
            };
            return self.commit(ends(actor, birth, ended), now);
        }
        if self.state.is_cancel_requested(birth) {
            return Ok(());
        }
        let change = ExecutionChange::CancelRequested { reason };
        self.commit(Decision::of(actor, FactKind::execution(birth, change)), now)
    }

    /// The outcome of an execution that waits for its descendants is decided already.
    fn cancel_concluded(&self, cancel: &Cancel) -> Result<(), Refusal> {
        let extras = self.state.extras(cancel.id.birth);
        let verdict = extras.as_ref().and_then(|it| it.verdict.as_ref());
        if verdict.is_some_and(|verdict| verdict.ended.status == Status::Cancelled) {
            return Ok(());
        }
        Err(end_decided(&cancel.id, "cancelled"))
    }
}
