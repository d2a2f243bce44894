//! The families of calls. For each call, one module says what must be read first, decides the call
//! and replies.
//!
//! Owns the table from methods to families. Refuses to know anything else about a call.

pub(super) mod attempts;
pub(super) mod cancel;
mod children;
pub(super) mod control;
pub(super) mod dead_letter;
pub(super) mod delete;
pub(super) mod enqueue;
pub(super) mod explain;
mod find;
mod items;
pub(super) mod lease;
pub(super) mod limit;
pub(super) mod look;
pub(super) mod progress;
pub(super) mod redrive;
pub(super) mod report;
pub(super) mod run;
mod skipped;
pub(super) mod spawn;
pub(super) mod steps;
pub(super) mod task;
pub(super) mod wait;

use backlane_wire::{ApiError, Method};

use super::desk::Desk;
use super::room::{Caller, Job};

/// The job of a unary request.
pub(super) fn job(
    method: Method,
    desk: &mut Desk,
    caller: Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    match method {
        Method::Enqueue => enqueue::one(desk, caller, bytes),
        Method::EnqueueBatch => enqueue::batch(desk, caller, bytes),
        Method::Run => wait::run(desk, caller, bytes),
        Method::Get => look::get(desk, &caller, bytes),
        Method::List => look::list(desk, &caller, bytes),
        Method::Count => find::count(desk, &caller, bytes),
        Method::ListAttempts => attempts::list(desk, &caller, bytes),
        Method::Wait => wait::wait(desk, caller, bytes),
        Method::Cancel => cancel::cancel(desk, &caller, bytes),
        Method::Peek => look::peek(desk, &caller, bytes),
        Method::Explain => explain::explain(desk, &caller, bytes),
        Method::GetExecutionRun => run::get(desk, &caller, bytes),
        Method::ProvideInput => control::input(desk, &caller, bytes),
        Method::Pause => control::pause(desk, &caller, bytes),
        Method::Resume => control::resume(desk, &caller, bytes),
        Method::GetQueueStats => look::queue_stats(desk, &caller, bytes),
        Method::GetTaskRecord => task::get(desk, &caller, bytes),
        Method::ListDeadLetters => dead_letter::list(desk, &caller, bytes),
        Method::DiscardDeadLetters => dead_letter::discard(desk, &caller, bytes),
        Method::Delete => delete::delete(desk, &caller, bytes),
        Method::Redrive => redrive::redrive(desk, &caller, bytes),
        Method::Spawn => spawn::spawn(desk, caller, bytes),
        Method::Lease => lease::lease(desk, caller, bytes),
        Method::RenewLeases => report::renew(desk, caller, bytes),
        Method::Complete => report::complete(desk, caller, bytes),
        Method::Fail => report::fail(desk, caller, bytes),
        Method::Release => report::release(desk, caller, bytes),
        Method::ReportSteps => steps::report(desk, caller, bytes),
        Method::Suspend => steps::suspend(desk, caller, bytes),
        Method::ReportProgress => progress::report(desk, caller, bytes),
        Method::SetLimits => limit::set(desk, &caller, bytes),
        Method::ListLimits => limit::list(desk, &caller, bytes),
        Method::EnqueueStream | Method::Work => {
            let rule = "must be sent over a stream";
            Err(backlane_engine::error::Invalid::new("request", rule).into())
        }
    }
}
