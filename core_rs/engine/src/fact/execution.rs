//! Facts about executions.
//!
//! Owns the life of an execution: everything that is kept of an unfinished one, and every change
//! that can befall it. Refuses to hold what only rows need: inputs, outputs and errors are in
//! [`crate::row`].

use std::sync::Arc;

use crate::fact::{Actor, RequestKey};
use crate::rules::id::{Birth, ExecutionId, LeaseToken};
use crate::rules::retry::{Category, Retry};
use crate::rules::status::{EndReason, Phase, Status};

/// A change of one execution.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecutionFact {
    /// Birth number of the execution.
    pub birth: Birth,
    /// The change.
    pub change: ExecutionChange,
}

/// What can befall an execution.
#[derive(Debug, Clone, PartialEq)]
pub enum ExecutionChange {
    /// The execution was made.
    Enqueued(Box<Living>),
    /// A walk over the living wrote the execution again; nothing changed.
    Carried(Box<Living>),
    /// The time of the execution came, or its backoff is over: ready from now on.
    Due,
    /// A worker holds the execution.
    Leased {
        /// The lease.
        holding: Holding,
        /// Ordinal of the attempt.
        attempt: u32,
    },
    /// The lease ended, and the execution is queued again.
    Requeued {
        /// The reason.
        cause: RequeueCause,
        /// While the execution backs off: the end of the backoff.
        next_attempt_at_ms: Option<u64>,
    },
    /// The holder is asked to stop. The envelope says who asks, and when.
    CancelRequested {
        /// The reason.
        reason: EndReason,
    },
    /// The execution is over.
    Ended(Ended),
}

/// Everything that the engine keeps of an unfinished execution. Times that end in `_at_ms` or
/// `_ms` are milliseconds since the epoch, unless the field says otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct Living {
    /// The id, which holds the birth number.
    pub id: ExecutionId,
    /// The tenant's name.
    pub tenant: Arc<str>,
    /// Name of the callable that runs.
    pub callable: Arc<str>,
    /// Higher priorities run sooner.
    pub priority: u8,
    /// Time of the enqueue.
    pub queued_at_ms: u64,
    /// The part of the config that decisions rest on.
    pub policy: Policy,
    /// No worker gets the execution before this time.
    pub not_before_ms: Option<u64>,
    /// The execution times out if no worker has it by this time.
    pub start_deadline_ms: Option<u64>,
    /// The execution times out if it is not finished by this time.
    pub deadline_ms: Option<u64>,
    /// At most one living execution of a tenant has this key.
    pub dedup_key: Option<Box<str>>,
    /// The request that made the execution. Present in the fact of the birth alone.
    pub request: Option<RequestKey>,
    /// Encoded size of the payload, bytes.
    pub payload_bytes: u32,
    /// Everything that changed since the birth.
    pub progress: Progress,
}

/// The part of a config that decisions rest on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// Longest run of one attempt, milliseconds.
    pub timeout_ms: u64,
    /// Number of lost leases that ends the execution.
    pub max_worker_losses: u32,
    /// The retry rule; `None` means that nothing is retried.
    pub retry: Option<Retry>,
}

/// Everything that changes over an execution's life.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// The one state. Status, task state and run state are derived from it.
    pub phase: Phase,
    /// Ordinal of the newest attempt, 0 before the first.
    pub attempt: u32,
    /// Attempts that failed or timed out.
    pub spent: u32,
    /// Leases whose worker fell silent.
    pub losses: u8,
    /// Leases that no worker ever acknowledged.
    pub undelivered: u8,
    /// 1 at birth, and one more for each change.
    pub version: u32,
    /// Time of the newest change.
    pub updated_at_ms: u64,
    /// Start of the newest attempt.
    pub started_at_ms: Option<u64>,
    /// End of the backoff, while the execution backs off.
    pub next_attempt_at_ms: Option<u64>,
    /// The live lease.
    pub holding: Option<Holding>,
    /// The worker that held the newest ended lease.
    pub last_worker: Option<Arc<str>>,
    /// Ordinal of the newest attempt that went wrong with an error and was followed by another.
    /// The row of that attempt has the error.
    pub last_failed: Option<u32>,
    /// The request to stop, once somebody asked.
    pub cancel: Option<CancelAsked>,
    /// The newest report of a holder.
    pub outcome: Option<Outcome>,
}

impl Progress {
    /// The progress of an execution at its birth.
    #[must_use]
    pub const fn newborn(phase: Phase, at_ms: u64) -> Self {
        Self {
            phase,
            attempt: 0,
            spent: 0,
            losses: 0,
            undelivered: 0,
            version: 1,
            updated_at_ms: at_ms,
            started_at_ms: None,
            next_attempt_at_ms: None,
            holding: None,
            last_worker: None,
            last_failed: None,
            cancel: None,
            outcome: None,
        }
    }
}

/// A live lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// The proof that the holder shows with every command.
    pub token: LeaseToken,
    /// The holder's id.
    pub worker: Arc<str>,
    /// Name of the principal that took the lease; empty where no identity is configured.
    pub principal: Arc<str>,
    /// The lease period, milliseconds.
    pub duration_ms: u64,
}

/// A holder's report, kept so that its repetition is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Token of the lease that the report ended.
    pub token: LeaseToken,
    /// The kind of report.
    pub kind: OutcomeKind,
}

/// The kinds of reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum OutcomeKind {
    /// A result.
    Completed = 1,
    /// An error.
    Failed = 2,
    /// The execution was given back.
    Released = 3,
}

impl OutcomeKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Completed, Self::Failed, Self::Released];

    /// The kind of a number on disk.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u32 == number)
    }
}

/// The reasons for which a lease ends while its execution goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum RequeueCause {
    /// The holder reported an error. Spends an attempt.
    Failed = 1,
    /// The holder asked to be called again later. Spends nothing.
    Throttled = 2,
    /// The attempt ran too long. Spends an attempt.
    AttemptTimeout = 3,
    /// The holder fell silent. Counts as a worker loss.
    LeaseLost = 4,
    /// The holder gave the execution back.
    Released = 5,
    /// The lease never arrived at a worker.
    Undelivered = 6,
}

impl RequeueCause {
    /// Every cause.
    pub const ALL: [Self; 6] = [
        Self::Failed,
        Self::Throttled,
        Self::AttemptTimeout,
        Self::LeaseLost,
        Self::Released,
        Self::Undelivered,
    ];

    /// The cause of a number on disk.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| *cause as u32 == number)
    }

    /// The holder's report, where a report ended the lease.
    #[must_use]
    pub const fn outcome(self) -> Option<OutcomeKind> {
        match self {
            Self::Failed | Self::Throttled => Some(OutcomeKind::Failed),
            Self::Released => Some(OutcomeKind::Released),
            Self::AttemptTimeout | Self::LeaseLost | Self::Undelivered => None,
        }
    }

    /// Whether the attempt ended with an error, which the attempt's row keeps.
    #[must_use]
    pub const fn has_error(self) -> bool {
        match self {
            Self::Failed | Self::Throttled | Self::AttemptTimeout => true,
            Self::LeaseLost | Self::Released | Self::Undelivered => false,
        }
    }
}

/// A request that a running execution stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelAsked {
    /// Time of the request.
    pub at_ms: u64,
    /// The reason.
    pub reason: EndReason,
    /// The party that asked.
    pub actor: Actor,
}

/// The end of an execution. The envelope says who brought it about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// One of the four ends.
    pub status: Status,
    /// The reason.
    pub reason: EndReason,
    /// The holder's report, where a report ended the execution.
    pub outcome: Option<OutcomeKind>,
}

/// An error as it is kept in rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorRecord {
    /// The kind of trouble.
    pub category: Category,
    /// A message for people.
    pub message: Box<str>,
    /// A short name for programs.
    pub code: Option<Box<str>>,
    /// Ordinal of the attempt that went wrong; 0 where no attempt ever started.
    pub attempt: u32,
    /// Time at which the error was accepted.
    pub occurred_at_ms: u64,
    /// Everything else that the worker reported, opaque.
    pub extra: Box<[u8]>,
}
