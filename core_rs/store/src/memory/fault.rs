//! Faults a test plans for appends to come.
//!
//! Owns which append suffers what. Refuses to draw them: whoever plans brings the randomness.

use std::collections::BTreeMap;

/// What befalls an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is written; the store fails for good.
    FatalLost,
    /// All is written, and then the store fails for good.
    FatalWritten,
    /// Nothing is written, but the caller cannot know.
    UnknownLost,
    /// All is written, but the caller cannot know.
    UnknownWritten,
}

impl Fault {
    /// Whether the commit survives the fault.
    #[must_use]
    pub fn is_written(self) -> bool {
        matches!(self, Self::FatalWritten | Self::UnknownWritten)
    }

    /// Whether the store is unusable afterwards, so that it must be opened anew.
    #[must_use]
    pub fn is_fatal(self) -> bool {
        matches!(self, Self::FatalLost | Self::FatalWritten)
    }
}

/// Faults by append, counted from 1 for the first append after the plan was laid. Only appends
/// that are not refused count.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct FaultPlan {
    faults: BTreeMap<u64, Fault>,
    appends: u64,
}

impl FaultPlan {
    /// The plan with one more fault, at the `append`-th append.
    #[must_use]
    pub fn at(mut self, append: u64, fault: Fault) -> Self {
        self.faults.insert(append, fault);
        self
    }

    /// Counts one append and says what befalls it.
    pub(super) fn next(&mut self) -> Option<Fault> {
        self.appends += 1;
        self.faults.remove(&self.appends)
    }
}
