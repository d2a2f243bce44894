//! Opens connections to the database.
//!
//! Owns the settings that durability rests on, and the look at the file's header that tells a
//! database of ours from others before `SQLite` reads the file. Refuses to know tables and
//! formats.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::SqliteOptions;
use super::directory::Directory;
use super::failure::{REMEDY, io_error, reading};
use super::number::to_db;
use super::pages;
use crate::StoreError;

/// Readers get this part of the cache, since they read most pages once, in the order of numbers.
const READER_SHARE: u64 = 8;

/// How long to wait for another program's lock on the database.
const BUSY: Duration = Duration::from_secs(1);

/// Prepared statements that a connection keeps: several for each table, and some for each hour.
const STATEMENTS: usize = 192;

/// What the header of the database file tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// The file does not exist or is empty.
    Empty,
    /// Pages have checksums, so that this version or a later one made the file.
    Checksummed,
    /// Pages have no checksums: version 0.1.0 or another program made the file.
    Plain,
    /// The file is no database, or its header is damaged.
    Unreadable,
}

const HEADER_BYTES: usize = 100;
const MAGIC: &[u8] = b"SQLite format 3\0";

/// Reads the header of the database file.
pub(super) fn header(directory: &Directory) -> Result<Header, StoreError> {
    let path = directory.database();
    let doing = || format!("reading the header of {}", path.display());
    let mut header = Vec::new();
    match File::open(&path) {
        Ok(file) => file.take(HEADER_BYTES as u64).read_to_end(&mut header),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
    .map_err(io_error(doing()))?;
    let reserved = header.get(pages::RESERVED_BYTES_AT);
    Ok(match reserved {
        _ if header.is_empty() => Header::Empty,
        // A crash came while the first page was written: SQLite undoes that when it opens.
        _ if directory.rollback_journal().exists() => Header::Checksummed,
        Some(&pages::RESERVED_BYTES) if header.starts_with(MAGIC) => Header::Checksummed,
        Some(0) if header.starts_with(MAGIC) => Header::Plain,
        _ => Header::Unreadable,
    })
}

/// The error for a file whose header is not that of a database of ours.
pub(super) fn unreadable(directory: &Directory) -> StoreError {
    let path = directory.database();
    StoreError::Corrupt {
        what: format!(
            "the header of {} (page 1) is not readable: {REMEDY}",
            path.display()
        ),
    }
}

/// Opens the writer's connection. A new database gets its page size and page checksums.
pub(super) fn open_writer(
    directory: &Directory,
    options: &SqliteOptions,
) -> Result<Connection, StoreError> {
    let path = directory.database();
    let doing = || format!("opening the database {}", path.display());
    if let Header::Plain | Header::Unreadable = header(directory)? {
        return Err(unreadable(directory));
    }
    directory.make_database()?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = open_checked(&path, flags).and_then(|connection| {
        configure(&connection, options)?;
        Ok(connection)
    });
    opened.map_err(|error| reading(&doing(), error))
}

/// Opens a reader's connection.
pub(super) fn open_reader(path: &Path, options: &SqliteOptions) -> rusqlite::Result<Connection> {
    let connection = open_checked(path, READ_ONLY)?;
    connection.busy_timeout(BUSY)?;
    let share = options.cache_bytes / READER_SHARE;
    connection.pragma_update(None, "cache_size", cache_size(share))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// Opens a connection that writes a copy of a database. Pages get right checksums.
pub(super) fn open_copy(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = open_checked(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

/// Opens a connection for reading that does not verify the checksums of pages, so that intact
/// rows of a damaged page can be read. The checksums of the rows still tell which are intact.
pub(super) fn open_lenient(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, READ_ONLY)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

const READ_ONLY: OpenFlags =
    OpenFlags::SQLITE_OPEN_READ_ONLY.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

fn open_checked(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    pages::register()?;
    Connection::open_with_flags_and_vfs(path, flags, pages::NAME)
}

fn configure(c: &Connection, options: &SqliteOptions) -> rusqlite::Result<()> {
    c.busy_timeout(BUSY)?;
    c.set_prepared_statement_cache_capacity(STATEMENTS);
    // Reading the number of pages first undoes a write that a crash interrupted.
    let pages: i64 = c.pragma_query_value(None, "page_count", |row| row.get(0))?;
    if pages == 0 {
        // These must come before the first page is written, in this order.
        c.pragma_update(None, "page_size", options.page_bytes)?;
        pages::reserve(c)?;
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

/// Moves the write-ahead log into the database and empties it. Waits at most `wait` for readers.
/// Returns whether the log was emptied.
pub(super) fn truncate_log(c: &Connection, wait: Duration) -> rusqlite::Result<bool> {
    c.busy_timeout(wait)?;
    let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
    let is_busy = c.query_row(sql, [], |row| row.get::<_, bool>(0));
    c.busy_timeout(BUSY)?;
    is_busy.map(|is_busy| !is_busy)
}

/// Sets the most bytes of pages that the connection keeps in memory.
pub(super) fn limit_cache(c: &Connection, bytes: u64) -> rusqlite::Result<()> {
    c.pragma_update(None, "cache_size", cache_size(bytes))
}

/// The cache size in `SQLite`'s notation: negative for KiB.
fn cache_size(bytes: u64) -> i64 {
    -to_db(bytes / 1024).max(1)
}
