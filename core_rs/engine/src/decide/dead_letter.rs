//! Dead letters: executions that failed or timed out, kept for a person to look at.
//!
//! Owns the decision to take one out. Executions come to the dead letters by their end, in the same
//! commit. Refuses to change the execution itself: its record stays as it ended.

use crate::command::{Discard, Known};
use crate::engine::{Decision, Engine};
use crate::error::Refusal;
use crate::fact::{ExecutionChange, FactKind};
use crate::time::Now;

impl Engine {
    /// Takes an execution out of the dead letters. Doing so again gives the same reply.
    ///
    /// # Errors
    /// [`Refusal::TransitionNotAllowed`] where the execution did not fail or time out;
    /// [`Refusal::ExecutionNotFound`]; [`Refusal::DataDamaged`]. Then nothing has changed.
    pub fn discard(&mut self, discard: &Discard, known: &Known, now: Now) -> Result<(), Refusal> {
        let Discard { tenant, id, actor } = discard;
        let ended = self.over(tenant, id, "discarded", known, now)?;
        if !ended.is_dead_letter() {
            return Err(Refusal::TransitionNotAllowed {
                execution_id: id.to_string(),
                status: ended,
                event: "discarded",
            });
        }
        let kind = FactKind::execution(id.birth, ExecutionChange::Discarded);
        self.commit(Decision::of(actor.clone(), kind), now)
    }
}
