//! Facts about the log itself.
//!
//! Owns the mark that begins a round of carrying. Refuses to know when a round is due: the
//! runtime does.

use crate::rules::id::Birth;

/// A change of the log itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFact {
    /// Everything that lives and was born before `next_birth` is carried after this fact.
    RoundBegan {
        /// Birth number of the next execution.
        next_birth: Birth,
    },
}
