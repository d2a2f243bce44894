//! What outlives a [`MemoryStore`]: the epoch, the log and the rows.
//!
//! Owns the log's order and the fence, and takes the part of the platter in a simulated crash.
//! Refuses to know who holds it.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::fault::{Fault, FaultPlan};
use super::rows::Rows;
use crate::memory::MemoryStore;
use crate::{Commit, Frame, Headroom, Maintenance, StoreError, Taken};

/// Bytes a disk is said to have while it is not full.
const CAPACITY_BYTES: u64 = 1 << 40;

/// A disk in memory, shared by its clones.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

impl MemoryDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Another writer on this disk, as after a crash.
    #[must_use]
    pub fn store(&self) -> MemoryStore {
        MemoryStore::open(self)
    }

    /// Replaces the planned faults; counting begins anew.
    pub fn plan(&self, plan: FaultPlan) {
        self.lock().plan = plan;
    }

    /// Makes headroom report a full disk, or one with room again. Appends go on succeeding: a
    /// store in real life keeps a reserve for them.
    pub fn set_full(&self, full: bool) {
        self.lock().full = full;
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// The disk's content.
#[derive(Debug, Default)]
pub(super) struct State {
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
        self.rows.check_births(&commit.payloads)
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
        self.rows.write(commit);
    }

    /// The first frame that begins at `sequence` or later.
    pub(super) fn frame_from(&self, sequence: u64) -> Option<Frame> {
        let at = self
            .frames
            .partition_point(|frame| frame.first_sequence < sequence);
        self.frames.get(at).cloned()
    }

    pub(super) fn forget(&mut self, work: &Maintenance) -> usize {
        let mut gone = self.trim(work.trim_below_sequence, work.limit);
        gone += self
            .rows
            .expire(work.expire_finished_before_ms, work.limit - gone);
        let drops = gone < work.limit && self.rows.drop_oldest_hour(work.drop_request_hours_below);
        if drops { work.limit } else { gone }
    }

    fn trim(&mut self, below: u64, limit: usize) -> usize {
        let mut gone = 0;
        // A frame lies wholly below when its successor begins at or below; the newest has none.
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
        Headroom {
            free_bytes: if self.full { 0 } else { free_bytes },
            used_bytes,
        }
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
