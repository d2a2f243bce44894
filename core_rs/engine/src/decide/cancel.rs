//! Cancel: a queued execution ends, the holder of a running one is asked to stop.

use crate::command::{Cancel, Finished, Known};
use crate::engine::Engine;
use crate::error::Refusal;
use crate::fact::{CancelAsked, Ended, FactKind};
use crate::rules::status::{EndReason, Phase, Status};
use crate::time::Now;

impl Engine {
    /// Cancels an execution. Asking again is answered the same.
    ///
    /// # Errors
    /// [`Refusal::TransitionNotAllowed`] once it is finished, [`Refusal::ExecutionNotFound`].
    pub fn cancel(&mut self, cancel: &Cancel, known: &Known, now: Now) -> Result<(), Refusal> {
        let birth = cancel.id.birth;
        if self.state.find(&cancel.tenant, &cancel.id).is_some() {
            self.catch_up(birth, now);
        }
        let Some(slot) = self.state.find(&cancel.tenant, &cancel.id) else {
            return Err(self.cannot_cancel(cancel, known));
        };
        let (reason, actor) = (EndReason::CancelRequested, cancel.actor.clone());
        if slot.phase != Phase::Running {
            self.commit(cancelled(birth, reason, actor), now);
        } else if !self.state.is_cancel_requested(birth) {
            let cancel = CancelAsked {
                at_ms: self.at_ms(now),
                reason,
                actor,
            };
            self.commit(FactKind::CancelRequested { birth, cancel }, now);
        }
        Ok(())
    }

    fn cannot_cancel(&self, cancel: &Cancel, known: &Known) -> Refusal {
        let execution_id = cancel.id.to_string();
        let finished = self.finished(&cancel.id, known);
        match finished.filter(|done| done.tenant == cancel.tenant) {
            Some(Finished { status, .. }) => Refusal::TransitionNotAllowed {
                execution_id,
                status,
                event: "cancelled",
            },
            None => Refusal::ExecutionNotFound {
                execution_id,
                tenant: cancel.tenant.to_string(),
            },
        }
    }
}

fn cancelled(birth: u64, reason: EndReason, actor: crate::fact::Actor) -> FactKind {
    FactKind::Ended(Box::new(Ended {
        birth,
        status: Status::Cancelled,
        reason,
        actor,
        output: None,
        error: None,
        outcome: None,
    }))
}
