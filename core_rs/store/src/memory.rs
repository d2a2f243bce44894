//! A store in memory, for tests and the simulator. It keeps every promise but durability.
//!
//! Owns the writer of a [`MemoryDisk`]. The disk outlives its writers, so that a test simulates a
//! crash by dropping the writer and a recovery by taking the shard again. Refuses to be fast
//! where simple code will do.

mod disk;
mod fault;
mod hours;
mod reader;
mod rows;
mod volume;

pub use disk::MemoryDisk;
pub use fault::{Fault, FaultPlan};
pub use volume::Volume;

use self::reader::MemoryReader;
use crate::{Commit, Frame, Headroom, Maintenance, Reader, Store, StoreError, Taken};

/// Which calls this writer still accepts.
#[derive(Debug, Clone)]
enum Standing {
    NotTaken,
    Holding,
    /// The outcome of the commit that began with this sequence number is unknown, so the shard
    /// must be taken again.
    Doubtful(u64),
    /// The writer failed for good; only a new writer on the same disk works.
    Failed,
}

/// A writer on a [`MemoryDisk`].
#[derive(Debug)]
pub struct MemoryStore {
    disk: MemoryDisk,
    standing: Standing,
}

impl MemoryStore {
    /// Opens a writer on this disk. The writer has not taken the shard yet.
    #[must_use]
    pub fn open(disk: &MemoryDisk) -> Self {
        Self {
            disk: disk.clone(),
            standing: Standing::NotTaken,
        }
    }

    fn alive(&self) -> Result<(), StoreError> {
        match self.standing {
            Standing::Failed => Err(planned_failure("append")),
            _ => Ok(()),
        }
    }

    fn holding(&self) -> Result<(), StoreError> {
        match self.standing {
            Standing::Holding => Ok(()),
            Standing::NotTaken => Err(StoreError::NotTaken),
            Standing::Doubtful(first_sequence) => Err(planned_doubt(first_sequence)),
            Standing::Failed => Err(planned_failure("append")),
        }
    }

    fn suffer(&mut self, fault: Fault, commit: &Commit) -> Result<(), StoreError> {
        if fault.is_written() {
            self.disk.lock().write(commit);
        }
        if fault.is_fatal() {
            self.standing = Standing::Failed;
            return Err(planned_failure("append"));
        }
        self.standing = Standing::Doubtful(commit.first_sequence);
        Err(planned_doubt(commit.first_sequence))
    }
}

fn planned_failure(what: &str) -> StoreError {
    StoreError::Fatal {
        what: what.to_owned(),
        reason: "a planned fault".to_owned(),
    }
}

fn planned_doubt(first_sequence: u64) -> StoreError {
    StoreError::Unknown {
        first_sequence,
        what: "a planned fault".to_owned(),
    }
}

impl Store for MemoryStore {
    fn take(&mut self, shard: u16, _node: &str) -> Result<Taken, StoreError> {
        self.alive()?;
        let taken = self.disk.lock().take(shard)?;
        self.standing = Standing::Holding;
        Ok(taken)
    }

    fn replay(
        &mut self,
        each: &mut dyn FnMut(Frame) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.alive()?;
        let mut at = 0;
        // The disk is unlocked between frames, so that `each` may read.
        loop {
            let Some(frame) = self.disk.lock().frame_from(at) else {
                return Ok(());
            };
            at = frame.first_sequence + 1;
            each(frame)?;
        }
    }

    fn append(&mut self, epoch: u64, commit: &Commit) -> Result<(), StoreError> {
        self.holding()?;
        let fault = {
            let mut disk = self.disk.lock();
            disk.check_epoch(epoch)?;
            disk.check_commit(commit)?;
            disk.make_room(commit)?;
            let fault = disk.next_fault();
            if fault.is_none() {
                disk.write(commit);
            }
            fault
        };
        fault.map_or(Ok(()), |fault| self.suffer(fault, commit))
    }

    fn maintain(&mut self, epoch: u64, work: &Maintenance) -> Result<usize, StoreError> {
        self.holding()?;
        let mut disk = self.disk.lock();
        disk.check_epoch(epoch)?;
        let fault = disk.next_maintenance_fault();
        let used = match fault {
            Some(fault) if !fault.is_written() => 0,
            Some(_) | None => disk.forget(work),
        };
        drop(disk);
        // Whatever goes wrong with maintenance, the writer cannot go on.
        match fault {
            Some(_) => {
                self.standing = Standing::Failed;
                Err(planned_failure("maintenance"))
            }
            None => Ok(used),
        }
    }

    fn idle(&mut self) -> Result<(), StoreError> {
        self.alive()
    }

    fn headroom(&mut self) -> Result<Headroom, StoreError> {
        self.alive()?;
        Ok(self.disk.lock().headroom())
    }

    fn place(&self) -> String {
        "the memory".to_owned()
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        self.alive()?;
        Ok(Box::new(MemoryReader {
            disk: self.disk.clone(),
        }))
    }
}
