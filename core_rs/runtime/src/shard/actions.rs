//! The recorded actions of runs: from memory, or from the store.
//!
//! Owns how the actions of an execution are collected, and what counts as damage of them. Refuses
//! to know what they make together: the wire crate folds them.

use std::collections::BTreeMap;

use backlane_engine::reply::Granted;
use backlane_engine::row::{ActionRow, AttemptRow};
use backlane_engine::rules::id::Birth;
use backlane_store::{ACTION, Damage, Key, Lookup, Stored};
use backlane_wire::row;
use backlane_wire::run::{Story, fold};

use crate::message::{Found, Query, RangeQuery};

use super::desk::Desk;
use super::room::Room;

/// Most actions of one run that are read.
const MOST_ACTIONS: usize = 1 << 20;

/// The runs that leases carry. An error names the damage of a run.
pub(super) type Stories = BTreeMap<Birth, Result<Story, Box<str>>>;

/// Collects the runs of leased executions, then calls `then`. Executions that recorded nothing
/// take no part in it. Actions that are not in memory are read once they are durable.
pub(super) fn recall(
    room: &mut Room,
    granted: &[Granted],
    then: impl FnOnce(&mut Room, Stories) + Send + 'static,
) {
    let (mut stories, mut unread) = (Stories::new(), Vec::new());
    for lease in granted {
        let recorded = recorded(&room.desk, lease.birth);
        if recorded == 0 {
            continue;
        }
        match in_memory(&room.desk, lease.birth, recorded) {
            Some(story) => {
                stories.insert(lease.birth, told(story, lease.attempt));
            }
            None => unread.push((lease.birth, recorded, lease.attempt)),
        }
    }
    if unread.is_empty() {
        return then(room, stories);
    }
    let ranges = unread.iter().map(|(birth, ..)| all_of(*birth)).collect();
    let query = Query {
        ranges,
        ..Query::default()
    };
    let read = move |room: &mut Room, found: Found| {
        for ((birth, recorded, attempt), rows) in unread.into_iter().zip(found.ranges) {
            let actions = read_actions(birth, rows, recorded);
            stories.insert(birth, told(actions, attempt));
        }
        then(room, stories);
    };
    room.read(query, true, Box::new(read));
}

/// Number of actions that an unfinished execution recorded.
pub(super) fn recorded(desk: &Desk, birth: Birth) -> u32 {
    let run = desk.engine.state().run(birth);
    run.map_or(0, |run| run.actions)
}

/// The query for all actions of an execution.
pub(super) const fn all_of(birth: Birth) -> RangeQuery {
    RangeQuery {
        family: &ACTION,
        number: birth,
        from: 1,
        limit: MOST_ACTIONS,
    }
}

type Actions = Result<Vec<ActionRow>, Box<str>>;

/// The run of an execution that is over, from the rows that were read.
pub(super) fn past(
    birth: Birth,
    rows: Result<Vec<(u32, Lookup)>, Damage>,
) -> Result<Story, Box<str>> {
    let known = rows.as_ref().map_or(0, Vec::len);
    let recorded = u32::try_from(known).unwrap_or(u32::MAX);
    told(read_actions(birth, rows, recorded), 0)
}

fn told(actions: Actions, attempt: u32) -> Result<Story, Box<str>> {
    let story = fold(&actions?, &[], attempt);
    story.map_err(|broken| broken.to_string().into())
}

/// All actions of an execution, if every one of them is in memory.
fn in_memory(desk: &Desk, birth: Birth, recorded: u32) -> Option<Actions> {
    let stored = |ordinal| desk.cache.get(&ACTION, Key::Ordinal(birth, ordinal));
    // The oldest rows leave the memory first.
    stored(1)?;
    let rows = (1..=recorded).map(|ordinal| Some((ordinal, stored(ordinal)?)));
    let rows: Vec<_> = rows.collect::<Option<_>>()?;
    let rows = rows.into_iter();
    Some(
        rows.map(|(ordinal, row)| action(birth, ordinal, row))
            .collect(),
    )
}

fn action(birth: Birth, ordinal: u32, stored: &Stored) -> Result<ActionRow, Box<str>> {
    let read = row::action::read(birth, ordinal, &stored.head, stored.body.clone());
    read.map_err(|error| format!("action {ordinal}: {error}").into())
}

/// The rows of one range, each decoded by `read`, or the damage of the first one.
pub(super) fn read_rows<T>(
    rows: Result<Vec<(u32, Lookup)>, Damage>,
    read: impl Fn(u32, &Stored) -> Result<T, Box<str>>,
) -> Result<Vec<T>, Box<str>> {
    let mut all = Vec::new();
    for (ordinal, lookup) in rows.map_err(|damage| Box::from(damage.to_string()))? {
        match lookup {
            Lookup::Found(stored) => all.push(read(ordinal, &stored)?),
            Lookup::Damaged(damage) => return Err(damage.to_string().into()),
            Lookup::Absent => {}
        }
    }
    Ok(all)
}

/// The first `recorded` actions of an execution, from the rows that were read.
pub(super) fn read_actions(
    birth: Birth,
    rows: Result<Vec<(u32, Lookup)>, Damage>,
    recorded: u32,
) -> Actions {
    let mut actions = read_rows(rows, |ordinal, stored| action(birth, ordinal, stored))?;
    // Actions may have been recorded since the reply was decided.
    actions.retain(|action| action.ordinal <= recorded);
    let known = u32::try_from(actions.len()).unwrap_or(u32::MAX);
    if known < recorded {
        let first = actions.iter().zip(1..).find(|(row, at)| row.ordinal != *at);
        let missing = first.map_or(known + 1, |(_, at)| at);
        return Err(format!("action {birth}/{missing} is missing").into());
    }
    Ok(actions)
}

/// The attempts of an execution, from the rows that were read.
pub(super) fn read_attempts(
    birth: Birth,
    rows: Result<Vec<(u32, Lookup)>, Damage>,
) -> Result<Vec<AttemptRow>, Box<str>> {
    read_rows(rows, |ordinal, stored| {
        let read = row::attempt::read(birth, ordinal, &stored.head);
        read.map_err(|error| format!("attempt {ordinal}: {error}").into())
    })
}
