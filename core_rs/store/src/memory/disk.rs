//! The content that outlives a [`MemoryStore`]: the epoch, the log and the rows.
//!
//! Owns the order of the log and the check of the epoch. In a simulated crash, this is what the
//! disk would still hold. Refuses to know which writer is using it.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::fault::{Fault, FaultPlan};
use super::rows::Rows;
use crate::memory::MemoryStore;
use crate::{Commit, FAMILIES, Family, Frame, Headroom, Key, Maintenance, StoreError, Taken};

/// The size that headroom reports for a disk that is not full.
const CAPACITY_BYTES: u64 = 1 << 40;

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
            rows: Rows::default(),
            plan: FaultPlan::default(),
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
    rows: Rows,
    plan: FaultPlan,
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

    pub(super) fn write(&mut self, commit: &Commit) {
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
            self.frames.pop_front();
            gone += 1;
        }
        gone
    }

    pub(super) fn headroom(&self) -> Headroom {
        let frames: usize = self.frames.iter().map(|frame| frame.bytes.len()).sum();
        let used_bytes = frames as u64 + self.rows.used_bytes();
        let free_bytes = CAPACITY_BYTES.saturating_sub(used_bytes);
        let free_bytes = if self.full { 0 } else { free_bytes };
        Headroom {
            free_bytes,
            reserve_bytes: 0,
            room_bytes: free_bytes,
            used_bytes,
        }
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
