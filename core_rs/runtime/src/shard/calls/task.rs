//! The `GetTaskRecord` call.
//!
//! Owns which execution the call shows. Refuses to know how a task record is derived: the engine
//! and the wire crate do.

use backlane_engine::command::{Known, Needs};
use backlane_wire::ApiError;
use backlane_wire::query::Named;
use backlane_wire::task::decode_get_task_record;

use crate::message::Ticket;
use crate::shard::desk::Desk;
use crate::shard::room::{Caller, Job, Room};
use crate::shard::show;

use super::look;

/// Prepares a `GetTaskRecord` call.
pub(crate) fn get(
    desk: &mut Desk,
    caller: &Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    let named = desk.with_context(&caller.principal, |context| {
        decode_get_task_record(bytes, context)
    });
    let (ticket, named) = (caller.ticket, named?);
    Ok(Box::new(Getting { ticket, named }))
}

struct Getting {
    ticket: Ticket,
    named: Named,
}

impl Job for Getting {
    fn needs(&self, desk: &Desk, known: &Known) -> Needs {
        desk.engine.needs_for([&self.named.id], known)
    }

    fn decide(self: Box<Self>, room: &mut Room, known: &Known) {
        let Named { tenant, id } = &self.named;
        match look::find(&room.desk, tenant, id, known) {
            Ok(birth) => show::task(room, self.ticket, birth),
            Err(error) => room.desk.refuse(self.ticket, &error),
        }
    }
}
