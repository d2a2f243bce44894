//! Request ids: one append-only table for each hour.
//!
//! Owns their names and statements. Refuses to decide when an hour goes.

use std::collections::BTreeSet;

use rusqlite::{CachedStatement, Connection, OptionalExtension as _, Row, params};

use super::schema::{from_db, to_db};
use crate::RequestRow;

const PREFIX: &str = "requests_";

/// The hours that have a table.
pub(super) fn list(c: &Connection) -> rusqlite::Result<BTreeSet<u32>> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table'";
    let mut tables = c.prepare_cached(sql)?;
    let names = tables.query_map([], |row| row.get::<_, String>(0))?;
    let hours = names.filter_map(|name| match name {
        Ok(name) => name.strip_prefix(PREFIX)?.parse().ok().map(Ok),
        Err(error) => Some(Err(error)),
    });
    hours.collect()
}

/// Makes an hour's table.
pub(super) fn create(c: &Connection, hour: u32) -> rusqlite::Result<()> {
    c.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS {PREFIX}{hour} (
            number      INTEGER PRIMARY KEY,
            key         BLOB    NOT NULL,
            body        BLOB    NOT NULL,
            first_birth INTEGER NOT NULL,
            count       INTEGER NOT NULL,
            listed      BLOB
        ) STRICT;
        CREATE INDEX IF NOT EXISTS {PREFIX}{hour}_by_key ON {PREFIX}{hour} (key);"
    ))
}

/// The statement that appends to an hour's table.
pub(super) fn insert(c: &Connection, hour: u32) -> rusqlite::Result<CachedStatement<'_>> {
    c.prepare_cached(&format!(
        "INSERT INTO {PREFIX}{hour} (key, body, first_birth, count, listed)
         VALUES (?1, ?2, ?3, ?4, ?5)"
    ))
}

/// The newest row of a key in one hour.
pub(super) fn find(
    c: &Connection,
    hour: u32,
    key: &[u8; 16],
) -> rusqlite::Result<Option<RequestRow>> {
    let mut select = c.prepare_cached(&format!(
        "SELECT key, body, first_birth, count, listed FROM {PREFIX}{hour}
         WHERE key = ?1 ORDER BY number DESC LIMIT 1"
    ))?;
    select
        .query_row(params![key], |row| request(row, hour))
        .optional()
}

fn request(row: &Row<'_>, hour: u32) -> rusqlite::Result<RequestRow> {
    Ok(RequestRow {
        hour,
        key: row.get(0)?,
        body: row.get(1)?,
        first_birth: from_db(row.get(2)?),
        count: row.get(3)?,
        listed: listed(row.get(4)?),
    })
}

/// Birth numbers as a column holds them; none where a run says it all.
pub(super) fn listed_column(births: &[u64]) -> Option<Vec<u8>> {
    let bytes = || {
        births
            .iter()
            .flat_map(|birth| birth.to_be_bytes())
            .collect()
    };
    (!births.is_empty()).then(bytes)
}

fn listed(column: Option<Vec<u8>>) -> Vec<u64> {
    let column = column.unwrap_or_default();
    let (numbers, _) = column.as_chunks();
    numbers
        .iter()
        .map(|number| u64::from_be_bytes(*number))
        .collect()
}

/// Keys with their numbers, in the order written, from after `after`.
pub(super) fn keys(
    c: &Connection,
    hour: u32,
    after: u64,
    limit: usize,
) -> rusqlite::Result<Vec<(u64, [u8; 16])>> {
    let mut select = c.prepare_cached(&format!(
        "SELECT number, key FROM {PREFIX}{hour} WHERE number > ?1 ORDER BY number LIMIT ?2"
    ))?;
    let rows = select.query_map(params![to_db(after), to_db(limit as u64)], |row| {
        Ok((from_db(row.get(0)?), row.get(1)?))
    })?;
    rows.collect()
}

/// Drops an hour's table whole. Two million rows took 77 ms; removing rows one by one took more
/// than a hundred times as long for each, since it rewrites a page of the index.
pub(super) fn drop(c: &Connection, hour: u32) -> rusqlite::Result<()> {
    c.execute_batch(&format!("DROP TABLE {PREFIX}{hour}"))
}
