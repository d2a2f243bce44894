//! Notices: what happened to a worker's leases without the worker.
//!
//! Owns when notices are sent: before later leases on the same stream, so that a worker never hears
//! of the loss of a lease after it got the execution again. Refuses to decide what a worker is
//! told: the engine does.

use std::collections::BTreeMap;

use backlane_engine::reply::Notice;
use backlane_engine::soft::Told;
use backlane_wire::reply;

use crate::message::Ticket;

use super::room::Room;

/// Sends notices about their leases to workers with streams.
pub(super) fn tell(room: &mut Room) {
    let mut cancels: BTreeMap<Ticket, Vec<_>> = BTreeMap::new();
    let mut pauses: BTreeMap<Ticket, Vec<_>> = BTreeMap::new();
    let mut lost: BTreeMap<Ticket, Vec<_>> = BTreeMap::new();
    for Told {
        stream,
        id,
        token,
        notice,
    } in room.desk.engine.take_told()
    {
        let told = match notice {
            Notice::Cancel => &mut cancels,
            Notice::Pause => &mut pauses,
            Notice::Lost => &mut lost,
        };
        told.entry(stream).or_default().push((id, token));
    }
    for (ticket, leases) in cancels {
        let bytes = reply::work_cancels(&leases);
        room.streams.send(&mut room.desk, ticket, bytes);
    }
    for (ticket, leases) in pauses {
        let bytes = reply::work_pauses(&leases);
        room.streams.send(&mut room.desk, ticket, bytes);
    }
    for (ticket, leases) in lost {
        let bytes = reply::work_lost(&leases);
        room.streams.send(&mut room.desk, ticket, bytes);
    }
}
