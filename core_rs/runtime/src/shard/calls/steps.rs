//! Steps and suspensions: workers' commands about runs, in calls and on streams.
//!
//! Owns the outcomes of these commands, one for each item. Refuses to judge actions and lease
//! tokens: the engine does.

use std::sync::Arc;

use backlane_engine::command::{Known, Needs};
use backlane_engine::decide::Speaker;
use backlane_engine::rules::access::Principal;
use backlane_engine::rules::id::Birth;
use backlane_wire::ApiError;
use backlane_wire::steps::{StepReports, Suspensions, decode_steps, decode_suspend};

use crate::message::Ticket;
use crate::shard::desk::Desk;
use crate::shard::room::{Caller, Job, Room};

use super::report::{Door, Outcome, answer};

/// Prepares a `ReportSteps` call.
pub(crate) fn report(
    desk: &mut Desk,
    caller: Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    let reports = desk.with_context(&caller.principal, |context| decode_steps(bytes, context))?;
    Ok(Box::new(Reporting {
        ticket: caller.ticket,
        principal: caller.principal,
        reports,
        door: Door::Call,
    }))
}

/// Prepares step reports that arrived on a `Work` stream.
pub(crate) fn on_stream(
    ticket: Ticket,
    principal: Arc<Principal>,
    reports: StepReports,
) -> Box<dyn Job> {
    Box::new(Reporting {
        ticket,
        principal,
        reports,
        door: Door::Stream,
    })
}

struct Reporting {
    ticket: Ticket,
    principal: Arc<Principal>,
    reports: StepReports,
    door: Door,
}

impl Job for Reporting {
    fn needs(&self, desk: &Desk, known: &Known) -> Needs {
        let items = self.reports.iter().flatten();
        desk.engine
            .needs_for(items.map(|(held, _)| &held.id), known)
    }

    fn decide(self: Box<Self>, room: &mut Room, known: &Known) {
        let desk = &mut room.desk;
        let speaker = Speaker {
            principal: &self.principal,
            known,
        };
        let outcomes = self.reports.into_iter().map(|item| -> Outcome {
            let (held, report) = item?;
            let report = report.recorded(is_first(desk, held.id.birth));
            let settled = desk.engine.report_steps(&held, report, speaker, desk.now)?;
            Ok((held.id, settled))
        });
        let outcomes: Vec<_> = outcomes.collect();
        desk.absorb();
        answer(room, self.ticket, self.door, &outcomes);
    }
}

/// Prepares a `Suspend` call.
pub(crate) fn suspend(
    desk: &mut Desk,
    caller: Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    let suspensions =
        desk.with_context(&caller.principal, |context| decode_suspend(bytes, context))?;
    Ok(Box::new(Suspending {
        ticket: caller.ticket,
        principal: caller.principal,
        suspensions,
        door: Door::Call,
    }))
}

/// Prepares suspensions that arrived on a `Work` stream.
pub(crate) fn suspend_on_stream(
    ticket: Ticket,
    principal: Arc<Principal>,
    suspensions: Suspensions,
) -> Box<dyn Job> {
    Box::new(Suspending {
        ticket,
        principal,
        suspensions,
        door: Door::Stream,
    })
}

struct Suspending {
    ticket: Ticket,
    principal: Arc<Principal>,
    suspensions: Suspensions,
    door: Door,
}

impl Job for Suspending {
    fn needs(&self, desk: &Desk, known: &Known) -> Needs {
        let items = self.suspensions.iter().flatten();
        let ids = items.flat_map(|(held, suspension)| {
            let waits = suspension.command.waits.iter();
            let children = waits.filter_map(|wait| wait.child.as_ref());
            std::iter::once(&held.id).chain(children)
        });
        desk.engine.needs_for(ids, known)
    }

    fn decide(self: Box<Self>, room: &mut Room, known: &Known) {
        let desk = &mut room.desk;
        let speaker = Speaker {
            principal: &self.principal,
            known,
        };
        let outcomes = self.suspensions.into_iter().map(|item| -> Outcome {
            let (held, suspension) = item?;
            let suspension = suspension.recorded(is_first(desk, held.id.birth));
            let settled = desk.engine.suspend(&held, &suspension, speaker, desk.now)?;
            Ok((held.id, settled))
        });
        let outcomes: Vec<_> = outcomes.collect();
        desk.absorb();
        answer(room, self.ticket, self.door, &outcomes);
    }
}

/// Whether the run of an execution has no step yet.
pub(super) fn is_first(desk: &Desk, birth: Birth) -> bool {
    let run = desk.engine.state().run(birth);
    run.is_none_or(|run| run.course.steps.is_empty())
}
