//! The invariant checker: what must hold for the log and for every reply, however the shard is
//! driven.
//!
//! Owns the invariants. Refuses to drive anything: the checker is told which facts were written,
//! which became durable and which replies were sent, and reports violations.

mod durable;
mod edges;
mod ledger;
mod log;
mod moves;
mod order;
mod record;
mod rows;
mod state;
mod turns;

use std::fmt;

pub use durable::survives;
pub(crate) use ledger::queued_ms;
pub use ledger::{Ledger, Reported};
pub use log::{LogCheck, Offers};
pub use order::better_one;
pub(crate) use record::birth_of;
pub use state::{no_longer, same_state, sound};

/// A violation of an invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The invariant, in words.
    pub invariant: &'static str,
    /// The details of the violation.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.invariant, self.detail)
    }
}

/// The result of a check.
pub type Checked = Result<(), Violation>;

/// Checks a condition; if it is false, reports a violation of `invariant`.
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

/// A failure of the simulator or of the store, reported as a violation.
pub(crate) fn broken(invariant: &'static str, detail: impl fmt::Display) -> Violation {
    Violation {
        invariant,
        detail: detail.to_string(),
    }
}
