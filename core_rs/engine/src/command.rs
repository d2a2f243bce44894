//! Commands: the requests that the engine decides.
//!
//! Owns the shape of validated commands. Refuses to know the messages that carry them.

mod run;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use strum::VariantArray;

pub use run::{
    Control, NewAction, NewInput, NewWait, NewWaitEnd, SpawnStep, StepReport, Suspension, TakenStep,
};

use crate::fact::{Actor, Births, Outcome, OutcomeKind, Policy, RequestKey};
use crate::row::{Bytes, Payload};
use crate::rules::access::{TenantScope, VisibleTenant};
use crate::rules::id::{Birth, ExecutionId, LeaseToken};
use crate::rules::retry::Category;
use crate::rules::status::Status;

/// One execution to enqueue. The wire crate has checked the field rules.
#[derive(Debug, Clone, PartialEq)]
pub struct NewExecution {
    /// The tenant of the execution.
    pub tenant: VisibleTenant,
    /// Name of the callable to run.
    pub callable: Arc<str>,
    /// Priority, 0 to 255. A higher priority runs sooner.
    pub priority: u8,
    /// The part of the config that decisions use.
    pub policy: Policy,
    /// No worker gets the execution before this time, in milliseconds since the epoch.
    pub not_before_ms: Option<u64>,
    /// The execution times out if no worker has leased it by this time, in milliseconds since the
    /// epoch.
    pub start_deadline_ms: Option<u64>,
    /// The execution times out if it is not finished by this time, in milliseconds since the epoch.
    pub deadline_ms: Option<u64>,
    /// The request id that the client sent with the execution.
    pub request: Option<Request>,
    /// The dedup key: at most one unfinished execution of a tenant has this key.
    pub dedup_key: Option<Box<str>>,
    /// What happens if an unfinished execution has the dedup key already.
    pub dedup_policy: DedupPolicy,
    /// The executions that must complete first, at most [`MAX_DEPENDENCIES`].
    ///
    /// [`MAX_DEPENDENCIES`]: crate::rules::limits::MAX_DEPENDENCIES
    pub depends_on: Vec<Dependency>,
    /// The execution that spawns this one.
    pub parent: Option<Birth>,
    /// The data that the engine keeps for readers without looking at it.
    pub payload: Payload,
    /// Birth number of the execution that this one redrives.
    pub retried_from: Option<Birth>,
    /// The caller's identity.
    pub actor: Actor,
    /// The random part of the new id. Randomness is an input of the engine.
    pub random: IdRandom,
}

/// An execution that another one depends on, as a request names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dependency {
    /// An execution of the same tenant.
    Execution(ExecutionId),
    /// The execution that an earlier item of the same batch leads to, by the item's position.
    Item(u32),
}

/// The random part of an id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IdRandom {
    /// The random bytes after the birth number: see [`ExecutionId::salt`].
    pub salt: u16,
    /// The random bytes at the end of the id: see [`ExecutionId::random`].
    pub random: u64,
}

/// A request id, as sent and as hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The text of the request id, for error messages.
    pub id: Box<str>,
    /// The hashes of request id and body, for look-ups.
    pub key: RequestKey,
}

/// What happens when an unfinished execution has the same dedup key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, VariantArray)]
#[repr(u8)]
pub enum DedupPolicy {
    /// The reply shows the unfinished execution, and no new execution is enqueued.
    #[default]
    ReturnExisting = 1,
    /// The enqueue is refused.
    Reject = 2,
    /// The unfinished execution ends as replaced. If a worker holds it, the reply shows it instead.
    ReplaceQueued = 3,
}

impl DedupPolicy {
    /// Every policy.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The policy with this number in the API; `None` for any other number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| *one as u32 == number)
    }
}

/// The callables that a worker offers, and the tenants that it serves.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct OfferSpec {
    /// The callables, each an exact name, `prefix.*` or `*`.
    pub callables: BTreeSet<Box<str>>,
    /// The tenants that the worker serves.
    pub tenants: TenantScope,
}

impl OfferSpec {
    /// Whether the offer covers an execution of this tenant and callable.
    #[must_use]
    pub fn matches(&self, tenant: &str, callable: &str) -> bool {
        self.tenants.includes(tenant) && self.offers(callable)
    }

    fn offers(&self, callable: &str) -> bool {
        patterns_of(callable).any(|pattern| self.callables.contains(&*pattern))
    }
}

/// Every pattern that matches a callable: its name, `prefix.*` for each prefix that ends before a
/// dot, and `*`.
pub fn patterns_of(callable: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let dots = callable.match_indices('.');
    let prefixes = dots.map(|(at, _)| Cow::from(format!("{}*", &callable[..=at])));
    [Cow::from(callable), Cow::from("*")]
        .into_iter()
        .chain(prefixes)
}

/// The beginning that all callables have in common that a pattern matches; `None` if the pattern
/// is an exact name.
#[must_use]
pub fn prefix_of(pattern: &str) -> Option<&str> {
    let prefix = pattern.strip_suffix('*')?;
    (prefix.is_empty() || prefix.ends_with('.')).then_some(prefix)
}

/// The number of an offer within one process.
pub type OfferKey = u32;
/// The number of a worker's stream within one process.
pub type StreamKey = u64;

/// A worker that can take executions now.
#[derive(Debug, Clone)]
pub struct Taker {
    /// The worker's id.
    pub worker: Arc<str>,
    /// The offer of the worker.
    pub offer: OfferKey,
    /// The lease period, in milliseconds.
    pub duration_ms: u64,
    /// Name of the principal that takes the leases; empty where no identity is configured.
    pub principal: Arc<str>,
    /// The stream on which the worker receives the leases; `None` for a unary call.
    pub stream: Option<StreamKey>,
    /// Whether the worker has no free slot: it begins the attempt a little later.
    pub prefetches: bool,
}

/// An execution, and the lease token that the worker shows for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Id of the execution.
    pub id: ExecutionId,
    /// The lease token; `None` where the text was not a token, which is treated as a stale token.
    pub token: Option<LeaseToken>,
}

/// The worker's report that ends a lease.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// The output, in encoded form.
    Completed(Bytes),
    /// The error of the attempt.
    Failed(Box<Failure>),
    /// No result: the worker gives the execution back.
    Released,
}

impl Report {
    /// The kind of the report.
    #[must_use]
    pub const fn kind(&self) -> OutcomeKind {
        match self {
            Self::Completed(_) => OutcomeKind::Completed,
            Self::Failed(_) => OutcomeKind::Failed,
            Self::Released => OutcomeKind::Released,
        }
    }
}

/// An error that a worker reports.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The category of the error.
    pub category: Category,
    /// A message for people.
    pub message: Box<str>,
    /// A short name for programs.
    pub code: Option<Box<str>>,
    /// The other fields of the error, in encoded form.
    pub extra: Box<[u8]>,
    /// Whether another attempt may follow. False forbids a retry.
    pub retryable: bool,
    /// Delay before the next attempt, in milliseconds, instead of the computed delay.
    pub retry_after_ms: Option<u64>,
    /// Whether the worker asks for a later retry that does not count as a spent attempt.
    pub throttled: bool,
}

/// A request to stop an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancel {
    /// The tenant of the execution.
    pub tenant: VisibleTenant,
    /// Id of the execution.
    pub id: ExecutionId,
    /// The caller who asks for the cancellation.
    pub actor: Actor,
}

/// A request to take an execution out of the dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discard {
    /// The tenant of the execution.
    pub tenant: VisibleTenant,
    /// Id of the execution.
    pub id: ExecutionId,
    /// The caller who asks for it.
    pub actor: Actor,
}

/// A request to delete an execution that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delete {
    /// The tenant of the execution.
    pub tenant: VisibleTenant,
    /// Id of the execution.
    pub id: ExecutionId,
    /// The caller who asks for it.
    pub actor: Actor,
}

/// A request to enqueue an execution that is over once more, as a new execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redrive {
    /// The tenant of the execution.
    pub tenant: VisibleTenant,
    /// Id of the execution that is over.
    pub id: ExecutionId,
    /// The request id that the client sent.
    pub request: Option<Request>,
    /// The caller who asks for it.
    pub actor: Actor,
}

/// An execution that was skipped, and what it is made anew from.
#[derive(Debug, Clone, PartialEq)]
pub struct Dependent {
    /// Id of the execution that was skipped.
    pub id: ExecutionId,
    /// The new execution. Among its dependencies, item 0 is the execution that is redriven, and the
    /// other items are the dependents in their order.
    pub new: NewExecution,
    /// Whether the old one waited before it was skipped.
    pub has_waited: bool,
}

/// How far an execution has come, as its worker says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProgressReport {
    /// The share of the work that is done, from 0 to 1.
    pub fraction: Option<f64>,
    /// A message for people; may be empty.
    pub message: Box<str>,
}

/// The result of looking for a row that is not in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read<T> {
    /// The row exists.
    Found(T),
    /// No such row exists.
    Absent,
    /// The row is damaged; the text names the row and the damage.
    Damaged(Box<str>),
}

/// What a decision needs besides the state in memory. The runtime reads it and passes it in.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Executions that are not in memory.
    pub finished: BTreeMap<Birth, Read<Finished>>,
    /// Request ids that are not in memory.
    pub requests: BTreeMap<[u8; 16], Read<KnownRequest>>,
}

/// The part of a finished execution that decisions need. It never changes again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Id of the execution.
    pub id: ExecutionId,
    /// The tenant's name.
    pub tenant: Arc<str>,
    /// The final status of the execution.
    pub status: Status,
    /// The newest report of a worker about the execution.
    pub outcome: Option<Outcome>,
}

/// A request id that was read from the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownRequest {
    /// Hash of the body that came with the request id.
    pub body: [u8; 16],
    /// The executions that the request enqueued or found.
    pub births: Births,
}

/// What the runtime must read before a command can be decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Executions that are not in memory: they have finished or never existed.
    pub finished: Vec<Birth>,
    /// Hashed request ids that may be in the store.
    pub requests: Vec<[u8; 16]>,
}

impl Needs {
    /// These and others, each once.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.finished.extend(others.finished);
        self.finished.sort_unstable();
        self.finished.dedup();
        self.requests.extend(others.requests);
        self.requests.sort_unstable();
        self.requests.dedup();
        self
    }

    /// Whether the command can be decided without reading.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.finished.is_empty() && self.requests.is_empty()
    }
}
