//! The `Spawn` call.
//!
//! Owns the reply to a spawn: the child's record, or that the parent runs the child inline. Refuses
//! to decide whether the parent may spawn: the engine does.

use backlane_engine::command::{Known, Needs};
use backlane_engine::decide::Speaker;
use backlane_engine::error::Refusal;
use backlane_engine::reply::Made;
use backlane_wire::spawn::{Child, Spawn, decode_spawn};
use backlane_wire::{ApiError, View, reply};

use crate::message::Ticket;
use crate::shard::desk::Desk;
use crate::shard::room::{Caller, Job, Room};
use crate::shard::show;

use super::steps::is_first;

/// Prepares a `Spawn` call.
pub(crate) fn spawn(
    desk: &mut Desk,
    caller: Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    let spawn = desk.with_context(&caller.principal, |context| decode_spawn(bytes, context))?;
    let ticket = caller.ticket;
    Ok(match spawn {
        Spawn::Inline => Box::new(Inline { ticket }),
        Spawn::Background(child) => Box::new(Spawning { caller, child }),
    })
}

struct Inline {
    ticket: Ticket,
}

impl Job for Inline {
    fn decide(self: Box<Self>, room: &mut Room, _known: &Known) {
        room.desk.reply(self.ticket, reply::spawn_inline_response());
    }
}

struct Spawning {
    caller: Caller,
    child: Box<Child>,
}

impl Job for Spawning {
    fn needs(&self, desk: &Desk, known: &Known) -> Needs {
        let Child { new, parent, .. } = &*self.child;
        let parent = desk.engine.needs_for([&parent.id], known);
        desk.engine.needs_for_new([new], None, known).and(parent)
    }

    fn decide(self: Box<Self>, room: &mut Room, known: &Known) {
        let ticket = self.caller.ticket;
        match make(&mut room.desk, &self.caller, *self.child, known) {
            Ok(Made { birth, existing }) => show::one(room, ticket, birth, View::Full, move |it| {
                reply::spawn_response(it, existing)
            }),
            Err(refusal) => room.desk.refuse(ticket, &refusal.into()),
        }
    }
}

fn make(desk: &mut Desk, caller: &Caller, child: Child, known: &Known) -> Result<Made, Refusal> {
    if desk.draining {
        return Err(Refusal::Draining);
    }
    let principal = &*caller.principal;
    let speaker = Speaker { principal, known };
    let Child { new, parent, step } = child;
    let step = step.map(|step| step.recorded(is_first(desk, parent.id.birth)));
    let made = desk.engine.spawn(new, &parent, step, speaker, desk.now);
    desk.absorb();
    made
}
