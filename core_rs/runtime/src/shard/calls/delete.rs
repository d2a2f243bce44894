//! Delete: the call that removes an execution that is over.
//!
//! Owns the reply. Refuses to decide anything.

use backlane_engine::command::{Delete, Known, Needs};
use backlane_engine::fact::Actor;
use backlane_engine::rules::status::ActorKind;
use backlane_wire::ApiError;
use backlane_wire::query::decode_delete;

use crate::message::Ticket;
use crate::shard::desk::Desk;
use crate::shard::room::{Caller, Job, Room};

/// Prepares a `Delete` call.
pub(crate) fn delete(
    desk: &mut Desk,
    caller: &Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    let named = desk.with_context(&caller.principal, |context| decode_delete(bytes, context))?;
    Ok(Box::new(Deleting {
        ticket: caller.ticket,
        delete: Delete {
            tenant: named.tenant,
            id: named.id,
            actor: Actor::named(ActorKind::Client, &caller.principal.name),
        },
    }))
}

struct Deleting {
    ticket: Ticket,
    delete: Delete,
}

impl Job for Deleting {
    fn needs(&self, desk: &Desk, known: &Known) -> Needs {
        desk.engine.needs_for([&self.delete.id], known)
    }

    fn decide(self: Box<Self>, room: &mut Room, known: &Known) {
        let desk = &mut room.desk;
        let deleted = desk.engine.delete(&self.delete, known, desk.now);
        // A refusal may rest on facts that were due before.
        desk.absorb();
        match deleted {
            Ok(()) => {
                // A `DeleteResponse` has no fields.
                desk.reply(self.ticket, Vec::new());
            }
            Err(refusal) => desk.refuse(self.ticket, &refusal.into()),
        }
    }
}
