//! Lookups on a read-only connection of their own, beside the writer.
//!
//! Owns the statements of reading. Each call reads one snapshot and lets it go, so that no reader
//! keeps the write-ahead log from being reset. Refuses to cache: callers know what is worth it.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::SqliteOptions;
use super::failure::reading;
use super::hours;
use super::schema::{self, from_db, to_db};
use crate::{Bytes, FinishedRow, Reader, RequestRow, StoreError};

pub(super) struct SqliteReader {
    connection: Connection,
}

impl SqliteReader {
    pub(super) fn open(path: &Path, options: &SqliteOptions) -> Result<Self, StoreError> {
        let doing = || format!("opening the database {} for reading", path.display());
        let connection =
            schema::open_reader(path, options).map_err(|error| reading(&doing(), error))?;
        Ok(Self { connection })
    }

    fn snapshot<T>(
        &mut self,
        doing: &str,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let found = self.connection.transaction().and_then(|tx| {
            let found = read(&tx)?;
            tx.commit()?;
            Ok(found)
        });
        found.map_err(|error| reading(doing, error))
    }
}

impl Reader for SqliteReader {
    fn payloads(&mut self, births: &[u64]) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.snapshot("reading payloads", |c| {
            let mut select = c.prepare_cached("SELECT bytes FROM payload WHERE birth = ?1")?;
            let mut payload = |birth: &u64| {
                select
                    .query_row([to_db(*birth)], |row| bytes(row, 0))
                    .optional()
            };
            births.iter().map(&mut payload).collect()
        })
    }

    fn finished(&mut self, births: &[u64]) -> Result<Vec<Option<FinishedRow>>, StoreError> {
        self.snapshot("reading finished executions", |c| read_finished(c, births))
    }

    fn list_finished(
        &mut self,
        tenant: &str,
        status: Option<u8>,
        before: u64,
        limit: usize,
    ) -> Result<Vec<FinishedRow>, StoreError> {
        self.snapshot("listing finished executions", |c| {
            let statuses = status.map_or_else(|| statuses(c, tenant), |one| Ok(vec![one]))?;
            let mut births = Vec::new();
            for status in statuses {
                births.extend(births_of(c, tenant, status, before, limit)?);
            }
            births.sort_unstable_by(|a, b| b.cmp(a));
            births.truncate(limit);
            Ok(read_finished(c, &births)?.into_iter().flatten().collect())
        })
    }

    fn requests(
        &mut self,
        keys: &[[u8; 16]],
        since_hour: u32,
    ) -> Result<Vec<Option<RequestRow>>, StoreError> {
        self.snapshot("looking up request ids", |c| {
            let mut found = vec![None; keys.len()];
            for hour in hours::list(c)?.range(since_hour..).rev() {
                for (key, slot) in keys.iter().zip(&mut found).filter(|(_, row)| row.is_none()) {
                    *slot = hours::find(c, *hour, key)?;
                }
            }
            Ok(found)
        })
    }

    fn request_keys(
        &mut self,
        hour: u32,
        after: u64,
        limit: usize,
    ) -> Result<(Vec<[u8; 16]>, Option<u64>), StoreError> {
        self.snapshot("reading an hour's request ids", |c| {
            if !hours::list(c)?.contains(&hour) {
                return Ok((Vec::new(), None));
            }
            // One more than asked tells whether this is the end.
            let mut rows = hours::keys(c, hour, after, limit.saturating_add(1))?;
            let more = rows.len() > limit;
            rows.truncate(limit);
            let reached = rows.last().map_or(after, |(number, _)| *number);
            Ok((
                rows.into_iter().map(|(_, key)| key).collect(),
                more.then_some(reached),
            ))
        })
    }
}

/// The statuses a tenant has rows of, one step in the index for each. Listing without a status
/// merges their lists, which are sorted by birth already; an index on (tenant, birth) beside the
/// other would double what every ending writes at random places.
fn statuses(c: &Connection, tenant: &str) -> rusqlite::Result<Vec<u8>> {
    let mut next = c.prepare_cached(
        "SELECT status FROM finished WHERE tenant = ?1 AND status > ?2 ORDER BY status LIMIT 1",
    )?;
    let mut found = Vec::new();
    let mut above = -1;
    while let Some(status) = next
        .query_row(params![tenant, above], |row| row.get::<_, u8>(0))
        .optional()?
    {
        found.push(status);
        above = i64::from(status);
    }
    Ok(found)
}

/// Births of one list, from the index alone.
fn births_of(
    c: &Connection,
    tenant: &str,
    status: u8,
    before: u64,
    limit: usize,
) -> rusqlite::Result<Vec<u64>> {
    let mut select = c.prepare_cached(
        "SELECT birth FROM finished WHERE tenant = ?1 AND status = ?2 AND birth < ?3
         ORDER BY birth DESC LIMIT ?4",
    )?;
    let bounds = params![tenant, status, to_db(before), to_db(limit as u64)];
    let births = select.query_map(bounds, |row| row.get(0).map(from_db))?;
    births.collect()
}

fn read_finished(c: &Connection, births: &[u64]) -> rusqlite::Result<Vec<Option<FinishedRow>>> {
    let mut select = c.prepare_cached(
        "SELECT birth, tenant, status, finished_at_ms, ending FROM finished WHERE birth = ?1",
    )?;
    let mut finished = |birth: &u64| select.query_row([to_db(*birth)], finished_row).optional();
    births.iter().map(&mut finished).collect()
}

fn finished_row(row: &Row<'_>) -> rusqlite::Result<FinishedRow> {
    Ok(FinishedRow {
        birth: from_db(row.get(0)?),
        tenant: row.get_ref(1)?.as_str()?.into(),
        status: row.get(2)?,
        finished_at_ms: from_db(row.get(3)?),
        ending: bytes(row, 4)?,
    })
}

fn bytes(row: &Row<'_>, column: usize) -> rusqlite::Result<Bytes> {
    Ok(row.get_ref(column)?.as_blob()?.into())
}
