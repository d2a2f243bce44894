//! Records for replies: rows in memory are used at once, the others are read.
//!
//! Owns the way from executions, as they were when the reply was decided, to encoded records.
//! Refuses to decide which executions a reply shows.

use std::collections::BTreeSet;

use backlane_engine::command::ProgressReport;
use backlane_engine::fact::{ErrorRecord, Living};
use backlane_engine::row::{AttemptRow, EndingRow};
use backlane_engine::rules::id::{Birth, ExecutionId};
use backlane_store::{ATTEMPT, ENDING, Family, Key, PAYLOAD, Part, Stored};
use backlane_wire::task::task_record;
use backlane_wire::{
    ApiError, DecodeError, Parts, Standing, View, brief, brief_record, record, reply, row,
};

use crate::message::{Found, ListQuery, Query, Ticket, Wanted};

use super::desk::Desk;
use super::piece::{Piece, read_attempt, read_ending};
pub(super) use super::piece::{Unshown, damaged};
use super::room::Room;

/// Largest reply, in bytes. gRPC clients accept 4 MiB by default.
pub(super) const MAX_REPLY_BYTES: usize = 3_900_000;
/// Most unfinished executions that one page looks at. A page that stops there may be shorter and
/// still have a next page.
pub(super) const PAGE_LOOKS: usize = 100_000;
/// Bytes of an id and a status in a reply, with their framing.
const BRIEF_BYTES: usize = 64;

/// One execution of a reply.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) birth: Birth,
    /// The execution as it was when the reply was decided; `None` if it is finished, or if its
    /// state is taken only after all rows were read.
    pub(super) living: Option<Box<Living>>,
    payload: Piece<Stored>,
    ending: Piece<Box<EndingRow>>,
    /// The newest failed attempt that was followed by another attempt.
    attempt: Piece<Box<AttemptRow>>,
    attempt_ordinal: Option<u32>,
    /// How far the execution has come, as its worker said before the reply was decided.
    progress: Option<Box<ProgressReport>>,
}

impl Shown {
    /// An execution in its current state.
    pub(super) fn now(desk: &Desk, birth: Birth) -> Self {
        let living = desk.engine.state().living(birth).map(Box::new);
        Self::standing(desk, birth, living)
    }

    /// An execution in a state that it has, or had a moment ago; `None` if it was finished.
    pub(super) fn standing(desk: &Desk, birth: Birth, living: Option<Box<Living>>) -> Self {
        let mut shown = Self::listed(birth);
        shown.payload = Piece::of(desk, &PAYLOAD, Key::Number(birth), |it| Ok(it.clone()));
        if let Some(living) = &living {
            shown.ending = Piece::Unneeded;
            shown.needs_attempt(living.progress.last_failed);
            let progress = desk.engine.progress(birth, desk.now);
            shown.progress = progress.cloned().map(Box::new);
        } else {
            let key = Key::Number(birth);
            shown.ending = Piece::of(desk, &ENDING, key, |it| read_ending(birth, it));
        }
        Self { living, ..shown }
    }

    /// A leased execution, whose state is taken after its payload was read.
    pub(super) fn leased(desk: &Desk, birth: Birth) -> Self {
        let mut shown = Self::listed(birth);
        shown.payload = Piece::of(desk, &PAYLOAD, Key::Number(birth), |it| Ok(it.clone()));
        shown.ending = Piece::Unneeded;
        let extras = desk.engine.state().extras(birth);
        shown.needs_attempt(extras.and_then(|extras| extras.last_failed));
        shown
    }

    /// A finished execution of a page.
    pub(super) const fn listed(birth: Birth) -> Self {
        Self {
            birth,
            living: None,
            payload: Piece::Unread,
            ending: Piece::Unread,
            attempt: Piece::Unneeded,
            attempt_ordinal: None,
            progress: None,
        }
    }

    /// The execution that spawned this one, if the payload was read.
    pub(super) fn parent(&self) -> Option<ExecutionId> {
        match &self.payload {
            Piece::Read(stored) => row::payload::parent(&stored.head),
            Piece::Unneeded | Piece::Unread | Piece::Absent | Piece::Damaged(_) => None,
        }
    }

    fn needs_attempt(&mut self, ordinal: Option<u32>) {
        if let Some(ordinal) = ordinal.filter(|_| matches!(self.attempt, Piece::Unneeded)) {
            self.attempt_ordinal = Some(ordinal);
            self.attempt = Piece::Unread;
        }
    }

    /// If the ending has no error, the error of an earlier attempt may have to be read.
    fn follow_ending(&mut self) {
        if let Piece::Read(ending) = &self.ending
            && ending.error.is_none()
        {
            self.needs_attempt(ending.progress.last_failed);
        }
    }

    fn attempt_key(&self) -> Key {
        Key::Ordinal(self.birth, self.attempt_ordinal.unwrap_or(0))
    }

    pub(super) fn fill(&mut self, found: &Found) {
        let (birth, key) = (self.birth, Key::Number(self.birth));
        self.payload
            .fill(found.row(&PAYLOAD, &key), |it| Ok(it.clone()));
        self.ending
            .fill(found.row(&ENDING, &key), |it| read_ending(birth, it));
        // An absent row is a result as well, so only rows that were asked for are filled.
        if let Some(lookup) = found.row(&ATTEMPT, &self.attempt_key()) {
            let ordinal = self.attempt_ordinal.unwrap_or(0);
            self.attempt
                .fill(Some(lookup), |it| read_attempt(birth, ordinal, it));
        }
    }

    /// Adds the rows that must still be read. Attempts in memory are taken from there.
    fn want(&mut self, desk: &Desk, part: Part, rows: &mut Vec<Wanted>) {
        self.follow_ending();
        let key = self.attempt_key();
        if self.attempt.is_unread()
            && let Some(stored) = desk.cache.get(&ATTEMPT, key.clone())
        {
            let ordinal = self.attempt_ordinal.unwrap_or(0);
            let read = |it: &Stored| read_attempt(self.birth, ordinal, it);
            self.attempt = Piece::from_stored(stored, read);
        }
        let number = Key::Number(self.birth);
        let pieces: [(bool, &'static Family, Key); 3] = [
            (self.payload.is_unread(), &PAYLOAD, number.clone()),
            (self.ending.is_unread(), &ENDING, number),
            (self.attempt.is_unread(), &ATTEMPT, key),
        ];
        let unread = pieces.into_iter().filter(|(unread, ..)| *unread);
        rows.extend(unread.map(|(_, family, key)| Wanted { family, key, part }));
    }

    /// Encodes the record of the execution.
    pub(super) fn encode(&self, desk: &Desk, view: View) -> Result<Vec<u8>, Unshown> {
        self.encode_as(desk, |parts| record(parts, view))
    }

    /// Encodes a record of only id and status. For a damaged execution, the readable rows suffice.
    pub(super) fn brief(&self, desk: &Desk) -> Result<Vec<u8>, Unshown> {
        self.encode_as(desk, brief)
    }

    /// Encodes the id, and the status if it can be read, of an execution with a damaged row.
    pub(super) fn brief_of_damaged(&self) -> Option<Vec<u8>> {
        let ending = self.ending().ok();
        let from_payload = match &self.payload {
            Piece::Read(stored) => row::payload::id(self.birth, &stored.head).ok(),
            Piece::Unneeded | Piece::Unread | Piece::Absent | Piece::Damaged(_) => None,
        };
        let living = self.living.as_ref();
        let from_state = living.map(|living| living.id);
        let id = from_state
            .or(from_payload)
            .or(ending.map(|ending| ending.id))?;
        let status = living.map(|living| living.progress.phase.status());
        let status = status.or(ending.map(|ending| ending.status));
        Some(brief_record(&id, status))
    }

    /// The name of the callable, if the payload can be read.
    pub(super) fn callable(&self) -> Option<&str> {
        match &self.payload {
            Piece::Read(stored) => row::payload::callable(&stored.head).ok(),
            Piece::Unneeded | Piece::Unread | Piece::Absent | Piece::Damaged(_) => None,
        }
    }

    fn encode_as(
        &self,
        desk: &Desk,
        form: impl Fn(&Parts<'_>) -> Result<Vec<u8>, DecodeError>,
    ) -> Result<Vec<u8>, Unshown> {
        let standing = match &self.living {
            Some(living) => Standing::Living(living),
            None => Standing::Ended(self.ending()?),
        };
        let payload = self.payload(desk, standing)?;
        Ok(form(&Parts {
            birth: self.birth,
            head: &payload.head,
            body: payload.body.as_deref(),
            standing,
            last_error: self.last_error(desk, standing)?,
            progress: self.progress.as_deref(),
        })?)
    }

    /// The error of the newest failed attempt of an unfinished execution.
    pub(super) fn newest_error(&self, desk: &Desk) -> Result<Option<&ErrorRecord>, Unshown> {
        let living = self.living.as_ref().ok_or(Unshown::Removed)?;
        self.last_error(desk, Standing::Living(living))
    }

    pub(super) fn ending(&self) -> Result<&EndingRow, Unshown> {
        match &self.ending {
            Piece::Read(ending) => Ok(ending),
            Piece::Damaged(what) => Err(Unshown::Damaged(what.clone())),
            Piece::Unneeded | Piece::Unread | Piece::Absent => Err(Unshown::Removed),
        }
    }

    /// The error of the newest failed attempt. A missing row is no damage: retention may remove it
    /// between the reads, and formats before 3 kept no attempts.
    fn last_error(
        &self,
        desk: &Desk,
        standing: Standing<'_>,
    ) -> Result<Option<&ErrorRecord>, Unshown> {
        match &self.attempt {
            Piece::Read(attempt) => Ok(attempt.error.as_deref()),
            Piece::Damaged(what) => Err(Unshown::Damaged(what.clone())),
            Piece::Absent if is_expired(desk, standing) => Err(Unshown::Removed),
            Piece::Unneeded | Piece::Unread | Piece::Absent => Ok(None),
        }
    }

    /// The payload. An execution that retention has not removed must have a payload.
    fn payload(&self, desk: &Desk, standing: Standing<'_>) -> Result<&Stored, Unshown> {
        match &self.payload {
            Piece::Read(stored) => Ok(stored),
            Piece::Damaged(what) => Err(Unshown::Damaged(what.clone())),
            Piece::Unneeded | Piece::Unread | Piece::Absent => Err(if is_expired(desk, standing) {
                Unshown::Removed
            } else {
                Unshown::Damaged(format!("payload {} is missing", self.birth).into())
            }),
        }
    }
}

/// Whether rows of an execution may have been removed, by retention or by a client.
fn is_expired(desk: &Desk, standing: Standing<'_>) -> bool {
    match standing {
        Standing::Ended(ending) => may_be_removed(desk, ending),
        // It may have ended since, and have been deleted.
        Standing::Living(living) => desk.gone.has(living.id.birth),
    }
}

/// Whether an execution that ended was deleted, or retention may remove it: any of its rows may be
/// gone, and others still be there.
pub(super) fn may_be_removed(desk: &Desk, ending: &EndingRow) -> bool {
    let now_ms = desk.engine.retention_now_ms();
    let kept_since_ms = now_ms.saturating_sub(desk.settings.retention_ms);
    ending.ended_at_ms < kept_since_ms || desk.gone.has(ending.id.birth)
}

/// Encodes records in order. Executions that would make the reply too large are shown with only id
/// and status; room for these is reserved.
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

/// The record of an execution on a page. A damaged execution is logged, and shown with its id and
/// status as far as these can be read.
pub(super) fn listed(desk: &mut Desk, shown: &Shown, view: View) -> Option<Vec<u8>> {
    match shown.encode(desk, view) {
        Ok(record) => Some(record),
        Err(Unshown::Removed) => None,
        Err(Unshown::Damaged(what)) => {
            desk.notice(format!("execution number {}: {what}", shown.birth));
            shown.brief_of_damaged()
        }
    }
}

/// Executions to show, and the form in which a reply shows them.
pub(super) struct Fetch {
    pub(super) shown: Vec<Shown>,
    pub(super) view: View,
    /// A page of finished executions to add. It is read once all decisions so far are durable.
    pub(super) list: Option<ListQuery>,
}

/// The part of a row that a view needs.
pub(super) const fn part_of(view: View) -> Part {
    match view {
        View::Basic => Part::Head,
        View::Full => Part::Whole,
    }
}

/// Reads the missing rows, then replies. If the index of the page is damaged, the reply is an
/// error.
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
    for one in &mut shown {
        one.want(&room.desk, part_of(view), &mut rows);
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
        // An ending may name an attempt that must be read as well.
        let list = None;
        fetch_boxed(room, Fetch { shown, view, list }, Box::new(answer));
    };
    room.read(query, parked, Box::new(then));
}

/// A reply that waits for rows.
type Answer = Box<dyn FnOnce(&mut Room, Result<Vec<Shown>, ApiError>) + Send>;

/// The same as [`fetch`], for a reply that has waited before. The box ends the recursion of the
/// types.
fn fetch_boxed(room: &mut Room, more: Fetch, answer: Answer) {
    let mut missing = Vec::new();
    let mut more = more;
    for one in &mut more.shown {
        one.want(&room.desk, part_of(more.view), &mut missing);
    }
    if missing.is_empty() {
        return answer(room, Ok(more.shown));
    }
    fetch(room, more, answer);
}

/// Adds a page of finished executions. An execution that ended meanwhile may be on the page too; it
/// is shown once, as it was before.
pub(super) fn add_listed(shown: &mut Vec<Shown>, listed: &[Birth]) {
    let known: BTreeSet<Birth> = shown.iter().map(|one| one.birth).collect();
    let new = listed.iter().filter(|birth| !known.contains(birth));
    shown.extend(new.map(|birth| Shown::listed(*birth)));
}

/// Replies with one execution in its current state.
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

/// Replies with the task record of one execution in its current state.
pub(super) fn task(room: &mut Room, ticket: Ticket, birth: Birth) {
    let fetch_one = Fetch {
        shown: vec![Shown::now(&room.desk, birth)],
        view: View::Full,
        list: None,
    };
    fetch(room, fetch_one, move |room, shown| {
        let desk = &mut room.desk;
        let encode = |one: Shown| {
            let record = one.encode_as(desk, task_record);
            record.map_err(|unshown| unshown.error(desk, birth))
        };
        let removed = || Err(ApiError::internal("a record was removed"));
        let record = shown.and_then(|shown| shown.into_iter().next().map_or_else(removed, encode));
        match record {
            Ok(record) => desk.reply(ticket, reply::task_record_response(&record)),
            Err(error) => desk.refuse(ticket, &error),
        }
    });
}

/// The id of a finished execution, if its ending is in memory.
pub(super) fn id_in_memory(desk: &Desk, birth: Birth) -> Option<ExecutionId> {
    let stored = desk.cache.get(&ENDING, Key::Number(birth))?;
    let finished = row::ending::finished(birth, "", &stored.head);
    finished.ok().map(|done| done.id)
}
