//! The store in one SQLite database: an append-only log, and one table for each family of rows.
//!
//! Owns the data directory and its one writer connection. Refuses to retry a failed commit: after
//! an error nobody knows what the disk holds, and a second fsync can report success for data that
//! was lost, because a failed fsync marks pages as clean. So the store fails for good, and the
//! next start recovers.

mod append;
mod checksum;
mod connection;
pub(crate) mod copy;
mod dead_letter;
mod directory;
mod disk;
mod expiry;
mod failure;
mod forget;
mod format;
mod hours;
pub(crate) mod inspect;
mod marker;
mod number;
mod origin;
#[expect(
    unsafe_code,
    reason = "SQLite's file layer can only be extended through its C interface"
)]
mod pages;
mod presence;
mod reader;
mod replay;
mod reserve;
mod scan;
mod table;
mod walk;
mod watermark;

use std::fs;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

use self::append::AppendError;
use self::directory::Directory;
use self::disk::Disk;
use self::failure::reading;
pub use self::format::{FORMAT, Format, Migration};
use self::hours::Hours;
use self::origin::Origin;
pub use self::pages::{NAME as VFS_NAME, log_syncs_of_this_thread};
use self::reader::SqliteReader;
use self::table::Table;
use self::watermark::Watermark;
use crate::{Commit, Frame, Headroom, Maintenance, Reader, Store, StoreError, Taken};

// Older versions lose data when two connections reset the write-ahead log at once.
const _: () = assert!(rusqlite::ffi::SQLITE_VERSION_NUMBER >= 3_051_003);

/// How to open a [`SqliteStore`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteOptions {
    /// Whether to start although facts at the end of the log are lost. They stay lost. Other
    /// damage is still refused.
    pub accept_loss: bool,
    /// Bytes per page of a new database. An existing database keeps its page size. Pages are
    /// small because an index with random keys (request ids, endings of many tenants) writes one
    /// page for each row. Measured before pages had checksums, on 2 shared cores with an
    /// fdatasync of 0.12 ms, in commits of 500 rows; rows per second and bytes written per row,
    /// 4096 against 8192: payloads of 300 B 727 k, 0.8 KB against 807 k, 0.9 KB; with a request
    /// id each 106 k, 5.6 KB against 90 k, 8.3 KB; whole lives 84 k, 6.3 KB against 78 k, 9.0 KB.
    /// With 16384, whole lives fell to 53 k.
    pub page_bytes: u32,
    /// Bytes of the writer's page cache. The cache of each reader has an eighth of that.
    pub cache_bytes: u64,
    /// An append that finds more than this in the write-ahead log checkpoints the log first and
    /// waits for that: measured 15 to 30 ms for 16 MiB, up to 50 ms for 32, up to 80 ms for 64.
    /// A smaller bound writes more in total, because fewer changes of one page are written
    /// together. Mostly an idle moment checkpoints before the bound is reached.
    pub checkpoint_bytes: u64,
    /// Bytes that the file `reserve` keeps back for the end of what is running.
    pub reserve_bytes: u64,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            accept_loss: false,
            page_bytes: 4096,
            cache_bytes: 24 << 20,
            checkpoint_bytes: 32 << 20,
            reserve_bytes: 64 << 20,
        }
    }
}

/// The writer of a data directory.
pub struct SqliteStore {
    // Declared before the directory, so that the connection closes before the lock is released.
    connection: Connection,
    watermark: Watermark,
    directory: Directory,
    disk: Disk,
    options: SqliteOptions,
    format: &'static Format,
    tables: Vec<Table>,
    origin: Option<Origin>,
    taken: bool,
    next_sequence: u64,
    hours: Hours,
    unflushed_bytes: u64,
    /// A write-ahead log of this length is reset even if that has to wait for readers.
    reset_at: u64,
    failed: Option<(String, String)>,
}

impl SqliteStore {
    /// Opens the data directory, makes it if it does not exist, and locks it for the store's
    /// life. Data of an older format is migrated. Safe after any crash.
    ///
    /// # Errors
    /// `InUse` if another process holds the directory; `OlderVersion` or `NewerVersion` if a
    /// version wrote it whose format this one cannot read; `Corrupt` if it is damaged or the log
    /// is shorter than it was; `Io` if the file system or the database refuses.
    pub fn open(path: &Path, options: SqliteOptions) -> Result<Self, StoreError> {
        Self::open_with(path, options, &FORMAT)
    }

    /// Opens the data directory with another format, for tests.
    ///
    /// # Errors
    /// As for [`SqliteStore::open`].
    pub fn open_with(
        path: &Path,
        options: SqliteOptions,
        format: &'static Format,
    ) -> Result<Self, StoreError> {
        let directory = Directory::lock(path)?;
        marker::check(&directory)?;
        let mut disk = Disk::prepare(&directory, options.reserve_bytes)?;
        format::check_plain(&directory, format)?;
        let mut connection = connection::open_writer(&directory, &options)?;
        let found = format::number(&connection, &directory, format)?;
        if found.is_none() {
            let created = format::create(&mut connection, format);
            created.map_err(|e| reading("making the tables", e))?;
        }
        let origin = origin::read(&connection)?;
        let next_sequence = origin::next_sequence(&connection, origin.as_ref())?;
        let mut watermark = Watermark::open(&directory.watermark(), options.accept_loss)?;
        watermark.check(next_sequence - 1, options.accept_loss)?;
        let migrated = format::migrate(&mut connection, found.unwrap_or(format.number), format);
        migrated.map_err(|e| reading("migrating the data to a newer format", e))?;
        let hours = hours::list(&connection, format.families);
        let hours = hours.map_err(|e| reading("listing the hours", e))?;
        disk.watch(&directory)?;
        disk.look(0)?;
        directory.sync()?;
        connection.set_transaction_behavior(TransactionBehavior::Immediate);
        Ok(Self {
            connection,
            watermark,
            directory,
            disk,
            reset_at: 2 * options.checkpoint_bytes,
            options,
            format,
            tables: format
                .families
                .iter()
                .map(|family| Table::of(family))
                .collect(),
            origin,
            taken: false,
            next_sequence,
            hours,
            unflushed_bytes: 0,
            failed: None,
        })
    }

    fn alive(&self) -> Result<(), StoreError> {
        match &self.failed {
            None => Ok(()),
            Some((what, reason)) => Err(StoreError::Fatal {
                what: what.clone(),
                reason: reason.clone(),
            }),
        }
    }

    fn holding(&self, held: u64) -> Result<(), StoreError> {
        self.alive()?;
        let current = self.origin.as_ref().map_or(0, |origin| origin.epoch);
        match (self.taken, held == current) {
            (false, _) => Err(StoreError::NotTaken),
            (true, false) => Err(StoreError::Fenced { held, current }),
            (true, true) => Ok(()),
        }
    }

    /// Fails for good because the database refused something. Damage is noted in the directory,
    /// so that the next start does not fail in the same way.
    fn fail(&mut self, what: &str, error: &rusqlite::Error) -> StoreError {
        let mut reason = failure::describe(error);
        if failure::is_corruption(error)
            && let Err(error) = marker::leave(&self.directory, what, &reason)
        {
            reason = format!("{reason} (and noting that in the data directory failed: {error})");
        }
        self.fail_for(what, reason)
    }

    /// Fails for good. Closing must not touch the files again either.
    fn fail_for(&mut self, what: &str, reason: String) -> StoreError {
        failure::leave_files_alone(&self.connection);
        self.failed = Some((what.to_owned(), reason.clone()));
        StoreError::Fatal {
            what: what.to_owned(),
            reason,
        }
    }

    /// Checks a commit before anything is written.
    fn check(&self, commit: &Commit) -> Result<(), StoreError> {
        commit.check_follows(self.next_sequence)?;
        let rows = &mut commit.rows.iter();
        rows.try_for_each(|row| row.check(self.format.families))
    }

    fn appended(&mut self, commit: &Commit) -> Result<(), StoreError> {
        self.next_sequence = commit.next_sequence();
        self.hours.extend(append::hours_of(commit));
        self.unflushed_bytes += append::weight(commit);
        match self.watermark.raise(self.next_sequence - 1) {
            // A watermark that is too low is harmless, and the next commit writes it again.
            Err(error) if !directory::is_full(&error) => {
                Err(self.fail_for("writing the watermark file", error.to_string()))
            }
            _ => Ok(()),
        }
    }
}

impl Store for SqliteStore {
    fn take(&mut self, shard: u16, node: &str) -> Result<Taken, StoreError> {
        self.alive()?;
        let origin = match &self.origin {
            Some(held) if held.shard != shard => {
                return Err(StoreError::WrongShard {
                    holds: held.shard,
                    asked: shard,
                });
            }
            Some(held) => Origin {
                epoch: held.epoch + 1,
                ..*held
            },
            None => Origin {
                shard,
                epoch: 1,
                first_sequence: self.next_sequence,
            },
        };
        self.with_room("taking the shard", |store| {
            origin::record(&mut store.connection, &origin, node)
        })?;
        self.origin = Some(origin);
        self.taken = true;
        Ok(Taken {
            epoch: origin.epoch,
            first_sequence: origin.first_sequence,
            next_sequence: self.next_sequence,
        })
    }

    fn replay(
        &mut self,
        each: &mut dyn FnMut(Frame) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.alive()?;
        let first = self
            .origin
            .as_ref()
            .map_or(self.next_sequence, |o| o.first_sequence);
        // Each page of the log is read once: keeping it would only push out of the processor's
        // cache what the replay needs, and leave the start with the memory of a full page cache.
        let limit = |bytes| {
            let limited = connection::limit_cache(&self.connection, bytes);
            limited.map_err(|e| reading("limiting the page cache", e))
        };
        limit(REPLAY_CACHE_BYTES)?;
        replay::replay(&self.connection, first, self.next_sequence, each)?;
        limit(self.options.cache_bytes)
    }

    fn append(&mut self, epoch: u64, commit: &Commit) -> Result<(), StoreError> {
        self.holding(epoch)?;
        self.check(commit)?;
        self.reset_log()?;
        loop {
            match append::write(&mut self.connection, &self.tables, &self.hours, commit) {
                Ok(()) => return self.appended(commit),
                Err(AppendError::Duplicate { family, key }) => {
                    return Err(StoreError::Duplicate { family, key });
                }
                Err(AppendError::Broken(error)) if failure::is_full(&error) => {
                    self.disk.give_up(commit.weight())?;
                }
                Err(AppendError::Broken(error)) => {
                    let what = format!("appending from sequence {}", commit.first_sequence);
                    return Err(self.fail(&what, &error));
                }
            }
        }
    }

    fn maintain(&mut self, epoch: u64, work: &Maintenance) -> Result<usize, StoreError> {
        self.holding(epoch)?;
        let gone = self.with_room("trimming and expiring", |store| {
            forget::forget(&mut store.connection, &store.tables, &store.hours, work)
        })?;
        if let (Some(origin), Some(first)) = (&mut self.origin, gone.first_sequence) {
            origin.first_sequence = first;
        }
        if let Some(hour) = gone.hour {
            self.hours.remove(&hour);
        }
        self.unflushed_bytes += gone.rows as u64 * append::ROW_BYTES;
        Ok(gone.rows)
    }

    fn idle(&mut self) -> Result<(), StoreError> {
        self.alive()?;
        self.disk.try_again();
        let is_tight = self.disk.is_tight();
        self.with_room("returning free pages", |store| {
            let pages = forget::vacuum(&store.connection, is_tight)?;
            store.unflushed_bytes += pages * u64::from(store.options.page_bytes);
            Ok(())
        })?;
        // On a full disk the space of the log is worth more than its blocks.
        let longest = if is_tight {
            WORTH_FLUSHING_BYTES
        } else {
            2 * self.options.checkpoint_bytes
        };
        let truncate = self.log_bytes() > longest;
        self.with_room("checkpointing", |store| store.checkpoint(truncate))
    }

    fn headroom(&mut self) -> Result<Headroom, StoreError> {
        self.alive()?;
        let looked = self.disk.look(self.unflushed_bytes);
        if let Err(error @ StoreError::Removed { .. }) = &looked {
            let _ = self.fail_for("looking at the data directory", error.to_string());
        }
        looked
    }

    fn place(&self) -> String {
        self.directory.path().display().to_string()
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        self.alive()?;
        let families = self.format.families;
        let reader = SqliteReader::open(&self.directory.database(), &self.options, families)?;
        Ok(Box::new(reader))
    }
}

/// The page cache while the log is read.
const REPLAY_CACHE_BYTES: u64 = 256 << 10;

/// An idle moment checkpoints only when there is this much to write, because a checkpoint costs
/// two fsyncs.
const WORTH_FLUSHING_BYTES: u64 = 4 << 20;

/// How long an append waits for readers so that it can reset a long write-ahead log.
const RESET_WAIT: Duration = Duration::from_millis(50);

impl SqliteStore {
    /// Writes something that is not a commit. If the disk is full, the reserve is used.
    fn with_room<T>(
        &mut self,
        what: &str,
        mut write: impl FnMut(&mut Self) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        loop {
            match write(self) {
                Ok(written) => return Ok(written),
                Err(error) if failure::is_full(&error) => self.disk.give_up(0)?,
                Err(error) => return Err(self.fail(what, &error)),
            }
        }
    }

    fn log_bytes(&self) -> u64 {
        fs::metadata(self.directory.wal()).map_or(0, |wal| wal.len())
    }

    /// Resets a write-ahead log that has become long. `SQLite` begins it anew only at a moment at
    /// which no reader uses it, and with two busy readers no such moment may come.
    fn reset_log(&mut self) -> Result<(), StoreError> {
        let bytes = self.log_bytes();
        if bytes < self.reset_at {
            return Ok(());
        }
        let is_reset = self.with_room("resetting the write-ahead log", |store| {
            connection::truncate_log(&store.connection, RESET_WAIT)
        })?;
        // A reader that is busy for long is not waited for at each append.
        let from = if is_reset { 0 } else { bytes };
        self.reset_at = from.max(self.options.checkpoint_bytes) + self.options.checkpoint_bytes;
        if is_reset {
            self.unflushed_bytes = 0;
        }
        Ok(())
    }

    fn checkpoint(&mut self, truncate: bool) -> rusqlite::Result<()> {
        if self.unflushed_bytes < WORTH_FLUSHING_BYTES && !truncate {
            return Ok(());
        }
        // A truncated log needs new blocks from the file system, so a log of ordinary size is
        // overwritten instead.
        let mode = if truncate { "TRUNCATE" } else { "PASSIVE" };
        self.connection
            .query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))?;
        self.unflushed_bytes = 0;
        Ok(())
    }
}
