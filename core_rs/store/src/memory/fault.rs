//! Faults that a test plans for later appends and for later maintenance.
//!
//! Owns the plan: which write meets which fault. Refuses to choose faults at random: the test
//! that makes the plan does that.

use std::collections::BTreeMap;

/// A fault that a write meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is written; the store fails for good.
    FatalLost,
    /// The whole commit is written, and then the store fails for good.
    FatalWritten,
    /// Nothing is written, and the caller learns only that the outcome is unknown.
    UnknownLost,
    /// The whole commit is written, and the caller learns only that the outcome is unknown.
    UnknownWritten,
}

impl Fault {
    /// Whether the commit survives the fault.
    #[must_use]
    pub fn is_written(self) -> bool {
        matches!(self, Self::FatalWritten | Self::UnknownWritten)
    }

    /// Whether the store is unusable afterwards and must be opened again.
    #[must_use]
    pub fn is_fatal(self) -> bool {
        matches!(self, Self::FatalLost | Self::FatalWritten)
    }
}

/// Planned faults by the number of the append. The first append after the plan was made has
/// number 1. Appends that are refused do not count.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct FaultPlan {
    faults: BTreeMap<u64, Fault>,
    appends: u64,
    maintenance: Option<Fault>,
}

impl FaultPlan {
    /// Adds a fault to the plan, for the append with this number.
    #[must_use]
    pub fn at(mut self, append: u64, fault: Fault) -> Self {
        self.faults.insert(append, fault);
        self
    }

    /// Adds a fault to the plan, for the next maintenance. The store fails for good with each of
    /// them.
    #[must_use]
    pub fn in_maintenance(mut self, fault: Fault) -> Self {
        self.maintenance = Some(fault);
        self
    }

    pub(super) const fn next_maintenance(&mut self) -> Option<Fault> {
        self.maintenance.take()
    }

    /// Counts one append and returns its fault, if one is planned.
    pub(super) fn next(&mut self) -> Option<Fault> {
        self.appends += 1;
        self.faults.remove(&self.appends)
    }
}
