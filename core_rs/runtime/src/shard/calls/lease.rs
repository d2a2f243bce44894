//! Lease: unary calls that lease executions.
//!
//! Owns the waiting of these calls, and the return of leases whose reply was never sent. Refuses to
//! choose executions: `dispatch` asks the engine.

use backlane_engine::command::{Known, Taker};
use backlane_wire::worker::{Lease, decode_lease};
use backlane_wire::{ApiError, reply};

use crate::message::Ticket;
use crate::shard::desk::Desk;
use crate::shard::room::{Caller, Job, Room};
use crate::shard::takers::LeaseWaiting;

/// Prepares a `Lease` call.
pub(crate) fn lease(
    desk: &mut Desk,
    caller: Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    let lease = desk.with_context(&caller.principal, |context| decode_lease(bytes, context))?;
    Ok(Box::new(Leasing { caller, lease }))
}

struct Leasing {
    caller: Caller,
    lease: Lease,
}

impl Job for Leasing {
    fn decide(self: Box<Self>, room: &mut Room, _known: &Known) {
        let Leasing { caller, lease } = *self;
        let desk = &mut room.desk;
        if desk.draining {
            return desk.reply(caller.ticket, reply::lease_response(&[]));
        }
        let wait_ms = lease.wait_ms.min(caller.timeout_ms.unwrap_or(u64::MAX));
        let taker = Taker {
            worker: lease.worker,
            offer: desk.engine.acquire_offer(lease.offer),
            duration_ms: lease.duration_ms,
            principal: caller.principal.name.clone(),
            stream: None,
            prefetches: false,
        };
        let waiting = LeaseWaiting {
            taker,
            max: lease.max,
            until_ms: desk.now.mono_ms.saturating_add(wait_ms),
        };
        room.takers.insert(caller.ticket, waiting);
    }
}

/// Takes back the leases of a unary reply that was never sent: the executions are queued again at
/// their old positions.
pub(crate) fn take_back(room: &mut Room, ticket: Ticket) {
    if let Some(waiting) = room.takers.remove(ticket) {
        room.desk
            .engine
            .release_offer(waiting.taker.offer, room.desk.now);
    }
    for held in room.takers.given.remove(&ticket).unwrap_or_default() {
        room.desk.engine.undeliver(&held, room.desk.now);
    }
    room.desk.absorb();
}

/// Answers the `Lease` calls whose waiting time is over.
pub(crate) fn finish_due(room: &mut Room) {
    while let Some((until_ms, ticket)) = room.takers.first_expiry() {
        if until_ms > room.desk.now.mono_ms {
            break;
        }
        finish(room, ticket);
    }
}

/// Answers every waiting `Lease` call, because the server is about to stop.
pub(crate) fn finish_all(room: &mut Room) {
    for ticket in room.takers.calls.keys().copied().collect::<Vec<_>>() {
        finish(room, ticket);
    }
}

fn finish(room: &mut Room, ticket: Ticket) {
    if let Some(waiting) = room.takers.remove(ticket) {
        room.desk
            .engine
            .release_offer(waiting.taker.offer, room.desk.now);
        room.desk.reply(ticket, reply::lease_response(&[]));
    }
}
