//! Admission: why an execution is not leased now, if there is a reason.
//!
//! Owns the one function that dispatch, Peek and every explanation share, so that they cannot
//! disagree. Refuses to know who would get it.

use crate::fact::Entity;
use crate::rules::id::Birth;
use crate::rules::status::Phase;
use crate::soft::Soft;
use crate::state::{QueueKey, State, Tenants};
use crate::time::Now;

/// Why an execution is not leased now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocker {
    /// There is no such unfinished execution.
    Gone,
    /// Its time has not come.
    NotDue,
    /// It backs off after a spent or throttled attempt.
    BackingOff,
    /// A worker holds it.
    Leased,
    /// Its tenant runs as many as it may.
    TenantFull,
    /// Its callable runs as many as it may.
    CallableFull,
    /// The state of the execution contradicts itself; nothing is decided about it.
    SetAside,
    /// This worker gave it back a moment ago.
    PausedForWorker {
        /// Monotonic milliseconds.
        until_ms: u64,
    },
}

/// The first reason why an execution is not leased now; to `worker`, where one is named.
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
        Phase::Retrying => Some(Blocker::BackingOff),
        Phase::Running => Some(Blocker::Leased),
        Phase::Ready => queue_blocker(state.tenants(), slot.queue).or_else(|| {
            let until = worker.and_then(|worker| soft.paused_until(birth, worker, now));
            until.map(|until_ms| Blocker::PausedForWorker { until_ms })
        }),
    }
}

/// Why nothing of a queue is leased now, whatever it is.
#[must_use]
pub(super) fn queue_blocker(tenants: &Tenants, queue: QueueKey) -> Option<Blocker> {
    let queue = tenants.queue(queue);
    if tenants.tenant(queue.tenant).is_full() {
        return Some(Blocker::TenantFull);
    }
    queue.is_full().then_some(Blocker::CallableFull)
}
