//! The store in one SQLite database: an append-only log, and rows written once.
//!
//! Owns the data directory and its one writer connection. Refuses to retry: an error while
//! committing leaves open what the disk holds, and a second fsync would lie about it (a failed
//! one marks pages clean), so the store fails for good and recovery is a restart.

mod append;
mod directory;
mod failure;
mod forget;
mod hours;
mod reader;
mod replay;
mod schema;
mod watermark;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use self::append::AppendError;
use self::directory::Directory;
use self::failure::reading;
use self::reader::SqliteReader;
use self::schema::Origin;
use self::watermark::Watermark;
use crate::{Commit, Frame, Headroom, Maintenance, Reader, Store, StoreError, Taken};

// Older ones lose data when two connections reset the write-ahead log at once.
const _: () = assert!(rusqlite::ffi::SQLITE_VERSION_NUMBER >= 3_051_003);

/// How to open a [`SqliteStore`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteOptions {
    /// Start although facts at the log's end are lost. They stay lost; damage elsewhere is still
    /// refused.
    pub accept_loss: bool,
    /// Bytes per page of a new database; an existing one keeps its own. Small pages, because
    /// what is indexed by random keys (request ids, endings of many tenants) writes a page a
    /// row. Measured on 2 shared cores with an fdatasync of 0.12 ms, in commits of 500, rows a
    /// second and bytes written a row, 4096 against 8192: payloads of 300 B 727 k, 0.8 KB
    /// against 807 k, 0.9 KB; with a request id each 106 k, 5.6 KB against 90 k, 8.3 KB; whole
    /// lives 84 k, 6.3 KB against 78 k, 9.0 KB. With 16384 lives fell to 53 k.
    pub page_bytes: u32,
    /// Bytes of the writer's page cache; each reader has an eighth of it.
    pub cache_bytes: u64,
    /// An append that finds more than so much in the write-ahead log checkpoints it, and waits:
    /// measured 15 to 30 ms for 16 MiB, up to 50 ms for 32, up to 80 ms for 64. A smaller bound
    /// writes more, since fewer changes of one page fall together. Idle moments mostly come
    /// first.
    pub checkpoint_bytes: u64,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            accept_loss: false,
            page_bytes: 4096,
            cache_bytes: 24 << 20,
            checkpoint_bytes: 32 << 20,
        }
    }
}

/// The writer of a data directory.
pub struct SqliteStore {
    // Declared before the directory: the connection closes before the lock is let go.
    connection: Connection,
    watermark: Watermark,
    directory: Directory,
    options: SqliteOptions,
    origin: Option<Origin>,
    taken: bool,
    next_sequence: u64,
    hours: BTreeSet<u32>,
    unflushed_bytes: u64,
    failed: Option<(String, String)>,
}

impl SqliteStore {
    /// Opens the data directory, making it if need be, and locks it for the store's life. Safe
    /// after any crash.
    ///
    /// # Errors
    /// `InUse` if another process holds it, `NewerVersion` if a newer program wrote it, `Corrupt`
    /// if the log is shorter than it was, `Io` if the file system or the database refuses.
    pub fn open(path: &Path, options: SqliteOptions) -> Result<Self, StoreError> {
        let directory = Directory::lock(path)?;
        let mut connection = schema::open(&directory.database(), &options)?;
        let origin = schema::origin(&connection)?;
        let next_sequence = schema::next_sequence(&connection, origin.as_ref())?;
        let hours = hours::list(&connection).map_err(|e| reading("listing the hours", e))?;
        let mut watermark = Watermark::open(&directory.watermark(), options.accept_loss)?;
        watermark.check(next_sequence - 1, options.accept_loss)?;
        directory.sync()?;
        connection.set_transaction_behavior(TransactionBehavior::Immediate);
        Ok(Self {
            connection,
            watermark,
            directory,
            options,
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

    /// Fails for good. Closing must not touch the files again either.
    fn fail(&mut self, what: &str, reason: &dyn std::fmt::Display) -> StoreError {
        failure::leave_files_alone(&self.connection);
        let failed = (what.to_owned(), reason.to_string());
        self.failed = Some(failed.clone());
        StoreError::Fatal {
            what: failed.0,
            reason: failed.1,
        }
    }

    fn appended(&mut self, commit: &Commit) -> Result<(), StoreError> {
        self.next_sequence = commit.next_sequence();
        self.hours
            .extend(commit.requests.iter().map(|row| row.hour));
        self.unflushed_bytes += append::weight(commit);
        let last = self.next_sequence - 1;
        let raised = self.watermark.raise(last);
        raised.map_err(|error| self.fail("writing the watermark file", &error))
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
        if let Err(error) = schema::record_origin(&mut self.connection, &origin, node) {
            return Err(self.fail("taking the shard", &error));
        }
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
        replay::replay(&self.connection, first, self.next_sequence, each)
    }

    fn append(&mut self, epoch: u64, commit: &Commit) -> Result<(), StoreError> {
        self.holding(epoch)?;
        commit.check_follows(self.next_sequence)?;
        match append::write(&mut self.connection, &self.hours, commit) {
            Ok(()) => self.appended(commit),
            Err(AppendError::Duplicate { birth }) => Err(StoreError::Duplicate { birth }),
            Err(AppendError::Broken(error)) => {
                let what = format!("appending from sequence {}", commit.first_sequence);
                Err(self.fail(&what, &error))
            }
        }
    }

    fn maintain(&mut self, epoch: u64, work: &Maintenance) -> Result<usize, StoreError> {
        self.holding(epoch)?;
        let forgotten = forget::forget(&mut self.connection, &self.hours, work);
        let gone = forgotten.map_err(|error| self.fail("trimming and expiring", &error))?;
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
        let wal_bytes = fs::metadata(self.directory.wal()).map_or(0, |wal| wal.len());
        let result = forget::vacuum(&self.connection)
            .and_then(|()| self.checkpoint(wal_bytes > 2 * self.options.checkpoint_bytes));
        match result {
            Ok(()) => Ok(()),
            Err(error) => Err(self.fail("checkpointing", &error)),
        }
    }

    fn headroom(&self) -> Result<Headroom, StoreError> {
        self.alive()?;
        let doing = "asking the database for its free pages";
        let reusable = schema::free_bytes(&self.connection).map_err(|e| reading(doing, e))?;
        self.directory.headroom(reusable)
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        self.alive()?;
        let reader = SqliteReader::open(&self.directory.database(), &self.options)?;
        Ok(Box::new(reader))
    }
}

/// A checkpoint in an idle moment has to be worth two fsyncs.
const WORTH_FLUSHING_BYTES: u64 = 4 << 20;

impl SqliteStore {
    fn checkpoint(&mut self, truncate: bool) -> rusqlite::Result<()> {
        if self.unflushed_bytes < WORTH_FLUSHING_BYTES && !truncate {
            return Ok(());
        }
        // Truncating costs the file's blocks anew, so a log of ordinary size is overwritten.
        let mode = if truncate { "TRUNCATE" } else { "PASSIVE" };
        self.connection
            .query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))?;
        self.unflushed_bytes = 0;
        Ok(())
    }
}
