//! Errors about bytes that a server wrote to its own disk.
//!
//! Owns the kinds and texts of these errors. Refuses to know requests: errors in requests are
//! `ApiError`s.

use thiserror::Error;

/// Bytes of the log or of a row that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The bytes are not protobuf, or not a message of the expected type.
    #[error("malformed {what}: {problem}")]
    Malformed {
        /// Name of the message type.
        what: &'static str,
        /// The problem, in the decoder's words.
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
        /// Name of the message type that holds the change.
        what: &'static str,
    },
    /// A number that stands for no value that this version knows.
    #[error("{what} has no value {number}")]
    UnknownNumber {
        /// Name of the field that holds the number.
        what: &'static str,
        /// The number on disk.
        number: u64,
    },
    /// A required field is missing.
    #[error("{what} is missing")]
    Missing {
        /// Name of the missing field.
        what: &'static str,
    },
}

impl DecodeError {
    /// An error for bytes that are not protobuf, or not a message of the expected type.
    pub(crate) fn malformed(what: &'static str, problem: &dyn std::fmt::Display) -> Self {
        Self::Malformed {
            what,
            problem: problem.to_string(),
        }
    }
}
