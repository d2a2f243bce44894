//! Facts about the agenda: consequences of an end that do not fit the commit of that end.
//!
//! Owns the items of the agenda and every change of an item. Refuses to hold what an item leads to:
//! each consequence is a fact about its own execution.

use crate::rules::id::Birth;

/// The number of an item of the agenda: counted up from 1, unique within its shard.
pub type ItemNumber = u64;

/// A change of one item of the agenda.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgendaFact {
    /// The number of the item.
    pub number: ItemNumber,
    /// The change of the item.
    pub change: AgendaChange,
}

/// The changes of an item of the agenda.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgendaChange {
    /// Work began that does not fit one commit.
    Opened(Item),
    /// A round wrote the item to the log again; nothing changed.
    Carried(Item),
    /// The work is done for every execution up to this birth number.
    Advanced {
        /// Birth number of the last execution that was looked at; 0 begins anew.
        after: Birth,
    },
    /// The work is done.
    Closed,
}

impl AgendaChange {
    /// Whether the fact holds the whole item. Every other fact changes one that is known.
    #[must_use]
    pub const fn holds_the_item(self) -> bool {
        match self {
            Self::Opened(_) | Self::Carried(_) => true,
            Self::Advanced { .. } | Self::Closed => false,
        }
    }
}

/// Work on many executions, in the order of their birth numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// What is done with each execution.
    pub work: Work,
    /// The executions up to this birth number are done.
    pub after: Birth,
}

/// The kinds of work on many executions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// An execution ended: its dependents are promoted if it completed, else skipped.
    Settle {
        /// The execution that ended.
        ended: Birth,
        /// The birth number by which its dependents know it: its own, or that of an execution
        /// which it replaced.
        gate: Birth,
        /// Whether it completed.
        completed: bool,
    },
}

impl Work {
    /// The execution whose end led to the work.
    #[must_use]
    pub const fn cause(self) -> Birth {
        match self {
            Self::Settle { ended, .. } => ended,
        }
    }
}
