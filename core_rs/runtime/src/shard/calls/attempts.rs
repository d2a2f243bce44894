//! Attempts: the leases of one execution and their outcomes.
//!
//! Owns how the attempts of an execution are collected: a row for each lease after which the
//! execution was unfinished, and the newest lease from the execution itself if it has no row.
//! Refuses to know which rows are kept: the engine does.

use backlane_engine::command::{Known, Needs};
use backlane_engine::fact::Living;
use backlane_engine::row::{AttemptOutcome, EndingRow};
use backlane_engine::rules::id::Birth;
use backlane_store::{ATTEMPT, ENDING, Key, Lookup, Part};
use backlane_wire::query::{ListAttempts, decode_list_attempts};
use backlane_wire::reply::{self, AttemptShown};
use backlane_wire::{ApiError, page_token, row};

use crate::message::{Found, Query, RangeQuery, Ticket, Wanted};
use crate::shard::desk::Desk;
use crate::shard::page::Records;
use crate::shard::room::{Caller, Job, Room};
use crate::shard::show::damaged;

use super::look;

/// Prepares a `ListAttempts` call.
pub(crate) fn list(
    desk: &mut Desk,
    caller: &Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    let decoded = desk.with_context(&caller.principal, |context| {
        decode_list_attempts(bytes, context)
    });
    let (ticket, list) = (caller.ticket, decoded?);
    Ok(Box::new(Listing { ticket, list }))
}

struct Listing {
    ticket: Ticket,
    list: ListAttempts,
}

impl Job for Listing {
    fn needs(&self, desk: &Desk, known: &Known) -> Needs {
        desk.engine.needs_for([&self.list.named.id], known)
    }

    fn decide(self: Box<Self>, room: &mut Room, known: &Known) {
        let (ticket, list) = (self.ticket, self.list);
        let birth = match look::find(&room.desk, &list.named.tenant, &list.named.id, known) {
            Ok(birth) => birth,
            Err(error) => return room.desk.refuse(ticket, &error),
        };
        let living = room.desk.engine.state().living(birth);
        let mut query = Query {
            ranges: vec![RangeQuery {
                family: &ATTEMPT,
                number: birth,
                from: list.after.saturating_add(1),
                limit: list.page_size,
            }],
            ..Query::default()
        };
        query.rows.extend(living.is_none().then_some(Wanted {
            family: &ENDING,
            key: Key::Number(birth),
            part: Part::Head,
        }));
        // The store has the rows of attempts that just ended only once they are durable.
        let then = move |room: &mut Room, found: Found| {
            let living = living.as_ref();
            let ending = look::end_unless(living, &mut room.desk, &list.named, &found);
            let page = ending.and_then(|ending| {
                let newest = living.and_then(running);
                let newest = newest.or(ending.as_ref().and_then(last));
                answer(birth, &list, newest, &found)
            });
            match page {
                Ok(bytes) => room.desk.reply(ticket, bytes),
                Err(error) => room.desk.refuse(ticket, &error),
            }
        };
        room.read(query, true, Box::new(then));
    }
}

/// A page of the attempts that have rows, and after them the newest one.
fn answer(
    birth: Birth,
    list: &ListAttempts,
    newest: Option<AttemptShown<'_>>,
    found: &Found,
) -> Result<Vec<u8>, ApiError> {
    let id = list.named.id.to_string();
    let broken = |what: &str| damaged(&id, what);
    let rows = match found.ranges.first() {
        Some(Ok(rows)) => &rows[..],
        Some(Err(damage)) => return Err(broken(&damage.to_string())),
        None => &[],
    };
    let mut page = Page::default();
    for (ordinal, lookup) in rows {
        let stored = match lookup {
            Lookup::Found(stored) => stored,
            Lookup::Damaged(damage) => return Err(broken(&damage.to_string())),
            Lookup::Absent => continue,
        };
        let read = row::attempt::read(birth, *ordinal, &stored.head);
        let row = read.map_err(|error| broken(&error.to_string()))?;
        page.add(&AttemptShown {
            ordinal: row.ordinal,
            attempt: row.attempt,
            worker: &row.worker,
            started_at_ms: row.started_at_ms,
            ended_at_ms: Some(row.ended_at_ms),
            outcome: AttemptOutcome::of_requeue(row.cause),
            error: row.error.as_deref(),
        });
    }
    if !page.is_full && rows.len() < list.page_size {
        page.extend(list.after, newest);
    } else {
        page.is_full = true;
    }
    let next = page
        .is_full
        .then(|| page_token(&id, None, page.last.into()));
    Ok(reply::list_attempts_response(
        &page.records.all,
        next.as_deref(),
    ))
}

/// The attempt of the live lease.
fn running(living: &Living) -> Option<AttemptShown<'_>> {
    let progress = &living.progress;
    let holding = progress.holding.as_ref()?;
    Some(AttemptShown {
        ordinal: progress.lease_ordinal(),
        attempt: progress.attempt,
        worker: &holding.worker,
        started_at_ms: progress.lease_began_ms()?,
        ended_at_ms: None,
        outcome: AttemptOutcome::Running,
        error: None,
    })
}

/// The attempt that ended together with the execution.
fn last(ending: &EndingRow) -> Option<AttemptShown<'_>> {
    let progress = &ending.progress;
    Some(AttemptShown {
        ordinal: progress.lease_ordinal(),
        attempt: progress.attempt,
        worker: progress
            .last_worker
            .as_deref()
            .filter(|_| ending.ended_lease)?,
        started_at_ms: progress.lease_began_ms()?,
        ended_at_ms: Some(ending.ended_at_ms),
        outcome: AttemptOutcome::of_end(ending.status, ending.reason),
        error: ending.error.as_deref(),
    })
}

/// A page of attempts that is being filled.
#[derive(Default)]
struct Page {
    records: Records,
    /// Ordinal of the newest attempt on the page.
    last: u32,
    is_full: bool,
}

impl Page {
    fn add(&mut self, shown: &AttemptShown<'_>) {
        if self.is_full || !self.records.add(reply::attempt(shown)) {
            self.is_full = true;
        } else {
            self.last = shown.ordinal;
        }
    }

    /// Adds the newest attempt, unless it had a row: its lease may have ended since the call was
    /// decided, or with the decision about an end that waited for descendants.
    fn extend(&mut self, after: u32, shown: Option<AttemptShown<'_>>) {
        let listed = after.max(self.last);
        if let Some(shown) = shown.filter(|shown| shown.ordinal > listed) {
            self.add(&shown);
        }
    }
}
