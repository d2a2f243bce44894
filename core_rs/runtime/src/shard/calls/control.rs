//! Inputs, pauses and resumes: producers' commands about the run of one execution.
//!
//! Owns the replies to these commands: the record as it stands afterwards. Refuses to decide what
//! they do: the engine does.

use backlane_engine::command::{Control, Known, Needs, NewInput};
use backlane_wire::control::{decode_input, decode_pause, decode_resume};
use backlane_wire::{ApiError, View, reply};

use crate::message::Ticket;
use crate::shard::desk::Desk;
use crate::shard::room::{Caller, Job, Room};
use crate::shard::show;

/// Prepares a `ProvideInput` call.
pub(crate) fn input(
    desk: &mut Desk,
    caller: &Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    let input = desk.with_context(&caller.principal, |context| decode_input(bytes, context))?;
    let ticket = caller.ticket;
    Ok(Box::new(Providing { ticket, input }))
}

struct Providing {
    ticket: Ticket,
    input: NewInput,
}

impl Job for Providing {
    fn needs(&self, desk: &Desk, known: &Known) -> Needs {
        let named = desk.engine.needs_for([&self.input.id], known);
        let request = self.input.request.as_ref();
        desk.engine.needs_for_requests(request, known).and(named)
    }

    fn decide(self: Box<Self>, room: &mut Room, known: &Known) {
        let desk = &mut room.desk;
        let made = desk.engine.provide_input(self.input, known, desk.now);
        desk.absorb();
        match made {
            Ok(made) => show::one(room, self.ticket, made.birth, View::Basic, move |it| {
                reply::provide_input_response(it, made.existing)
            }),
            Err(refusal) => desk.refuse(self.ticket, &refusal.into()),
        }
    }
}

/// Prepares a `Pause` call.
pub(crate) fn pause(
    desk: &mut Desk,
    caller: &Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    let control = desk.with_context(&caller.principal, |context| decode_pause(bytes, context))?;
    Ok(controlling(caller, control, Change::Pause))
}

/// Prepares a `Resume` call.
pub(crate) fn resume(
    desk: &mut Desk,
    caller: &Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    let control = desk.with_context(&caller.principal, |context| decode_resume(bytes, context))?;
    Ok(controlling(caller, control, Change::Resume))
}

fn controlling(caller: &Caller, control: Control, change: Change) -> Box<dyn Job> {
    let ticket = caller.ticket;
    Box::new(Controlling {
        ticket,
        control,
        change,
    })
}

enum Change {
    Pause,
    Resume,
}

struct Controlling {
    ticket: Ticket,
    control: Control,
    change: Change,
}

impl Job for Controlling {
    fn needs(&self, desk: &Desk, known: &Known) -> Needs {
        desk.engine.needs_for([&self.control.id], known)
    }

    fn decide(self: Box<Self>, room: &mut Room, known: &Known) {
        let desk = &mut room.desk;
        let changed = match self.change {
            Change::Pause => desk.engine.pause(&self.control, known, desk.now),
            Change::Resume => desk.engine.resume(&self.control, known, desk.now),
        };
        desk.absorb();
        let birth = self.control.id.birth;
        match changed {
            Ok(()) => show::one(
                room,
                self.ticket,
                birth,
                View::Full,
                reply::control_response,
            ),
            Err(refusal) => desk.refuse(self.ticket, &refusal.into()),
        }
    }
}
