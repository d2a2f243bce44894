//! The executions that were skipped because of one that did not complete.
//!
//! Owns how they are found: by a look through the cancelled executions of the tenant that are
//! younger, page by page, so that nobody else waits for it. Owns also how many may be found.
//! Refuses to make anything of them.

use std::collections::BTreeMap;

use backlane_engine::command::Dependency;
use backlane_engine::error::{Invalid, Refusal};
use backlane_engine::rules::access::VisibleTenant;
use backlane_engine::rules::id::{Birth, ExecutionId};
use backlane_engine::rules::status::{EndReason, Status};
use backlane_store::{ENDING, Key, Lookup, PAYLOAD, Part, Stored};
use backlane_wire::{ApiError, row};

use crate::message::{Found, ListQuery, Query, Wanted};
use crate::shard::desk::Desk;
use crate::shard::room::Room;
use crate::shard::show::damaged;

/// Executions of which one page reads the heads.
const PAGE: usize = 256;
/// Payloads that are read at a time.
const PAYLOADS: usize = 16;
/// Most dependencies that one look keeps.
const MOST_EDGES: usize = 1_000_000;
/// Bytes of the id of a dependency in a request.
const DEPENDENCY_BYTES: usize = 34;

/// An execution that was skipped.
pub(super) struct Skipped {
    pub(super) id: ExecutionId,
    /// What it depends on. The execution because of which it was skipped is item 0, and the first
    /// of those that were found is item 1.
    pub(super) depends_on: Vec<Dependency>,
    /// Whether it waited before it was skipped.
    pub(super) has_waited: bool,
    pub(super) payload: Stored,
}

/// What follows a look.
pub(super) type Then = Box<dyn FnOnce(&mut Room, Result<Vec<Skipped>, ApiError>) + Send>;

/// Finds the executions that were skipped because of the execution `of`, oldest first, and those
/// that were skipped because of these. Each comes after those that it depends on.
pub(super) fn find(room: &mut Room, tenant: VisibleTenant, of: ExecutionId, then: Then) {
    if room.desk.draining {
        return then(room, Err(Refusal::Draining.into()));
    }
    if room.desk.engine.has_agenda() {
        // Dependents may be among what is still to be skipped.
        let again = move |room: &mut Room, _: Found| find(room, tenant, of, then);
        return room.read(Query::default(), true, Box::new(again));
    }
    let look = Look {
        before: room.desk.engine.state().next_birth(),
        seen: Vec::new(),
        edges: 0,
        tenant,
        of,
    };
    look.next_page(room, then);
}

/// An execution that was skipped, because of any other.
struct Seen {
    id: ExecutionId,
    depends_on: Vec<ExecutionId>,
    has_waited: bool,
}

/// A look through the cancelled executions, newest first.
struct Look {
    tenant: VisibleTenant,
    of: ExecutionId,
    before: Birth,
    seen: Vec<Seen>,
    edges: usize,
}

impl Look {
    fn next_page(mut self, room: &mut Room, then: Then) {
        let list = ListQuery {
            family: &ENDING,
            tenant: (*self.tenant).into(),
            status: Some(Status::Cancelled),
            before: self.before,
            limit: PAGE,
            part: Part::Head,
        };
        let query = Query {
            list: Some(list),
            ..Query::default()
        };
        let read = move |room: &mut Room, found: Found| match self.page(&mut room.desk, &found) {
            Ok(_) if room.desk.draining => then(room, Err(Refusal::Draining.into())),
            Ok(true) => self.next_page(room, then),
            Ok(false) => self.collect(room, then),
            Err(error) => then(room, Err(error)),
        };
        room.read(query, true, Box::new(read));
    }

    /// Adds a page. Returns whether there is another one.
    fn page(&mut self, desk: &mut Desk, found: &Found) -> Result<bool, ApiError> {
        if let Some(damage) = &found.list_damage {
            return Err(damaged("the list", &damage.to_string()));
        }
        for birth in found.listed.iter().filter(|birth| **birth > self.of.birth) {
            let seen = seen(&self.tenant, *birth, found);
            let seen = seen.map_err(|what| told(desk, *birth, &what))?;
            self.edges += seen.as_ref().map_or(0, |seen| seen.depends_on.len());
            self.seen.extend(seen);
        }
        if self.edges > MOST_EDGES {
            let rule = "would look at too many executions that were skipped";
            return Err(refused(rule));
        }
        self.before = found.listed.last().copied().unwrap_or(0);
        let is_full = found.listed.len() >= PAGE || found.list_is_cut;
        Ok(is_full && self.before > self.of.birth)
    }

    /// Keeps what was skipped because of the execution, and reads the payloads.
    fn collect(self, room: &mut Room, then: Then) {
        let limits = room.desk.engine.limits();
        let (most, most_bytes) = (limits.max_batch_items, limits.max_batch_bytes);
        let mut places = BTreeMap::from([(self.of.birth, 0)]);
        let mut chosen = Vec::new();
        for seen in self.seen.into_iter().rev() {
            let mut on = seen.depends_on.iter();
            if on.all(|id| !places.contains_key(&id.birth)) {
                continue;
            }
            let next = u32::try_from(places.len()).unwrap_or(u32::MAX);
            places.insert(seen.id.birth, next);
            chosen.push(seen);
        }
        if chosen.len() >= most {
            let rule = format!("would enqueue more than {most} executions");
            return then(room, Err(refused(&rule)));
        }
        let reading = Reading {
            tenant: self.tenant,
            of: self.of,
            places,
            chosen,
            read: Vec::new(),
            bytes_left: most_bytes,
        };
        reading.next(room, then);
    }
}

/// An execution that was skipped, from its rows; `None` if it was cancelled for another reason, or
/// was removed since.
fn seen(tenant: &str, birth: Birth, found: &Found) -> Result<Option<Seen>, Box<str>> {
    let key = Key::Number(birth);
    let ending = match found.row(&ENDING, &key) {
        Some(Lookup::Found(stored)) => row::ending::read(birth, tenant, &stored.head, None),
        Some(Lookup::Damaged(damage)) => return Err(damage.to_string().into()),
        Some(Lookup::Absent) | None => return Ok(None),
    };
    let ending = ending.map_err(|error| Box::from(error.to_string()))?;
    if ending.reason != EndReason::DependencyFailed {
        return Ok(None);
    }
    let head = match found.row(&PAYLOAD, &key) {
        Some(Lookup::Found(stored)) => &stored.head,
        Some(Lookup::Damaged(damage)) => return Err(damage.to_string().into()),
        Some(Lookup::Absent) | None => return Err("its payload is missing".into()),
    };
    let made = row::payload::waited(head).map_err(|error| Box::from(error.to_string()))?;
    Ok(Some(Seen {
        id: ending.id,
        depends_on: made.depends_on,
        has_waited: made.queued_at_ms < ending.ended_at_ms,
    }))
}

/// The reading of payloads, a few at a time.
struct Reading {
    tenant: VisibleTenant,
    of: ExecutionId,
    places: BTreeMap<Birth, u32>,
    chosen: Vec<Seen>,
    read: Vec<Skipped>,
    bytes_left: usize,
}

impl Reading {
    fn next(mut self, room: &mut Room, then: Then) {
        let left = self.chosen.iter().skip(self.read.len());
        let rows: Vec<_> = left
            .take(PAYLOADS)
            .map(|seen| whole(seen.id.birth))
            .collect();
        if rows.is_empty() {
            return then(room, Ok(self.read));
        }
        let query = Query {
            rows,
            ..Query::default()
        };
        let read = move |room: &mut Room, found: Found| match self.add(&mut room.desk, &found) {
            Ok(true) => self.next(room, then),
            // Retention removed one of them: the places of the others have changed.
            Ok(false) => find(room, self.tenant, self.of, then),
            Err(error) => then(room, Err(error)),
        };
        room.read(query, false, Box::new(read));
    }

    /// Adds the payloads that were read. Returns false if one does not exist any more.
    fn add(&mut self, desk: &mut Desk, found: &Found) -> Result<bool, ApiError> {
        let from = self.read.len();
        for seen in self.chosen.iter().skip(from).take(PAYLOADS) {
            let birth = seen.id.birth;
            let payload = match found.row(&PAYLOAD, &Key::Number(birth)) {
                Some(Lookup::Found(stored)) => stored.clone(),
                Some(Lookup::Damaged(damage)) => {
                    return Err(told(desk, birth, &damage.to_string()));
                }
                Some(Lookup::Absent) | None => return Ok(false),
            };
            let bytes = payload.head.len() + payload.body.as_ref().map_or(0, |body| body.len());
            let bytes = bytes + DEPENDENCY_BYTES * seen.depends_on.len();
            let Some(left) = self.bytes_left.checked_sub(bytes) else {
                let most = desk.engine.limits().max_batch_bytes;
                return Err(refused(&format!("would enqueue more than {most} bytes")));
            };
            self.bytes_left = left;
            let place = |id: &ExecutionId| {
                let place = self.places.get(&id.birth);
                place.map_or(Dependency::Execution(*id), |at| Dependency::Item(*at))
            };
            self.read.push(Skipped {
                id: seen.id,
                depends_on: seen.depends_on.iter().map(place).collect(),
                has_waited: seen.has_waited,
                payload,
            });
        }
        Ok(true)
    }
}

const fn whole(birth: Birth) -> Wanted {
    Wanted {
        family: &PAYLOAD,
        key: Key::Number(birth),
        part: Part::Whole,
    }
}

fn refused(rule: &str) -> ApiError {
    Refusal::from(Invalid::new("with_dependents", rule)).into()
}

/// The error of an execution that cannot be read. The damage is logged.
fn told(desk: &mut Desk, birth: Birth, what: &str) -> ApiError {
    desk.notice(format!("execution number {birth}: {what}"));
    damaged(&format!("execution number {birth}"), what)
}
