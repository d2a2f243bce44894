//! The `Redrive` call.
//!
//! Owns the order of its steps: the engine says whether a new execution is to be made, the old
//! payload and the old run are read, and the engine decides about the new one. Between the steps
//! other calls are decided, so the last step checks everything again. Refuses to know what may be
//! redriven, and which steps of a run are taken over.

use std::sync::Arc;

use backlane_engine::command::{Known, Needs, Redrive as Command, TakenStep};
use backlane_engine::error::Refusal;
use backlane_engine::fact::Actor;
use backlane_engine::reply::Made;
use backlane_engine::rules::access::Principal;
use backlane_engine::rules::status::ActorKind;
use backlane_store::{Key, Lookup, PAYLOAD, Part, Stored};
use backlane_wire::carry::taken_over;
use backlane_wire::redrive::{Redrive, decode_redrive};
use backlane_wire::{ApiError, View, reply};

use crate::message::{Found, Query, Ticket, Wanted};
use crate::shard::actions::{all_of, past};
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
        old: Old::Unread,
    }))
}

struct Redriving {
    ticket: Ticket,
    principal: Arc<Principal>,
    redrive: Redrive,
    command: Command,
    old: Old,
}

/// What the new execution is made from.
enum Old {
    Unread,
    Read {
        payload: Stored,
        steps: Vec<TakenStep>,
    },
    /// The store had no payload. Either retention has removed the execution since, or the row is
    /// lost.
    Missing,
}

impl Job for Redriving {
    fn needs(&self, desk: &Desk, known: &Known) -> Needs {
        let old = desk.engine.needs_for([&self.command.id], known);
        let request = self.command.request.as_ref();
        let mut needs = desk.engine.needs_for_requests(request, known);
        needs.finished.extend(old.finished);
        needs
    }

    fn decide(mut self: Box<Self>, room: &mut Room, known: &Known) {
        let ticket = self.ticket;
        if room.desk.draining {
            return room.desk.refuse(ticket, &Refusal::Draining.into());
        }
        let decided = match std::mem::replace(&mut self.old, Old::Unread) {
            Old::Read { payload, steps } => {
                let made = self.make(&mut room.desk, &payload, steps, known);
                made.map(Some)
            }
            old @ (Old::Unread | Old::Missing) => self.find(&mut room.desk, &old, known),
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
    fn find(&self, desk: &mut Desk, old: &Old, known: &Known) -> Result<Option<Made>, ApiError> {
        let found = desk.engine.find_redrive(&self.command, known, desk.now)?;
        match (old, found) {
            (Old::Missing, None) => Err(self.damaged(desk, "payload: it is missing")),
            (_, found) => Ok(found),
        }
    }

    fn make(
        &self,
        desk: &mut Desk,
        payload: &Stored,
        steps: Vec<TakenStep>,
        known: &Known,
    ) -> Result<Made, ApiError> {
        let body = payload.body.as_deref();
        let new = desk.with_context(&self.principal, |context| {
            self.redrive.remake(&payload.head, body, context)
        });
        let new = new.map_err(|error| self.damaged(desk, &format!("payload: {error}")))?;
        let (engine, now) = (&mut desk.engine, desk.now);
        Ok(engine.redrive(&self.command, new, steps, known, now)?)
    }

    /// The error of a payload or a run that cannot be used. The damage is logged.
    fn damaged(&self, desk: &mut Desk, what: &str) -> ApiError {
        let id = &self.command.id;
        desk.notice(format!("execution number {}: {what}", id.birth));
        show::damaged(&id.to_string(), what)
    }

    /// Reads the old payload and the old run, and decides again.
    fn read(self: Box<Self>, room: &mut Room, known: Known) {
        let birth = self.command.id.birth;
        let carries = self.redrive.carries_steps();
        let cached = room.desk.cache.get(&PAYLOAD, Key::Number(birth)).cloned();
        let payload = Wanted {
            family: &PAYLOAD,
            key: Key::Number(birth),
            part: Part::Whole,
        };
        let query = Query {
            rows: cached.is_none().then_some(payload).into_iter().collect(),
            ranges: carries.then(|| all_of(birth)).into_iter().collect(),
            ..Query::default()
        };
        if query.rows.is_empty() && query.ranges.is_empty() {
            return self.read_done(room, cached, known, Found::default());
        }
        let then = move |room: &mut Room, found: Found| self.read_done(room, cached, known, found);
        // What was just recorded is in the store only once it is durable.
        room.read(query, carries, Box::new(then));
    }

    fn read_done(
        mut self: Box<Self>,
        room: &mut Room,
        cached: Option<Stored>,
        known: Known,
        found: Found,
    ) {
        match self.read_old(cached, found) {
            Ok(Some((payload, steps))) => {
                self.old = Old::Read { payload, steps };
                room.run(self, known);
            }
            Ok(None) => {
                self.old = Old::Missing;
                // Looks once more whether the execution is still there.
                room.run(self, Known::default());
            }
            Err(what) => {
                let error = self.damaged(&mut room.desk, &what);
                room.desk.refuse(self.ticket, &error);
            }
        }
    }

    /// The old payload and the steps to take over, from what was read; `None` without a payload.
    /// An error names the damage.
    fn read_old(
        &self,
        cached: Option<Stored>,
        found: Found,
    ) -> Result<Option<(Stored, Vec<TakenStep>)>, Box<str>> {
        let birth = self.command.id.birth;
        let payload = match (cached, found.row(&PAYLOAD, &Key::Number(birth))) {
            (Some(payload), _) => payload,
            (None, Some(Lookup::Found(payload))) => payload.clone(),
            (None, Some(Lookup::Damaged(damage))) => {
                return Err(format!("payload: {damage}").into());
            }
            (None, Some(Lookup::Absent) | None) => return Ok(None),
        };
        let actions = found.ranges.into_iter().next();
        let story = actions.map(|rows| past(birth, rows)).transpose();
        let story = story.map_err(|what| format!("run: {what}"))?;
        Ok(Some((
            payload,
            story.as_ref().map(taken_over).unwrap_or_default(),
        )))
    }
}
