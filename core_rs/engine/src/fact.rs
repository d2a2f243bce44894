//! The facts: all that is ever decided, and all that a fold needs.
//!
//! Owns their shape in memory. Refuses to know how they are written to disk; `backlane-wire`
//! does. A fact carries everything decided (ids, tokens, delays, instants), so that replaying it
//! decides nothing again.

use std::sync::Arc;

use crate::rules::id::{Birth, ExecutionId, LeaseToken};
use crate::rules::retry::{Category, Retry};
use crate::rules::status::{ActorKind, EndReason, Phase, Status};

/// One decided fact.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// When, in milliseconds since the epoch; never less than the fact's before it.
    pub at_ms: u64,
    /// What.
    pub kind: FactKind,
}

/// What can be decided.
#[derive(Debug, Clone, PartialEq)]
pub enum FactKind {
    /// An execution was made.
    Enqueued(Box<Living>),
    /// A walk over the living wrote this one again; nothing changed.
    Carried(Box<Living>),
    /// Its time came: ready from now on.
    Due(Birth),
    /// A worker holds it.
    Leased {
        /// Which.
        birth: Birth,
        /// The lease.
        holding: Holding,
        /// Ordinal of the attempt.
        attempt: u32,
    },
    /// A lease ended and it is queued again.
    Requeued {
        /// Which.
        birth: Birth,
        /// Why.
        cause: RequeueCause,
        /// While it backs off: until when.
        next_attempt_at_ms: Option<u64>,
        /// What went wrong.
        error: Option<Box<ErrorRecord>>,
    },
    /// A running execution is asked to stop.
    CancelRequested {
        /// Which.
        birth: Birth,
        /// By whom.
        cancel: CancelAsked,
    },
    /// It is over.
    Ended(Box<Ended>),
    /// A limit on running executions was set or lifted.
    LimitSet {
        /// Whose.
        tenant: Arc<str>,
        /// Of one callable, or of the tenant as a whole.
        callable: Option<Arc<str>>,
        /// `None` lifts it.
        max_running: Option<u32>,
    },
    /// Everything living that was born before `next_birth` is carried at or after this fact.
    RoundBegan {
        /// Birth number of the next execution.
        next_birth: Birth,
    },
    /// A request id that no birth carries, standing for what was answered: a batch's, or that of
    /// a request that met a living execution.
    BatchAccepted {
        /// The id and its body.
        request: RequestKey,
        /// What was answered, in order.
        births: Births,
    },
}

/// All that the engine keeps of an unfinished execution.
#[derive(Debug, Clone, PartialEq)]
pub struct Living {
    /// Its id, birth number included.
    pub id: ExecutionId,
    /// Whose.
    pub tenant: Arc<str>,
    /// What runs.
    pub callable: Arc<str>,
    /// Higher runs sooner.
    pub priority: u8,
    /// Enqueued at; milliseconds since the epoch, like every `_ms` instant here.
    pub queued_at_ms: u64,
    /// The part of its config that decisions rest on.
    pub policy: Policy,
    /// Not leased before.
    pub not_before_ms: Option<u64>,
    /// Must be leased before.
    pub start_deadline_ms: Option<u64>,
    /// Must be finished before.
    pub deadline_ms: Option<u64>,
    /// One living execution per tenant and key.
    pub dedup_key: Option<Box<str>>,
    /// The request that made it; known at birth alone.
    pub request: Option<RequestKey>,
    /// Encoded size of what it was made with, bytes.
    pub payload_bytes: u32,
    /// What changed since birth.
    pub progress: Progress,
}

/// The part of a config that decisions rest on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// Longest run of one attempt, milliseconds.
    pub timeout_ms: u64,
    /// Lost leases that end it.
    pub max_worker_losses: u32,
    /// The retry rule, if any.
    pub retry: Option<Retry>,
}

/// What changes over an execution's life.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// The one state; the views are derived from it.
    pub phase: Phase,
    /// Ordinal of the newest attempt, 0 before the first.
    pub attempt: u32,
    /// Attempts that failed or timed out.
    pub spent: u32,
    /// Leases lost.
    pub losses: u8,
    /// Leases that no worker ever acknowledged.
    pub undelivered: u8,
    /// 1 at birth and one more per change.
    pub version: u32,
    /// Of the newest change.
    pub updated_at_ms: u64,
    /// Start of the newest attempt.
    pub started_at_ms: Option<u64>,
    /// While it backs off: until when.
    pub next_attempt_at_ms: Option<u64>,
    /// The live lease.
    pub holding: Option<Holding>,
    /// The worker that held it last.
    pub last_worker: Option<Arc<str>>,
    /// Somebody asked it to stop.
    pub cancel: Option<CancelAsked>,
    /// What the newest reporting holder reported.
    pub outcome: Option<Outcome>,
}

impl Progress {
    /// At birth.
    #[must_use]
    pub fn newborn(phase: Phase, at_ms: u64) -> Self {
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
            cancel: None,
            outcome: None,
        }
    }
}

/// A live lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// What its holder shows.
    pub token: LeaseToken,
    /// The holder.
    pub worker: Arc<str>,
    /// The lease period, milliseconds.
    pub duration_ms: u64,
}

/// What a holder reported, so that repeating it is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Of the lease it ended.
    pub token: LeaseToken,
    /// What was reported.
    pub kind: OutcomeKind,
}

/// What a holder can report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum OutcomeKind {
    /// A result.
    Completed = 1,
    /// An error.
    Failed = 2,
    /// Nothing: it gave the execution back.
    Released = 3,
}

impl OutcomeKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Completed, Self::Failed, Self::Released];

    /// The kind of that number on disk.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u32 == number)
    }
}

/// Why a lease ended without an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum RequeueCause {
    /// The holder's error; spends an attempt.
    Failed = 1,
    /// The holder asks for patience.
    Throttled = 2,
    /// The attempt ran too long; spends an attempt.
    AttemptTimeout = 3,
    /// The holder fell silent; a worker loss.
    LeaseLost = 4,
    /// The holder gave it back.
    Released = 5,
    /// The lease never arrived.
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

    /// The cause of that number on disk.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| *cause as u32 == number)
    }

    /// What the holder reported, where it was the holder's doing.
    #[must_use]
    pub const fn outcome(self) -> Option<OutcomeKind> {
        match self {
            Self::Failed | Self::Throttled => Some(OutcomeKind::Failed),
            Self::Released => Some(OutcomeKind::Released),
            _ => None,
        }
    }
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// What kind of party.
    pub kind: ActorKind,
    /// A worker's id, a principal's name; empty for the clock and the engine.
    pub id: Box<str>,
}

impl Actor {
    /// A deadline or timeout.
    #[must_use]
    pub fn clock() -> Self {
        Self {
            kind: ActorKind::Clock,
            id: Box::default(),
        }
    }

    /// Somebody with an identity.
    #[must_use]
    pub fn named(kind: ActorKind, id: &str) -> Self {
        Self {
            kind,
            id: id.into(),
        }
    }
}

/// Somebody asked a running execution to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelAsked {
    /// When.
    pub at_ms: u64,
    /// Why.
    pub reason: EndReason,
    /// Who.
    pub actor: Actor,
}

/// How an execution ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// Which.
    pub birth: Birth,
    /// One of the four ends.
    pub status: Status,
    /// Why.
    pub reason: EndReason,
    /// Who.
    pub actor: Actor,
    /// The result, opaque; exactly where completed.
    pub output: Option<Arc<[u8]>>,
    /// Exactly where failed or timed out.
    pub error: Option<Box<ErrorRecord>>,
    /// What the holder reported, where its report ended it.
    pub outcome: Option<OutcomeKind>,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorRecord {
    /// What kind of trouble.
    pub category: Category,
    /// For people.
    pub message: Box<str>,
    /// A short name for programs.
    pub code: Option<Box<str>>,
    /// The attempt it happened in; 0 where none ever started.
    pub attempt: u32,
    /// When it was accepted.
    pub occurred_at_ms: u64,
    /// What else the worker reported, opaque.
    pub extra: Box<[u8]>,
}

/// A request id, hashed with its tenant and method, and the hash of the body it came with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestKey {
    /// Of the id.
    pub key: [u8; 16],
    /// Of the body.
    pub body: [u8; 16],
}

/// The executions a request made or met, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Births {
    /// So many from the first on: all were new.
    Run {
        /// The first.
        first: Birth,
        /// How many.
        count: u32,
    },
    /// Any others.
    List(Box<[Birth]>),
}

impl Births {
    /// The shortest form of those births.
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

    /// Each of them, in order.
    #[must_use]
    pub fn to_vec(&self) -> Vec<Birth> {
        match self {
            Self::Run { first, count } => (*first..first + u64::from(*count)).collect(),
            Self::List(births) => births.to_vec(),
        }
    }
}
