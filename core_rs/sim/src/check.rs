//! The invariant checker: what must hold of a log and of every answer, whoever drives the shard.
//!
//! Owns the invariants. Refuses to drive anything: it is told what was written, what became
//! durable and what was answered, and says what is wrong about it.

mod durable;
mod ledger;
mod log;
mod moves;
mod order;
mod record;
mod rows;
mod state;

use std::fmt;

pub use durable::survives;
pub(crate) use ledger::queued_ms;
pub use ledger::{Ledger, Reported};
pub use log::{LogCheck, Offers};
pub use order::better_one;
pub(crate) use record::birth_of;
pub use state::{same_state, sound};

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: &'static str,
    /// What is wrong.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.invariant, self.detail)
    }
}

/// Whether something holds.
pub type Checked = Result<(), Violation>;

/// Holds, or says what is wrong.
pub(crate) fn must(
    holds: bool,
    invariant: &'static str,
    detail: impl FnOnce() -> String,
) -> Checked {
    if holds {
        Ok(())
    } else {
        Err(Violation {
            invariant,
            detail: detail(),
        })
    }
}

/// A failure of the harness or of the store's promises, said as a violation.
pub(crate) fn broken(invariant: &'static str, detail: impl fmt::Display) -> Violation {
    Violation {
        invariant,
        detail: detail.to_string(),
    }
}
