//! The content that outlives a [`MemoryStore`]: the epoch, the log and the rows.
//!
//! Owns the order of the log, the check of the epoch, and the room on the disk. In a simulated
//! crash, this is what the disk would still hold. Refuses to know which writer is using it.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::fault::{Fault, FaultPlan};
use super::rows::Rows;
use super::volume::Volume;
use crate::memory::MemoryStore;
use crate::{
    Change, Commit, FAMILIES, Family, Frame, Headroom, Key, Maintenance, StoreError, Taken,
};

/// A disk in memory, shared by its clones.
#[derive(Debug, Clone)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

impl Default for MemoryDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryDisk {
    /// Makes an empty disk for the families of this version.
    #[must_use]
    pub fn new() -> Self {
        Self::with_families(FAMILIES)
    }

    /// Makes an empty disk for other families, for tests.
    #[must_use]
    pub fn with_families(families: &'static [&'static Family]) -> Self {
        let state = State {
            families,
            shard: None,
            epoch: 0,
            frames: VecDeque::new(),
            frame_bytes: 0,
            rows: Rows::default(),
            plan: FaultPlan::default(),
            volume: Volume::default(),
            full: false,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Opens another writer on this disk, as after a crash.
    #[must_use]
    pub fn store(&self) -> MemoryStore {
        MemoryStore::open(self)
    }

    /// Replaces the planned faults. Counting the appends begins anew.
    pub fn plan(&self, plan: FaultPlan) {
        self.lock().plan = plan;
    }

    /// Makes headroom report a full disk, or a disk with room again. Appends succeed either way,
    /// because a real store keeps a reserve for them.
    pub fn set_full(&self, full: bool) {
        self.lock().full = full;
    }

    /// Replaces the size of the disk. From now on an append that does not fit is refused with
    /// `Full`, as by a real store.
    pub fn resize(&self, volume: Volume) {
        self.lock().volume = volume;
    }

    /// Lets other programs use so much of the disk that `free_bytes` are left, or less if the store
    /// itself left less. The reserve stays with the store.
    pub fn leave_free(&self, free_bytes: u64) {
        let mut state = self.lock();
        let used_bytes = state.used_bytes();
        state.volume.leave_free(free_bytes, used_bytes);
    }

    /// Declares a row damaged: from now on, readers find [`Lookup::Damaged`](crate::Lookup) for
    /// its key.
    pub fn spoil(&self, family: &'static Family, key: &Key) {
        self.lock().rows.spoil(family, key);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// The content of a disk.
#[derive(Debug)]
pub(super) struct State {
    families: &'static [&'static Family],
    shard: Option<u16>,
    epoch: u64,
    frames: VecDeque<Frame>,
    frame_bytes: u64,
    rows: Rows,
    plan: FaultPlan,
    volume: Volume,
    full: bool,
}

impl State {
    pub(super) fn take(&mut self, shard: u16) -> Result<Taken, StoreError> {
        let holds = *self.shard.get_or_insert(shard);
        if holds != shard {
            return Err(StoreError::WrongShard {
                holds,
                asked: shard,
            });
        }
        self.epoch += 1;
        let next_sequence = self.next_sequence();
        let first_sequence = self
            .frames
            .front()
            .map_or(next_sequence, |f| f.first_sequence);
        Ok(Taken {
            epoch: self.epoch,
            first_sequence,
            next_sequence,
        })
    }

    pub(super) fn check_epoch(&self, held: u64) -> Result<(), StoreError> {
        if held == self.epoch {
            return Ok(());
        }
        Err(StoreError::Fenced {
            held,
            current: self.epoch,
        })
    }

    pub(super) fn check_commit(&self, commit: &Commit) -> Result<(), StoreError> {
        commit.check_follows(self.next_sequence())?;
        for row in &commit.rows {
            row.check(self.families)?;
        }
        self.rows.check_duplicates(&commit.rows)
    }

    pub(super) fn next_fault(&mut self) -> Option<Fault> {
        self.plan.next()
    }

    pub(super) fn next_maintenance_fault(&mut self) -> Option<Fault> {
        self.plan.next_maintenance()
    }

    /// Makes room for a commit, by giving up some of the reserve if need be.
    pub(super) fn make_room(&mut self, commit: &Commit) -> Result<(), StoreError> {
        let rows = commit.rows.iter().map(|row| match &row.change {
            Change::Put(put) => put.len() as u64,
            Change::Delete | Change::Erase => 0,
        });
        let bytes = commit.frame.len() as u64 + rows.sum::<u64>();
        let used_bytes = self.used_bytes();
        self.volume.make_room(bytes, used_bytes)
    }

    pub(super) fn write(&mut self, commit: &Commit) {
        self.frame_bytes += commit.frame.len() as u64;
        self.frames.push_back(Frame {
            first_sequence: commit.first_sequence,
            count: commit.count,
            bytes: commit.frame.clone(),
        });
        self.rows.write(self.families, commit);
    }

    /// Returns the first frame that begins at `sequence` or later.
    pub(super) fn frame_from(&self, sequence: u64) -> Option<Frame> {
        let at = self
            .frames
            .partition_point(|frame| frame.first_sequence < sequence);
        self.frames.get(at).cloned()
    }

    pub(super) fn forget(&mut self, work: &Maintenance) -> usize {
        let mut gone = self.trim(work.trim_below_sequence, work.limit);
        if let Some((class, before_ms)) = work.expire {
            let limit = work.limit - gone;
            gone += self.rows.expire(self.families, class, before_ms, limit);
        }
        let drops = gone < work.limit && self.rows.drop_oldest_hour(work.drop_hours_below);
        if drops { work.limit } else { gone }
    }

    fn trim(&mut self, below: u64, limit: usize) -> usize {
        let mut gone = 0;
        // All facts of a frame lie below when the next frame begins at or below the bound. The
        // newest frame has no next frame, so it stays.
        while gone < limit
            && self
                .frames
                .get(1)
                .is_some_and(|next| next.first_sequence <= below)
        {
            let trimmed = self.frames.pop_front();
            self.frame_bytes -= trimmed.map_or(0, |frame| frame.bytes.len() as u64);
            gone += 1;
        }
        gone
    }

    pub(super) fn headroom(&mut self) -> Headroom {
        let used_bytes = self.used_bytes();
        let headroom = self.volume.headroom(used_bytes);
        if self.full {
            return Headroom {
                free_bytes: 0,
                room_bytes: 0,
                ..headroom
            };
        }
        headroom
    }

    fn used_bytes(&self) -> u64 {
        self.frame_bytes + self.rows.used_bytes()
    }

    pub(super) fn families(&self) -> &'static [&'static Family] {
        self.families
    }

    pub(super) fn rows(&self) -> &Rows {
        &self.rows
    }

    fn next_sequence(&self) -> u64 {
        self.frames
            .back()
            .map_or(1, |frame| frame.first_sequence + u64::from(frame.count))
    }
}
