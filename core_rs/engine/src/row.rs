//! Rows: what is kept beside the log, as values.
//!
//! Owns the rows that decisions bring with them. What a fold needs is in the fact; what only
//! readers need is in a row. Refuses to know encodings and tables: `backlane-wire` encodes rows,
//! and the store declares their families.

use std::sync::Arc;

use crate::fact::{Actor, Births, ErrorRecord, Progress, RequestKey, RequeueCause};
use crate::rules::id::{Birth, ExecutionId};
use crate::rules::status::{EndReason, Status};

/// Opaque bytes, shared instead of copied.
pub type Bytes = Arc<[u8]>;

/// Rows of attempts that are kept for one execution; the oldest go first.
pub const KEPT_ATTEMPTS: u32 = 100;
/// Most bytes that the id and the time of an execution add to its payload.
const STAMP_BYTES: usize = 32;

/// One row that is written, or removed, in the same commit as its fact.
#[derive(Debug, Clone, PartialEq)]
pub enum Row {
    /// A new execution's payload.
    Payload(Box<PayloadRow>),
    /// The end of an execution.
    Ending(Box<EndingRow>),
    /// A lease that did not end its execution.
    Attempt(Box<AttemptRow>),
    /// The row of an attempt goes: the execution has too many.
    AttemptDropped {
        /// Birth number of the execution.
        birth: Birth,
        /// Ordinal of the lease.
        ordinal: u32,
    },
    /// A request id that was used.
    Request(Box<RequestRow>),
}

impl Row {
    /// The end of an execution, if the row is one.
    #[must_use]
    pub const fn as_ending(&self) -> Option<&EndingRow> {
        match self {
            Self::Ending(ending) => Some(ending),
            Self::Payload(_)
            | Self::Attempt(_)
            | Self::AttemptDropped { .. }
            | Self::Request(_) => None,
        }
    }
}

/// What a client gave for an execution, opaque.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Payload {
    /// Names, config and metadata: the part that every view reads.
    pub head: Vec<u8>,
    /// Input and context: the part that workers and FULL views read; `None` if there is neither.
    pub body: Option<Vec<u8>>,
}

impl Payload {
    /// Bytes of the payload's row at most.
    #[must_use]
    pub fn row_bytes(&self) -> u32 {
        let body = self.body.as_ref().map_or(0, Vec::len);
        u32::try_from(self.head.len() + body + STAMP_BYTES).unwrap_or(u32::MAX)
    }
}

/// The payload with what the engine decided about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadRow {
    /// The id of the execution.
    pub id: ExecutionId,
    /// Time of the enqueue, milliseconds since the epoch.
    pub queued_at_ms: u64,
    /// What the client gave.
    pub payload: Payload,
}

/// How an execution ended.
#[derive(Debug, Clone, PartialEq)]
pub struct EndingRow {
    /// The id of the execution.
    pub id: ExecutionId,
    /// The tenant's name.
    pub tenant: Arc<str>,
    /// One of the four ends.
    pub status: Status,
    /// The reason.
    pub reason: EndReason,
    /// The party that brought the end about.
    pub actor: Actor,
    /// Time of the end, milliseconds since the epoch.
    pub ended_at_ms: u64,
    /// Whether the end was the end of a lease: then the last attempt is part of this row.
    pub ended_lease: bool,
    /// The encoded result; present exactly where the execution completed.
    pub output: Option<Bytes>,
    /// Present exactly where the execution failed or timed out.
    pub error: Option<Box<ErrorRecord>>,
    /// The state in which the execution ended.
    pub progress: Progress,
}

/// A lease that did not end its execution.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptRow {
    /// Birth number of the execution.
    pub birth: Birth,
    /// Ordinal of the lease, from 1.
    pub ordinal: u32,
    /// Ordinal of the attempt. Leases of one attempt follow one another where it was suspended.
    pub attempt: u32,
    /// The holder's id.
    pub worker: Arc<str>,
    /// Begin of the lease, milliseconds since the epoch.
    pub started_at_ms: u64,
    /// End of the lease, milliseconds since the epoch.
    pub ended_at_ms: u64,
    /// The reason for which the lease ended.
    pub cause: RequeueCause,
    /// The error, where the attempt ended with one.
    pub error: Option<Box<ErrorRecord>>,
}

/// What became of an attempt, as users see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum AttemptOutcome {
    /// The lease is live.
    Running = 1,
    /// The result was accepted.
    Completed = 2,
    /// The holder reported an error.
    Failed = 3,
    /// The holder asked to be called again later.
    Throttled = 4,
    /// The attempt, or the whole execution, took too long.
    TimedOut = 5,
    /// The holder fell silent.
    LeaseLost = 6,
    /// The holder gave the execution back.
    Released = 7,
    /// The lease never arrived at a worker.
    Undelivered = 8,
    /// The execution was cancelled.
    Cancelled = 9,
}

impl AttemptOutcome {
    /// Every outcome.
    pub const ALL: [Self; 9] = [
        Self::Running,
        Self::Completed,
        Self::Failed,
        Self::Throttled,
        Self::TimedOut,
        Self::LeaseLost,
        Self::Released,
        Self::Undelivered,
        Self::Cancelled,
    ];

    /// The outcome of an attempt after which the execution went on.
    #[must_use]
    pub const fn of_requeue(cause: RequeueCause) -> Self {
        match cause {
            RequeueCause::Failed => Self::Failed,
            RequeueCause::Throttled => Self::Throttled,
            RequeueCause::AttemptTimeout => Self::TimedOut,
            RequeueCause::LeaseLost => Self::LeaseLost,
            RequeueCause::Released => Self::Released,
            RequeueCause::Undelivered => Self::Undelivered,
        }
    }

    /// The outcome of the attempt whose end was the execution's end.
    #[must_use]
    pub const fn of_end(status: Status, reason: EndReason) -> Self {
        match (status, reason) {
            (_, EndReason::WorkerLost) => Self::LeaseLost,
            (_, EndReason::DataDamaged) => Self::Undelivered,
            (Status::Completed, _) => Self::Completed,
            (Status::Cancelled, _) => Self::Cancelled,
            (Status::Timeout, _) => Self::TimedOut,
            (Status::Failed | Status::Queued | Status::Running, _) => Self::Failed,
        }
    }
}

/// A used request id and the executions that answered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRow {
    /// Time of use, milliseconds since the epoch.
    pub at_ms: u64,
    /// The id and its body.
    pub request: RequestKey,
    /// The executions of the answer, in order.
    pub births: Births,
}
