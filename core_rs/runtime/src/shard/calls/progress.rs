//! `ReportProgress`: how far executions have come, in calls and on streams.
//!
//! Owns which decision a report asks for; a message on a stream gets no outcomes. Refuses to judge
//! a lease token: the engine does.

use backlane_engine::command::{Held, Known, ProgressReport};
use backlane_engine::decide::Speaker;
use backlane_engine::error::Refusal;
use backlane_engine::reply::Settled;
use backlane_engine::rules::access::Principal;
use backlane_wire::ApiError;
use backlane_wire::worker::decode_progress;

use crate::shard::desk::Desk;
use crate::shard::room::{Caller, Job};

use super::items::{self, Item};

/// Prepares a `ReportProgress` call.
pub(crate) fn report(
    desk: &mut Desk,
    caller: Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    items::call(desk, caller, |context| decode_progress(bytes, context))
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

impl Item for ProgressReport {
    fn settle(
        self,
        held: &Held,
        desk: &mut Desk,
        speaker: Speaker<'_>,
    ) -> Result<Settled, Refusal> {
        let (engine, now) = (&mut desk.engine, desk.now);
        engine.report_progress(held, self, speaker, now)
    }
}
