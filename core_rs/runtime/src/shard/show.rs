//! Records for answers: what is in memory goes in at once, the rest is read.
//!
//! Owns the way from executions, as they stood when the answer was decided, to encoded records.
//! Refuses to decide which executions an answer shows.

use std::collections::BTreeSet;

use backlane_engine::fact::Living;
use backlane_engine::row::EndingRow;
use backlane_engine::rules::id::{Birth, ExecutionId};
use backlane_store::{ENDING, Family, Key, Lookup, PAYLOAD, Part, Stored};
use backlane_wire::{
    ApiError, DecodeError, Parts, Standing, View, brief, brief_record, record, row,
};

use crate::message::{Found, ListQuery, Query, Ticket, Wanted};

use super::desk::Desk;
use super::room::Room;

/// gRPC clients take 4 MiB unless they are told otherwise; every reply stays below.
pub(super) const MAX_REPLY_BYTES: usize = 3_900_000;
/// An id and a status with what frames them in a reply.
const BRIEF_BYTES: usize = 64;

/// One execution of an answer.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) birth: Birth,
    /// The execution as it stood; `None` if it is finished, or if it is looked at anew once
    /// everything was read.
    pub(super) living: Option<Box<Living>>,
    payload: Piece,
    ending: Piece,
}

/// A row of an answer.
#[derive(Debug)]
enum Piece {
    /// The row is not needed.
    Unneeded,
    /// The row is to be read.
    Unread,
    /// The row.
    Stored(Stored),
    /// There is no such row.
    Absent,
    /// The row is damaged.
    Damaged(Box<str>),
}

impl Piece {
    fn of(desk: &Desk, family: &'static Family, birth: Birth) -> Self {
        let stored = desk.cache.get(family, Key::Number(birth));
        stored.map_or(Self::Unread, |stored| Self::Stored(stored.clone()))
    }

    fn fill(&mut self, lookup: Option<&Lookup>) {
        if matches!(self, Self::Unread) {
            *self = match lookup {
                Some(Lookup::Found(stored)) => Self::Stored(stored.clone()),
                Some(Lookup::Damaged(damage)) => Self::Damaged(damage.to_string().into()),
                Some(Lookup::Absent) | None => Self::Absent,
            };
        }
    }
}

/// Why a record cannot be shown.
#[derive(Debug)]
pub(super) enum Unshown {
    /// Retention removed the execution between the decision and the answer.
    Removed,
    /// A row of the execution is damaged.
    Damaged(Box<str>),
}

impl From<DecodeError> for Unshown {
    fn from(error: DecodeError) -> Self {
        Self::Damaged(error.to_string().into())
    }
}

impl Shown {
    /// An execution as it stands now.
    pub(super) fn now(desk: &Desk, birth: Birth) -> Self {
        let living = desk.engine.state().living(birth).map(Box::new);
        let ending = match &living {
            Some(_) => Piece::Unneeded,
            None => Piece::of(desk, &ENDING, birth),
        };
        Self {
            birth,
            living,
            payload: Piece::of(desk, &PAYLOAD, birth),
            ending,
        }
    }

    /// An execution that is under a lease and is looked at once its payload was read.
    pub(super) fn leased(desk: &Desk, birth: Birth) -> Self {
        Self {
            birth,
            living: None,
            payload: Piece::of(desk, &PAYLOAD, birth),
            ending: Piece::Unneeded,
        }
    }

    /// A finished execution of a page.
    fn listed(birth: Birth) -> Self {
        Self {
            birth,
            living: None,
            payload: Piece::Unread,
            ending: Piece::Unread,
        }
    }

    fn fill(&mut self, found: &Found) {
        let key = Key::Number(self.birth);
        self.payload.fill(found.row(&PAYLOAD, &key));
        self.ending.fill(found.row(&ENDING, &key));
    }

    fn want(&self, part: Part, rows: &mut Vec<Wanted>) {
        let pieces: [(&Piece, &'static Family); 2] =
            [(&self.payload, &PAYLOAD), (&self.ending, &ENDING)];
        for (piece, family) in pieces {
            if matches!(piece, Piece::Unread) {
                rows.push(Wanted {
                    family,
                    key: Key::Number(self.birth),
                    part,
                });
            }
        }
    }
}

impl Shown {
    /// The record of the execution.
    pub(super) fn encode(&self, desk: &Desk, view: View) -> Result<Vec<u8>, Unshown> {
        self.encode_as(desk, |parts| record(parts, view))
    }

    /// The execution by its id and status. The parts of a damaged execution that are whole are
    /// enough for that.
    pub(super) fn brief(&self, desk: &Desk) -> Result<Vec<u8>, Unshown> {
        self.encode_as(desk, brief)
    }

    /// An execution of which a row is damaged, by its id and status as far as they can be read.
    pub(super) fn brief_of_damaged(&self) -> Option<Vec<u8>> {
        let ending = self.read_ending().ok();
        let from_payload = match &self.payload {
            Piece::Stored(stored) => row::payload::id(self.birth, &stored.head).ok(),
            _ => None,
        };
        let id = from_payload.or(ending.as_ref().map(|ending| ending.id))?;
        let living = self.living.as_ref();
        let status = living.map(|living| living.progress.phase.status());
        let status = status.or(ending.map(|ending| ending.status));
        Some(brief_record(&id, status))
    }

    fn encode_as(
        &self,
        desk: &Desk,
        form: impl Fn(&Parts<'_>) -> Result<Vec<u8>, DecodeError>,
    ) -> Result<Vec<u8>, Unshown> {
        let ending = match &self.living {
            Some(_) => None,
            None => Some(self.read_ending()?),
        };
        let payload = self.payload(desk, ending.as_ref())?;
        let standing = match (&self.living, &ending) {
            (Some(living), _) => Standing::Living(living),
            (None, Some(ending)) => Standing::Ended(ending),
            (None, None) => return Err(Unshown::Removed),
        };
        Ok(form(&Parts {
            birth: self.birth,
            head: &payload.head,
            body: payload.body.as_deref(),
            standing,
            last_error: None,
        })?)
    }

    fn read_ending(&self) -> Result<EndingRow, Unshown> {
        let stored = match &self.ending {
            Piece::Stored(stored) => stored,
            Piece::Damaged(what) => return Err(Unshown::Damaged(what.clone())),
            Piece::Unneeded | Piece::Unread | Piece::Absent => return Err(Unshown::Removed),
        };
        let tenant = stored.listing.as_ref().map(|listing| &*listing.tenant);
        let output = stored.body.clone();
        let tenant = tenant.unwrap_or_default();
        Ok(row::ending::read(self.birth, tenant, &stored.head, output)?)
    }

    /// The payload. An execution that retention has not removed must have one.
    fn payload(&self, desk: &Desk, ending: Option<&EndingRow>) -> Result<&Stored, Unshown> {
        match &self.payload {
            Piece::Stored(stored) => Ok(stored),
            Piece::Damaged(what) => Err(Unshown::Damaged(what.clone())),
            Piece::Unneeded | Piece::Unread | Piece::Absent => {
                let kept_since = desk.now.wall_ms.saturating_sub(desk.settings.retention_ms);
                let removed = ending.is_some_and(|ending| ending.ended_at_ms < kept_since);
                Err(if removed {
                    Unshown::Removed
                } else {
                    Unshown::Damaged(format!("payload {} is missing", self.birth).into())
                })
            }
        }
    }
}

impl Unshown {
    /// The error of an answer that shows this one execution. The damage is logged.
    pub(super) fn error(self, desk: &mut Desk, birth: Birth) -> ApiError {
        match self {
            Self::Removed => ApiError::internal("a record was removed"),
            Self::Damaged(what) => {
                desk.notice(format!("execution number {birth}: {what}"));
                damaged(&format!("execution number {birth}"), &what)
            }
        }
    }
}

/// Records in order. Executions that would make a reply too large are shown by id and status; room
/// for those of all that follow is kept.
pub(super) fn capped(
    desk: &mut Desk,
    shown: &[Shown],
    view: View,
) -> Vec<Result<Vec<u8>, ApiError>> {
    let mut room = MAX_REPLY_BYTES.saturating_sub(shown.len() * BRIEF_BYTES);
    let mut records = Vec::with_capacity(shown.len());
    for one in shown {
        let full = one.encode(desk, view);
        let record = match full {
            Ok(full) if full.len() > room => one.brief(desk),
            full => full,
        };
        if let Ok(record) = &record {
            room = room.saturating_sub(record.len());
        }
        records.push(record.map_err(|unshown| unshown.error(desk, one.birth)));
    }
    records
}

/// Executions to show, and how.
pub(super) struct Fetch {
    pub(super) shown: Vec<Shown>,
    pub(super) view: View,
    /// A page of finished executions to add. It is read once what was decided is durable.
    pub(super) list: Option<ListQuery>,
}

/// The part of a row that a view reads.
pub(super) const fn part_of(view: View) -> Part {
    match view {
        View::Basic => Part::Head,
        View::Full => Part::Whole,
    }
}

/// Reads what is missing, then answers. Damage of the page's index is the error of the answer.
pub(super) fn fetch(
    room: &mut Room,
    fetch: Fetch,
    answer: impl FnOnce(&mut Room, Result<Vec<Shown>, ApiError>) + Send + 'static,
) {
    let Fetch {
        mut shown,
        view,
        list,
    } = fetch;
    let mut rows = Vec::new();
    for one in &shown {
        one.want(part_of(view), &mut rows);
    }
    rows.sort_by_key(|wanted| wanted.family.number);
    let parked = list.is_some();
    let query = Query {
        rows,
        list,
        ..Query::default()
    };
    if query.is_empty() {
        return answer(room, Ok(shown));
    }
    let then = move |room: &mut Room, found: Found| {
        if let Some(damage) = &found.list_damage {
            return answer(room, Err(damaged("the list", &damage.to_string())));
        }
        add_listed(&mut shown, &found.listed);
        for one in &mut shown {
            one.fill(&found);
        }
        answer(room, Ok(shown));
    };
    room.read(query, parked, Box::new(then));
}

/// Adds a page to what is shown. An execution that ended since it was looked at is on the page as
/// well; it is shown as it stood.
fn add_listed(shown: &mut Vec<Shown>, listed: &[Birth]) {
    let known: BTreeSet<Birth> = shown.iter().map(|one| one.birth).collect();
    let new = listed.iter().filter(|birth| !known.contains(birth));
    shown.extend(new.map(|birth| Shown::listed(*birth)));
}

/// Answers with one execution as it stands.
pub(super) fn one(
    room: &mut Room,
    ticket: Ticket,
    birth: Birth,
    view: View,
    reply: impl FnOnce(&[u8]) -> Vec<u8> + Send + 'static,
) {
    let fetch_one = Fetch {
        shown: vec![Shown::now(&room.desk, birth)],
        view,
        list: None,
    };
    fetch(room, fetch_one, move |room, shown| {
        let record = shown.and_then(|shown| {
            let records = capped(&mut room.desk, &shown, view);
            let removed = || Err(ApiError::internal("a record was removed"));
            records.into_iter().next().unwrap_or_else(removed)
        });
        match record {
            Ok(record) => room.desk.reply(ticket, reply(&record)),
            Err(error) => room.desk.refuse(ticket, &error),
        }
    });
}

/// The id of a finished execution, if its ending is in memory.
pub(super) fn id_in_memory(desk: &Desk, birth: Birth) -> Option<ExecutionId> {
    let stored = desk.cache.get(&ENDING, Key::Number(birth))?;
    let finished = row::ending::finished(birth, "", &stored.head);
    finished.ok().map(|done| done.id)
}

/// The error of an answer that rests on damaged data.
pub(super) fn damaged(subject: &str, what: &str) -> ApiError {
    ApiError::from(backlane_engine::error::Refusal::DataDamaged {
        subject: subject.to_owned(),
        what: what.to_owned(),
    })
}
