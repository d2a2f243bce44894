//! The database's tables, settings and version.
//!
//! Owns what a data directory looks like. Refuses to know the order of writing and reading.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};

use super::SqliteOptions;
use super::failure::reading;
use crate::StoreError;

/// A reader's part of the cache: it mostly reads a page once, in the order of births.
const READER_SHARE: u64 = 8;

/// "BckL": tells `file(1)`, and us, whose database this is.
const APPLICATION_ID: u32 = 0x4263_6b4c;
const USER_VERSION: u32 = 1;

/// Only another program's lock can make us wait; it gets this long.
const BUSY: Duration = Duration::from_secs(1);

/// The rowid is the sequence or the birth number wherever rows come in that order, so that
/// writing is appending at the right edge of a tree.
///
/// `finished_by_tenant` ends with the rowid, as every index does: (tenant, status, birth).
/// `finished_by_time` makes expiry exact and bounded. It is the cheapest index there is: ending
/// times do not decrease, so it grows at its right edge and shrinks at its left, some 15 bytes a
/// row. Walking births in order instead would cost no writing, but would read over and over what
/// is not yet due, and could not say whether more is.
const TABLES: &str = "
CREATE TABLE shard (
    only           INTEGER PRIMARY KEY CHECK (only = 1),
    shard          INTEGER NOT NULL,
    epoch          INTEGER NOT NULL,
    node           TEXT    NOT NULL,
    first_sequence INTEGER NOT NULL
) STRICT;
CREATE TABLE log (
    first_sequence INTEGER PRIMARY KEY,
    count          INTEGER NOT NULL,
    crc            INTEGER NOT NULL,
    bytes          BLOB    NOT NULL
) STRICT;
CREATE TABLE payload (
    birth INTEGER PRIMARY KEY,
    bytes BLOB NOT NULL
) STRICT;
CREATE TABLE finished (
    birth          INTEGER PRIMARY KEY,
    tenant         TEXT    NOT NULL,
    status         INTEGER NOT NULL,
    finished_at_ms INTEGER NOT NULL,
    ending         BLOB    NOT NULL
) STRICT;
CREATE INDEX finished_by_tenant ON finished (tenant, status);
CREATE INDEX finished_by_time ON finished (finished_at_ms);
";

/// The one row that says whose data this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) shard: u16,
    pub(super) epoch: u64,
    /// Where the log begins: whatever is missing at its front is noticed by this.
    pub(super) first_sequence: u64,
}

/// Opens the writer's connection, making the tables in a new database.
pub(super) fn open(path: &Path, options: &SqliteOptions) -> Result<Connection, StoreError> {
    let doing = || format!("opening the database {}", path.display());
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection =
        Connection::open_with_flags(path, flags).map_err(|e| reading(&doing(), e))?;
    let is_new = check_version(&connection, path)?;
    configure(&connection, options, is_new).map_err(|e| reading(&doing(), e))?;
    if is_new {
        create(&mut connection).map_err(|e| reading(&doing(), e))?;
    }
    Ok(connection)
}

/// Opens one reader's connection.
pub(super) fn open_reader(path: &Path, options: &SqliteOptions) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    let share = options.cache_bytes / READER_SHARE;
    connection.pragma_update(None, "cache_size", cache_size(share))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Refuses what is not ours or not yet known; tells whether the database is empty.
fn check_version(connection: &Connection, path: &Path) -> Result<bool, StoreError> {
    let doing = || format!("reading the version of {}", path.display());
    let pragma = |name| {
        let asked = connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        asked.map_err(|e| reading(&doing(), e))
    };
    let (application, found) = (pragma("application_id")?, pragma("user_version")?);
    if (application, found) == (0, 0) && pragma("schema_version")? == 0 {
        return Ok(true);
    }
    if application != i64::from(APPLICATION_ID) {
        let what = format!("{} is a database of another program", path.display());
        return Err(StoreError::Corrupt { what });
    }
    let found = u32::try_from(found).unwrap_or(u32::MAX);
    if found > USER_VERSION {
        return Err(StoreError::NewerVersion {
            found,
            known: USER_VERSION,
        });
    }
    Ok(false)
}

fn configure(c: &Connection, options: &SqliteOptions, is_new: bool) -> rusqlite::Result<()> {
    c.busy_timeout(BUSY)?;
    c.set_prepared_statement_cache_capacity(64);
    if is_new {
        // Both must come before the first page is written.
        c.pragma_update(None, "page_size", options.page_bytes)?;
        c.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    c.pragma_update(None, "journal_mode", "WAL")?;
    c.pragma_update(None, "synchronous", "FULL")?;
    c.pragma_update(None, "cache_size", cache_size(options.cache_bytes))?;
    c.pragma_update(None, "foreign_keys", false)?;
    c.pragma_update(None, "trusted_schema", false)?;
    let page_bytes: i64 = c.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let limit = to_db(options.checkpoint_bytes);
    c.pragma_update(None, "wal_autocheckpoint", (limit / page_bytes).max(1))?;
    c.pragma_update(None, "journal_size_limit", limit.saturating_mul(2))
}

/// The cache in SQLite's way: negative for KiB.
fn cache_size(bytes: u64) -> i64 {
    -to_db(bytes / 1024).max(1)
}

/// One transaction, so that a crash leaves an empty database or a whole one.
fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    let tx = connection.transaction()?;
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", USER_VERSION)?;
    tx.execute_batch(TABLES)?;
    tx.commit()
}

pub(super) fn origin(connection: &Connection) -> Result<Option<Origin>, StoreError> {
    let sql = "SELECT shard, epoch, first_sequence FROM shard";
    let row = connection.query_row(sql, [], |row| {
        Ok(Origin {
            shard: row.get(0)?,
            epoch: from_db(row.get(1)?),
            first_sequence: from_db(row.get(2)?),
        })
    });
    row.optional()
        .map_err(|e| reading("reading whose shard this is", e))
}

pub(super) fn record_origin(
    connection: &mut Connection,
    origin: &Origin,
    node: &str,
) -> rusqlite::Result<()> {
    let tx = connection.transaction()?;
    tx.execute(
        "INSERT OR REPLACE INTO shard VALUES (1, ?1, ?2, ?3, ?4)",
        params![
            origin.shard,
            to_db(origin.epoch),
            node,
            to_db(origin.first_sequence)
        ],
    )?;
    tx.commit()
}

/// Where the log goes on: after the newest frame, or where it was to begin.
pub(super) fn next_sequence(c: &Connection, origin: Option<&Origin>) -> Result<u64, StoreError> {
    let sql = "SELECT first_sequence + count FROM log ORDER BY first_sequence DESC LIMIT 1";
    let next = c.query_row(sql, [], |row| row.get(0)).optional();
    let next = next.map_err(|e| reading("looking for the log's end", e))?;
    Ok(next.map_or_else(|| origin.map_or(1, |origin| origin.first_sequence), from_db))
}

/// Bytes of pages that are free inside the database.
pub(super) fn free_bytes(c: &Connection) -> rusqlite::Result<u64> {
    let sql = "SELECT freelist_count * page_size FROM pragma_freelist_count, pragma_page_size";
    c.prepare_cached(sql)?
        .query_row([], |row| row.get(0))
        .map(from_db)
}

/// Numbers in the database are signed. Sequences and births stay far below the limit; a bound
/// such as "before `u64::MAX`" means the same when it is cut.
pub(super) fn to_db(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn from_db(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
