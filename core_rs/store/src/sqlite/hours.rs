//! The tables of digest families: one append-only table for each hour.
//!
//! Owns their names and their removal. Refuses to decide when an hour is dropped.

use std::collections::BTreeSet;

use rusqlite::{Connection, params};

use super::number::{from_db, to_db};
use super::table::{self, hour_name};
use crate::{Family, KeyKind};

/// The hour tables that exist, by hour and family number: the order of dropping.
pub(super) type Hours = BTreeSet<(u32, u16)>;

/// Lists the hour tables of the families.
pub(super) fn list(c: &Connection, families: &[&'static Family]) -> rusqlite::Result<Hours> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table'";
    let mut tables = c.prepare_cached(sql)?;
    let mut names = tables.query([])?;
    let mut hours = Hours::new();
    while let Some(row) = names.next()? {
        let name = row.get_ref(0)?.as_str()?;
        hours.extend(families.iter().filter_map(|family| {
            let hour = hour_of(family, name)?;
            Some((hour, family.number))
        }));
    }
    Ok(hours)
}

fn hour_of(family: &Family, name: &str) -> Option<u32> {
    let hour = name.strip_prefix(family.name)?.strip_prefix('_')?;
    (family.key == KeyKind::Digest).then(|| hour.parse().ok())?
}

/// Makes the table of an hour.
pub(super) fn create(c: &Connection, family: &Family, hour: u32) -> rusqlite::Result<()> {
    c.execute_batch(&table::definition(family, &hour_name(family, hour)))
}

/// The digests with the ids of their rows, in the order written, from after the id `after`.
pub(super) fn digests(
    c: &Connection,
    family: &Family,
    hour: u32,
    after: u64,
    limit: usize,
) -> rusqlite::Result<Vec<(u64, [u8; 16])>> {
    let name = hour_name(family, hour);
    let sql = format!("SELECT id, digest FROM {name} WHERE id > ?1 ORDER BY id LIMIT ?2");
    let mut select = c.prepare_cached(&sql)?;
    let rows = select.query_map(params![to_db(after), to_db(limit as u64)], |row| {
        Ok((from_db(row.get(0)?), row.get(1)?))
    })?;
    rows.collect()
}

/// Drops the table of an hour. Dropping two million rows took 77 ms. Deleting rows one by one
/// takes more than a hundred times as long for each row, because it rewrites pages of the index.
pub(super) fn drop(c: &Connection, family: &Family, hour: u32) -> rusqlite::Result<()> {
    c.execute_batch(&format!("DROP TABLE {}", hour_name(family, hour)))
}
