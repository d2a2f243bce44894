//! Commands: the questions and orders that the engine takes.
//!
//! Owns the shape of validated commands. Refuses to know the messages they came in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::fact::{Actor, Births, Outcome, OutcomeKind, Policy, RequestKey};
use crate::row::{Bytes, Payload};
use crate::rules::access::{TenantScope, VisibleTenant};
use crate::rules::id::{Birth, ExecutionId, LeaseToken};
use crate::rules::retry::Category;
use crate::rules::status::Status;

/// One execution to make. The wire checked the field rules.
#[derive(Debug, Clone, PartialEq)]
pub struct NewExecution {
    /// The tenant of the execution.
    pub tenant: VisibleTenant,
    /// Name of the callable to run.
    pub callable: Arc<str>,
    /// Higher priorities run sooner.
    pub priority: u8,
    /// The part of the config that decisions rest on.
    pub policy: Policy,
    /// No worker gets the execution before this time.
    pub not_before_ms: Option<u64>,
    /// The execution times out if no worker has it by this time.
    pub start_deadline_ms: Option<u64>,
    /// The execution times out if it is not finished by this time.
    pub deadline_ms: Option<u64>,
    /// The request id that came with the execution.
    pub request: Option<Request>,
    /// At most one living execution of a tenant has this key.
    pub dedup_key: Option<Box<str>>,
    /// What happens if a living execution has the key already.
    pub dedup_policy: DedupPolicy,
    /// Everything that the engine keeps for readers and does not look at.
    pub payload: Payload,
    /// The caller's identity.
    pub actor: Actor,
    /// The random part of the new id: randomness is an input.
    pub random: IdRandom,
}

/// The random part of an id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IdRandom {
    /// See [`ExecutionId::salt`].
    pub salt: u16,
    /// See [`ExecutionId::random`].
    pub random: u64,
}

/// A request id as it was sent, and hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The text, for messages.
    pub id: Box<str>,
    /// The hashes, for look-ups.
    pub key: RequestKey,
}

/// What happens when a living execution has the same dedup key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum DedupPolicy {
    /// Answer it.
    #[default]
    ReturnExisting = 1,
    /// Refuse.
    Reject = 2,
    /// End it as replaced; if it is leased, answer it.
    ReplaceQueued = 3,
}

impl DedupPolicy {
    /// Every policy.
    pub const ALL: [Self; 3] = [Self::ReturnExisting, Self::Reject, Self::ReplaceQueued];

    /// The policy of that number on the wire.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|policy| *policy as u32 == number)
    }
}

/// The callables a worker offers, and the tenants it serves.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct OfferSpec {
    /// Exact names, `prefix.*`, or `*`.
    pub callables: BTreeSet<Box<str>>,
    /// Whom it serves.
    pub tenants: TenantScope,
}

impl OfferSpec {
    /// Whether an execution of that tenant and callable is offered.
    #[must_use]
    pub fn matches(&self, tenant: &str, callable: &str) -> bool {
        self.tenants.includes(tenant) && self.offers(callable)
    }

    fn offers(&self, callable: &str) -> bool {
        let prefixes = |pattern: &str| {
            pattern.strip_suffix('*').is_some_and(|prefix| {
                (prefix.is_empty() || prefix.ends_with('.')) && callable.starts_with(prefix)
            })
        };
        self.callables.contains(callable) || self.callables.iter().any(|known| prefixes(known))
    }
}

/// Names an offer the engine knows.
pub type OfferKey = u32;
/// Names a worker's stream.
pub type StreamKey = u64;

/// A worker that could take executions now.
#[derive(Debug, Clone)]
pub struct Taker {
    /// Who.
    pub worker: Arc<str>,
    /// What it offers.
    pub offer: OfferKey,
    /// The lease period, milliseconds.
    pub duration_ms: u64,
    /// Name of the principal that takes the leases; empty where no identity is configured.
    pub principal: Arc<str>,
    /// The stream that the leases go over; `None` for a unary call.
    pub stream: Option<StreamKey>,
}

/// One execution and the token its holder shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Which.
    pub id: ExecutionId,
    /// `None` for a text that is no token: it is stale.
    pub token: Option<LeaseToken>,
}

/// What the holder of a lease reports.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// A result, opaque.
    Completed(Bytes),
    /// An error.
    Failed(Box<Failure>),
    /// Nothing: it gives the execution back.
    Released,
}

impl Report {
    /// What kind of report.
    #[must_use]
    pub const fn kind(&self) -> OutcomeKind {
        match self {
            Self::Completed(_) => OutcomeKind::Completed,
            Self::Failed(_) => OutcomeKind::Failed,
            Self::Released => OutcomeKind::Released,
        }
    }
}

/// An error as a worker reports it.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// What kind of trouble.
    pub category: Category,
    /// For people.
    pub message: Box<str>,
    /// A short name for programs.
    pub code: Option<Box<str>>,
    /// What else was reported, opaque.
    pub extra: Box<[u8]>,
    /// False where the error itself forbids a retry.
    pub retryable: bool,
    /// Takes the place of the computed delay.
    pub retry_after_ms: Option<u64>,
    /// Spend nothing.
    pub throttled: bool,
}

/// Somebody's wish to stop an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancel {
    /// The tenant of the execution.
    pub tenant: VisibleTenant,
    /// Which.
    pub id: ExecutionId,
    /// Who asks.
    pub actor: Actor,
}

/// The outcome of looking for a row that is not in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read<T> {
    /// The row is there.
    Found(T),
    /// There is no such row.
    Absent,
    /// The row is damaged; the text names the row and the damage.
    Damaged(Box<str>),
}

/// What a decision rests on besides memory: read by the runtime, passed in.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Executions that are not in memory.
    pub finished: BTreeMap<Birth, Read<Finished>>,
    /// Request ids that are not in memory.
    pub requests: BTreeMap<[u8; 16], Read<KnownRequest>>,
}

/// What a decision needs of a finished execution. It never changes again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Its id.
    pub id: ExecutionId,
    /// The tenant's name.
    pub tenant: Arc<str>,
    /// How it ended.
    pub status: Status,
    /// What the newest reporting holder reported.
    pub outcome: Option<Outcome>,
}

/// A request id from the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownRequest {
    /// Hash of the body it came with.
    pub body: [u8; 16],
    /// What it made or met.
    pub births: Births,
}

/// What must be read before a command can be decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Executions that are not in memory: finished, or never were.
    pub finished: Vec<Birth>,
    /// Request ids that may be in the store.
    pub requests: Vec<[u8; 16]>,
}

impl Needs {
    /// Whether memory is enough.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.finished.is_empty() && self.requests.is_empty()
    }
}
