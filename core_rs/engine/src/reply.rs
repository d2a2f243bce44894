//! What the engine answers.
//!
//! Owns the shape of outcomes. Refuses to know the messages they leave in.

use crate::fact::Holding;
use crate::rules::id::Birth;
use crate::rules::status::Status;

/// What an enqueue came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made {
    /// The execution that was made or met.
    pub birth: Birth,
    /// True where it was met.
    pub existing: bool,
}

/// A lease that was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// Which.
    pub birth: Birth,
    /// The lease.
    pub holding: Holding,
    /// Ordinal of the attempt.
    pub attempt: u32,
    /// Wall time at which it is lost unless renewed.
    pub expires_at_ms: u64,
    /// Wall time at which the attempt times out.
    pub attempt_deadline_ms: u64,
    /// Encoded size of what the execution was made with.
    pub payload_bytes: u32,
}

/// What a worker's command on a lease came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// Where the execution stands now.
    pub status: Status,
    /// After a renewal: wall time at which the lease is lost.
    pub expires_at_ms: Option<u64>,
    /// The holder is asked to stop.
    pub cancel_requested: bool,
}

impl Settled {
    /// An outcome with nothing to add.
    #[must_use]
    pub const fn at(status: Status) -> Self {
        Self {
            status,
            expires_at_ms: None,
            cancel_requested: false,
        }
    }
}

/// What a holder must be told at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Please stop.
    Cancel,
    /// The lease is no longer yours.
    Lost,
}

/// Unfinished executions by where they stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Due, waiting for a worker.
    pub ready: u64,
    /// Not due.
    pub pending: u64,
    /// Backing off.
    pub retrying: u64,
    /// Under a lease.
    pub running: u64,
}
