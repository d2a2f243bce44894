//! Facts about request ids.
//!
//! Owns the two hashes of a request and the births that answered it. Refuses to know how
//! requests are hashed: `backlane-wire` does.

use crate::rules::id::Birth;

/// A request id was answered with these executions. The request id of a single new execution is
/// part of its birth and needs no such fact; this one stands for batches, and for requests that
/// met a living execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestFact {
    /// The id and its body.
    pub request: RequestKey,
    /// The executions of the answer, in order.
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

/// The executions that a request made or met, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Births {
    /// Neighbours: all of them were new.
    Run {
        /// Birth number of the first.
        first: Birth,
        /// Number of executions.
        count: u32,
    },
    /// Any other executions.
    List(Box<[Birth]>),
}

impl Births {
    /// The shortest form of these births.
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

    /// Every birth, in order.
    #[must_use]
    pub fn to_vec(&self) -> Vec<Birth> {
        match self {
            Self::Run { first, count } => (*first..first + u64::from(*count)).collect(),
            Self::List(births) => births.to_vec(),
        }
    }
}
