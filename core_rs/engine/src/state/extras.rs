//! Extras: fields that only some executions have, kept apart so that the others need no memory for
//! them.
//!
//! Owns those fields. Refuses to know which decisions set them.

use std::sync::Arc;

use crate::fact::{Backoff, CancelAsked, Outcome};
use crate::rules::id::Birth;

/// The fields that only some executions have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extras {
    /// No worker gets the execution before this time, in milliseconds since the epoch.
    pub not_before_ms: Option<u64>,
    /// The execution times out if no worker has leased it by this time, in milliseconds since the
    /// epoch.
    pub start_deadline_ms: Option<u64>,
    /// The execution times out if it is not finished by this time, in milliseconds since the epoch.
    pub deadline_ms: Option<u64>,
    /// The dedup key: at most one unfinished execution of a tenant has this key.
    pub dedup_key: Option<Box<str>>,
    /// The backoff, while the execution backs off.
    pub backoff: Option<Backoff>,
    /// The worker that held the newest ended lease.
    pub last_worker: Option<Arc<str>>,
    /// Ordinal of the newest attempt that went wrong with an error and was followed by another.
    pub last_failed: Option<u32>,
    /// The request to stop, where one was made.
    pub cancel: Option<CancelAsked>,
    /// The newest report of a worker.
    pub outcome: Option<Outcome>,
    /// Birth number of the execution that this one redrives.
    pub retried_from: Option<Birth>,
}

impl Extras {
    /// Whether all fields are empty, so that nothing needs to be kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
