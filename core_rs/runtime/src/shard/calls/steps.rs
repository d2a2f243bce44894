//! Steps and suspensions: workers' commands about runs, in calls and on streams.
//!
//! Owns which decision each of them asks for. Refuses to judge actions and lease tokens: the engine
//! does.

use std::sync::Arc;

use backlane_engine::command::{Held, StepReport, Suspension};
use backlane_engine::decide::Speaker;
use backlane_engine::error::Refusal;
use backlane_engine::reply::Settled;
use backlane_engine::rules::access::Principal;
use backlane_engine::rules::id::{Birth, ExecutionId};
use backlane_wire::ApiError;
use backlane_wire::steps::{StepReports, Suspensions, Versioned, decode_steps, decode_suspend};

use crate::message::Ticket;
use crate::shard::desk::Desk;
use crate::shard::room::{Caller, Job};

use super::items::{self, Item};

/// Prepares a `ReportSteps` call.
pub(crate) fn report(
    desk: &mut Desk,
    caller: Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    items::call(desk, caller, |context| decode_steps(bytes, context))
}

/// Prepares step reports that arrived on a `Work` stream.
pub(crate) fn on_stream(
    ticket: Ticket,
    principal: Arc<Principal>,
    reports: StepReports,
) -> Box<dyn Job> {
    items::on_stream(ticket, principal, reports)
}

/// Prepares a `Suspend` call.
pub(crate) fn suspend(
    desk: &mut Desk,
    caller: Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    items::call(desk, caller, |context| decode_suspend(bytes, context))
}

/// Prepares suspensions that arrived on a `Work` stream.
pub(crate) fn suspend_on_stream(
    ticket: Ticket,
    principal: Arc<Principal>,
    suspensions: Suspensions,
) -> Box<dyn Job> {
    items::on_stream(ticket, principal, suspensions)
}

impl Item for Versioned<StepReport> {
    fn settle(
        self,
        held: &Held,
        desk: &mut Desk,
        speaker: Speaker<'_>,
    ) -> Result<Settled, Refusal> {
        let report = self.recorded(is_first(desk, held.id.birth));
        desk.engine.report_steps(held, report, speaker, desk.now)
    }
}

impl Item for Versioned<Suspension> {
    fn names(&self) -> Vec<&ExecutionId> {
        let waits = self.command.waits.iter();
        waits.filter_map(|wait| wait.child.as_ref()).collect()
    }

    fn settle(
        self,
        held: &Held,
        desk: &mut Desk,
        speaker: Speaker<'_>,
    ) -> Result<Settled, Refusal> {
        let suspension = self.recorded(is_first(desk, held.id.birth));
        desk.engine.suspend(held, &suspension, speaker, desk.now)
    }
}

/// Whether the run of an execution has no step yet.
pub(super) fn is_first(desk: &Desk, birth: Birth) -> bool {
    let run = desk.engine.state().run(birth);
    run.is_none_or(|run| run.course.steps.is_empty())
}
