//! Errors about bytes that a server wrote to its own disk.
//!
//! Owns the words for them. Refuses to know requests: the errors of requests are `ApiError`s.

use thiserror::Error;

/// Bytes of the log or of a row that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The bytes are not protobuf, or not of that message.
    #[error("malformed {what}: {problem}")]
    Malformed {
        /// Name of the message.
        what: &'static str,
        /// The problem, as the decoder told it.
        problem: String,
    },
    /// A kind of fact that this version does not know: a newer version wrote the fact.
    #[error("a fact of kind {number}, which this version does not know")]
    UnknownKind {
        /// Number of the kind in the log's schema.
        number: u32,
    },
    /// A change that this version does not know: a newer version wrote the fact.
    #[error("a {what} holds no change that this version knows")]
    UnknownChange {
        /// Name of the message.
        what: &'static str,
    },
    /// A number that stands for no value that this version knows.
    #[error("{what} has no value {number}")]
    UnknownNumber {
        /// Name of the field.
        what: &'static str,
        /// The number as it was read.
        number: u64,
    },
    /// A field that must be there is missing.
    #[error("{what} is missing")]
    Missing {
        /// Name of the field.
        what: &'static str,
    },
}

impl DecodeError {
    /// The bytes are not protobuf, or not of that message.
    pub(crate) fn malformed(what: &'static str, problem: &dyn std::fmt::Display) -> Self {
        Self::Malformed {
            what,
            problem: problem.to_string(),
        }
    }
}
