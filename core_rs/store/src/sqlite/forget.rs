//! Trims the log, removes expired rows and returns free pages, all in bounded amounts.
//!
//! Owns the order of removal. Refuses to decide what is due: the runtime sets the bounds.

use rusqlite::{Connection, Transaction, params};

use super::expiry;
use super::hours::{self, Hours};
use super::number::{from_db, to_db};
use super::table::Table;
use crate::Maintenance;

/// What one call removed.
#[derive(Debug, Default)]
pub(super) struct Forgotten {
    /// Frames and entities removed, or the whole limit if an hour table was dropped.
    pub(super) rows: usize,
    /// Where the log begins now, if that changed.
    pub(super) first_sequence: Option<u64>,
    /// The hour table that was dropped.
    pub(super) hour: Option<(u32, u16)>,
}

/// Does one bounded amount of trimming and expiry.
pub(super) fn forget(
    connection: &mut Connection,
    tables: &[Table],
    known: &Hours,
    work: &Maintenance,
) -> rusqlite::Result<Forgotten> {
    let mut gone = Forgotten::default();
    let tx = connection.transaction()?;
    trim(&tx, work.trim_below_sequence, work.limit, &mut gone)?;
    if let Some((class, before_ms)) = work.expire {
        gone.rows += expiry::expire(&tx, tables, class, before_ms, work.limit - gone.rows)?;
    }
    if gone.rows < work.limit {
        drop_oldest_hour(&tx, tables, known, work, &mut gone)?;
    }
    tx.commit()?;
    Ok(gone)
}

fn drop_oldest_hour(
    tx: &Transaction<'_>,
    tables: &[Table],
    known: &Hours,
    work: &Maintenance,
    gone: &mut Forgotten,
) -> rusqlite::Result<()> {
    let oldest = known
        .first()
        .filter(|(hour, _)| *hour < work.drop_hours_below);
    let Some((hour, number)) = oldest else {
        return Ok(());
    };
    for table in tables.iter().filter(|table| table.family.number == *number) {
        hours::drop(tx, table.family, *hour)?;
    }
    gone.hour = Some((*hour, *number));
    gone.rows = work.limit;
    Ok(())
}

/// Removes frames whose facts all lie below `below`. A frame does when the next frame begins at
/// or below it. The newest frame has no next frame, so it always stays.
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

/// The largest number of pages that one idle moment returns to the file system.
const VACUUM_PAGES: i64 = 256;
/// Free pages that stay in the file, in percent of its pages, because appends soon use them.
const SLACK_PERCENT: i64 = 10;

/// Returns a bounded number of free pages to the file system, once there are many. If the disk
/// `is_tight`, all free pages are returned, call by call. Returns about how many pages were
/// written.
pub(super) fn vacuum(c: &Connection, is_tight: bool) -> rusqlite::Result<u64> {
    let pragma = |name| c.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let slack = if is_tight { 0 } else { SLACK_PERCENT };
    let spare = pragma("freelist_count")? - pragma("page_count")? / 100 * slack;
    let least = if is_tight { 1 } else { VACUUM_PAGES };
    if spare < least {
        return Ok(0);
    }
    // Each step frees one page, so the statement has to be stepped to its end.
    let mut vacuum = c.prepare(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
    let mut pages = vacuum.query([])?;
    let mut moved = 0;
    while pages.next()?.is_some() {
        moved += 1;
    }
    Ok(moved)
}
