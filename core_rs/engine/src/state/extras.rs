//! Extras: what only some executions have, kept apart so that the others do not pay for it.
//!
//! Owns those fields. Refuses to know who sets them.

use std::sync::Arc;

use crate::fact::{CancelAsked, Outcome};

/// What only some executions have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extras {
    /// Not leased before.
    pub not_before_ms: Option<u64>,
    /// Must be leased before.
    pub start_deadline_ms: Option<u64>,
    /// Must be finished before.
    pub deadline_ms: Option<u64>,
    /// One living execution per tenant and key.
    pub dedup_key: Option<Box<str>>,
    /// While it backs off: until when.
    pub next_attempt_at_ms: Option<u64>,
    /// The worker that held it last.
    pub last_worker: Option<Arc<str>>,
    /// Ordinal of the newest attempt that went wrong with an error and was followed by another.
    pub last_failed: Option<u32>,
    /// Somebody asked it to stop.
    pub cancel: Option<CancelAsked>,
    /// What the newest reporting holder reported.
    pub outcome: Option<Outcome>,
}

impl Extras {
    /// Whether there is nothing to keep.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
