//! Replies: the results of commands.
//!
//! Owns the shape of results. Refuses to know the messages that carry them.

use std::sync::Arc;

use crate::fact::Holding;
use crate::rules::id::{Birth, ExecutionId};
use crate::rules::status::Status;

/// The result of an enqueue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made {
    /// The execution that was enqueued or found.
    pub birth: Birth,
    /// Whether the execution existed before.
    pub existing: bool,
}

/// The result of a redrive together with dependents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redriven {
    /// The redrive.
    pub made: Made,
    /// The executions that were enqueued for dependents, in the order of their enqueue.
    pub dependents: Vec<ExecutionId>,
}

impl From<Made> for Redriven {
    fn from(made: Made) -> Self {
        Self {
            made,
            dependents: Vec::new(),
        }
    }
}

/// The ends of a renewed lease, on the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseEnds {
    /// Time at which the lease is lost unless renewed, in monotonic milliseconds.
    pub lease_ms: u64,
    /// Time at which the attempt times out, in monotonic milliseconds.
    pub attempt_ms: u64,
}

/// A lease that was given to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// Birth number of the execution.
    pub birth: Birth,
    /// The lease.
    pub holding: Holding,
    /// Ordinal of the attempt.
    pub attempt: u32,
    /// Wall time at which the lease is lost unless renewed, in milliseconds since the epoch.
    pub expires_at_ms: u64,
    /// Wall time at which the attempt times out, in milliseconds since the epoch.
    pub attempt_deadline_ms: u64,
    /// The longest time that the attempt may take, in milliseconds. Like the lease period, it
    /// counts from the time when the lease leaves the server.
    pub timeout_ms: u64,
    /// Encoded size of the payload, in bytes.
    pub payload_bytes: u32,
    /// Whether the attempt begins only when the worker acknowledges the lease.
    pub is_prefetched: bool,
}

/// The result of a worker's command about a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// Status of the execution after the command.
    pub status: Status,
    /// After a renewal: wall time at which the lease is lost, in milliseconds since the epoch.
    pub expires_at_ms: Option<u64>,
    /// After a renewal: the ends of the lease.
    pub ends: Option<LeaseEnds>,
    /// Whether the worker is asked to stop the execution.
    pub cancel_requested: bool,
    /// Whether the worker is asked to yield to a pause.
    pub pause_requested: bool,
}

impl Settled {
    /// A result with only a status.
    #[must_use]
    pub const fn at(status: Status) -> Self {
        Self {
            status,
            expires_at_ms: None,
            ends: None,
            cancel_requested: false,
            pause_requested: false,
        }
    }
}

/// A message that a worker must get at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// The worker should stop the execution.
    Cancel,
    /// The worker has lost the lease.
    Lost,
    /// The worker should yield to a pause.
    Pause,
}

/// A limit on running executions, and how far it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitsNow {
    /// The callable that is limited; `None` for the tenant as a whole.
    pub callable: Option<Arc<str>>,
    /// Largest number of leased executions at once; `None` for no limit.
    pub max_running: Option<u32>,
    /// Executions that are leased.
    pub running: u64,
    /// Executions that are due and wait for a worker.
    pub ready: u64,
}

impl LimitsNow {
    /// No limit on a name without executions.
    #[must_use]
    pub const fn unused(callable: Option<Arc<str>>) -> Self {
        Self {
            callable,
            max_running: None,
            running: 0,
            ready: 0,
        }
    }
}

/// Numbers of unfinished executions by phase.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Executions that are due and wait for a worker.
    pub ready: u64,
    /// Executions that are scheduled for later.
    pub pending: u64,
    /// Executions that back off before the next attempt.
    pub retrying: u64,
    /// Executions that are leased.
    pub running: u64,
    /// Executions that wait without a worker.
    pub suspended: u64,
    /// Executions that are due and paused.
    pub held: u64,
    /// Executions whose end is decided, and that wait for their descendants.
    pub ending: u64,
}
