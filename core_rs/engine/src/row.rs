//! Rows: data that is kept beside the log.
//!
//! Owns the rows that decisions write. Data that a replay of the log needs is in the fact; data
//! that only readers need is in a row. Refuses to know encodings and tables: `backlane-wire`
//! encodes rows, and the store declares their families.

use std::sync::Arc;

use strum::VariantArray;

use crate::fact::{Actor, Births, Ended, ErrorRecord, Progress, RequestKey, RequeueCause};
use crate::rules::id::{Birth, ExecutionId};
use crate::rules::run::Action;
use crate::rules::status::{EndReason, Status};

/// Opaque bytes, shared instead of copied.
pub type Bytes = Arc<[u8]>;

/// Largest number of attempt rows that are kept for one execution. The oldest are removed first.
pub const KEPT_ATTEMPTS: u32 = 100;
/// Most bytes that the id and the enqueue time add to a payload.
const STAMP_BYTES: usize = 32;
/// Bytes of the id of a dependency in a payload.
const DEPENDENCY_BYTES: usize = 23;

/// One row that is written or removed in the same commit as its fact.
#[derive(Debug, Clone, PartialEq)]
pub enum Row {
    /// A new execution's payload.
    Payload(Box<PayloadRow>),
    /// The end of an execution.
    Ending(Box<EndingRow>),
    /// A lease that did not end its execution.
    Attempt(Box<AttemptRow>),
    /// The row of an attempt is removed: the execution has too many attempts.
    AttemptDropped {
        /// Birth number of the execution.
        birth: Birth,
        /// Ordinal of the lease.
        ordinal: u32,
    },
    /// A request id that was used.
    Request(Box<RequestRow>),
    /// A recorded action of a run.
    Action(Box<ActionRow>),
    /// An execution came to the dead letters.
    DeadLetter {
        /// Birth number of the execution.
        birth: Birth,
        /// The tenant's name.
        tenant: Arc<str>,
        /// The final status: failed or timed out.
        status: Status,
    },
    /// An execution was taken out of the dead letters.
    DeadLetterDropped {
        /// Birth number of the execution.
        birth: Birth,
    },
    /// All rows of an execution are removed.
    Erased {
        /// Birth number of the execution.
        birth: Birth,
    },
}

impl Row {
    /// The ending; `None` if the row is of another kind.
    #[must_use]
    pub const fn as_ending(&self) -> Option<&EndingRow> {
        match self {
            Self::Ending(ending) => Some(ending),
            Self::Payload(_)
            | Self::Attempt(_)
            | Self::AttemptDropped { .. }
            | Self::Request(_)
            | Self::Action(_)
            | Self::DeadLetter { .. }
            | Self::DeadLetterDropped { .. }
            | Self::Erased { .. } => None,
        }
    }
}

/// The data that a client gave for an execution, in encoded form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Payload {
    /// Names, config and metadata: the part that every view reads.
    pub head: Vec<u8>,
    /// Input and context: the part that workers and FULL views read; `None` if there is neither.
    pub body: Option<Vec<u8>>,
}

impl Payload {
    /// The largest possible size of the payload's row, in bytes, with this many dependencies.
    #[must_use]
    pub fn row_bytes(&self, dependencies: usize) -> u32 {
        let body = self.body.as_ref().map_or(0, Vec::len);
        let added = STAMP_BYTES + dependencies * DEPENDENCY_BYTES;
        u32::try_from(self.head.len() + body + added).unwrap_or(u32::MAX)
    }
}

/// A payload with the id and time that the engine decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadRow {
    /// The id of the execution.
    pub id: ExecutionId,
    /// Time of the enqueue, in milliseconds since the epoch.
    pub queued_at_ms: u64,
    /// The executions that must complete first, in the order in which the client named them.
    pub depends_on: Box<[ExecutionId]>,
    /// The data that the client gave.
    pub payload: Payload,
}

/// How an execution ended.
#[derive(Debug, Clone, PartialEq)]
pub struct EndingRow {
    /// The id of the execution.
    pub id: ExecutionId,
    /// The tenant's name.
    pub tenant: Arc<str>,
    /// The final status: completed, failed, cancelled or timed out.
    pub status: Status,
    /// The reason of the end.
    pub reason: EndReason,
    /// The party that caused the end.
    pub actor: Actor,
    /// Time of the end, in milliseconds since the epoch.
    pub ended_at_ms: u64,
    /// Whether a lease ended with the execution, or with the decision about its end. If so, the
    /// last attempt is part of this row. After such a decision it has a row of its own as well,
    /// which counts: it has the time of the decision. Earlier program versions wrote none.
    pub ended_lease: bool,
    /// The encoded output; present only where the execution completed.
    pub output: Option<Bytes>,
    /// The error; present only where the execution failed or timed out.
    pub error: Option<Box<ErrorRecord>>,
    /// The last state of the execution.
    pub progress: Progress,
}

impl EndingRow {
    /// The row that puts the execution into the dead letters; `None` if it ended otherwise.
    #[must_use]
    pub fn dead_letter(&self) -> Option<Row> {
        self.status.is_dead_letter().then(|| Row::DeadLetter {
            birth: self.id.birth,
            tenant: self.tenant.clone(),
            status: self.status,
        })
    }
}

/// A lease that did not end its execution.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptRow {
    /// Birth number of the execution.
    pub birth: Birth,
    /// Ordinal of the lease, from 1.
    pub ordinal: u32,
    /// Ordinal of the attempt. An attempt that is suspended has several leases.
    pub attempt: u32,
    /// The worker's id.
    pub worker: Arc<str>,
    /// Begin of the lease, in milliseconds since the epoch.
    pub started_at_ms: u64,
    /// End of the lease, in milliseconds since the epoch.
    pub ended_at_ms: u64,
    /// The reason for which the lease ended.
    pub cause: RequeueCause,
    /// The error, where the attempt ended with one.
    pub error: Option<Box<ErrorRecord>>,
    /// Number of actions of the run that were recorded before the lease ended.
    pub actions: u32,
}

/// A recorded action of a run, with its contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionRow {
    /// Birth number of the execution.
    pub birth: Birth,
    /// Number of the action in its run, from 1.
    pub ordinal: u32,
    /// Time of the action, in milliseconds since the epoch.
    pub at_ms: u64,
    /// Ordinal of the attempt.
    pub attempt: u32,
    /// The action.
    pub action: Action,
    /// The contents of the action.
    pub contents: ActionContents,
}

/// The contents of an action, which decisions do not need.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActionContents {
    /// Name, hashes and errors, in encoded form.
    pub details: Box<[u8]>,
    /// The input, the output or the value.
    pub body: Option<Bytes>,
    /// The number of the action that has the body instead: an input that was kept.
    pub body_of: Option<u32>,
    /// The child that the step spawned.
    pub child: Option<ExecutionId>,
}

impl ActionContents {
    /// The bytes that count toward the limit on a run.
    #[must_use]
    pub fn bytes(&self) -> u32 {
        let body = self.body.as_ref().map_or(0, |body| body.len());
        u32::try_from(self.details.len().saturating_add(body)).unwrap_or(u32::MAX)
    }
}

/// The outcome of an attempt, as users see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
#[repr(u8)]
pub enum AttemptOutcome {
    /// The lease is live.
    Running = 1,
    /// The output was accepted.
    Completed = 2,
    /// The worker reported an error.
    Failed = 3,
    /// The worker asked for a later retry.
    Throttled = 4,
    /// The attempt ran into its timeout, or the execution into its deadline.
    TimedOut = 5,
    /// The worker fell silent.
    LeaseLost = 6,
    /// The worker released the execution.
    Released = 7,
    /// The lease never arrived at a worker.
    Undelivered = 8,
    /// The execution was cancelled.
    Cancelled = 9,
    /// The worker suspended the execution.
    Suspended = 10,
}

impl AttemptOutcome {
    /// Every outcome.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The outcome of an attempt whose execution was queued again.
    #[must_use]
    pub const fn of_requeue(cause: RequeueCause) -> Self {
        match cause {
            RequeueCause::Failed => Self::Failed,
            RequeueCause::Throttled => Self::Throttled,
            RequeueCause::AttemptTimeout => Self::TimedOut,
            RequeueCause::LeaseLost => Self::LeaseLost,
            RequeueCause::Released => Self::Released,
            RequeueCause::Undelivered => Self::Undelivered,
            RequeueCause::Suspended => Self::Suspended,
            RequeueCause::Cancelled => Self::Cancelled,
        }
    }

    /// The outcome of an attempt that ended together with its execution.
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

impl RequeueCause {
    /// The cause in the row of an attempt whose end decided the end of the execution, where that
    /// waits for descendants. Readers see the same outcome as that of an attempt which ended
    /// together with its execution.
    pub(crate) const fn of_end(ended: Ended) -> Self {
        match (ended.status, ended.reason) {
            (_, EndReason::WorkerLost) => Self::LeaseLost,
            (_, EndReason::DataDamaged) => Self::Undelivered,
            (Status::Cancelled, _) => Self::Cancelled,
            (Status::Timeout, _) => Self::AttemptTimeout,
            (Status::Failed | Status::Completed | Status::Queued | Status::Running, _) => {
                Self::Failed
            }
        }
    }
}

/// A request id that was used, and the executions of its reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRow {
    /// Time of the use, in milliseconds since the epoch.
    pub at_ms: u64,
    /// The hashes of the request id and of its body.
    pub request: RequestKey,
    /// The executions of the reply, in order.
    pub births: Births,
}
