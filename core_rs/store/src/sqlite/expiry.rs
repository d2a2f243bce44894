//! The index of expiry: which entity expires when.
//!
//! Owns the table `expiry` and the removal of an entity's rows. There is one entry for each put
//! of a Starts family, by class, start of the retention period and number. Refuses to decide when
//! a retention period is over: the runtime does.

use std::collections::BTreeSet;

use rusqlite::{CachedStatement, Connection, params};

use super::number::{from_db, to_db};
use super::table::Table;
use crate::{Class, Key, Row};

/// Makes the table. Entries are added at its right edge and removed at its left edge, because
/// retention periods start in the order of time.
pub(super) const DEFINITION: &str = "
CREATE TABLE expiry (
    class  INTEGER NOT NULL,
    at_ms  INTEGER NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (class, at_ms, number)
) STRICT, WITHOUT ROWID;
";

/// Adds the entries of the rows that are put in one table.
pub(super) struct Adding<'c>(Option<(Class, CachedStatement<'c>)>);

impl<'c> Adding<'c> {
    /// Prepares adding entries, if the table's family starts a retention period.
    pub(super) fn to(c: &'c Connection, table: &Table) -> rusqlite::Result<Self> {
        let sql = "INSERT OR IGNORE INTO expiry VALUES (?1, ?2, ?3)";
        let insert = |class| Ok((class, c.prepare_cached(sql)?));
        table.family.starts().map(insert).transpose().map(Self)
    }

    /// Adds the entry of a row.
    pub(super) fn add(&mut self, key: &Key, at_ms: u64) -> rusqlite::Result<()> {
        if let (Some((class, insert)), Some(number)) = (&mut self.0, key.number()) {
            insert.execute(params![*class as u8, to_db(at_ms), to_db(number)])?;
        }
        Ok(())
    }
}

/// Removes the entry of a row that was replaced or deleted, unless another row of the same entity
/// has the same entry.
pub(super) fn release(
    c: &Connection,
    tables: &[Table],
    table: &Table,
    key: &Key,
    at_ms: u64,
) -> rusqlite::Result<()> {
    let (Some(class), Some(number)) = (table.family.starts(), key.number()) else {
        return Ok(());
    };
    for table in tables
        .iter()
        .filter(|table| table.family.starts() == Some(class))
    {
        let mut holds = c.prepare_cached(&table.select_starting)?;
        if holds.exists(params![to_db(number), to_db(at_ms)])? {
            return Ok(());
        }
    }
    remove_entry(c, class, at_ms, number)
}

fn remove_entry(c: &Connection, class: Class, at_ms: u64, number: u64) -> rusqlite::Result<()> {
    let sql = "DELETE FROM expiry WHERE class = ?1 AND at_ms = ?2 AND number = ?3";
    let mut delete = c.prepare_cached(sql)?;
    delete.execute(params![class as u8, to_db(at_ms), to_db(number)])?;
    Ok(())
}

/// An entry of a class: the start of the retention period, and the number.
type Entry = (u64, u64);

/// Removes the entities of the class whose retention period started before `before_ms`, at most
/// `limit`, oldest first. Returns how many were removed.
pub(super) fn expire(
    c: &Connection,
    tables: &[Table],
    class: Class,
    before_ms: u64,
    limit: usize,
) -> rusqlite::Result<usize> {
    let mut gone = 0;
    while gone < limit {
        let due = due(c, class, before_ms, limit - gone)?;
        let Some(last) = due.last() else {
            break;
        };
        // An entity with several entries counts once, so that another round may be needed.
        let numbers: BTreeSet<_> = due.iter().map(|(_, number)| *number).collect();
        for table in tables
            .iter()
            .filter(|table| table.family.class() == Some(class))
        {
            match table.family.starts() {
                Some(_) => remove_starts(c, table, class, &numbers, *last)?,
                None => remove_rows(c, table, &numbers)?,
            }
        }
        remove_entries(c, class, *last)?;
        gone += numbers.len();
    }
    Ok(gone)
}

/// Removes the entity that a row of a Starts family belongs to.
pub(super) fn erase(c: &Connection, tables: &[Table], row: &Row) -> rusqlite::Result<()> {
    let (Some(class), Some(number)) = (row.family.class(), row.key.number()) else {
        return Ok(());
    };
    let numbers = BTreeSet::from([number]);
    for table in tables
        .iter()
        .filter(|table| table.family.class() == Some(class))
    {
        match table.family.starts() {
            // Every entry comes after the one that no entity has.
            Some(_) => remove_starts(c, table, class, &numbers, (0, 0))?,
            None => remove_rows(c, table, &numbers)?,
        }
    }
    Ok(())
}

/// The first entries that are due.
fn due(c: &Connection, class: Class, before_ms: u64, limit: usize) -> rusqlite::Result<Vec<Entry>> {
    let mut select = c.prepare_cached(
        "SELECT at_ms, number FROM expiry WHERE class = ?1 AND at_ms < ?2
         ORDER BY at_ms, number LIMIT ?3",
    )?;
    let bounds = params![class as u8, to_db(before_ms), to_db(limit as u64)];
    let due = select.query_map(bounds, |row| {
        Ok((row.get(0).map(from_db)?, row.get(1).map(from_db)?))
    })?;
    due.collect()
}

/// Removes the entries up to `last`.
fn remove_entries(c: &Connection, class: Class, last: Entry) -> rusqlite::Result<()> {
    let sql = "DELETE FROM expiry WHERE class = ?1 AND (at_ms, number) <= (?2, ?3)";
    let mut delete = c.prepare_cached(sql)?;
    delete.execute(params![class as u8, to_db(last.0), to_db(last.1)])?;
    Ok(())
}

/// Removes all rows of the numbers from a table.
fn remove_rows(c: &Connection, table: &Table, numbers: &BTreeSet<u64>) -> rusqlite::Result<()> {
    let mut delete = c.prepare_cached(&table.delete_number)?;
    for number in numbers {
        delete.execute([to_db(*number)])?;
    }
    Ok(())
}

/// Removes all rows of the numbers from a table of a Starts family, and those of their entries
/// that come after `last`.
fn remove_starts(
    c: &Connection,
    table: &Table,
    class: Class,
    numbers: &BTreeSet<u64>,
    last: Entry,
) -> rusqlite::Result<()> {
    let mut delete = c.prepare_cached(&table.delete_number)?;
    for number in numbers {
        let removed = delete.query_map([to_db(*number)], |row| row.get(0).map(from_db))?;
        let times = removed.collect::<rusqlite::Result<Vec<u64>>>()?;
        let later = times.into_iter().filter(|at_ms| (*at_ms, *number) > last);
        for at_ms in later {
            remove_entry(c, class, at_ms, *number)?;
        }
    }
    Ok(())
}
