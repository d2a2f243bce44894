//! Dispatch: gives leases to all waiting workers. Unary calls and streams are served in one order.
//!
//! Owns the turns of the waiting workers and the delivery of leases. Refuses to choose an
//! execution: the engine does.

use backlane_engine::command::{OfferKey, Taker};
use backlane_engine::reply::Granted;
use backlane_engine::rules::limits::MAX_RUN_BYTES;
use backlane_engine::rules::run::MAX_STEPS;
use backlane_wire::{View, reply};

use crate::message::Ticket;

use super::actions::{self, Stories};
use super::desk::{Desk, Leaving};
use super::notices;
use super::room::Room;
use super::show::{self, Fetch, MAX_REPLY_BYTES, Shown, Unshown};
use super::takers::{Purpose, Seat};

/// Most leases that a worker gets before the next waiting worker with the same offer has its turn:
/// enough for one batch of a busy worker, and few enough that one worker does not empty the queue.
const TURN: usize = 256;
/// Bytes that a lease adds to its execution's payload.
const LEASE_BYTES: usize = 512;
/// Bytes that a step adds to its contents in a lease: ids, times, the error of an ended attempt.
const STEP_BYTES: usize = 256;
/// Bytes of a record without input, context and metadata: names, ids, times.
const NAMES_BYTES: usize = 4_096;

/// Gives all possible leases. Offers take turns; within an offer, the longest waiting call or
/// stream is next.
pub(super) fn give_out(room: &mut Room) {
    if room.desk.draining {
        return;
    }
    // Workers with a free slot come before workers that could begin a little later.
    for purpose in [Purpose::Slot, Purpose::Prefetch] {
        let with_work = room.desk.engine.offers_with_work();
        for offer in room.takers.awaited(purpose, with_work) {
            serve(room, offer, purpose);
        }
    }
    room.desk.absorb();
}

fn serve(room: &mut Room, offer: OfferKey, purpose: Purpose) {
    // Looks at each waiting call or stream once. One that can take more goes to the end of the line
    // for another turn.
    let mut idle = 0;
    while room.desk.engine.has_work(offer) {
        if idle >= room.takers.len(offer, purpose) {
            return;
        }
        let Some(seat) = room.takers.pop(offer, purpose) else {
            return;
        };
        let took = give(room, seat, purpose);
        if !took && purpose == Purpose::Prefetch {
            // The best execution may not be prefetched, by any worker.
            return;
        }
        idle = if took { 0 } else { idle + 1 };
    }
}

/// The turn of one call or stream. Returns whether it got a lease.
fn give(room: &mut Room, seat: Seat, purpose: Purpose) -> bool {
    let ticket = seat.ticket;
    let Some(waiting) = room.takers.calls.get(&ticket) else {
        return give_to_lane(room, seat, purpose);
    };
    let (taker, max) = (waiting.taker.clone(), waiting.max);
    let granted = grant(&mut room.desk, &taker, max, u64::MAX);
    if granted.is_empty() {
        room.takers.line_up(taker.offer, seat, purpose);
        return false;
    }
    room.takers.remove(ticket);
    room.desk.engine.release_offer(taker.offer, room.desk.now);
    let held = granted.iter().filter_map(|granted| room.desk.held(granted));
    room.takers.remember(ticket, held.collect());
    deliver(room, seat, granted, Door::Call);
    true
}

fn give_to_lane(room: &mut Room, seat: Seat, purpose: Purpose) -> bool {
    let engine = &room.desk.engine;
    let Some((taker, most, bytes)) = room.streams.room(seat, purpose, engine) else {
        return false;
    };
    let granted = grant(&mut room.desk, &taker, most.min(TURN), bytes);
    let took = !granted.is_empty();
    let bytes = lease_bytes(&granted);
    if let Some(lane) = room.streams.lane_mut(seat) {
        lane.spend(purpose, granted.len(), bytes);
    }
    room.streams.promise(seat.ticket, bytes);
    if room.streams.has_room(seat, purpose, &room.desk.engine) {
        room.takers.line_up(taker.offer, seat, purpose);
    }
    if took {
        deliver(room, seat, granted, Door::Stream);
    }
    took
}

/// Leases the best executions for a worker: as many as fit, and always at least the first.
fn grant(desk: &mut Desk, taker: &Taker, max: usize, credit_bytes: u64) -> Vec<Granted> {
    let mut granted: Vec<Granted> = Vec::new();
    let (mut bytes, mut credit) = (0, credit_bytes);
    let room = MAX_REPLY_BYTES.saturating_sub(largest_lease(desk));
    while granted.len() < max && (granted.is_empty() || bytes < room) && credit > 0 {
        let random = (desk.random)();
        let Some(mut lease) = desk.engine.lease(taker, random, desk.now) else {
            break;
        };
        lease.payload_bytes = lease
            .payload_bytes
            .saturating_add(run_bytes(desk, lease.birth));
        let size = usize::try_from(lease.payload_bytes).unwrap_or(usize::MAX);
        bytes += size + LEASE_BYTES;
        credit = credit.saturating_sub(size as u64 + LEASE_BYTES as u64);
        granted.push(lease);
    }
    desk.absorb();
    granted
}

/// Bytes that the run of an execution adds to its lease.
fn run_bytes(desk: &Desk, birth: u64) -> u32 {
    let run = desk.engine.state().run(birth);
    run.map_or(0, |run| {
        let steps = u32::try_from(run.course.steps.len() * STEP_BYTES);
        run.bytes.saturating_add(steps.unwrap_or(u32::MAX))
    })
}

/// Bytes of the largest lease that the limits allow. Runs count only where some exist.
fn largest_lease(desk: &Desk) -> usize {
    let limits = &desk.settings.limits;
    let payload = limits.max_input_bytes + limits.max_context_bytes + limits.max_metadata_bytes;
    let run = MAX_RUN_BYTES as usize + MAX_STEPS * STEP_BYTES;
    let has_runs = usize::from(desk.engine.state().has_runs());
    payload + NAMES_BYTES + has_runs * run
}

/// The approximate size of these leases, in bytes.
fn lease_bytes(granted: &[Granted]) -> usize {
    let bytes = |lease: &Granted| usize::try_from(lease.payload_bytes).unwrap_or(usize::MAX);
    granted
        .iter()
        .map(|lease| bytes(lease).saturating_add(LEASE_BYTES))
        .sum()
}

/// How leases are sent.
#[derive(Clone, Copy)]
enum Door {
    /// In a unary reply.
    Call,
    /// In a message on a `Work` stream.
    Stream,
}

fn deliver(room: &mut Room, seat: Seat, granted: Vec<Granted>, door: Door) {
    let leases = granted.clone();
    actions::recall(room, &leases, move |room, stories| {
        deliver_with(room, seat, granted, door, stories);
    });
}

fn deliver_with(room: &mut Room, seat: Seat, granted: Vec<Granted>, door: Door, stories: Stories) {
    let Seat { ticket, lane } = seat;
    let births = granted.iter().map(|granted| granted.birth);
    let fetch = Fetch {
        shown: births
            .map(|birth| Shown::leased(&room.desk, birth))
            .collect(),
        view: View::Full,
        list: None,
    };
    show::fetch(room, fetch, move |room, shown| {
        // Without a page, no damage of a page is possible.
        let leases = encode(
            &mut room.desk,
            lane,
            &granted,
            shown.unwrap_or_default(),
            stories,
        );
        match door {
            Door::Call => send_to_call(&mut room.desk, ticket, &granted, &leases),
            Door::Stream => send_to_stream(room, ticket, &granted, &leases),
        }
    });
}

/// Encodes the leases that are still live: an execution may have ended while its payload was read.
fn encode(
    desk: &mut Desk,
    lane: usize,
    granted: &[Granted],
    shown: Vec<Shown>,
    mut stories: Stories,
) -> Vec<Vec<u8>> {
    let lane = u32::try_from(lane).unwrap_or_default();
    let mut leases = Vec::with_capacity(granted.len());
    for (granted, mut shown) in granted.iter().zip(shown) {
        let state = desk.engine.state();
        let holding = state.holding(granted.birth);
        if holding.is_none_or(|holding| holding.token != granted.holding.token) {
            continue;
        }
        // The lease shows changes since the decision, such as a request to cancel.
        shown.living = state.living(granted.birth).map(Box::new);
        let pause_requested = state.is_paused(granted.birth);
        let story = stories.remove(&granted.birth).transpose();
        match (shown.encode(desk, View::Full), story) {
            (Ok(record), Ok(story)) => {
                let story = story.as_ref();
                leases.push(reply::lease(&record, granted, lane, story, pause_requested));
            }
            (Err(Unshown::Damaged(what)), _) | (_, Err(what)) => {
                end_damaged(desk, granted.birth, &what);
            }
            (Err(Unshown::Removed), Ok(_)) => {}
        }
    }
    desk.absorb();
    leases
}

/// Ends an execution whose payload or run is damaged: no worker can run it.
fn end_damaged(desk: &mut Desk, birth: u64, what: &str) {
    let id = desk.engine.state().id(birth);
    let id = id.map_or_else(|| format!("number {birth}"), |id| id.to_string());
    desk.notice(format!("execution {id} ends as failed: {what}"));
    if let Err(refusal) = desk.engine.end_damaged(birth, what, desk.now) {
        desk.notice(refusal.to_string());
    }
}

fn send_to_call(desk: &mut Desk, ticket: Ticket, granted: &[Granted], leases: &[Vec<u8>]) {
    desk.reply(ticket, reply::lease_response(leases));
    leave(desk, granted, Door::Call);
}

/// Notes that leases leave the server once everything decided so far is durable.
fn leave(desk: &mut Desk, granted: &[Granted], door: Door) {
    // A worker acknowledges leases on a stream. A unary reply that does not arrive is reported by
    // the transport.
    let acknowledges = matches!(door, Door::Call);
    let held = granted.iter().filter_map(|granted| desk.held(granted));
    let held = held.collect();
    desk.leaving.push_back(Leaving {
        rests_on: desk.journal.next_sequence(),
        held,
        acknowledges,
    });
}

fn send_to_stream(room: &mut Room, ticket: Ticket, granted: &[Granted], leases: &[Vec<u8>]) {
    let has_room = room.streams.keep_promise(ticket, lease_bytes(granted));
    notices::tell(room);
    if !leases.is_empty() {
        let bytes = reply::work_leases(leases);
        room.streams.send(&mut room.desk, ticket, bytes);
    }
    leave(&mut room.desk, granted, Door::Stream);
    if has_room {
        line_up(room, ticket);
    }
    room.streams.unblocked.push(ticket);
}

/// Puts the lanes of a stream that can take leases into the lines of their offers.
pub(super) fn line_up(room: &mut Room, ticket: Ticket) {
    for lane in 0..room.streams.lanes(ticket).len() {
        line_up_lane(room, Seat { ticket, lane });
    }
}

/// Puts a lane that can take leases into the lines of its offer.
pub(super) fn line_up_lane(room: &mut Room, seat: Seat) {
    let Room {
        desk,
        takers,
        streams,
        ..
    } = room;
    if let Some(lane) = streams.lanes(seat.ticket).get(seat.lane) {
        for purpose in [Purpose::Slot, Purpose::Prefetch] {
            if streams.has_room(seat, purpose, &desk.engine) {
                takers.line_up(lane.offer, seat, purpose);
            }
        }
    }
}
