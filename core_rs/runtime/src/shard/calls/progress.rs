//! `ReportProgress`: how far executions have come, in calls and on streams.
//!
//! Owns the outcomes of a call, one for each item; a message on a stream gets none. Refuses to
//! judge a lease token: the engine does.

use backlane_engine::command::{Held, Known, Needs, ProgressReport};
use backlane_engine::decide::Speaker;
use backlane_engine::rules::access::Principal;
use backlane_wire::worker::{Advances, decode_progress};
use backlane_wire::{ApiError, reply};

use crate::shard::desk::Desk;
use crate::shard::room::{Caller, Job, Room};

/// Prepares a `ReportProgress` call.
pub(crate) fn report(
    desk: &mut Desk,
    caller: Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    let decoded = desk.with_context(&caller.principal, |context| decode_progress(bytes, context));
    let reports = decoded?;
    Ok(Box::new(Reporting { caller, reports }))
}

/// Takes the reports of a message on a `Work` stream. Those about leases that are not live are
/// ignored: the worker is told of lost leases anyway.
pub(crate) fn on_stream(
    desk: &mut Desk,
    principal: &Principal,
    reports: Vec<(Held, ProgressReport)>,
) {
    let (known, now) = (&Known::default(), desk.now);
    for (held, report) in reports {
        let speaker = Speaker { principal, known };
        let _ = desk.engine.report_progress(&held, report, speaker, now);
    }
    desk.absorb();
}

struct Reporting {
    caller: Caller,
    reports: Advances,
}

impl Job for Reporting {
    fn needs(&self, desk: &Desk, known: &Known) -> Needs {
        let items = self.reports.iter().flatten();
        desk.engine
            .needs_for(items.map(|(held, _)| &held.id), known)
    }

    fn decide(self: Box<Self>, room: &mut Room, known: &Known) {
        let Self { caller, reports } = *self;
        let (desk, principal) = (&mut room.desk, &caller.principal);
        let outcomes = reports.into_iter().map(|item| {
            let (held, report) = item?;
            let speaker = Speaker { principal, known };
            let (engine, now) = (&mut desk.engine, desk.now);
            let settled = engine.report_progress(&held, report, speaker, now)?;
            Ok((held.id, settled))
        });
        let outcomes: Vec<_> = outcomes.collect();
        desk.absorb();
        let reply = reply::outcomes_response(&outcomes, desk.now.mono_ms);
        desk.reply(caller.ticket, reply);
    }
}
