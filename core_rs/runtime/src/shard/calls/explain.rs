//! `Explain`: why an execution waits.
//!
//! Owns which workers offer callables now, and which rows an answer needs. Refuses to judge what
//! keeps an execution from a worker: the engine does.

use backlane_engine::command::{Known, Needs};
use backlane_engine::reason::{Offering, Reason};
use backlane_wire::explain::{decode_explain, explain_response, finished_response};
use backlane_wire::query::Named;
use backlane_wire::{ApiError, View};

use crate::message::Ticket;
use crate::shard::desk::Desk;
use crate::shard::piece::Unshown;
use crate::shard::room::{Caller, Job, Room};
use crate::shard::show::{self, Fetch, Shown};

use super::look;

/// Prepares an `Explain` call.
pub(crate) fn explain(
    desk: &mut Desk,
    caller: &Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    let named = desk.with_context(&caller.principal, |context| decode_explain(bytes, context))?;
    let ticket = caller.ticket;
    Ok(Box::new(Explaining { ticket, named }))
}

struct Explaining {
    ticket: Ticket,
    named: Named,
}

impl Job for Explaining {
    fn needs(&self, desk: &Desk, known: &Known) -> Needs {
        desk.engine.needs_for([&self.named.id], known)
    }

    fn decide(self: Box<Self>, room: &mut Room, known: &Known) {
        let Self { ticket, named } = *self;
        let birth = match look::find(&room.desk, &named.tenant, &named.id, known) {
            Ok(birth) => birth,
            Err(error) => return room.desk.refuse(ticket, &error),
        };
        let offering = offering(room);
        let (desk, now) = (&room.desk, room.desk.now);
        let told = desk.engine.explain(birth, &offering, now);
        let needs_rows = told.as_ref().is_none_or(|told| {
            let mut reasons = told.reasons.iter();
            reasons.any(|reason| matches!(reason, Reason::BackingOff { .. }))
        });
        if let Some(told) = told.as_ref().filter(|_| !needs_rows) {
            let reply = explain_response(told, None, now.wall_ms);
            return room.desk.reply(ticket, reply);
        }
        let fetch = Fetch {
            shown: vec![Shown::now(desk, birth)],
            view: View::Basic,
            list: None,
        };
        show::fetch(room, fetch, move |room, shown| {
            let desk = &mut room.desk;
            let reply = shown.and_then(|shown| {
                let [one] = &shown[..] else {
                    return Err(ApiError::internal("a record was removed"));
                };
                let reply = match &told {
                    Some(told) => {
                        let error = one.newest_error(desk);
                        // The reason is known without the error that led to it.
                        let error = match error {
                            Err(Unshown::Damaged(what)) => {
                                let notice =
                                    format!("an attempt of execution number {birth}: {what}");
                                desk.notice(notice);
                                Ok(None)
                            }
                            told => told,
                        };
                        error.map(|error| explain_response(told, error, now.wall_ms))
                    }
                    None => one
                        .ending()
                        .map(|ending| finished_response(ending, now.wall_ms)),
                };
                reply.map_err(|unshown| unshown.error(desk, birth))
            });
            match reply {
                Ok(reply) => desk.reply(ticket, reply),
                Err(error) => desk.refuse(ticket, &error),
            }
        });
    }
}

/// The workers that offer callables now: waiting calls, and the lanes of streams.
fn offering(room: &Room) -> Vec<Offering> {
    let calls = room.takers.calls.values().map(|waiting| Offering {
        worker: waiting.taker.worker.clone(),
        offer: waiting.taker.offer,
        free: waiting.max as u64,
        stream: None,
    });
    calls
        .chain(room.streams.offering(&room.desk.engine))
        .collect()
}
