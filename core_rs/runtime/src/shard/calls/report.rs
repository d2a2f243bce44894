//! Renew, Complete, Fail and Release: workers' commands about their leases, in calls and on
//! streams.
//!
//! Owns the outcomes of these commands, one for each item. Refuses to judge a lease token: the
//! engine does.

use std::sync::Arc;

use backlane_engine::command::{Held, Known, Needs};
use backlane_engine::decide::Speaker;
use backlane_engine::reply::Settled;
use backlane_engine::rules::access::Principal;
use backlane_engine::rules::id::ExecutionId;
use backlane_wire::worker::{
    Renew, Reports, decode_complete, decode_fail, decode_release, decode_renew,
};
use backlane_wire::{ApiError, Context, reply};

use crate::message::Ticket;
use crate::shard::desk::Desk;
use crate::shard::room::{Caller, Job, Room};

/// The outcome of one item.
pub(super) type Outcome = Result<(ExecutionId, Settled), ApiError>;

/// Prepares a `RenewLeases` call.
pub(crate) fn renew(
    desk: &mut Desk,
    caller: Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    let renew = desk.with_context(&caller.principal, |context| decode_renew(bytes, context))?;
    Ok(Box::new(Renewing { caller, renew }))
}

/// Prepares a `Complete` call.
pub(crate) fn complete(
    desk: &mut Desk,
    caller: Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    unary(desk, caller, |context| decode_complete(bytes, context))
}

/// Prepares a `Fail` call.
pub(crate) fn fail(
    desk: &mut Desk,
    caller: Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    unary(desk, caller, |context| decode_fail(bytes, context))
}

/// Prepares a `Release` call.
pub(crate) fn release(
    desk: &mut Desk,
    caller: Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    unary(desk, caller, |context| decode_release(bytes, context))
}

fn unary(
    desk: &mut Desk,
    caller: Caller,
    decode: impl FnOnce(&mut Context<'_>) -> Result<Reports, ApiError>,
) -> Result<Box<dyn Job>, ApiError> {
    let reports = desk.with_context(&caller.principal, decode)?;
    Ok(reported(
        caller.ticket,
        caller.principal,
        reports,
        Door::Call,
    ))
}

/// Prepares reports that arrived on a `Work` stream.
pub(crate) fn on_stream(
    ticket: Ticket,
    principal: Arc<Principal>,
    reports: Reports,
) -> Box<dyn Job> {
    reported(ticket, principal, reports, Door::Stream)
}

fn reported(
    ticket: Ticket,
    principal: Arc<Principal>,
    reports: Reports,
    door: Door,
) -> Box<dyn Job> {
    Box::new(Reported {
        ticket,
        principal,
        reports,
        door,
    })
}

struct Renewing {
    caller: Caller,
    renew: Renew,
}

impl Job for Renewing {
    fn needs(&self, desk: &Desk, known: &Known) -> Needs {
        let items = self.renew.items.iter().flatten();
        desk.engine.needs_for(items.map(|held| &held.id), known)
    }

    fn decide(self: Box<Self>, room: &mut Room, known: &Known) {
        let (desk, duration_ms) = (&mut room.desk, self.renew.duration_ms);
        let principal = &self.caller.principal;
        let renew = |item: &Result<Held, ApiError>| -> Outcome {
            let held = item.as_ref().map_err(Clone::clone)?;
            let speaker = Speaker { principal, known };
            let settled = desk
                .engine
                .renew(held, duration_ms, None, speaker, desk.now);
            Ok((held.id, settled?))
        };
        let outcomes: Vec<_> = self.renew.items.iter().map(renew).collect();
        desk.absorb();
        let reply = reply::outcomes_response(&outcomes, desk.now.mono_ms);
        desk.reply(self.caller.ticket, reply);
    }
}

/// How outcomes are sent.
#[derive(Clone, Copy)]
pub(super) enum Door {
    /// In a unary reply.
    Call,
    /// In a message on a `Work` stream.
    Stream,
}

struct Reported {
    ticket: Ticket,
    principal: Arc<Principal>,
    reports: Reports,
    door: Door,
}

impl Job for Reported {
    fn needs(&self, desk: &Desk, known: &Known) -> Needs {
        let items = self.reports.iter().flatten();
        desk.engine
            .needs_for(items.map(|(held, _)| &held.id), known)
    }

    fn decide(self: Box<Self>, room: &mut Room, known: &Known) {
        let desk = &mut room.desk;
        let outcomes = settle(desk, &self.principal, self.reports, known);
        answer(room, self.ticket, self.door, &outcomes);
    }
}

/// Sends the outcomes of a request, which was decided as a whole.
pub(super) fn answer(room: &mut Room, ticket: Ticket, door: Door, outcomes: &[Outcome]) {
    let desk = &mut room.desk;
    match door {
        Door::Call => {
            let reply = reply::outcomes_response(outcomes, desk.now.mono_ms);
            desk.reply(ticket, reply);
        }
        Door::Stream => {
            let message = reply::work_outcomes(outcomes, desk.now.mono_ms);
            room.streams.send(desk, ticket, message);
            room.streams.decided(desk, ticket);
        }
    }
}

/// Decides items one by one. An item that fails does not affect the others.
fn settle(desk: &mut Desk, principal: &Principal, reports: Reports, known: &Known) -> Vec<Outcome> {
    let outcomes = reports.into_iter().map(|item| {
        let (held, report) = item?;
        let speaker = Speaker { principal, known };
        let settled = desk.engine.report(&held, &report, speaker, desk.now)?;
        Ok((held.id, settled))
    });
    let outcomes = outcomes.collect();
    desk.absorb();
    outcomes
}
