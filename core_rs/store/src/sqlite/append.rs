//! Writes one commit in one transaction.
//!
//! Owns the order in which tables are written. Refuses to check epoch, sequence and rows: the
//! store has checked them.

use rusqlite::{Connection, ErrorCode, Statement, Transaction, params};

use super::checksum;
use super::expiry::{self, Adding};
use super::hours::{self, Hours};
use super::number::{from_db, to_db};
use super::table::{Table, bind_key, bind_row};
use crate::{Change, Commit, Key, KeyKind, Mode, Put, Row};

/// About how many bytes a row adds to the write-ahead log beside its content.
pub(super) const ROW_BYTES: u64 = 64;

/// Why nothing was written.
pub(super) enum AppendError {
    /// The commit puts a key that exists, in a family whose rows are put once.
    Duplicate { family: &'static str, key: Key },
    /// The database failed.
    Broken(rusqlite::Error),
}

impl From<rusqlite::Error> for AppendError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Broken(error)
    }
}

/// Writes a commit. The hours in `known` have their tables already.
///
/// Rows are written family by family, in the order of the commit within each. No row depends on
/// a row of another family, so the outcome is the same as in the order of the commit. Entities are
/// erased last, since no row of them is put after that.
pub(super) fn write(
    connection: &mut Connection,
    tables: &[Table],
    known: &Hours,
    commit: &Commit,
) -> Result<(), AppendError> {
    let tx = connection.transaction()?;
    for table in tables {
        let number = table.family.number;
        let rows = commit.rows.iter().filter(|row| row.family.number == number);
        match table.family.key {
            KeyKind::Digest => write_digests(&tx, table, known, rows)?,
            _ => write_rows(&tx, tables, table, rows)?,
        }
    }
    for row in commit.rows.iter().filter(|row| row.change == Change::Erase) {
        expiry::erase(&tx, tables, row)?;
    }
    write_frame(&tx, commit)?;
    Ok(tx.commit()?)
}

/// About how many bytes a commit adds to the write-ahead log.
pub(super) fn weight(commit: &Commit) -> u64 {
    let content = |row: &Row| match &row.change {
        Change::Put(put) => put.len(),
        Change::Delete | Change::Erase => 0,
    };
    let rows: usize = commit.rows.iter().map(content).sum();
    commit.rows.len() as u64 * ROW_BYTES + (commit.frame.len() + rows) as u64
}

/// The hour tables that a commit writes to.
pub(super) fn hours_of(commit: &Commit) -> impl Iterator<Item = (u32, u16)> + '_ {
    commit.rows.iter().filter_map(|row| match &row.key {
        Key::Digest { hour, .. } => Some((*hour, row.family.number)),
        _ => None,
    })
}

fn write_frame(tx: &Transaction<'_>, commit: &Commit) -> rusqlite::Result<()> {
    let crc = checksum::of_frame(commit.first_sequence, commit.count, &commit.frame);
    let mut insert = tx.prepare_cached("INSERT INTO log VALUES (?1, ?2, ?3, ?4)")?;
    insert.execute(params![
        to_db(commit.first_sequence),
        commit.count,
        crc,
        commit.frame
    ])?;
    Ok(())
}

fn write_rows<'a>(
    tx: &Transaction<'_>,
    tables: &[Table],
    table: &Table,
    rows: impl Iterator<Item = &'a Row>,
) -> Result<(), AppendError> {
    let mut insert = tx.prepare_cached(&table.insert)?;
    let mut expiry = Adding::to(tx, table)?;
    for row in rows {
        match &row.change {
            Change::Put(put) => {
                if !write_put(table, &mut insert, &row.key, put)? {
                    replace(tx, tables, table, &row.key, put)?;
                }
                expiry.add(&row.key, put.at_ms)?;
            }
            Change::Delete => delete(tx, tables, table, &row.key)?,
            // Entities are erased when the rows of all families are written.
            Change::Erase => {}
        }
    }
    Ok(())
}

/// Inserts a row. Returns `false`, with nothing written, if the key exists in a Replace family.
fn write_put(
    table: &Table,
    insert: &mut Statement<'_>,
    key: &Key,
    put: &Put,
) -> Result<bool, AppendError> {
    bind_row(insert, table.family, key, put)?;
    match insert.raw_execute() {
        Ok(inserted) => Ok(inserted > 0),
        Err(error) if is_duplicate(table, &error) => Err(AppendError::Duplicate {
            family: table.family.name,
            key: key.clone(),
        }),
        Err(error) => Err(AppendError::Broken(error)),
    }
}

fn is_duplicate(table: &Table, error: &rusqlite::Error) -> bool {
    let is_violation = error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation);
    is_violation && table.family.mode == Mode::Once
}

/// Replaces a row that exists.
fn replace(
    tx: &Transaction<'_>,
    tables: &[Table],
    table: &Table,
    key: &Key,
    put: &Put,
) -> rusqlite::Result<()> {
    let before = times(tx, &table.select_at, key)?;
    let mut replace = tx.prepare_cached(&table.replace)?;
    bind_row(&mut replace, table.family, key, put)?;
    replace.raw_execute()?;
    let mut moved = before.iter().filter(|at_ms| **at_ms != put.at_ms);
    moved.try_for_each(|at_ms| expiry::release(tx, tables, table, key, *at_ms))
}

fn delete(
    tx: &Transaction<'_>,
    tables: &[Table],
    table: &Table,
    key: &Key,
) -> rusqlite::Result<()> {
    for at_ms in times(tx, &table.delete, key)? {
        expiry::release(tx, tables, table, key, at_ms)?;
    }
    Ok(())
}

/// Runs a statement for a key and collects the times that it returns.
fn times(tx: &Transaction<'_>, sql: &str, key: &Key) -> rusqlite::Result<Vec<u64>> {
    let mut statement = tx.prepare_cached(sql)?;
    bind_key(&mut statement, key)?;
    let rows = statement.raw_query().mapped(|row| row.get(0).map(from_db));
    rows.collect()
}

/// Appends rows of a digest family to the tables of their hours.
fn write_digests<'a>(
    tx: &Transaction<'_>,
    table: &Table,
    known: &Hours,
    rows: impl Iterator<Item = &'a Row>,
) -> Result<(), AppendError> {
    let family = table.family;
    let mut open = None;
    for row in rows {
        let (Key::Digest { hour, .. }, Change::Put(put)) = (&row.key, &row.change) else {
            continue;
        };
        let insert = match &mut open {
            Some((of, insert)) if of == hour => insert,
            _ => {
                if !known.contains(&(*hour, family.number)) {
                    hours::create(tx, family, *hour)?;
                }
                let insert = tx.prepare_cached(&Table::of_hour(family, *hour).insert)?;
                &mut open.insert((*hour, insert)).1
            }
        };
        bind_row(insert, family, &row.key, put)?;
        insert.raw_execute()?;
    }
    Ok(())
}
