//! Calls that read and change nothing.
//!
//! Owns the pages and replies of these calls. Refuses to decide anything.

use backlane_engine::command::{Known, Needs, Read};
use backlane_engine::error::Refusal;
use backlane_engine::fact::Living;
use backlane_engine::reply::Counts;
use backlane_engine::row::EndingRow;
use backlane_engine::rules::access::VisibleTenant;
use backlane_engine::rules::id::{Birth, ExecutionId};
use backlane_engine::rules::status::Status;
use backlane_store::{ENDING, Key};
use backlane_wire::query::{
    Get, List, Named, Peek, decode_get, decode_list, decode_peek, decode_queue_stats,
};
use backlane_wire::{ApiError, View, page_token, reply};

use crate::message::{Found, ListQuery, Ticket};
use crate::shard::desk::Desk;
use crate::shard::page::Records;
use crate::shard::piece::ending_of;
use crate::shard::room::{Caller, Job, Room};
use crate::shard::show::{self, Fetch, MAX_REPLY_BYTES, PAGE_LOOKS, Shown};

use super::{children, find};

/// Prepares a `Get` call.
pub(crate) fn get(
    desk: &mut Desk,
    caller: &Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    let get = desk.with_context(&caller.principal, |context| decode_get(bytes, context))?;
    let ticket = caller.ticket;
    Ok(Box::new(Getting { ticket, get }))
}

struct Getting {
    ticket: Ticket,
    get: Get,
}

impl Job for Getting {
    fn needs(&self, desk: &Desk, known: &Known) -> Needs {
        desk.engine.needs_for([&self.get.named.id], known)
    }

    fn decide(self: Box<Self>, room: &mut Room, known: &Known) {
        let (ticket, Get { named, view }) = (self.ticket, self.get);
        match find(&room.desk, &named.tenant, &named.id, known) {
            Ok(birth) => show::one(room, ticket, birth, view, reply::get_response),
            Err(error) => room.desk.refuse(ticket, &error),
        }
    }
}

/// The birth number of a tenant's execution, finished or not.
pub(super) fn find(
    desk: &Desk,
    tenant: &VisibleTenant,
    id: &ExecutionId,
    known: &Known,
) -> Result<Birth, ApiError> {
    if desk.engine.state().find(tenant, id).is_some() {
        return Ok(id.birth);
    }
    match known.finished.get(&id.birth) {
        Some(Read::Found(done)) if done.id == *id && *done.tenant == **tenant => Ok(id.birth),
        Some(Read::Damaged(what)) => Err(show::damaged(&id.to_string(), what)),
        Some(Read::Found(_) | Read::Absent) | None => Err(not_found(tenant, id)),
    }
}

pub(super) fn not_found(tenant: &VisibleTenant, id: &ExecutionId) -> ApiError {
    ApiError::from(Refusal::ExecutionNotFound {
        execution_id: id.to_string(),
        tenant: tenant.to_string(),
    })
}

/// The ending of an execution that is not in `living`, from the rows that were read after the call
/// was decided. Damage is logged.
///
/// # Errors
/// `NOT_FOUND` if retention may have removed rows of the execution meanwhile; `DATA_LOSS` if the
/// ending is damaged.
pub(super) fn end_unless(
    living: Option<&Living>,
    desk: &mut Desk,
    named: &Named,
    found: &Found,
) -> Result<Option<EndingRow>, ApiError> {
    if living.is_some() {
        return Ok(None);
    }
    let birth = named.id.birth;
    let ending = ending_of(birth, found.row(&ENDING, &Key::Number(birth)));
    let ending = ending.map_err(|what| broken(desk, &named.id, &what))?;
    let ending = ending.filter(|ending| !show::may_be_removed(desk, ending));
    let gone = || not_found(&named.tenant, &named.id);
    ending.map(Some).ok_or_else(gone)
}

/// The error of a reply that shows one execution of which a row is damaged. It is logged.
pub(super) fn broken(desk: &mut Desk, id: &ExecutionId, what: &str) -> ApiError {
    desk.notice(format!("execution {id}: {what}"));
    show::damaged(&id.to_string(), what)
}

/// Prepares a `List` call.
pub(crate) fn list(
    desk: &mut Desk,
    caller: &Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    let list = desk.with_context(&caller.principal, |context| decode_list(bytes, context))?;
    let ticket = caller.ticket;
    Ok(Box::new(Listing { ticket, list }))
}

struct Listing {
    ticket: Ticket,
    list: List,
}

impl Job for Listing {
    fn decide(self: Box<Self>, room: &mut Room, _known: &Known) {
        let (ticket, list) = (self.ticket, self.list);
        if list.filter.is_some() {
            return find::list(room, ticket, list);
        }
        if let Some(parent) = list.parent {
            return children::list(room, ticket, list, parent);
        }
        let before = list
            .before
            .unwrap_or_else(|| room.desk.engine.state().next_birth());
        let (living, looked_to) = living_page(&room.desk, &list, before);
        let shown = living
            .into_iter()
            .map(|birth| Shown::now(&room.desk, birth));
        let wanted = list.status.is_none_or(Status::is_finished);
        let fetch = Fetch {
            shown: shown.collect(),
            view: list.view,
            // The store lists executions that just ended only once their ends are durable.
            list: wanted.then(|| ListQuery {
                family: &ENDING,
                tenant: (*list.tenant).into(),
                status: list.status,
                before,
                limit: list.page_size,
                part: show::part_of(list.view),
            }),
        };
        show::fetch(room, fetch, move |room, shown| match shown {
            Ok(shown) => send_page(room, ticket, shown, &list, looked_to),
            Err(error) => room.desk.refuse(ticket, &error),
        });
    }
}

/// A tenant's unfinished executions, newest first; and the birth number at which the look stopped,
/// if it stopped early.
fn living_page(desk: &Desk, list: &List, before: Birth) -> (Vec<Birth>, Option<Birth>) {
    let state = desk.engine.state();
    let key = state.tenants().by_name(&list.tenant);
    // No unfinished execution has the status of a finished one.
    let Some(key) = key.filter(|_| !list.status.is_some_and(Status::is_finished)) else {
        return (Vec::new(), None);
    };
    let (mut page, mut bytes) = (Vec::new(), 0);
    let living = state.tenants().tenant(key).living.range(..before).rev();
    for (looks, birth) in living.enumerate() {
        if page.len() == list.page_size {
            break;
        }
        if looks == PAGE_LOOKS {
            return (page, Some(*birth));
        }
        let slot = state.slot(*birth);
        let stands = slot.map(|slot| slot.phase.status());
        if list.status.is_some() && stands != list.status {
            continue;
        }
        // No more inputs are read than fit into the reply.
        let payload = slot.filter(|_| list.view == View::Full);
        bytes += payload.map_or(0, |slot| slot.payload_bytes as usize);
        if bytes > MAX_REPLY_BYTES && !page.is_empty() {
            return (page, Some(*birth));
        }
        page.push(*birth);
    }
    (page, None)
}

fn send_page(
    room: &mut Room,
    ticket: Ticket,
    mut shown: Vec<Shown>,
    list: &List,
    looked_to: Option<Birth>,
) {
    shown.sort_unstable_by_key(|shown| std::cmp::Reverse(shown.birth));
    let (mut records, mut end) = (Records::default(), None);
    // Finished executions older than the stop are left out: unfinished executions may be missing
    // between them.
    let seen = |shown: &&Shown| looked_to.is_none_or(|to| shown.birth > to);
    for one in shown.iter().filter(seen).take(list.page_size) {
        let Some(record) = show::listed(&mut room.desk, one, list.view) else {
            continue;
        };
        if !records.add(record) {
            break;
        }
        end = Some(one.birth);
    }
    let shown_last = shown.last().map(|shown| shown.birth);
    // A full page, or one that stopped early, may have a next page. An empty next page is harmless.
    let more = shown.len() >= list.page_size || end != shown_last;
    let after = end.filter(|_| more).or(looked_to.map(|to| to + 1));
    let next = after.map(|after| page_token(&list.tenant, list.status, after));
    let bytes = reply::list_response(&records.all, next.as_deref());
    room.desk.reply(ticket, bytes);
}

/// Prepares a `Peek` call.
pub(crate) fn peek(
    desk: &mut Desk,
    caller: &Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    let peek = desk.with_context(&caller.principal, |context| decode_peek(bytes, context))?;
    let ticket = caller.ticket;
    Ok(Box::new(Peeking { ticket, peek }))
}

struct Peeking {
    ticket: Ticket,
    peek: Peek,
}

impl Job for Peeking {
    fn decide(self: Box<Self>, room: &mut Room, _known: &Known) {
        let (ticket, desk) = (self.ticket, &room.desk);
        let Peek {
            tenant,
            limit,
            offer,
        } = &self.peek;
        let births = desk.engine.peek(tenant, offer, *limit, desk.now);
        let shown = births.into_iter().map(|birth| Shown::now(desk, birth));
        let fetch = Fetch {
            shown: shown.collect(),
            view: View::Basic,
            list: None,
        };
        show::fetch(room, fetch, move |room, shown| match shown {
            Ok(shown) => {
                let records = show::capped(&mut room.desk, &shown, View::Basic);
                let records: Vec<_> = records.into_iter().flatten().collect();
                room.desk.reply(ticket, reply::peek_response(&records));
            }
            Err(error) => room.desk.refuse(ticket, &error),
        });
    }
}

/// Prepares a `GetQueueStats` call.
pub(crate) fn queue_stats(
    desk: &mut Desk,
    caller: &Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    let tenant = desk.with_context(&caller.principal, |context| {
        decode_queue_stats(bytes, context)
    })?;
    let ticket = caller.ticket;
    Ok(Box::new(Counting { ticket, tenant }))
}

struct Counting {
    ticket: Ticket,
    tenant: VisibleTenant,
}

impl Job for Counting {
    fn decide(self: Box<Self>, room: &mut Room, _known: &Known) {
        let state = room.desk.engine.state();
        let tenants = state.tenants();
        let (mut counts, mut oldest, mut callables) = (Counts::default(), None, Vec::new());
        if let Some(key) = tenants.by_name(&self.tenant) {
            counts = state.counts(key);
            oldest = state.oldest_queued_at_ms(key);
            let queues = tenants.queues_of(key).map(|queue| tenants.queue(queue));
            callables.extend(queues.map(|queue| (queue.callable.clone(), queue.counts())));
            callables.retain(|(_, counts)| *counts != Counts::default());
        }
        callables.truncate(room.desk.settings.limits.max_page);
        let bytes = reply::queue_stats_response(counts, oldest, &callables);
        room.desk.reply(self.ticket, bytes);
    }
}
