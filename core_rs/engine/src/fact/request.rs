//! Facts about request ids.
//!
//! Owns the two hashes of a request and the executions of its reply. Refuses to know how requests
//! are hashed: `backlane-wire` does.

use crate::rules::id::Birth;

/// A request id was answered with these executions. The request id of a single new execution is
/// part of the fact of its birth and needs no such fact. This fact is for batches, and for requests
/// that found an unfinished execution by its dedup key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestFact {
    /// The hashes of the request id and of its body.
    pub request: RequestKey,
    /// The executions of the reply, in order.
    pub births: Births,
}

/// A request id and its body, both hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestKey {
    /// Hash of the request id with its tenant and method.
    pub key: [u8; 16],
    /// Hash of the body that the request id came with.
    pub body: [u8; 16],
}

/// The executions that a request enqueued or found, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Births {
    /// Executions with consecutive birth numbers, all of them new.
    Run {
        /// Birth number of the first execution.
        first: Birth,
        /// Number of executions.
        count: u32,
    },
    /// Any other executions.
    List(Box<[Birth]>),
}

impl Births {
    /// Stores birth numbers in the shortest form.
    #[must_use]
    pub fn of(births: &[Birth]) -> Self {
        let first = births.first().copied().unwrap_or(0);
        let in_a_row = births
            .iter()
            .zip(first..)
            .all(|(birth, expected)| *birth == expected);
        match u32::try_from(births.len()) {
            Ok(count) if in_a_row => Self::Run { first, count },
            _ => Self::List(births.into()),
        }
    }

    /// Every birth number, in order.
    #[must_use]
    pub fn to_vec(&self) -> Vec<Birth> {
        match self {
            Self::Run { first, count } => (*first..first + u64::from(*count)).collect(),
            Self::List(births) => births.to_vec(),
        }
    }
}
