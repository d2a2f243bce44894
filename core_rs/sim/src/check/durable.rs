//! After a crash, every acknowledged execution exists, byte for byte.

use backlane_engine::row::AttemptRow;
use backlane_engine::rules::status::Phase;
use backlane_store::{
    ACTION, ATTEMPT, DEAD_LETTER, ENDING, Family, Key, Lookup, PAYLOAD, Part, Reader, Stored,
};
use backlane_wire::run::fold;
use backlane_wire::{Parts, Standing, View, record, row};
use prost::Message as _;

use crate::api::v1;

use super::record::{check_identical, parsed};
use super::{Checked, Ledger, LogCheck, Violation, broken, must};

const EXISTS: &str = "an acknowledged execution exists, byte for byte";
const REPLAYS: &str = "the recorded actions lead to the run in the log";

/// Checks every acknowledged execution against the store, except those that retention may have
/// removed because they ended before `expired_before_ms`.
///
/// # Errors
/// The first execution that differs from its request.
pub fn survives(
    ledger: &Ledger,
    log: &LogCheck,
    reader: &mut dyn Reader,
    expired_before_ms: u64,
) -> Checked {
    for (id, made_with) in ledger.acknowledged() {
        let birth = parsed(id)?.birth;
        let end = log.end_of(birth);
        if log.is_deleted(id) {
            continue;
        }
        if end.is_some_and(|(at_ms, _)| at_ms <= expired_before_ms) {
            continue;
        }
        let shown = shown(log, reader, birth)?
            .ok_or_else(|| broken(EXISTS, format!("{id} is gone; it ended {end:?}")))?;
        if shown.execution_id != *id {
            return Err(broken(
                EXISTS,
                format!("{id} became {}", shown.execution_id),
            ));
        }
        run_replays(log, reader, birth)?;
        check_identical(made_with, &shown)?;
        ledger.check_end(&shown)?;
    }
    are_gone(log, reader)?;
    dead_letters_fit(log, reader, expired_before_ms)
}

/// Checks that no row of a deleted execution is left.
fn are_gone(log: &LogCheck, reader: &mut dyn Reader) -> Checked {
    let gone = "nothing is left of a deleted execution";
    for birth in log.deleted() {
        for family in [&PAYLOAD, &ENDING, &DEAD_LETTER] {
            let left = whole(reader, family, &Key::Number(birth))?;
            must(left.is_none(), gone, || format!("{birth}: {left:?}"))?;
        }
        for family in [&ATTEMPT, &ACTION] {
            let left = reader.of_number(family, birth, 0, 1);
            let left = left.map_err(|error| broken(gone, error))?;
            must(left.is_empty(), gone, || format!("{birth}: {left:?}"))?;
        }
    }
    Ok(())
}

/// Checks that the store's dead letters are the executions that failed or timed out and were not
/// discarded.
fn dead_letters_fit(log: &LogCheck, reader: &mut dyn Reader, expired_before_ms: u64) -> Checked {
    for (birth, _, is_dead) in log
        .ends()
        .filter(|(_, at_ms, _)| *at_ms > expired_before_ms)
    {
        let kept = whole(reader, &DEAD_LETTER, &Key::Number(birth))?.is_some();
        must(
            kept == is_dead,
            "a failure is a dead letter until discarded",
            || format!("{birth}: kept {kept}"),
        )?;
    }
    Ok(())
}

fn shown(
    log: &LogCheck,
    reader: &mut dyn Reader,
    birth: u64,
) -> Result<Option<v1::BackgroundExecution>, Violation> {
    let number = Key::Number(birth);
    let Some(payload) = whole(reader, &PAYLOAD, &number)? else {
        return Ok(None);
    };
    let living = log.durable().living(birth);
    let ending = match living {
        Some(_) => None,
        None => whole(reader, &ENDING, &number)?,
    };
    let ending = ending.map(|stored| {
        let tenant = stored.listing.as_ref().map(|listing| &*listing.tenant);
        row::ending::read(birth, tenant.unwrap_or_default(), &stored.head, stored.body)
    });
    let ending = ending.transpose().map_err(|error| broken(EXISTS, error))?;
    let standing = match (&living, &ending) {
        (Some(living), _) => Standing::Living(living),
        (None, Some(ending)) => Standing::Ended(ending),
        (None, None) => return Ok(None),
    };
    let failed = match standing {
        Standing::Living(living) => living.progress.last_failed,
        Standing::Ended(ending) => ending.progress.last_failed,
    };
    let attempt = failed
        .map(|ordinal| attempt(reader, birth, ordinal))
        .transpose()?;
    let parts = Parts {
        birth,
        head: &payload.head,
        body: payload.body.as_deref(),
        standing,
        last_error: attempt.as_ref().and_then(|row| row.error.as_deref()),
        progress: None,
    };
    let encoded = record(&parts, View::Full).map_err(|error| broken(EXISTS, error))?;
    let shown = v1::BackgroundExecution::decode(&*encoded);
    shown.map(Some).map_err(|error| broken(EXISTS, error))
}

/// Checks that the recorded actions of a living execution lead to the run in the log.
fn run_replays(log: &LogCheck, reader: &mut dyn Reader, birth: u64) -> Checked {
    let state = log.durable();
    let (Some(slot), Some(run)) = (state.slot(birth), state.run(birth)) else {
        return Ok(());
    };
    let rows = reader.of_number(&ACTION, birth, 1, usize::from(u16::MAX));
    let mut actions = Vec::new();
    for (ordinal, lookup) in rows.map_err(|error| broken(REPLAYS, error))? {
        if let Lookup::Found(stored) = lookup {
            let action = row::action::read(birth, ordinal, &stored.head, stored.body);
            actions.push(action.map_err(|error| broken(REPLAYS, error))?);
        }
    }
    let story = fold(&actions, &[], slot.attempt);
    let mut story = story.map_err(|error| broken(REPLAYS, error))?;
    if !matches!(slot.phase, Phase::Running | Phase::Suspended) {
        story.lease_ended(slot.updated_at_ms);
    }
    let is_same = actions.len() == run.actions as usize && *story.course() == run.course;
    must(is_same, REPLAYS, || {
        format!("{birth}: {:?} became {:?}", run.course, story.course())
    })
}

fn whole(
    reader: &mut dyn Reader,
    family: &'static Family,
    key: &Key,
) -> Result<Option<Stored>, Violation> {
    let read = reader.get(family, std::slice::from_ref(key), Part::Whole);
    match read.map_err(|error| broken(EXISTS, error))?.pop() {
        Some(Lookup::Found(stored)) => Ok(Some(stored)),
        Some(Lookup::Damaged(damage)) => Err(broken(EXISTS, damage)),
        Some(Lookup::Absent) | None => Ok(None),
    }
}

/// The row of an attempt that a record names, which must exist.
fn attempt(reader: &mut dyn Reader, birth: u64, ordinal: u32) -> Result<AttemptRow, Violation> {
    let key = Key::Ordinal(birth, ordinal);
    let missing = || broken(EXISTS, format!("attempt {birth}/{ordinal} is gone"));
    let stored = whole(reader, &ATTEMPT, &key)?.ok_or_else(missing)?;
    row::attempt::read(birth, ordinal, &stored.head).map_err(|error| broken(EXISTS, error))
}
