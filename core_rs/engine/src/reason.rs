//! Reasons: why an execution waits, with values.
//!
//! Owns the shape of an explanation. Refuses to know which reasons hold: the admission function
//! says so, and [`crate::Engine::explain`] asks it.

use std::sync::Arc;

use crate::command::{OfferKey, StreamKey};
use crate::fact::{CancelAsked, Ended, PauseAsked};
use crate::rules::id::ExecutionId;
use crate::rules::status::Status;

/// Most executions that a count goes up to.
pub const MOST_COUNTED: usize = 1_000;
/// Most ids that a reason names.
pub const MOST_NAMED: usize = 100;
/// Most holders of a limit that a reason names.
pub const MOST_HOLDERS: usize = 10;

/// A worker that offers callables now: a call that waits, or one lane of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offering {
    /// The worker's id.
    pub worker: Arc<str>,
    /// What it offers.
    pub offer: OfferKey,
    /// The number of leases that it could take now.
    pub free: u64,
    /// The stream of the worker; `None` for a unary call.
    pub stream: Option<StreamKey>,
}

/// Why an unfinished execution waits.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The tenant's name.
    pub tenant: Arc<str>,
    /// Name of the callable.
    pub callable: Arc<str>,
    /// The status of the execution.
    pub status: Status,
    /// The version of the execution.
    pub version: u32,
    /// The reasons, the most decisive first. Where there is none, the next free worker gets the
    /// execution.
    pub reasons: Vec<Reason>,
    /// When an attempt probably starts; `None` where nothing is known about that.
    pub start: Option<Start>,
}

/// A range of the time until an attempt starts, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// The shortest time.
    pub earliest_ms: u64,
    /// The longest time; `None` where it is unknown how many executions are ahead.
    pub latest_ms: Option<u64>,
}

/// A number that is exact up to [`MOST_COUNTED`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounded {
    /// The number, or the bound.
    pub count: u64,
    /// Whether there are more.
    pub more: bool,
}

impl Bounded {
    /// Counts items, as far as the bound.
    pub fn of(items: impl Iterator) -> Self {
        Self::from_count(items.take(MOST_COUNTED + 1).count())
    }

    /// The number, cut at the bound.
    #[must_use]
    pub fn from_count(count: usize) -> Self {
        Self {
            count: count.min(MOST_COUNTED) as u64,
            more: count > MOST_COUNTED,
        }
    }
}

/// One reason. Times that end in `_at_ms` are milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq)]
pub enum Reason {
    /// The state of the execution contradicts itself, so nothing is decided about the execution
    /// before the next start of the server.
    SetAside {
        /// The contradiction.
        why: Box<str>,
    },
    /// The execution is scheduled for later.
    NotDue {
        /// The time for which it is scheduled.
        until_at_ms: u64,
    },
    /// Dependencies have not completed.
    AwaitsDependencies {
        /// The unfinished ones, at most [`MOST_NAMED`].
        unmet: Vec<(ExecutionId, Status)>,
        /// The number of unfinished ones. 0 while the end of the last one is still being followed.
        count: u64,
    },
    /// The execution backs off after an attempt.
    BackingOff {
        /// End of the backoff, as it was decided.
        until_at_ms: u64,
        /// Ordinal of the newest attempt that went wrong.
        attempt: Option<u32>,
    },
    /// A client paused the execution.
    Paused {
        /// Who did, and when; `None` where the log does not tell.
        pause: Option<PauseAsked>,
    },
    /// The execution waits without a worker. Any of the waits ends that.
    Suspended {
        /// What it waits for.
        waits: Vec<Awaited>,
    },
    /// A worker holds the execution.
    Running(Running),
    /// The end is decided and waits for descendants.
    AwaitsChildren {
        /// The end.
        ended: Ended,
        /// Some of the unfinished descendants, at most [`MOST_NAMED`].
        descendants: Vec<ExecutionId>,
        /// The number of unfinished descendants.
        count: Bounded,
    },
    /// The tenant is at its limit on running executions.
    TenantLimit(LimitReached),
    /// The callable is at its limit on running executions.
    CallableLimit(LimitReached),
    /// No live worker offers the callable for the tenant.
    NoWorker {
        /// When a worker last did, since the start of the server and as far as that is kept.
        last_at_ms: Option<u64>,
    },
    /// The execution is withheld from the workers with a free slot: they released it, or many
    /// others, a moment ago.
    Withheld {
        /// One such worker.
        worker: Arc<str>,
        /// End of the pause; `None` where it depends on several pauses.
        until_at_ms: Option<u64>,
    },
    /// No worker that offers the callable has a free slot.
    SlotsTaken {
        /// Number of workers that offer it.
        workers: u64,
        /// Number of executions that they hold.
        held: u64,
    },
    /// Other executions of the tenant come first.
    Ahead(Bounded),
    /// Other tenants are served first.
    Turn(Bounded),
}

/// A wait of a suspended execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Awaited {
    /// The key of the input that ends the wait.
    pub key: Option<Box<str>>,
    /// The time that ends the wait.
    pub until_at_ms: Option<u64>,
    /// The child whose end ends the wait, while it is unfinished.
    pub child: Option<ExecutionId>,
}

/// A live lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// The worker's id.
    pub worker: Arc<str>,
    /// Ordinal of the attempt.
    pub attempt: u32,
    /// Begin of the lease.
    pub since_at_ms: u64,
    /// The request to stop, where one was made.
    pub cancel: Option<CancelAsked>,
    /// Whether the worker is asked to yield to a pause.
    pub pause_requested: bool,
    /// Whether the attempt begins only when the worker has a free slot.
    pub waits_at_worker: bool,
}

/// A limit that is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitReached {
    /// The largest number of running executions.
    pub limit: u64,
    /// The number of running executions.
    pub running: u64,
    /// Some of them, at most [`MOST_HOLDERS`].
    pub holders: Vec<ExecutionId>,
}
