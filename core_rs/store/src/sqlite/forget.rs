//! Trimming, expiry, and giving pages back: all in bounded chunks.
//!
//! Owns what goes in which order. Refuses to decide when: the runtime sets the cuts.

use std::collections::BTreeSet;

use rusqlite::{Connection, Transaction, params};

use super::hours;
use super::schema::{from_db, to_db};
use crate::Maintenance;

/// What one chunk removed.
#[derive(Debug, Default)]
pub(super) struct Forgotten {
    /// Rows gone, or the whole limit with an hour.
    pub(super) rows: usize,
    /// Where the log begins now, if that changed.
    pub(super) first_sequence: Option<u64>,
    /// The hour whose table is gone.
    pub(super) hour: Option<u32>,
}

pub(super) fn forget(
    connection: &mut Connection,
    known: &BTreeSet<u32>,
    work: &Maintenance,
) -> rusqlite::Result<Forgotten> {
    let mut gone = Forgotten::default();
    let tx = connection.transaction()?;
    trim(&tx, work.trim_below_sequence, work.limit, &mut gone)?;
    gone.rows += expire(&tx, work.expire_finished_before_ms, work.limit - gone.rows)?;
    let due = known.range(..work.drop_request_hours_below).next();
    if let Some(hour) = due.filter(|_| gone.rows < work.limit) {
        hours::drop(&tx, *hour)?;
        gone.hour = Some(*hour);
        gone.rows = work.limit;
    }
    tx.commit()?;
    Ok(gone)
}

/// Removes frames wholly below `below`. A frame is when its successor begins at or below it, so
/// the newest frame always stays.
fn trim(
    tx: &Transaction<'_>,
    below: u64,
    limit: usize,
    gone: &mut Forgotten,
) -> rusqlite::Result<()> {
    let mut successors = tx.prepare_cached(
        "SELECT first_sequence FROM log WHERE first_sequence <= ?1
         ORDER BY first_sequence LIMIT ?2 OFFSET 1",
    )?;
    let found = successors
        .query_map(params![to_db(below), to_db(limit as u64)], |row| {
            row.get::<_, i64>(0)
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let Some(first) = found.last() else {
        return Ok(());
    };
    gone.rows = tx.execute("DELETE FROM log WHERE first_sequence < ?1", [first])?;
    tx.execute("UPDATE shard SET first_sequence = ?1", [first])?;
    gone.first_sequence = Some(from_db(*first));
    Ok(())
}

fn expire(tx: &Transaction<'_>, before_ms: u64, limit: usize) -> rusqlite::Result<usize> {
    let mut due = tx.prepare_cached(
        "SELECT birth FROM finished WHERE finished_at_ms < ?1
         ORDER BY finished_at_ms, birth LIMIT ?2",
    )?;
    let births = due
        .query_map(params![to_db(before_ms), to_db(limit as u64)], |row| {
            row.get::<_, i64>(0)
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut payload = tx.prepare_cached("DELETE FROM payload WHERE birth = ?1")?;
    let mut finished = tx.prepare_cached("DELETE FROM finished WHERE birth = ?1")?;
    for birth in &births {
        payload.execute([birth])?;
        finished.execute([birth])?;
    }
    Ok(births.len())
}

/// Pages an idle moment gives back at most.
const VACUUM_PAGES: i64 = 256;
/// Free pages that stay, in the hundredths of the file: appends take them again soon.
const SLACK_PERCENT: i64 = 10;

/// Gives a bounded number of free pages back to the file system, once there are many.
pub(super) fn vacuum(c: &Connection) -> rusqlite::Result<()> {
    let pragma = |name| c.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let spare = pragma("freelist_count")? - pragma("page_count")? / 100 * SLACK_PERCENT;
    if spare < VACUUM_PAGES {
        return Ok(());
    }
    // Each step frees one page, so all of them have to be taken.
    let mut vacuum = c.prepare(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
    let mut pages = vacuum.query([])?;
    while pages.next()?.is_some() {}
    Ok(())
}
