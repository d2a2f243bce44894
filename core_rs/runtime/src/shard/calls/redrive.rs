//! The `Redrive` call.
//!
//! Owns the order of its steps: the engine says whether a new execution is to be made, the old
//! payload and the old run are read, and the engine decides about the new one. Between the steps
//! other calls are decided, so the last step checks everything again. Refuses to know what may be
//! redriven, which steps of a run are taken over, and how skipped dependents are found.

use std::sync::Arc;

use backlane_engine::command::{
    Dependent, Known, Needs, NewExecution, Redrive as Command, TakenStep,
};
use backlane_engine::error::Refusal;
use backlane_engine::fact::Actor;
use backlane_engine::reply::{Made, Redriven};
use backlane_engine::rules::access::Principal;
use backlane_engine::rules::status::ActorKind;
use backlane_store::{Key, Lookup, PAYLOAD, Part, Stored};
use backlane_wire::carry::taken_over;
use backlane_wire::redrive::{Redrive, decode_redrive};
use backlane_wire::{ApiError, DecodeError, View, reply};

use crate::message::{Found, Query, Ticket, Wanted};
use crate::shard::actions::{all_of, past};
use crate::shard::desk::Desk;
use crate::shard::room::{Caller, Job, Room};
use crate::shard::show;

use super::skipped::{self, Skipped};

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
    /// With what is to be made for dependents.
    Whole {
        new: Box<NewExecution>,
        steps: Vec<TakenStep>,
        dependents: Vec<Dependent>,
    },
    /// The store had no payload. Either retention has removed the execution since, or the row is
    /// lost.
    Missing,
}

impl Job for Redriving {
    fn needs(&self, desk: &Desk, known: &Known) -> Needs {
        let old = desk.engine.needs_for([&self.command.id], known);
        let request = self.command.request.as_ref();
        let mut needs = desk.engine.needs_for_requests(request, known).and(old);
        if let Old::Whole { dependents, .. } = &self.old {
            let new = dependents.iter().map(|dependent| &dependent.new);
            needs = needs.and(desk.engine.needs_for_new(new, None, known));
        }
        needs
    }

    fn decide(mut self: Box<Self>, room: &mut Room, known: &Known) {
        let ticket = self.ticket;
        if room.desk.draining {
            return room.desk.refuse(ticket, &Refusal::Draining.into());
        }
        let decided = match std::mem::replace(&mut self.old, Old::Unread) {
            Old::Read { payload, steps } if self.redrive.with_dependents => {
                return self.look(room, payload, steps, known.clone());
            }
            Old::Read { payload, steps } => {
                let made = self.make(&mut room.desk, &payload, steps, known);
                made.map(|made| Some(made.into()))
            }
            Old::Whole {
                new,
                steps,
                dependents,
            } => {
                let (engine, now) = (&mut room.desk.engine, room.desk.now);
                let made = engine.redrive_whole(&self.command, *new, steps, dependents, known, now);
                made.map(Some).map_err(ApiError::from)
            }
            old @ (Old::Unread | Old::Missing) => self.find(&mut room.desk, &old, known),
        };
        room.desk.absorb();
        match decided {
            Ok(Some(Redriven { made, dependents })) => {
                let Made { birth, existing } = made;
                show::one(room, ticket, birth, View::Full, move |record| {
                    reply::redrive_response(record, existing, &dependents)
                });
            }
            Ok(None) => self.read(room, known.clone()),
            Err(error) => room.desk.refuse(ticket, &error),
        }
    }
}

impl Redriving {
    /// The execution that an earlier redrive made; `None` if a new one is to be made.
    fn find(
        &self,
        desk: &mut Desk,
        old: &Old,
        known: &Known,
    ) -> Result<Option<Redriven>, ApiError> {
        let (engine, now) = (&mut desk.engine, desk.now);
        let found = if self.redrive.with_dependents {
            engine.find_whole_redrive(&self.command, known, now)?
        } else {
            let found = engine.find_redrive(&self.command, known, now)?;
            found.map(Redriven::from)
        };
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
        let new = self.remake(desk, payload)?;
        let (engine, now) = (&mut desk.engine, desk.now);
        Ok(engine.redrive(&self.command, new, steps, known, now)?)
    }

    fn remake(&self, desk: &mut Desk, payload: &Stored) -> Result<NewExecution, ApiError> {
        let body = payload.body.as_deref();
        let new = desk.with_context(&self.principal, |context| {
            self.redrive.remake(&payload.head, body, context)
        });
        new.map_err(|error| self.damaged(desk, &format!("payload: {error}")))
    }

    /// Looks for the dependents that were skipped, and decides again.
    fn look(
        mut self: Box<Self>,
        room: &mut Room,
        payload: Stored,
        steps: Vec<TakenStep>,
        known: Known,
    ) {
        let (tenant, of) = (self.command.tenant.clone(), self.command.id);
        let then = move |room: &mut Room, found: Result<Vec<Skipped>, ApiError>| {
            let whole = found.and_then(|found| self.whole(&mut room.desk, &payload, steps, found));
            match whole {
                Ok(whole) => {
                    self.old = whole;
                    room.run(self, known);
                }
                Err(error) => room.desk.refuse(self.ticket, &error),
            }
        };
        skipped::find(room, tenant, of, Box::new(then));
    }

    fn whole(
        &self,
        desk: &mut Desk,
        payload: &Stored,
        steps: Vec<TakenStep>,
        found: Vec<Skipped>,
    ) -> Result<Old, ApiError> {
        let new = Box::new(self.remake(desk, payload)?);
        let mut dependents = Vec::with_capacity(found.len());
        for one in found {
            let id = one.id;
            let dependent = self.dependent(desk, one);
            dependents.push(dependent.map_err(|error| {
                desk.notice(format!("execution number {}: payload: {error}", id.birth));
                show::damaged(&id.to_string(), &format!("payload: {error}"))
            })?);
        }
        Ok(Old::Whole {
            new,
            steps,
            dependents,
        })
    }

    fn dependent(&self, desk: &mut Desk, one: Skipped) -> Result<Dependent, DecodeError> {
        let payload = (&*one.payload.head, one.payload.body.as_deref());
        let new = desk.with_context(&self.principal, |context| {
            let redrive = &self.redrive;
            redrive.remake_dependent(&one.id, payload, one.depends_on, context)
        });
        Ok(Dependent {
            id: one.id,
            new: new?,
            has_waited: one.has_waited,
        })
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
