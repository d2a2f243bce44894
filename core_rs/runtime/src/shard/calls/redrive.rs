//! The `Redrive` call.
//!
//! Owns the order of its steps: the engine says whether a new execution is to be made, the old
//! payload is read, and the engine decides about the new one. Between the steps other calls are
//! decided, so the last step checks everything again. Refuses to know what may be redriven.

use std::sync::Arc;

use backlane_engine::command::{Known, Needs, Redrive as Command};
use backlane_engine::error::Refusal;
use backlane_engine::fact::Actor;
use backlane_engine::reply::Made;
use backlane_engine::rules::access::Principal;
use backlane_engine::rules::status::ActorKind;
use backlane_store::{Key, Lookup, PAYLOAD, Part, Stored};
use backlane_wire::redrive::{Redrive, decode_redrive};
use backlane_wire::{ApiError, View, reply};

use crate::message::{Found, Query, Ticket, Wanted};
use crate::shard::desk::Desk;
use crate::shard::room::{Caller, Job, Room};
use crate::shard::show;

/// Prepares a `Redrive` call.
pub(crate) fn redrive(
    desk: &mut Desk,
    caller: &Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    let decoded = desk.with_context(&caller.principal, |context| decode_redrive(bytes, context));
    let redrive = decoded?;
    let command = Command {
        tenant: redrive.named.tenant.clone(),
        id: redrive.named.id,
        request: redrive.request.clone(),
        actor: Actor::named(ActorKind::Client, &caller.principal.name),
    };
    Ok(Box::new(Redriving {
        ticket: caller.ticket,
        principal: caller.principal.clone(),
        redrive,
        command,
        payload: Payload::Unread,
    }))
}

struct Redriving {
    ticket: Ticket,
    principal: Arc<Principal>,
    redrive: Redrive,
    command: Command,
    payload: Payload,
}

/// The old payload.
enum Payload {
    Unread,
    Read(Stored),
    /// The store had none. Either retention has removed the execution since, or the row is lost.
    Missing,
}

impl Job for Redriving {
    fn needs(&self, desk: &Desk, known: &Known) -> Needs {
        let old = desk.engine.needs_for([&self.command.id], known);
        let request = self.command.request.as_ref();
        desk.engine.needs_for_requests(request, known).and(old)
    }

    fn decide(self: Box<Self>, room: &mut Room, known: &Known) {
        let ticket = self.ticket;
        if room.desk.draining {
            return room.desk.refuse(ticket, &Refusal::Draining.into());
        }
        let decided = match &self.payload {
            Payload::Read(old) => self.make(&mut room.desk, old, known).map(Some),
            Payload::Unread | Payload::Missing => self.find(&mut room.desk, known),
        };
        room.desk.absorb();
        match decided {
            Ok(Some(Made { birth, existing })) => {
                show::one(room, ticket, birth, View::Full, move |record| {
                    reply::redrive_response(record, existing)
                });
            }
            Ok(None) => self.read(room, known.clone()),
            Err(error) => room.desk.refuse(ticket, &error),
        }
    }
}

impl Redriving {
    /// The execution that an earlier redrive made; `None` if a new one is to be made.
    fn find(&self, desk: &mut Desk, known: &Known) -> Result<Option<Made>, ApiError> {
        let found = desk.engine.find_redrive(&self.command, known, desk.now)?;
        match (&self.payload, found) {
            (Payload::Missing, None) => Err(self.damaged(desk, "it is missing")),
            (_, found) => Ok(found),
        }
    }

    fn make(&self, desk: &mut Desk, old: &Stored, known: &Known) -> Result<Made, ApiError> {
        let body = old.body.as_deref();
        let new = desk.with_context(&self.principal, |context| {
            self.redrive.remake(&old.head, body, context)
        });
        let new = new.map_err(|error| self.damaged(desk, &error.to_string()))?;
        let (engine, now) = (&mut desk.engine, desk.now);
        Ok(engine.redrive(&self.command, new, known, now)?)
    }

    /// The error of a payload that cannot be used. The damage is logged.
    fn damaged(&self, desk: &mut Desk, what: &str) -> ApiError {
        let id = &self.command.id;
        desk.notice(format!("execution number {}: payload: {what}", id.birth));
        show::damaged(&id.to_string(), &format!("payload: {what}"))
    }

    /// Reads the old payload, and decides again.
    fn read(mut self: Box<Self>, room: &mut Room, known: Known) {
        let key = Key::Number(self.command.id.birth);
        if let Some(stored) = room.desk.cache.get(&PAYLOAD, key.clone()) {
            self.payload = Payload::Read(stored.clone());
            return room.run(self, known);
        }
        let query = Query {
            rows: vec![Wanted {
                family: &PAYLOAD,
                key: key.clone(),
                part: Part::Whole,
            }],
            ..Query::default()
        };
        let then = move |room: &mut Room, found: Found| match found.row(&PAYLOAD, &key) {
            Some(Lookup::Found(stored)) => {
                self.payload = Payload::Read(stored.clone());
                room.run(self, known);
            }
            Some(Lookup::Damaged(damage)) => {
                let error = self.damaged(&mut room.desk, &damage.to_string());
                room.desk.refuse(self.ticket, &error);
            }
            Some(Lookup::Absent) | None => {
                self.payload = Payload::Missing;
                // Looks once more whether the execution is still there.
                room.run(self, Known::default());
            }
        };
        room.read(query, false, Box::new(then));
    }
}
