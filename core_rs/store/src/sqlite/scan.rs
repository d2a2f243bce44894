//! Finds the keys of a range of rows, reading only the pages of tables and indexes.
//!
//! Owns the statements that walk keys. The rows are then read key by key, so that a damaged row
//! does not hide its neighbours. Refuses to read the content of rows.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::number::{from_db, to_db};
use crate::{Family, Key};

/// The ordinals of a number's rows, from `from` on, ascending.
pub(super) fn ordinals(
    c: &Connection,
    family: &Family,
    number: u64,
    from: u32,
    limit: usize,
) -> rusqlite::Result<Vec<u32>> {
    let name = family.name;
    let mut select = c.prepare_cached(&format!(
        "SELECT ordinal FROM {name} WHERE number = ?1 AND ordinal >= ?2
         ORDER BY ordinal LIMIT ?3"
    ))?;
    let bounds = params![to_db(number), from, to_db(limit as u64)];
    let ordinals = select.query_map(bounds, |row| row.get(0))?;
    ordinals.collect()
}

/// The keys of a Name family after the key `after`, ascending.
pub(super) fn names(
    c: &Connection,
    family: &Family,
    after: Option<&Key>,
    limit: usize,
) -> rusqlite::Result<Vec<Key>> {
    let ascending = Walk {
        comparison: ">",
        order: "ORDER BY tenant, name",
    };
    name_keys(c, family, &ascending, after, limit)
}

/// The last key of a Name family before the key `before`, or the last of all.
pub(super) fn name_before(
    c: &Connection,
    family: &Family,
    before: Option<&Key>,
) -> rusqlite::Result<Option<Key>> {
    let descending = Walk {
        comparison: "<",
        order: "ORDER BY tenant DESC, name DESC",
    };
    Ok(name_keys(c, family, &descending, before, 1)?.pop())
}

/// A direction in which names are walked.
struct Walk {
    comparison: &'static str,
    order: &'static str,
}

/// Keys that come after `bound` in the direction of the walk.
fn name_keys(
    c: &Connection,
    family: &Family,
    walk: &Walk,
    bound: Option<&Key>,
    limit: usize,
) -> rusqlite::Result<Vec<Key>> {
    let Walk { comparison, order } = walk;
    let key = |row: &Row<'_>| Ok(Key::Name(row.get(0)?, row.get(1)?));
    let select = format!("SELECT tenant, name FROM {}", family.name);
    let limit = to_db(limit as u64);
    if let Some(Key::Name(tenant, name)) = bound {
        let sql = format!("{select} WHERE (tenant, name) {comparison} (?1, ?2) {order} LIMIT ?3");
        let mut select = c.prepare_cached(&sql)?;
        let keys = select.query_map(params![tenant, name, limit], key)?;
        return keys.collect();
    }
    let mut select = c.prepare_cached(&format!("{select} {order} LIMIT ?1"))?;
    let keys = select.query_map([limit], key)?;
    keys.collect()
}

/// Numbers that a tenant lists, of one tag or of all, highest first, from the index alone.
///
/// Listing all tags merges the lists of the tags, each of which is sorted by number already. An
/// index on (tenant, number) beside the one on (tenant, tag, number) would double what each row
/// writes at random places.
pub(super) fn listed(
    c: &Connection,
    family: &Family,
    tenant: &str,
    tag: Option<u8>,
    before: u64,
    limit: usize,
) -> rusqlite::Result<Vec<u64>> {
    let tags = tag.map_or_else(|| tags(c, family, tenant), |one| Ok(vec![one]))?;
    let mut numbers = Vec::new();
    for tag in tags {
        numbers.extend(listed_with(c, family, tenant, tag, before, limit)?);
    }
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    numbers.truncate(limit);
    Ok(numbers)
}

/// The tags of which a tenant has rows, found with one step in the index for each.
fn tags(c: &Connection, family: &Family, tenant: &str) -> rusqlite::Result<Vec<u8>> {
    let name = family.name;
    let mut next = c.prepare_cached(&format!(
        "SELECT tag FROM {name} WHERE tenant = ?1 AND tag > ?2 ORDER BY tag LIMIT 1"
    ))?;
    let mut found = Vec::new();
    let mut above = -1;
    while let Some(tag) = next
        .query_row(params![tenant, above], |row| row.get::<_, u8>(0))
        .optional()?
    {
        found.push(tag);
        above = i64::from(tag);
    }
    Ok(found)
}

fn listed_with(
    c: &Connection,
    family: &Family,
    tenant: &str,
    tag: u8,
    before: u64,
    limit: usize,
) -> rusqlite::Result<Vec<u64>> {
    let name = family.name;
    let mut select = c.prepare_cached(&format!(
        "SELECT number FROM {name} WHERE tenant = ?1 AND tag = ?2 AND number < ?3
         ORDER BY number DESC LIMIT ?4"
    ))?;
    let bounds = params![tenant, tag, to_db(before), to_db(limit as u64)];
    let numbers = select.query_map(bounds, |row| row.get(0).map(from_db))?;
    numbers.collect()
}
