//! Looks through finished executions: which of them a filter keeps.
//!
//! Owns the order of the reads: the index first, then the heads that the filter asks about, a few
//! at a time. Refuses to look further than asked, so that other reads get their turn, and to know
//! what a filter asks.

use backlane_engine::row::EndingRow;
use backlane_engine::rules::id::Birth;
use backlane_engine::rules::status::Status;
use backlane_store::{
    Damage, ENDING, Family, Key, Lookup, PAYLOAD, Part, Reader, StoreError, Stored,
};
use backlane_wire::filter::{Filter, Rows};
use backlane_wire::row;

use crate::message::{ScanQuery, Scanned};

/// Number of executions whose heads are read together.
const STEP: usize = 64;

/// Looks through a part of the finished executions.
pub(crate) fn look(reader: &mut dyn Reader, query: &ScanQuery) -> Scanned {
    let listed = listed(reader, query).and_then(|(listed, covered)| {
        let mut scanned = Scanned {
            covered,
            ..Scanned::default()
        };
        for some in listed.chunks(STEP) {
            if !look_at(reader, &query.filter, some, &mut scanned)? {
                // All that is left was enqueued too early.
                scanned.covered = 0;
                break;
            }
        }
        Ok(scanned)
    });
    listed.unwrap_or_else(|error| Scanned {
        damage: Some(damage_of(&query.tenant, error)),
        ..Scanned::default()
    })
}

fn damage_of(tenant: &str, error: StoreError) -> Damage {
    match error {
        StoreError::Damaged(damage) => damage,
        error => Damage {
            family: ENDING.name,
            key: format!("list of {tenant}"),
            what: error.to_string(),
        },
    }
}

/// The executions to look at, newest first, each with its status; and down to which number they
/// are all of them.
fn listed(
    reader: &mut dyn Reader,
    query: &ScanQuery,
) -> Result<(Vec<(Birth, Status)>, Birth), StoreError> {
    let (before, looks) = (query.before, query.looks);
    let (mut all, mut covered) = (Vec::new(), query.floor);
    for status in &query.statuses {
        let tag = Some(*status as u8);
        let births = reader.list(&ENDING, &query.tenant, tag, before, looks)?;
        if births.len() == looks {
            covered = covered.max(births.last().copied().unwrap_or(0));
        }
        all.extend(births.into_iter().map(|birth| (birth, *status)));
    }
    all.sort_unstable_by_key(|(birth, _)| std::cmp::Reverse(*birth));
    if all.len() > looks {
        covered = covered.max(all[looks - 1].0);
    }
    all.retain(|(birth, _)| *birth >= covered);
    Ok((all, covered))
}

/// Looks at some executions. Returns whether older ones can be kept.
fn look_at(
    reader: &mut dyn Reader,
    filter: &Filter,
    some: &[(Birth, Status)],
    scanned: &mut Scanned,
) -> Result<bool, StoreError> {
    let keys: Vec<_> = some.iter().map(|(birth, _)| Key::Number(*birth)).collect();
    let mut read = |family: &'static Family, is_needed: bool| {
        let rows = is_needed.then(|| reader.get(family, &keys, Part::Head));
        rows.transpose()
    };
    let payloads = read(&PAYLOAD, filter.needs_payload())?;
    let endings = read(&ENDING, filter.needs_ending())?;
    for (index, (birth, status)) in some.iter().enumerate() {
        let one = One {
            birth: *birth,
            status: *status,
            payload: payloads.as_ref().map(|rows| &rows[index]),
            ending: endings.as_ref().map(|rows| &rows[index]),
        };
        match one.judge(filter) {
            Judged::Kept => scanned.kept.push(*birth),
            Judged::Left => {}
            Judged::TooOld => return Ok(false),
            Judged::Unknown(what) => scanned.unknown.push((*birth, what)),
        }
    }
    Ok(true)
}

/// A finished execution, with the rows that were read.
struct One<'a> {
    birth: Birth,
    status: Status,
    payload: Option<&'a Lookup>,
    ending: Option<&'a Lookup>,
}

enum Judged {
    Kept,
    Left,
    /// This and every older execution was enqueued before what the filter asks for.
    TooOld,
    /// Damaged rows do not tell.
    Unknown(Box<str>),
}

impl One<'_> {
    fn judge(&self, filter: &Filter) -> Judged {
        let (ending, mut damage) = self.read_ending();
        let mut rows = Rows::of_finished(Some(self.status), ending.as_ref());
        match self.payload {
            Some(Lookup::Found(stored)) => match rows.with_head(&stored.head) {
                Ok(more) => rows = more,
                Err(error) => damage = Some(error.to_string().into()),
            },
            Some(Lookup::Damaged(what)) => damage = Some(what.to_string().into()),
            Some(Lookup::Absent) | None => {}
        }
        let too_old = |at_ms| filter.since_ms().is_some_and(|since_ms| at_ms < since_ms);
        match filter.keeps(&rows) {
            Some(true) => Judged::Kept,
            _ if rows.queued_at_ms().is_some_and(too_old) => Judged::TooOld,
            Some(false) => Judged::Left,
            // Without damage, retention removed the rows between the reads.
            None => damage.map_or(Judged::Left, Judged::Unknown),
        }
    }

    fn read_ending(&self) -> (Option<EndingRow>, Option<Box<str>>) {
        match self.ending {
            Some(Lookup::Found(Stored { head, .. })) => {
                match row::ending::read(self.birth, "", head, None) {
                    Ok(ending) => (Some(ending), None),
                    Err(error) => (None, Some(error.to_string().into())),
                }
            }
            Some(Lookup::Damaged(damage)) => (None, Some(damage.to_string().into())),
            Some(Lookup::Absent) | None => (None, None),
        }
    }
}
