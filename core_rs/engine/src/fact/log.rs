//! Facts about the log itself.
//!
//! Owns the mark that begins a round of carrying. Refuses to know when a round is due: the
//! runtime does.

use crate::fact::ItemNumber;
use crate::rules::id::Birth;

/// A change of the log itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFact {
    /// A round began: everything unfinished that was born before `next_birth` is written again
    /// after this fact.
    RoundBegan {
        /// Birth number of the next execution.
        next_birth: Birth,
        /// Number of the next item of the agenda.
        next_item: ItemNumber,
    },
}
