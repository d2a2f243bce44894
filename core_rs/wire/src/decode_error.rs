//! What is wrong with bytes that this server wrote itself, once upon a time.
//!
//! Owns the words for it. Refuses to know requests: theirs are `ApiError`s.

use thiserror::Error;

/// Bytes of the log, a payload or an ending that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Not protobuf, or not of that message.
    #[error("malformed {what}: {problem}")]
    Malformed {
        /// Which message.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A kind of fact that this version does not know: a newer one wrote it.
    #[error("a fact of kind {number}, which this version does not know")]
    UnknownKind {
        /// Its number in the log's schema.
        number: u32,
    },
    /// A number that stands for nothing this version knows.
    #[error("{what} has no value {number}")]
    UnknownNumber {
        /// Which field.
        what: &'static str,
        /// The number.
        number: u64,
    },
    /// A field that must be there is not.
    #[error("{what} is missing")]
    Missing {
        /// Which field.
        what: &'static str,
    },
}

impl DecodeError {
    /// Not protobuf, or not of that message.
    pub(crate) fn malformed(what: &'static str, problem: &dyn std::fmt::Display) -> Self {
        Self::Malformed {
            what,
            problem: problem.to_string(),
        }
    }
}
