//! Work streams: leases to the worker as its credit allows, results from the worker.
//!
//! Owns the effect of each message of a worker. Refuses to choose leases or to judge results.

use std::sync::Arc;

use backlane_engine::command::{Held, Known, OfferSpec};
use backlane_engine::decide::Speaker;
use backlane_engine::error::Invalid;
use backlane_engine::rules::access::Principal;
use backlane_engine::rules::id::{ExecutionId, LeaseToken};
use backlane_wire::work::{WorkFrame, decode_work};
use backlane_wire::{ApiError, reply};

use crate::message::Ticket;

use super::calls::{progress, report, steps};
use super::desk::Desk;
use super::dispatch;
use super::room::Room;
use super::stream::{Hello, Lane, Streams, Work};
use super::takers::Seat;

/// Decides one message that a worker sent on a stream.
///
/// # Errors
/// An [`ApiError`], which ends the stream.
pub(super) fn frame(
    room: &mut Room,
    ticket: Ticket,
    principal: &Arc<Principal>,
    bytes: &[u8],
) -> Result<(), ApiError> {
    let decoded = room
        .desk
        .with_context(principal, |context| decode_work(bytes, context));
    let frame = decoded?;
    in_order(room.streams.work(ticket), &frame)?;
    match frame {
        WorkFrame::Report(reports) => {
            let job = report::on_stream(ticket, principal.clone(), reports);
            // The job itself notes when the message is decided.
            room.run(job, Known::default());
            return Ok(());
        }
        WorkFrame::Steps(reports) => {
            let job = steps::on_stream(ticket, principal.clone(), reports);
            room.run(job, Known::default());
            return Ok(());
        }
        WorkFrame::Suspend(suspensions) => {
            let job = steps::suspend_on_stream(ticket, principal.clone(), suspensions);
            room.run(job, Known::default());
            return Ok(());
        }
        WorkFrame::Hello {
            worker,
            offers,
            duration_ms,
            held,
        } => hello(
            room,
            ticket,
            principal,
            (worker, offers, duration_ms),
            &held,
        ),
        WorkFrame::Credit {
            lane,
            executions,
            prefetch,
            bytes,
        } => {
            let seat = Seat {
                ticket,
                lane: usize::try_from(lane).unwrap_or(usize::MAX),
            };
            let Some(lane) = room.streams.lane_mut(seat) else {
                return Err(Invalid::new("credit.lane", "must be a lane of the hello").into());
            };
            lane.extend(executions, prefetch, bytes);
            dispatch::line_up_lane(room, seat);
        }
        WorkFrame::Acknowledge(leases) => {
            for held in &leases {
                room.desk.engine.acknowledge(held, room.desk.now);
            }
        }
        WorkFrame::Progress(reports) => progress::on_stream(&mut room.desk, principal, reports),
        WorkFrame::Heartbeat => {}
        WorkFrame::Drain => {
            if let Some(work) = room.streams.work_mut(ticket) {
                work.draining = true;
            }
        }
    }
    room.streams.decided(&mut room.desk, ticket);
    Ok(())
}

/// Checks that hello is the first message, and comes only once.
fn in_order(work: Option<&Work>, frame: &WorkFrame) -> Result<(), ApiError> {
    let greeted = work.is_some_and(|work| work.hello.is_some());
    match (greeted, matches!(frame, WorkFrame::Hello { .. })) {
        (true, true) => Err(Invalid::new("hello", "must be sent only once").into()),
        (false, false) => Err(Invalid::new("hello", "must be the first message").into()),
        (true, false) | (false, true) => Ok(()),
    }
}

fn hello(
    room: &mut Room,
    ticket: Ticket,
    principal: &Principal,
    (worker, offers, duration_ms): (Arc<str>, Vec<OfferSpec>, u64),
    held: &[Held],
) {
    let (desk, streams) = (&mut room.desk, &mut room.streams);
    // All lanes serve the same tenants. The leases of others do not become the worker's.
    let tenants = offers.first().map(|offer| offer.tenants.clone());
    let principal = &Principal {
        tenants: tenants.unwrap_or_default(),
        ..principal.clone()
    };
    let offers = offers.into_iter();
    let lanes = offers.map(|offer| Lane::new(desk.engine.acquire_offer(offer)));
    if let Some(work) = streams.work_mut(ticket) {
        work.hello = Some(Hello {
            worker,
            duration_ms,
            lanes: lanes.collect(),
        });
    }
    desk.engine.stream_frame(ticket, desk.now);
    let kept = take_over(desk, ticket, principal, duration_ms, held);
    let version = desk.settings.server_version;
    streams.send(
        desk,
        ticket,
        reply::work_welcome(&kept, duration_ms, version),
    );
    // A cancel or a pause may have been requested while the worker was away.
    for lease in kept {
        let birth = lease.0.birth;
        if desk.engine.state().is_cancel_requested(birth) {
            streams.send(desk, ticket, reply::work_cancels(&[lease]));
        }
        if desk.engine.state().is_paused(birth) {
            streams.send(desk, ticket, reply::work_pauses(&[lease]));
        }
    }
    if desk.draining {
        streams.send(desk, ticket, reply::work_drain());
    }
}

/// Moves the leases that a worker still holds to its new stream. Returns the live ones.
fn take_over(
    desk: &mut Desk,
    ticket: Ticket,
    principal: &Principal,
    duration_ms: u64,
    held: &[Held],
) -> Vec<(ExecutionId, LeaseToken)> {
    let known = Known::default();
    let speaker = Speaker {
        principal,
        known: &known,
    };
    let mut kept = Vec::new();
    for one in held {
        let (duration, stream) = (Some(duration_ms), Some(ticket));
        let renewed = desk.engine.renew(one, duration, stream, speaker, desk.now);
        let token = one.token.filter(|_| renewed.is_ok());
        kept.extend(token.map(|token| (one.id, token)));
    }
    desk.absorb();
    kept
}

/// Ends a `Work` stream: its leases stay live for a grace period, so that the worker can reconnect.
pub(super) fn ended(room: &mut Room, ticket: Ticket, work: Work) {
    let lanes = work.hello.map(|hello| hello.lanes).unwrap_or_default();
    for (lane, Lane { offer, .. }) in lanes.into_iter().enumerate() {
        room.takers.leave(offer, Seat { ticket, lane });
        room.desk.engine.release_offer(offer, room.desk.now);
    }
    room.desk.engine.stream_ended(ticket, room.desk.now);
}

/// Tells every worker that the server is about to stop.
pub(super) fn drain(desk: &mut Desk, streams: &mut Streams) {
    let workers = streams
        .by_ticket
        .iter()
        .filter(|(_, stream)| stream.work.is_some());
    for ticket in workers.map(|(ticket, _)| *ticket).collect::<Vec<_>>() {
        streams.send(desk, ticket, reply::work_drain());
    }
}
