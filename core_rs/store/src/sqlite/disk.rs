//! The disk under a data directory: how much room it has, and whether the files are still there.
//!
//! Owns the looks that the store takes after its commits, and the difference between the free
//! bytes of a disk and what this process may use of them: a quota leaves less, and no number tells
//! how much. Refuses to write data.

use std::path::PathBuf;

use super::directory::Directory;
use super::failure::io_error;
use super::presence::Presence;
use super::reserve::{self, Reserve};
use crate::{Headroom, StoreError};

/// A start needs so much: the database's indexes of the write-ahead log, and the first commits.
const START_BYTES: u64 = 1 << 20;

/// A store that is never idle tries once in so many looks whether a quota leaves room again.
const TRY_EVERY: u32 = 64;

pub(super) struct Disk {
    path: PathBuf,
    reserve: Reserve,
    presence: Option<Presence>,
    is_tight: bool,
    // The looks since a write, or a try, was refused on a disk with free bytes.
    looks_since_refusal: Option<u32>,
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
            looks_since_refusal: None,
        };
        if !disk.can_start()? {
            disk.give_up(0)?;
        }
        if !disk.can_start()? {
            return Err(disk.full());
        }
        Ok(disk)
    }

    fn can_start(&self) -> Result<bool, StoreError> {
        // Without a reserve there is nothing to give up, and the start itself is the try.
        let is_open = self.reserve.held() == 0 || self.reserve.can_grow(START_BYTES);
        Ok(is_open && self.free_bytes()? >= START_BYTES)
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
        let free = self.usable_bytes()?;
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
        if self.free_bytes()? > START_BYTES + 2 * bytes {
            self.looks_since_refusal = Some(0);
        }
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

    /// The free bytes that this process may use, as far as that is known: none after a write was
    /// refused, until the file system would take as much as a disk with room has.
    fn usable_bytes(&mut self) -> Result<u64, StoreError> {
        if let Some(looks) = &mut self.looks_since_refusal {
            *looks += 1;
            if *looks >= TRY_EVERY {
                self.try_again();
            }
        }
        if self.looks_since_refusal.is_some() {
            return Ok(0);
        }
        self.free_bytes()
    }

    /// Tries whether there is room again, if a write was refused on a disk with free bytes.
    pub(super) fn try_again(&mut self) {
        if self.looks_since_refusal.is_some() {
            let has_room = self.reserve.can_grow(self.reserve.needs());
            self.looks_since_refusal = (!has_room).then_some(0);
        }
    }

    fn free_bytes(&self) -> Result<u64, StoreError> {
        let asking = || format!("asking for the free space of {}", self.path.display());
        reserve::free_bytes(&self.path).map_err(io_error(asking()))
    }
}
