//! The `Cancel` call.
//!
//! Owns the reply to a cancel: the record as it stands afterwards. Refuses to decide what a cancel
//! does: the engine does.

use backlane_engine::command::{Cancel, Known, Needs};
use backlane_engine::fact::Actor;
use backlane_engine::rules::status::ActorKind;
use backlane_wire::query::{Named, decode_cancel};
use backlane_wire::{ApiError, View, reply};

use crate::message::Ticket;
use crate::shard::desk::Desk;
use crate::shard::room::{Caller, Job, Room};
use crate::shard::show;

/// Prepares a `Cancel` call.
pub(crate) fn cancel(
    desk: &mut Desk,
    caller: &Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    let decoded = desk.with_context(&caller.principal, |context| decode_cancel(bytes, context));
    let Named { tenant, id } = decoded?;
    let actor = Actor::named(ActorKind::Client, &caller.principal.name);
    Ok(Box::new(Cancelling {
        ticket: caller.ticket,
        cancel: Cancel { tenant, id, actor },
    }))
}

struct Cancelling {
    ticket: Ticket,
    cancel: Cancel,
}

impl Job for Cancelling {
    fn needs(&self, desk: &Desk, known: &Known) -> Needs {
        desk.engine.needs_for([&self.cancel.id], known)
    }

    fn decide(self: Box<Self>, room: &mut Room, known: &Known) {
        let desk = &mut room.desk;
        let result = desk.engine.cancel(&self.cancel, known, desk.now);
        desk.absorb();
        match result {
            Ok(()) => {
                let birth = self.cancel.id.birth;
                show::one(room, self.ticket, birth, View::Full, reply::cancel_response);
            }
            Err(refusal) => desk.refuse(self.ticket, &refusal.into()),
        }
    }
}
