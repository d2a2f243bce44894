//! Admission: the reason why an execution cannot be leased now.
//!
//! Owns the one function that dispatch, Peek and every explanation share, so that their answers
//! agree. Refuses to know which worker would get the execution.

use crate::fact::Entity;
use crate::rules::id::Birth;
use crate::rules::status::Phase;
use crate::soft::Soft;
use crate::state::{QueueKey, State, Tenants};
use crate::time::Now;

/// A reason why an execution cannot be leased now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocker {
    /// No unfinished execution has this birth number.
    Gone,
    /// The execution is scheduled for later.
    NotDue,
    /// A dependency of the execution has not completed.
    AwaitsDependencies,
    /// The execution backs off after a failed or throttled attempt.
    BackingOff,
    /// A worker holds the execution.
    Leased,
    /// The tenant is at its limit on running executions.
    TenantFull,
    /// The callable is at its limit on running executions.
    CallableFull,
    /// The execution waits without a worker.
    Suspended,
    /// A client paused the execution.
    Paused,
    /// The state of the execution contradicts itself, so nothing is decided about the execution.
    SetAside,
    /// This worker released many executions a moment ago, so it gets none until the first pauses
    /// are over.
    WorkerReleasesAll,
    /// This worker released the execution a moment ago.
    PausedForWorker {
        /// End of the pause, in monotonic milliseconds.
        until_ms: u64,
    },
}

/// The first reason why an execution cannot be leased now: by `worker`, where one is named,
/// otherwise by any worker.
#[must_use]
pub fn blocker(
    state: &State,
    soft: &Soft,
    birth: Birth,
    worker: Option<&str>,
    now: Now,
) -> Option<Blocker> {
    let Some(slot) = state.slot(birth) else {
        return Some(Blocker::Gone);
    };
    if soft.set_aside_why(Entity::Execution(birth)).is_some() {
        return Some(Blocker::SetAside);
    }
    match slot.phase {
        Phase::Pending => Some(Blocker::NotDue),
        Phase::Blocked => Some(Blocker::AwaitsDependencies),
        Phase::Retrying => Some(Blocker::BackingOff),
        Phase::Running => Some(Blocker::Leased),
        Phase::Suspended => Some(Blocker::Suspended),
        Phase::Held => Some(Blocker::Paused),
        Phase::Ready => queue_blocker(state.tenants(), slot.queue).or_else(|| {
            let until = worker.and_then(|worker| soft.pauses().until(birth, worker, now));
            let paused = until.map(|until_ms| Blocker::PausedForWorker { until_ms });
            paused.or_else(|| worker.and_then(|worker| worker_blocker(soft, worker)))
        }),
    }
}

/// The reason why a worker gets no execution at all now.
#[must_use]
pub(super) fn worker_blocker(soft: &Soft, worker: &str) -> Option<Blocker> {
    soft.pauses()
        .are_many(worker)
        .then_some(Blocker::WorkerReleasesAll)
}

/// The reason why no execution of a queue can be leased now.
#[must_use]
pub(super) fn queue_blocker(tenants: &Tenants, queue: QueueKey) -> Option<Blocker> {
    let queue = tenants.queue(queue);
    if tenants.tenant(queue.tenant).is_full() {
        return Some(Blocker::TenantFull);
    }
    queue.is_full().then_some(Blocker::CallableFull)
}
