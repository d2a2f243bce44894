//! Dead letters: the calls that list and discard them.
//!
//! Owns the pages of the list, and the outcome of each discard. Refuses to decide what is a dead
//! letter: the engine does, and the store keeps one row for each.

use backlane_engine::command::{Discard, Known, Needs};
use backlane_engine::fact::Actor;
use backlane_engine::rules::id::{Birth, ExecutionId};
use backlane_engine::rules::status::ActorKind;
use backlane_store::DEAD_LETTER;
use backlane_wire::dead_letter::{
    DiscardDeadLetters, ListDeadLetters, decode_discard, decode_list_dead_letters,
};
use backlane_wire::{ApiError, reply};

use crate::message::{Found, ListQuery, Query, Ticket};
use crate::shard::desk::Desk;
use crate::shard::page::Records;
use crate::shard::room::{Caller, Job, Room};
use crate::shard::show::{self, Fetch, Shown, damaged};

/// Prepares a `ListDeadLetters` call.
pub(crate) fn list(
    desk: &mut Desk,
    caller: &Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    let list = desk.with_context(&caller.principal, |context| {
        decode_list_dead_letters(bytes, context)
    });
    let (ticket, list) = (caller.ticket, list?);
    Ok(Box::new(Listing { ticket, list }))
}

struct Listing {
    ticket: Ticket,
    list: ListDeadLetters,
}

impl Job for Listing {
    fn decide(self: Box<Self>, room: &mut Room, _known: &Known) {
        let Self { ticket, list } = *self;
        let desk = &room.desk;
        let next_birth = desk.engine.state().next_birth();
        let most = desk.settings.limits.max_page;
        let every = list.callable.is_empty();
        let limit = if every { list.page_size } else { most };
        let query = Query {
            list: Some(ListQuery {
                family: &DEAD_LETTER,
                tenant: (*list.tenant).into(),
                status: None,
                before: list.before.unwrap_or(next_birth),
                limit,
                part: show::part_of(list.view),
            }),
            ..Query::default()
        };
        // The store lists executions that just ended only once their ends are durable.
        let then = move |room: &mut Room, found: Found| listed(room, ticket, list, limit, &found);
        room.read(query, true, Box::new(then));
    }
}

fn listed(room: &mut Room, ticket: Ticket, list: ListDeadLetters, limit: usize, found: &Found) {
    if let Some(damage) = &found.list_damage {
        let error = damaged("the list", &damage.to_string());
        return room.desk.refuse(ticket, &error);
    }
    let page = Page {
        looked_to: found.listed.last().copied(),
        has_more: found.list_is_cut || found.listed.len() >= limit,
        list,
    };
    let shown = found.listed.iter().map(|birth| {
        let mut shown = Shown::listed(*birth);
        shown.fill(found);
        shown
    });
    let fetch = Fetch {
        shown: shown.collect(),
        view: page.list.view,
        list: None,
    };
    show::fetch(room, fetch, move |room, shown| match shown {
        Ok(shown) => page.send(&mut room.desk, ticket, &shown),
        Err(error) => room.desk.refuse(ticket, &error),
    });
}

/// A page of dead letters whose rows were read.
struct Page {
    list: ListDeadLetters,
    /// The oldest execution that was looked at.
    looked_to: Option<Birth>,
    /// Whether there may be older dead letters.
    has_more: bool,
}

impl Page {
    fn send(self, desk: &mut Desk, ticket: Ticket, shown: &[Shown]) {
        let mut records = Records::default();
        let mut after = self.looked_to.filter(|_| self.has_more);
        let mut last = None;
        for one in shown.iter().filter(|one| self.wants(one)) {
            let Some(record) = show::listed(desk, one, self.list.view) else {
                continue;
            };
            if records.all.len() >= self.list.page_size || !records.add(record) {
                after = last;
                break;
            }
            last = Some(one.birth);
        }
        let next = after.map(|after| self.list.page_token(after));
        let bytes = reply::list_dead_letters_response(&records.all, next.as_deref());
        desk.reply(ticket, bytes);
    }

    /// Whether an execution is of the callable that is listed. One whose payload cannot be read is
    /// shown only in the list of every callable.
    fn wants(&self, shown: &Shown) -> bool {
        let callable = &*self.list.callable;
        callable.is_empty() || shown.callable() == Some(callable)
    }
}

/// Prepares a `DiscardDeadLetters` call.
pub(crate) fn discard(
    desk: &mut Desk,
    caller: &Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    let decoded = desk.with_context(&caller.principal, |context| decode_discard(bytes, context));
    Ok(Box::new(Discarding {
        ticket: caller.ticket,
        actor: Actor::named(ActorKind::Client, &caller.principal.name),
        discard: decoded?,
    }))
}

struct Discarding {
    ticket: Ticket,
    actor: Actor,
    discard: DiscardDeadLetters,
}

impl Job for Discarding {
    fn needs(&self, desk: &Desk, known: &Known) -> Needs {
        let ids = self.discard.ids.iter().flatten();
        desk.engine.needs_for(ids, known)
    }

    fn decide(self: Box<Self>, room: &mut Room, known: &Known) {
        let Self {
            ticket,
            actor,
            discard,
        } = *self;
        let desk = &mut room.desk;
        // Where the tenant is out of scope, every id is an error already.
        let tenant = discard.tenant;
        let outcomes = discard
            .ids
            .into_iter()
            .map(|id| -> Result<ExecutionId, ApiError> {
                let id = id?;
                if let Some(tenant) = tenant.clone() {
                    let actor = actor.clone();
                    let discard = Discard { tenant, id, actor };
                    desk.engine.discard(&discard, known, desk.now)?;
                }
                Ok(id)
            });
        let outcomes: Vec<_> = outcomes.collect();
        desk.absorb();
        desk.reply(ticket, reply::discard_response(&outcomes));
    }
}
