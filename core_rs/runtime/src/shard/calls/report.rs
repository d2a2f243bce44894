//! Renew, Complete, Fail and Release: workers' commands about their leases, in calls and on
//! streams.
//!
//! Owns which decision each of them asks for. Refuses to judge a lease token: the engine does.

use std::sync::Arc;

use backlane_engine::command::{Held, Report};
use backlane_engine::decide::Speaker;
use backlane_engine::error::Refusal;
use backlane_engine::reply::Settled;
use backlane_engine::rules::access::Principal;
use backlane_wire::ApiError;
use backlane_wire::worker::{Reports, decode_complete, decode_fail, decode_release, decode_renew};

use crate::message::Ticket;
use crate::shard::desk::Desk;
use crate::shard::room::{Caller, Job};

use super::items::{self, Item};

/// Prepares a `RenewLeases` call.
pub(crate) fn renew(
    desk: &mut Desk,
    caller: Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    items::call(desk, caller, |context| {
        let renew = decode_renew(bytes, context)?;
        let duration_ms = renew.duration_ms;
        let renewal = |held| (held, Renewal { duration_ms });
        let all = renew.items.into_iter();
        Ok(all.map(|item| item.map(renewal)).collect())
    })
}

/// Prepares a `Complete` call.
pub(crate) fn complete(
    desk: &mut Desk,
    caller: Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    items::call(desk, caller, |context| decode_complete(bytes, context))
}

/// Prepares a `Fail` call.
pub(crate) fn fail(
    desk: &mut Desk,
    caller: Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    items::call(desk, caller, |context| decode_fail(bytes, context))
}

/// Prepares a `Release` call.
pub(crate) fn release(
    desk: &mut Desk,
    caller: Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    items::call(desk, caller, |context| decode_release(bytes, context))
}

/// Prepares reports that arrived on a `Work` stream.
pub(crate) fn on_stream(
    ticket: Ticket,
    principal: Arc<Principal>,
    reports: Reports,
) -> Box<dyn Job> {
    items::on_stream(ticket, principal, reports)
}

/// A renewal of a lease for its own period, or for another one.
struct Renewal {
    duration_ms: Option<u64>,
}

impl Item for Renewal {
    fn settle(
        self,
        held: &Held,
        desk: &mut Desk,
        speaker: Speaker<'_>,
    ) -> Result<Settled, Refusal> {
        let (duration_ms, now) = (self.duration_ms, desk.now);
        desk.engine.renew(held, duration_ms, None, speaker, now)
    }
}

impl Item for Report {
    fn settle(
        self,
        held: &Held,
        desk: &mut Desk,
        speaker: Speaker<'_>,
    ) -> Result<Settled, Refusal> {
        desk.engine.report(held, &self, speaker, desk.now)
    }
}
