//! Delete: an execution that is over is removed before its retention period ends.
//!
//! Owns the decision. The rows go in the same commit. Refuses to delete what is unfinished, and to
//! know what depended on the execution: for dependents, redrives and request ids it is as if
//! retention had removed it.

use crate::command::{Delete, Known};
use crate::engine::{Decision, Engine};
use crate::error::Refusal;
use crate::fact::{ExecutionChange, FactKind};
use crate::time::Now;

impl Engine {
    /// Deletes an execution that is over.
    ///
    /// # Errors
    /// [`Refusal::TransitionNotAllowed`] where the execution is unfinished;
    /// [`Refusal::ExecutionNotFound`]; [`Refusal::DataDamaged`]. Then nothing has changed.
    pub fn delete(&mut self, delete: &Delete, known: &Known, now: Now) -> Result<(), Refusal> {
        let Delete { tenant, id, actor } = delete;
        self.over(tenant, id, "deleted", known, now)?;
        let kind = FactKind::execution(id.birth, ExecutionChange::Deleted);
        self.commit(Decision::of(actor.clone(), kind), now)
    }
}
