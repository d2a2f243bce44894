//! Facts about executions.
//!
//! Owns the data of an unfinished execution and every change of an execution. Refuses to hold data
//! that only rows need: inputs, outputs and errors are in [`crate::row`].

use std::sync::Arc;

use strum::VariantArray;

use crate::fact::{Actor, RequestKey};
use crate::rules::id::{Birth, ExecutionId, LeaseToken};
use crate::rules::retry::{Category, Retry};
use crate::rules::status::{Cancellation, EndReason, Phase, Status};
use crate::time::Now;

/// A change of one execution.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecutionFact {
    /// Birth number of the execution.
    pub birth: Birth,
    /// The change of the execution.
    pub change: ExecutionChange,
}

/// The changes of an execution.
#[derive(Debug, Clone, PartialEq)]
pub enum ExecutionChange {
    /// The execution was enqueued.
    Enqueued(Box<Living>),
    /// A round wrote the execution to the log again; nothing changed.
    Carried(Box<Living>),
    /// The scheduled time or the end of the backoff was reached: the execution is ready from now
    /// on.
    Due,
    /// A worker leased the execution.
    Leased {
        /// The new lease.
        holding: Holding,
        /// Ordinal of the attempt.
        attempt: u32,
    },
    /// The lease ended, and the execution is queued again.
    Requeued {
        /// The reason for which the lease ended.
        cause: RequeueCause,
        /// The backoff before the next attempt, if there is one.
        backoff: Option<Backoff>,
        /// Whether the worker gave the lease back before it began the attempt: one that was
        /// suspended then goes on with its rest.
        is_unbegun: bool,
    },
    /// The worker that holds the execution is asked to stop. The fact says who asks, and when.
    CancelRequested {
        /// The reason for the request to stop.
        reason: EndReason,
    },
    /// The execution ended.
    Ended(Ended),
    /// The last dependency completed.
    Promoted {
        /// Whether the execution is ready from now on. Otherwise it waits for its time.
        is_due: bool,
    },
    /// An execution that is over was taken out of the dead letters. The state holds nothing of it.
    Discarded,
    /// An execution that is over was deleted, with all its rows. The state holds nothing of it.
    Deleted,
    /// How the execution ends is decided, and it ends once its last descendant has ended.
    Concluded(Box<Verdict>),
}

impl ExecutionChange {
    /// Whether the fact holds the whole execution. Every other fact changes one that is known.
    #[must_use]
    pub const fn holds_the_execution(&self) -> bool {
        match self {
            Self::Enqueued(_) | Self::Carried(_) => true,
            Self::Due
            | Self::Leased { .. }
            | Self::Requeued { .. }
            | Self::CancelRequested { .. }
            | Self::Ended(_)
            | Self::Promoted { .. }
            | Self::Discarded
            | Self::Deleted
            | Self::Concluded(_) => false,
        }
    }
}

/// Everything that the engine keeps of an unfinished execution. Times that end in `_at_ms` or
/// `_ms` are milliseconds since the epoch, unless the field says otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct Living {
    /// The id, which holds the birth number.
    pub id: ExecutionId,
    /// The tenant's name.
    pub tenant: Arc<str>,
    /// Name of the callable to run.
    pub callable: Arc<str>,
    /// Priority, 0 to 255. A higher priority runs sooner.
    pub priority: u8,
    /// Time of the enqueue.
    pub queued_at_ms: u64,
    /// The part of the config that decisions use.
    pub policy: Policy,
    /// No worker gets the execution before this time.
    pub not_before_ms: Option<u64>,
    /// The execution times out if no worker has leased it by this time.
    pub start_deadline_ms: Option<u64>,
    /// The execution times out if it is not finished by this time.
    pub deadline_ms: Option<u64>,
    /// The dedup key: at most one unfinished execution of a tenant has this key.
    pub dedup_key: Option<Box<str>>,
    /// The executions that a blocked one waits for. Those that completed meanwhile are still named.
    pub waits_for: Box<[Birth]>,
    /// The replaced executions whose dependents wait for this one instead.
    pub stands_for: Box<[Birth]>,
    /// The ancestors that were unfinished when the execution was spawned, the nearest first.
    pub ancestors: Box<[Birth]>,
    /// How the execution ends once its last descendant has ended.
    pub verdict: Option<Box<Verdict>>,
    /// The request that created the execution. Present only in the fact of the birth.
    pub request: Option<RequestKey>,
    /// Encoded size of the payload, in bytes.
    pub payload_bytes: u32,
    /// Birth number of the execution that this one redrives.
    pub retried_from: Option<Birth>,
    /// All data that changes after the birth.
    pub progress: Progress,
}

impl Living {
    /// The error with which the execution ends once its last descendant has ended.
    #[must_use]
    pub fn verdict_error(&self) -> Option<&ErrorRecord> {
        self.verdict.as_ref()?.error.as_ref()
    }
}

/// The part of a config that decisions use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// Longest run of one attempt, in milliseconds.
    pub timeout_ms: u64,
    /// Number of lost leases that ends the execution.
    pub max_worker_losses: u32,
    /// The retry rule; `None` means that no attempt is retried.
    pub retry: Option<Retry>,
    /// What the end of the execution means for its descendants.
    pub cancellation: Cancellation,
}

/// The data of an execution that changes over its life.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// The phase. Status, task state and run state are derived from the phase.
    pub phase: Phase,
    /// Ordinal of the newest attempt, 0 before the first.
    pub attempt: u32,
    /// Attempts that failed or timed out.
    pub spent: u32,
    /// Leases that were lost because their worker fell silent.
    pub losses: u8,
    /// Leases that no worker ever acknowledged.
    pub undelivered: u8,
    /// Version of the execution: 1 at birth, and one more for each change.
    pub version: u32,
    /// Time of the newest change.
    pub updated_at_ms: u64,
    /// Start of the newest attempt.
    pub started_at_ms: Option<u64>,
    /// The backoff, while the execution backs off.
    pub backoff: Option<Backoff>,
    /// The live lease.
    pub holding: Option<Holding>,
    /// The worker that held the newest ended lease.
    pub last_worker: Option<Arc<str>>,
    /// Ordinal of the newest attempt that went wrong with an error and was followed by another.
    /// The row of that attempt has the error.
    pub last_failed: Option<u32>,
    /// The request to stop, where one was made.
    pub cancel: Option<CancelAsked>,
    /// The newest report of a worker.
    pub outcome: Option<Outcome>,
    /// How often a suspended attempt was leased again. The ordinal of a lease is that of its
    /// attempt plus this number.
    pub resumes: u32,
    /// Whether a client paused the execution.
    pub is_paused: bool,
    /// Begin of the newest lease, where that lease continued a suspended attempt.
    pub leased_at_ms: Option<u64>,
}

impl Progress {
    /// Ordinal of the newest lease, from 1; 0 before the first.
    #[must_use]
    pub const fn lease_ordinal(&self) -> u32 {
        self.attempt.saturating_add(self.resumes)
    }

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
            backoff: None,
            holding: None,
            last_worker: None,
            last_failed: None,
            cancel: None,
            outcome: None,
            resumes: 0,
            is_paused: false,
            leased_at_ms: None,
        }
    }

    /// Begin of the newest lease.
    #[must_use]
    pub fn lease_began_ms(&self) -> Option<u64> {
        self.leased_at_ms.or(self.started_at_ms)
    }
}

/// A pause between two attempts. Its length counts, on the monotonic clock. Its end is shown to
/// users, and tells after a restart how much of the pause is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The length, in milliseconds. A log of an earlier program version does not tell the length:
    /// `u64::MAX` then.
    pub delay_ms: u64,
    /// The wall time at which the pause ends, as decided when the pause began.
    pub until_ms: u64,
}

impl Backoff {
    /// A pause that begins now.
    #[must_use]
    pub const fn from_now(delay_ms: u64, now: Now) -> Self {
        Self {
            delay_ms,
            until_ms: now.wall_ms.saturating_add(delay_ms),
        }
    }
}

/// A live lease: a worker holds the execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// The lease token, which the worker shows with every command about the lease.
    pub token: LeaseToken,
    /// The worker's id.
    pub worker: Arc<str>,
    /// Name of the principal that took the lease; empty where no identity is configured.
    pub principal: Arc<str>,
    /// The lease period, in milliseconds.
    pub duration_ms: u64,
}

/// A worker's report, kept so that its repetition is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Token of the lease that the report ended.
    pub token: LeaseToken,
    /// The kind of the report.
    pub kind: OutcomeKind,
}

/// The kinds of reports of workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
#[repr(u8)]
pub enum OutcomeKind {
    /// The worker completed the execution with an output.
    Completed = 1,
    /// The worker reported an error.
    Failed = 2,
    /// The worker released the execution.
    Released = 3,
    /// The worker suspended the execution.
    Suspended = 4,
}

impl OutcomeKind {
    /// Every kind.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The kind with this number on disk; `None` for any other number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| *one as u32 == number)
    }
}

/// The reasons for which a lease ends while its execution goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
#[repr(u8)]
pub enum RequeueCause {
    /// The worker reported an error. Spends an attempt.
    Failed = 1,
    /// The worker asked for a later retry. Spends no attempt.
    Throttled = 2,
    /// The attempt ran longer than its timeout. Spends an attempt.
    AttemptTimeout = 3,
    /// The worker fell silent. Counts as a worker loss.
    LeaseLost = 4,
    /// The worker released the execution.
    Released = 5,
    /// The lease never arrived at a worker.
    Undelivered = 6,
    /// The worker suspended the execution. Only rows of attempts have this cause: the fact is
    /// [`RunChange::Suspended`](crate::fact::RunChange::Suspended).
    Suspended = 7,
    /// The execution was cancelled, and waits for its descendants. Only rows of attempts have this
    /// cause: the fact is [`ExecutionChange::Concluded`].
    Cancelled = 8,
}

impl RequeueCause {
    /// Every cause.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The cause with this number on disk; `None` for any other number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| *one as u32 == number)
    }

    /// The kind of report that ended the lease; `None` where no report did.
    #[must_use]
    pub const fn outcome(self) -> Option<OutcomeKind> {
        match self {
            Self::Failed | Self::Throttled => Some(OutcomeKind::Failed),
            Self::Released => Some(OutcomeKind::Released),
            Self::Suspended => Some(OutcomeKind::Suspended),
            Self::AttemptTimeout | Self::LeaseLost | Self::Undelivered | Self::Cancelled => None,
        }
    }

    /// Whether only rows of attempts have this cause: no fact queues an execution again for it.
    #[must_use]
    pub const fn is_of_rows(self) -> bool {
        matches!(self, Self::Suspended | Self::Cancelled)
    }

    /// Whether the attempt ended with an error, which the row of the attempt keeps.
    #[must_use]
    pub const fn has_error(self) -> bool {
        match self {
            Self::Failed | Self::Throttled | Self::AttemptTimeout => true,
            Self::LeaseLost
            | Self::Released
            | Self::Undelivered
            | Self::Suspended
            | Self::Cancelled => false,
        }
    }
}

/// A request that a running execution stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelAsked {
    /// Time of the request.
    pub at_ms: u64,
    /// The reason for the request.
    pub reason: EndReason,
    /// The party that asked.
    pub actor: Actor,
}

/// The end of an execution. The fact says who caused it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// The final status: completed, failed, cancelled or timed out.
    pub status: Status,
    /// The reason of the end.
    pub reason: EndReason,
    /// The kind of report that ended the execution; `None` where no report did.
    pub outcome: Option<OutcomeKind>,
}

/// A decided end of an execution that waits for its descendants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The end.
    pub ended: Ended,
    /// The party that caused it.
    pub actor: Actor,
    /// Whether a lease ended with the decision.
    pub ended_lease: bool,
    /// The error, where the execution failed or timed out.
    pub error: Option<ErrorRecord>,
}

/// An error as it is kept in rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorRecord {
    /// The category of the error.
    pub category: Category,
    /// A message for people.
    pub message: Box<str>,
    /// A short name for programs.
    pub code: Option<Box<str>>,
    /// Ordinal of the attempt that failed; 0 where no attempt ever started.
    pub attempt: u32,
    /// Time at which the error was accepted.
    pub occurred_at_ms: u64,
    /// The other fields of the worker's error, in encoded form.
    pub extra: Box<[u8]>,
}
