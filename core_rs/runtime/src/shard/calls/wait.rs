//! Wait and Run: calls that wait for executions to end.
//!
//! Owns when a wait is over. Refuses to answer before the awaited end is durable: the reply waits
//! for the commit like every reply.

use std::collections::BTreeSet;

use backlane_engine::command::{Known, Needs};
use backlane_engine::reply::Made;
use backlane_engine::rules::id::Birth;
use backlane_wire::enqueue::{Run, decode_run};
use backlane_wire::query::{Wait, decode_wait};
use backlane_wire::{ApiError, View, reply};

use crate::message::Ticket;
use crate::shard::desk::Desk;
use crate::shard::room::{Caller, Job, Room};
use crate::shard::show::{self, Fetch, Shown};
use crate::shard::waits::Waiting;

use super::{enqueue, look};

/// Prepares a `Run` call.
pub(crate) fn run(desk: &mut Desk, caller: Caller, bytes: &[u8]) -> Result<Box<dyn Job>, ApiError> {
    let run = desk.with_context(&caller.principal, |context| decode_run(bytes, context))?;
    Ok(Box::new(Running { caller, run }))
}

struct Running {
    caller: Caller,
    run: Run,
}

impl Job for Running {
    fn needs(&self, desk: &Desk, known: &Known) -> Needs {
        desk.engine.needs_for_new([&self.run.new], None, known)
    }

    fn decide(self: Box<Self>, room: &mut Room, known: &Known) {
        let Run { new, timeout_ms } = self.run;
        match enqueue::make(&mut room.desk, new, known) {
            Ok(Made { birth, existing }) => {
                let asked = Asked {
                    ids: vec![Ok(birth)],
                    needed: 1,
                    timeout_ms,
                    run: Some(existing),
                };
                begin(room, &self.caller, asked);
            }
            Err(refusal) => {
                let error = refusal.within("enqueue").into();
                room.desk.refuse(self.caller.ticket, &error);
            }
        }
    }
}

/// Prepares a `Wait` call.
pub(crate) fn wait(
    desk: &mut Desk,
    caller: Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    let wait = desk.with_context(&caller.principal, |context| decode_wait(bytes, context))?;
    Ok(Box::new(Waits { caller, wait }))
}

struct Waits {
    caller: Caller,
    wait: Wait,
}

impl Job for Waits {
    fn needs(&self, desk: &Desk, known: &Known) -> Needs {
        desk.engine.needs_for(self.wait.ids.iter().flatten(), known)
    }

    fn decide(self: Box<Self>, room: &mut Room, known: &Known) {
        let Wait {
            tenant,
            ids,
            needed,
            timeout_ms,
        } = self.wait;
        let ids = ids.into_iter().map(|id| {
            let id = id?;
            // Without a visible tenant, every id is an error already.
            let tenant = tenant
                .as_ref()
                .ok_or_else(|| ApiError::internal("no tenant"))?;
            look::find(&room.desk, tenant, &id, known)
        });
        let asked = Asked {
            ids: ids.collect(),
            needed,
            timeout_ms,
            run: None,
        };
        begin(room, &self.caller, asked);
    }
}

struct Asked {
    ids: Vec<Result<Birth, ApiError>>,
    needed: usize,
    timeout_ms: u64,
    run: Option<bool>,
}

fn begin(room: &mut Room, caller: &Caller, asked: Asked) {
    // Executions that ended so far are counted below and must not be counted twice.
    room.waits.follow(&mut room.desk.ended);
    let desk = &room.desk;
    let is_over = |id: &&Result<Birth, ApiError>| match id {
        Ok(birth) => !desk.is_living(*birth),
        Err(_) => true,
    };
    let over = asked.ids.iter().filter(is_over).count();
    let timeout_ms = asked.timeout_ms.min(caller.timeout_ms.unwrap_or(u64::MAX));
    let waiting = Waiting {
        missing: asked.needed.saturating_sub(over),
        until_ms: desk.now.mono_ms.saturating_add(timeout_ms),
        ids: asked.ids,
        run: asked.run,
    };
    if waiting.missing == 0 || timeout_ms == 0 || desk.draining {
        answer(room, caller.ticket, waiting);
    } else {
        room.waits.insert(caller.ticket, waiting);
    }
}

/// Answers the waits whose executions have ended, and the waits whose time is over.
pub(crate) fn finish_due(room: &mut Room) {
    room.waits.follow(&mut room.desk.ended);
    for ticket in room.waits.take_satisfied() {
        finish(room, ticket);
    }
    while let Some((until_ms, ticket)) = room.waits.first_expiry() {
        if until_ms > room.desk.now.mono_ms {
            break;
        }
        finish(room, ticket);
    }
}

/// Answers every wait with the current records, because the server is about to stop.
pub(crate) fn finish_all(room: &mut Room) {
    for ticket in room.waits.tickets() {
        finish(room, ticket);
    }
}

fn finish(room: &mut Room, ticket: Ticket) {
    if let Some(waiting) = room.waits.remove(ticket) {
        answer(room, ticket, waiting);
    }
}

fn answer(room: &mut Room, ticket: Ticket, waiting: Waiting) {
    if let Some(existing) = waiting.run {
        let birth = waiting.ids.into_iter().find_map(Result::ok);
        return show::one(room, ticket, birth.unwrap_or(0), View::Full, move |it| {
            reply::run_response(it, existing)
        });
    }
    let births: BTreeSet<_> = waiting.ids.iter().flatten().copied().collect();
    let shown = births
        .into_iter()
        .map(|birth| Shown::now(&room.desk, birth));
    let fetch = Fetch {
        shown: shown.collect(),
        view: View::Basic,
        list: None,
    };
    let (ids, satisfied) = (waiting.ids, waiting.missing == 0);
    show::fetch(room, fetch, move |room, shown| match shown {
        Ok(shown) => send(room, ticket, &shown, ids, satisfied),
        Err(error) => room.desk.refuse(ticket, &error),
    });
}

fn send(
    room: &mut Room,
    ticket: Ticket,
    shown: &[Shown],
    ids: Vec<Result<Birth, ApiError>>,
    satisfied: bool,
) {
    let records = show::capped(&mut room.desk, shown, View::Basic);
    let births = shown.iter().map(|shown| shown.birth);
    let records: std::collections::BTreeMap<_, _> = births.zip(records).collect();
    let missing = || Err(ApiError::internal("a record was removed"));
    let outcomes: Vec<_> = ids
        .into_iter()
        .map(|id| records.get(&id?).cloned().unwrap_or_else(missing))
        .collect();
    let bytes = reply::wait_response(&outcomes, satisfied);
    room.desk.reply(ticket, bytes);
}
