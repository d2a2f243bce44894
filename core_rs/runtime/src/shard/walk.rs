//! Walks through a tenant's executions, newest first, in search of those that a filter keeps.
//!
//! Owns the slices of a walk. A slice looks at some unfinished executions in memory and at some
//! finished ones in the store, and covers the birth numbers that both looks have covered. Between
//! two slices the shard and the readers do other work, so no walk holds up a commit. Refuses to
//! decide anything, and to keep what was found: the calls do.

use std::collections::BTreeSet;
use std::sync::Arc;

use backlane_engine::error::Refusal;
use backlane_engine::fact::Living;
use backlane_engine::rules::access::VisibleTenant;
use backlane_engine::rules::id::Birth;
use backlane_engine::rules::status::Status;
use backlane_store::{Key, PAYLOAD, Part, Stored};
use backlane_wire::ApiError;
use backlane_wire::filter::{Filter, Rows};

use crate::message::{Found, Query, ScanQuery, Scanned, Ticket, Wanted};
use crate::shard::gone::Gone;

use super::desk::Desk;
use super::piece::{Piece, damaged};
use super::room::Room;

/// Most unfinished executions that one slice looks at.
const LIVING_LOOKS: usize = 1_024;
/// Most finished executions that one slice looks at.
const FINISHED_LOOKS: usize = 4_096;

/// A walk that has not come to its end.
pub(super) struct Walk {
    pub(super) ticket: Ticket,
    tenant: VisibleTenant,
    filter: Arc<Filter>,
    finished: Vec<Status>,
    has_living: bool,
    /// The executions from this birth number on were looked at; 0 if all were.
    pub(super) covered: Birth,
    /// Number of slices so far.
    pub(super) slices: usize,
}

/// An execution that the filter keeps.
pub(super) struct Kept {
    pub(super) birth: Birth,
    /// The execution as it was looked at; `None` if it was finished.
    pub(super) living: Option<Box<Living>>,
}

/// What one slice found.
#[derive(Default)]
pub(super) struct Slice {
    /// The executions that the filter keeps, newest first.
    pub(super) kept: Vec<Kept>,
    /// The executions whose damaged rows do not tell, with the damage.
    pub(super) unknown: Vec<(Birth, Box<str>)>,
}

type Then = Box<dyn FnOnce(&mut Room, Walk, Slice) + Send>;

impl Walk {
    /// A walk that begins below a birth number.
    pub(super) fn below(
        before: Birth,
        ticket: Ticket,
        tenant: VisibleTenant,
        filter: Filter,
    ) -> Self {
        let kept = |status: &Status| filter.may_keep(*status);
        let (finished, living): (Vec<_>, Vec<_>) = Status::ALL
            .iter()
            .copied()
            .filter(kept)
            .partition(|status| status.is_finished());
        Self {
            ticket,
            tenant,
            finished,
            has_living: !living.is_empty(),
            filter: Arc::new(filter),
            covered: before,
            slices: 0,
        }
    }

    pub(super) const fn is_over(&self) -> bool {
        self.covered == 0
    }

    /// Takes one slice, then calls `then`, unless the caller is gone. Damage of the index, or the
    /// end of the server, ends the walk with an error.
    pub(super) fn step(self, room: &mut Room, then: Then) {
        room.walks.insert(self.ticket);
        let look = Look::at_living(&room.desk, &self);
        let query = self.query(&look);
        // The store has the executions that just ended only once their ends are durable. The read
        // is made even if there is nothing to read: the shard does other work meanwhile.
        let then = move |room: &mut Room, found: Found| {
            let ticket = self.ticket;
            if !room.walks.remove(&ticket) {
                return;
            }
            if room.desk.draining {
                return room.desk.refuse(ticket, &Refusal::Draining.into());
            }
            let damage = found.scanned.as_ref().and_then(|it| it.damage.as_ref());
            if let Some(damage) = damage {
                let error = damaged("the list", &damage.to_string());
                return room.desk.refuse(ticket, &error);
            }
            let (walk, slice) = self.slice(look, &found, &room.desk.gone);
            then(room, walk, slice);
        };
        room.read(query, true, Box::new(then));
    }

    fn query(&self, look: &Look) -> Query {
        let unread = look.candidates.iter();
        let unread = unread.filter(|one| one.payload.is_unread());
        let payload = |one: &Candidate| Wanted {
            family: &PAYLOAD,
            key: Key::Number(one.living.id.birth),
            part: Part::Head,
        };
        let scan = ScanQuery {
            tenant: (*self.tenant).into(),
            statuses: self.finished.clone(),
            before: self.covered,
            floor: look.floor,
            looks: FINISHED_LOOKS,
            filter: self.filter.clone(),
        };
        Query {
            rows: unread.map(payload).collect(),
            scan: (!self.finished.is_empty()).then_some(scan),
            ..Query::default()
        }
    }

    /// What the slice found, of the birth numbers that both looks have covered.
    fn slice(mut self, look: Look, found: &Found, gone: &Gone) -> (Self, Slice) {
        let nothing = Scanned {
            covered: look.floor,
            ..Scanned::default()
        };
        let scanned = found.scanned.as_deref().unwrap_or(&nothing);
        self.covered = scanned.covered.max(look.floor);
        self.slices += 1;
        let covered = |birth: Birth| birth >= self.covered;
        let mut slice = Slice::default();
        for one in look.candidates {
            let birth = one.living.id.birth;
            if gone.has(birth) {
                continue;
            }
            match one.judge(&self.filter, found).filter(|_| covered(birth)) {
                Some(Ok(living)) => slice.kept.push(Kept {
                    birth,
                    living: Some(living),
                }),
                Some(Err(what)) => slice.unknown.push((birth, what)),
                None => {}
            }
        }
        // An execution that ended meanwhile is shown once, as it was before.
        let known: BTreeSet<_> = slice.kept.iter().map(|one| one.birth).collect();
        let finished = scanned.kept.iter().copied();
        let finished = finished.filter(|birth| covered(*birth) && !known.contains(birth));
        slice.kept.extend(finished.map(|birth| Kept {
            birth,
            living: None,
        }));
        let unknown = scanned.unknown.iter().filter(|(birth, _)| covered(*birth));
        slice.unknown.extend(unknown.cloned());
        let newest_first = |one: &Kept| std::cmp::Reverse(one.birth);
        slice.kept.sort_unstable_by_key(newest_first);
        (self, slice)
    }
}

/// A look at unfinished executions.
struct Look {
    /// The executions that the filter may keep, as they are now.
    candidates: Vec<Candidate>,
    /// The look covers the birth numbers down to this one.
    floor: Birth,
}

/// An unfinished execution that the filter may keep.
struct Candidate {
    living: Box<Living>,
    payload: Piece<Stored>,
}

impl Look {
    fn at_living(desk: &Desk, walk: &Walk) -> Self {
        let state = desk.engine.state();
        let mut look = Self {
            candidates: Vec::new(),
            floor: 0,
        };
        let key = state.tenants().by_name(&walk.tenant);
        let Some(key) = key.filter(|_| walk.has_living) else {
            return look;
        };
        let living = &state.tenants().tenant(key).living;
        for (looks, birth) in living.range(..walk.covered).rev().enumerate() {
            if looks == LIVING_LOOKS {
                // This execution is the first that is not looked at.
                look.floor = birth + 1;
                break;
            }
            let Some(one) = state.living(*birth) else {
                continue;
            };
            match walk.filter.keeps(&Rows::of_living(&one)) {
                Some(false) if walk.is_too_old(&one) => break,
                Some(false) => {}
                kept => look.candidates.push(Candidate {
                    payload: payload_of(desk, *birth, kept.is_some()),
                    living: Box::new(one),
                }),
            }
        }
        look
    }
}

impl Walk {
    /// Whether this and all older executions were enqueued before what the filter asks for.
    fn is_too_old(&self, living: &Living) -> bool {
        let since_ms = self.filter.since_ms();
        since_ms.is_some_and(|since_ms| living.queued_at_ms < since_ms)
    }
}

/// The payload of an unfinished execution, from memory if it is there. It is not needed where the
/// state tells all.
fn payload_of(desk: &Desk, birth: Birth, is_known: bool) -> Piece<Stored> {
    if is_known {
        return Piece::Unneeded;
    }
    Piece::of(desk, &PAYLOAD, Key::Number(birth), |it| Ok(it.clone()))
}

impl Candidate {
    /// The execution if the filter keeps it, or the damage that hides whether it does.
    fn judge(mut self, filter: &Filter, found: &Found) -> Option<Result<Box<Living>, Box<str>>> {
        let key = Key::Number(self.living.id.birth);
        let lookup = found.row(&PAYLOAD, &key);
        self.payload.fill(lookup, |it| Ok(it.clone()));
        let rows = Rows::of_living(&self.living);
        let rows = match &self.payload {
            Piece::Unneeded => Ok(rows),
            Piece::Read(stored) => rows.with_head(&stored.head),
            Piece::Damaged(what) => return Some(Err(what.clone())),
            Piece::Unread | Piece::Absent => return Some(Err("its payload is missing".into())),
        };
        match rows {
            Ok(rows) => (filter.keeps(&rows) == Some(true)).then_some(Ok(self.living)),
            Err(error) => Some(Err(error.to_string().into())),
        }
    }
}

/// The error of a call that needs to know what the damage hides.
pub(super) fn hidden(unknown: &[(Birth, Box<str>)]) -> Option<ApiError> {
    let (birth, what) = unknown.first()?;
    Some(damaged(&format!("execution number {birth}"), what))
}
