//! The disk under a data directory: how much room it has, and whether the files are still there.
//!
//! Owns the looks that the store takes after its commits. Refuses to write data.

use std::path::PathBuf;

use super::directory::Directory;
use super::failure::io_error;
use super::presence::Presence;
use super::reserve::{self, Reserve};
use crate::{Headroom, StoreError};

/// A start needs so much: the database's indexes of the write-ahead log, and the first commits.
const START_BYTES: u64 = 1 << 20;

pub(super) struct Disk {
    path: PathBuf,
    reserve: Reserve,
    presence: Option<Presence>,
    is_tight: bool,
}

impl Disk {
    /// Looks at the disk before a database is opened. A share of the reserve is given up if the
    /// disk is full. The reserve is `wanted` bytes.
    pub(super) fn prepare(directory: &Directory, wanted: u64) -> Result<Self, StoreError> {
        let mut disk = Self {
            path: directory.path().to_owned(),
            reserve: Reserve::find(directory.reserve(), wanted),
            presence: None,
            is_tight: false,
        };
        if disk.free_bytes()? < START_BYTES {
            disk.give_up(0)?;
        }
        if disk.free_bytes()? < START_BYTES {
            return Err(disk.full());
        }
        Ok(disk)
    }

    /// Watches the files from now on.
    pub(super) fn watch(&mut self, directory: &Directory) -> Result<(), StoreError> {
        self.presence = Some(Presence::watch(directory)?);
        Ok(())
    }

    /// Looks at the files and the free space. `unflushed` bytes, at most, are in the write-ahead
    /// log and not yet in the database.
    pub(super) fn look(&mut self, unflushed: u64) -> Result<Headroom, StoreError> {
        let mut wal_bytes = 0;
        let mut database_bytes = 0;
        if let Some(presence) = &mut self.presence {
            presence.check()?;
            (wal_bytes, database_bytes) = (presence.wal_bytes(), presence.database_bytes());
        }
        let free = self.free_bytes()?;
        let held = self.reserve.held();
        self.reserve.make(free);
        let free_bytes = free.saturating_sub(self.reserve.held() - held);
        let room_bytes = self.reserve.room(free_bytes, unflushed.min(wal_bytes));
        self.is_tight = room_bytes == 0;
        Ok(Headroom {
            free_bytes,
            reserve_bytes: self.reserve.held(),
            room_bytes,
            used_bytes: database_bytes + wal_bytes,
        })
    }

    /// Whether the last look found no room for new executions.
    pub(super) const fn is_tight(&self) -> bool {
        self.is_tight
    }

    /// Gives up a share of the reserve, at least `bytes`, because a write found the disk full.
    pub(super) fn give_up(&mut self, bytes: u64) -> Result<(), StoreError> {
        match self.reserve.give_up(bytes) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(self.full()),
        }
    }

    fn full(&self) -> StoreError {
        StoreError::Full {
            path: self.path.clone(),
            free_bytes: self.free_bytes().unwrap_or(0),
        }
    }

    fn free_bytes(&self) -> Result<u64, StoreError> {
        let asking = || format!("asking for the free space of {}", self.path.display());
        reserve::free_bytes(&self.path).map_err(io_error(asking()))
    }
}
