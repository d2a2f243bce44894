//! Looks rows up on a read-only connection, while the writer writes.
//!
//! Owns the outcome for each key: found, absent or damaged. Each call reads one snapshot and
//! releases it, so that no reader keeps the write-ahead log from being reset. Refuses to cache
//! rows: the callers know which are worth it.

use std::path::Path;

use rusqlite::Connection;

use super::SqliteOptions;
use super::connection;
use super::failure::{describe, is_damage, reading};
use super::hours::{self, Hours};
use super::scan;
use super::table::{Content, Table};
use crate::store::{check_kind, check_listed};
use crate::{Damage, Family, Key, KeyKind, Lookup, Part, Reader, StoreError, Stored};

pub(super) struct SqliteReader {
    connection: Connection,
    families: &'static [&'static Family],
    tables: Vec<Table>,
}

impl SqliteReader {
    pub(super) fn open(
        path: &Path,
        options: &SqliteOptions,
        families: &'static [&'static Family],
    ) -> Result<Self, StoreError> {
        let doing = || format!("opening the database {} for reading", path.display());
        let connection =
            connection::open_reader(path, options).map_err(|error| reading(&doing(), error))?;
        Ok(Self {
            connection,
            families,
            tables: families.iter().map(|family| Table::of(family)).collect(),
        })
    }

    /// Runs `read` on one snapshot. `SQLite` ends the snapshot by itself after an error of the
    /// disk; what is read after that sees a newer state, which is as good.
    fn snapshot<T>(
        &mut self,
        read: impl FnOnce(&Connection, &[Table]) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let begun = self.connection.transaction();
        let tx = begun.map_err(|error| reading("beginning to read", error))?;
        read(&tx, &self.tables)
    }
}

impl Reader for SqliteReader {
    fn get(
        &mut self,
        family: &'static Family,
        keys: &[Key],
        part: Part,
    ) -> Result<Vec<Lookup>, StoreError> {
        for key in keys {
            check_kind(self.families, family, key.kind())?;
        }
        self.snapshot(|c, tables| {
            let table = table_of(tables, family);
            let find = |key: &Key| match key {
                Key::Digest { hour, .. } => find_digest(c, family, *hour, key, part),
                _ => table.find(c, key, part),
            };
            keys.iter()
                .map(|key| outcome(family, key, find(key)))
                .collect()
        })
    }

    fn of_number(
        &mut self,
        family: &'static Family,
        number: u64,
        from: u32,
        limit: usize,
    ) -> Result<Vec<(u32, Lookup)>, StoreError> {
        check_kind(self.families, family, KeyKind::Ordinal)?;
        self.snapshot(|c, tables| {
            let ordinals = scan::ordinals(c, family, number, from, limit);
            let place = || format!("{number}/{from} and later");
            let ordinals = ordinals.map_err(|error| broken(family, place(), error))?;
            let table = table_of(tables, family);
            let read = |ordinal| {
                let key = Key::Ordinal(number, ordinal);
                let found = table.find(c, &key, Part::Whole);
                Ok((ordinal, outcome(family, &key, found)?))
            };
            ordinals.into_iter().map(read).collect()
        })
    }

    fn list(
        &mut self,
        family: &'static Family,
        tenant: &str,
        tag: Option<u8>,
        before: u64,
        limit: usize,
    ) -> Result<Vec<u64>, StoreError> {
        check_listed(self.families, family)?;
        self.snapshot(|c, _| {
            let listed = scan::listed(c, family, tenant, tag, before, limit);
            listed.map_err(|error| broken(family, format!("of tenant {tenant}"), error))
        })
    }

    fn all(
        &mut self,
        family: &'static Family,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Lookup)>, StoreError> {
        check_kind(self.families, family, KeyKind::Name)?;
        self.snapshot(|c, tables| {
            let keys = scan::names(c, family, after, limit);
            let place = || after.map_or_else(String::new, |key| format!("after {key}"));
            let keys = keys.map_err(|error| broken(family, place(), error))?;
            let table = table_of(tables, family);
            let read = |key| {
                let found = table.find(c, &key, Part::Whole);
                let found = outcome(family, &key, found)?;
                Ok((key, found))
            };
            keys.into_iter().map(read).collect()
        })
    }

    fn digests(
        &mut self,
        family: &'static Family,
        digests: &[[u8; 16]],
        since_hour: u32,
    ) -> Result<Vec<Lookup>, StoreError> {
        check_kind(self.families, family, KeyKind::Digest)?;
        self.snapshot(|c, _| {
            let key = |hour, digest: &[u8; 16]| Key::Digest {
                hour,
                digest: *digest,
            };
            let hours = match hours::list(c, &[family]) {
                Ok(hours) => hours,
                Err(error) if is_damage(&error) => {
                    let what = describe(&error);
                    let damaged = |digest| damaged(family, &key(since_hour, digest), &what);
                    return Ok(digests.iter().map(damaged).collect());
                }
                Err(error) => return Err(lost(family, error)),
            };
            let newest = |digest| newest(c, family, &hours, since_hour, |hour| key(hour, digest));
            digests.iter().map(newest).collect()
        })
    }

    fn digests_of_hour(
        &mut self,
        family: &'static Family,
        hour: u32,
        after: u64,
        limit: usize,
    ) -> Result<(Vec<[u8; 16]>, Option<u64>), StoreError> {
        check_kind(self.families, family, KeyKind::Digest)?;
        self.snapshot(|c, _| {
            let place = || format!("of hour {hour}");
            let hours = hours::list(c, &[family]);
            let hours = hours.map_err(|error| broken(family, place(), error))?;
            if !hours.contains(&(hour, family.number)) {
                return Ok((Vec::new(), None));
            }
            // One more than the limit tells whether this is the end.
            let rows = hours::digests(c, family, hour, after, limit.saturating_add(1));
            let mut rows = rows.map_err(|error| broken(family, place(), error))?;
            let more = rows.len() > limit;
            rows.truncate(limit);
            let reached = rows.last().map_or(after, |(id, _)| *id);
            let digests = rows.into_iter().map(|(_, digest)| digest).collect();
            Ok((digests, more.then_some(reached)))
        })
    }
}

/// The table of a family that the store has.
fn table_of<'a>(tables: &'a [Table], family: &Family) -> &'a Table {
    let table = tables.iter().find(|table| table.family == family);
    table.expect("the family was checked")
}

fn find_digest(
    c: &Connection,
    family: &'static Family,
    hour: u32,
    key: &Key,
    part: Part,
) -> rusqlite::Result<Option<Content>> {
    if hours::list(c, &[family])?.contains(&(hour, family.number)) {
        Table::of_hour(family, hour).find(c, key, part)
    } else {
        Ok(None)
    }
}

/// The newest row of a digest in the hours from `since_hour` on. An hour that cannot be read ends
/// the search, because an older row might not be the newest.
fn newest(
    c: &Connection,
    family: &'static Family,
    hours: &Hours,
    since_hour: u32,
    key: impl Fn(u32) -> Key,
) -> Result<Lookup, StoreError> {
    for (hour, _) in hours.range((since_hour, 0)..).rev() {
        let key = key(*hour);
        let found = Table::of_hour(family, *hour).find(c, &key, Part::Whole);
        match outcome(family, &key, found)? {
            Lookup::Absent => {}
            found => return Ok(found),
        }
    }
    Ok(Lookup::Absent)
}

/// What a reader answers for a key.
fn outcome(
    family: &'static Family,
    key: &Key,
    found: rusqlite::Result<Option<Content>>,
) -> Result<Lookup, StoreError> {
    match found {
        Ok(None) => Ok(Lookup::Absent),
        Ok(Some(Ok(put))) => Ok(Lookup::Found(Stored {
            version: put.version,
            listing: put.listing,
            head: put.head,
            body: put.body,
        })),
        Ok(Some(Err(what))) => Ok(damaged(family, key, what)),
        Err(error) if is_damage(&error) => Ok(damaged(family, key, &describe(&error))),
        Err(error) => Err(lost(family, error)),
    }
}

fn damaged(family: &'static Family, key: &Key, what: &str) -> Lookup {
    Lookup::Damaged(Damage {
        family: family.name,
        key: key.to_string(),
        what: what.to_owned(),
    })
}

/// The error of a read that could not find out which rows exist.
fn broken(family: &'static Family, key: String, error: rusqlite::Error) -> StoreError {
    if is_damage(&error) {
        return StoreError::Damaged(Damage {
            family: family.name,
            key,
            what: describe(&error),
        });
    }
    lost(family, error)
}

/// The error of a read that failed as a whole.
fn lost(family: &'static Family, error: rusqlite::Error) -> StoreError {
    reading(&format!("reading rows of family {}", family.name), error)
}
