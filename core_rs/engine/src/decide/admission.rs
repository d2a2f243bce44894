//! Admission: the reasons why an execution cannot be leased now.
//!
//! Owns the one function that dispatch, Peek and every explanation share, so that their answers
//! agree. Refuses to know which worker would get the execution.

use crate::fact::Entity;
use crate::rules::id::Birth;
use crate::rules::status::{Phase, Status};
use crate::soft::Soft;
use crate::state::{QueueKey, Slot, State, Tenants};
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
    /// The end of the execution is decided, and its descendants are unfinished.
    AwaitsChildren,
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
    blockers(state, soft, birth, worker, now).next()
}

/// Every reason why an execution cannot be leased now, the most decisive first. Dispatch takes only
/// the first, so a reason is looked for when the earlier ones do not hold.
pub fn blockers<'a>(
    state: &'a State,
    soft: &'a Soft,
    birth: Birth,
    worker: Option<&'a str>,
    now: Now,
) -> impl Iterator<Item = Blocker> + 'a {
    let slot = state.slot(birth);
    let own = own_blockers(state, soft, birth, slot, now);
    let slot = slot.filter(|_| own[0] != Some(Blocker::SetAside));
    let queued = slot.filter(|slot| slot.phase.status() == Status::Queued);
    let limits = queued.into_iter();
    let limits = limits.flat_map(|slot| queue_blockers(state.tenants(), slot.queue));
    let ready = slot.filter(|slot| slot.phase == Phase::Ready);
    let worker = worker.filter(|_| ready.is_some());
    let of_worker = worker.into_iter().flat_map(move |worker| {
        let until = soft.pauses().until(birth, worker, now);
        let paused = until.map(|until_ms| Blocker::PausedForWorker { until_ms });
        paused.into_iter().chain(worker_blocker(soft, worker))
    });
    own.into_iter().flatten().chain(limits).chain(of_worker)
}

/// The reasons that the execution itself has.
fn own_blockers(
    state: &State,
    soft: &Soft,
    birth: Birth,
    slot: Option<&Slot>,
    now: Now,
) -> [Option<Blocker>; 3] {
    let Some(phase) = slot.map(|slot| slot.phase) else {
        return [Some(Blocker::Gone), None, None];
    };
    if soft.set_aside_why(Entity::Execution(birth)).is_some() {
        return [Some(Blocker::SetAside), None, None];
    }
    let paused = || state.is_paused(birth).then_some(Blocker::Paused);
    match phase {
        Phase::Ready => [None; 3],
        Phase::Running => [Some(Blocker::Leased), None, None],
        Phase::Ending => [Some(Blocker::AwaitsChildren), None, None],
        Phase::Held => [Some(Blocker::Paused), None, None],
        Phase::Pending => [Some(Blocker::NotDue), paused(), None],
        Phase::Retrying => [Some(Blocker::BackingOff), paused(), None],
        Phase::Blocked => {
            let later = state.extras(birth).and_then(|extras| extras.not_before_ms);
            let later = later.filter(|at_ms| *at_ms > now.wall_ms);
            let later = later.map(|_| Blocker::NotDue);
            [Some(Blocker::AwaitsDependencies), later, paused()]
        }
        Phase::Suspended => {
            let waits = state
                .run(birth)
                .is_some_and(|run| run.active().next().is_some());
            let paused = paused();
            // A worker that yields to a pause gives the execution back without a wait.
            let suspended = (waits || paused.is_none()).then_some(Blocker::Suspended);
            [suspended, paused, None]
        }
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
    queue_blockers(tenants, queue).next()
}

/// Every reason why no execution of a queue can be leased now.
fn queue_blockers(tenants: &Tenants, queue: QueueKey) -> impl Iterator<Item = Blocker> + use<> {
    let queue = tenants.queue(queue);
    let tenant = tenants.tenant(queue.tenant).is_full();
    let reasons = [
        tenant.then_some(Blocker::TenantFull),
        queue.is_full().then_some(Blocker::CallableFull),
    ];
    reasons.into_iter().flatten()
}
