//! What the log says of executions that are over.
//!
//! Owns which of them are dead letters, and which were deleted. Refuses to follow facts.

use backlane_engine::rules::id::Birth;

use super::LogCheck;
use crate::check::record::parsed;

impl LogCheck {
    /// Every execution that has ended and was not deleted, with the time and status of its end, and
    /// whether it is a dead letter.
    pub fn ends(&self) -> impl Iterator<Item = (Birth, u64, bool)> + '_ {
        let kept = self.ended.iter();
        let kept = kept.filter(|(birth, _)| !self.deleted.contains_key(birth));
        kept.map(|(birth, (at, status))| {
            let is_kept = !self.discarded.contains_key(birth);
            (*birth, at.at_ms, is_kept && status.is_dead_letter())
        })
    }

    /// The number of executions that were taken out of the dead letters.
    #[must_use]
    pub fn discards(&self) -> u64 {
        self.discarded.len() as u64
    }

    /// Whether an execution was deleted.
    #[must_use]
    pub fn is_deleted(&self, id: &str) -> bool {
        parsed(id).is_ok_and(|id| self.deleted.contains_key(&id.birth))
    }

    /// The executions that were deleted.
    pub fn deleted(&self) -> impl Iterator<Item = Birth> + '_ {
        self.deleted.keys().copied()
    }

    /// The number of executions that were deleted.
    #[must_use]
    pub fn deletions(&self) -> u64 {
        self.deleted.len() as u64
    }
}
