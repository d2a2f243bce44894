//! A store in memory, for tests and the simulator: it keeps every promise but durability.
//!
//! Owns the writer's and the reader's view of a [`MemoryDisk`], which outlives them, so that a
//! crash is a drop and a recovery is another take. Refuses to be fast where being plain will do.

mod disk;
mod fault;
mod rows;

pub use disk::MemoryDisk;
pub use fault::{Fault, FaultPlan};

use crate::{
    Bytes, Commit, FinishedRow, Frame, Headroom, Maintenance, Reader, RequestRow, Store,
    StoreError, Taken,
};

/// What this holder may still do.
#[derive(Debug, Clone)]
enum Standing {
    NotTaken,
    Holding,
    /// The outcome of the commit that began here is unknown; only a take helps.
    Doubtful(u64),
    /// Nothing helps but a new store on the same disk.
    Failed,
}

/// A writer on a [`MemoryDisk`].
#[derive(Debug)]
pub struct MemoryStore {
    disk: MemoryDisk,
    standing: Standing,
}

impl MemoryStore {
    /// A writer on this disk that holds nothing yet.
    #[must_use]
    pub fn open(disk: &MemoryDisk) -> Self {
        Self {
            disk: disk.clone(),
            standing: Standing::NotTaken,
        }
    }

    fn alive(&self) -> Result<(), StoreError> {
        match self.standing {
            Standing::Failed => Err(planned_failure()),
            _ => Ok(()),
        }
    }

    fn holding(&self) -> Result<(), StoreError> {
        match self.standing {
            Standing::Holding => Ok(()),
            Standing::NotTaken => Err(StoreError::NotTaken),
            Standing::Doubtful(first_sequence) => Err(planned_doubt(first_sequence)),
            Standing::Failed => Err(planned_failure()),
        }
    }

    fn suffer(&mut self, fault: Fault, commit: &Commit) -> Result<(), StoreError> {
        if fault.is_written() {
            self.disk.lock().write(commit);
        }
        if fault.is_fatal() {
            self.standing = Standing::Failed;
            return Err(planned_failure());
        }
        self.standing = Standing::Doubtful(commit.first_sequence);
        Err(planned_doubt(commit.first_sequence))
    }
}

fn planned_failure() -> StoreError {
    StoreError::Fatal {
        what: "append".to_owned(),
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
        // The lock is let go between frames, so that `each` may read.
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
        Ok(disk.forget(work))
    }

    fn idle(&mut self) -> Result<(), StoreError> {
        self.alive()
    }

    fn headroom(&self) -> Result<Headroom, StoreError> {
        self.alive()?;
        Ok(self.disk.lock().headroom())
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        self.alive()?;
        Ok(Box::new(MemoryReader {
            disk: self.disk.clone(),
        }))
    }
}

struct MemoryReader {
    disk: MemoryDisk,
}

impl Reader for MemoryReader {
    fn payloads(&mut self, births: &[u64]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let disk = self.disk.lock();
        Ok(births
            .iter()
            .map(|birth| disk.rows().payload(*birth))
            .collect())
    }

    fn finished(&mut self, births: &[u64]) -> Result<Vec<Option<FinishedRow>>, StoreError> {
        let disk = self.disk.lock();
        Ok(births
            .iter()
            .map(|birth| disk.rows().finished(*birth))
            .collect())
    }

    fn list_finished(
        &mut self,
        tenant: &str,
        status: Option<u8>,
        before: u64,
        limit: usize,
    ) -> Result<Vec<FinishedRow>, StoreError> {
        Ok(self
            .disk
            .lock()
            .rows()
            .list_finished(tenant, status, before, limit))
    }

    fn requests(
        &mut self,
        keys: &[[u8; 16]],
        since_hour: u32,
    ) -> Result<Vec<Option<RequestRow>>, StoreError> {
        let disk = self.disk.lock();
        Ok(keys
            .iter()
            .map(|key| disk.rows().request(key, since_hour))
            .collect())
    }

    fn request_keys(
        &mut self,
        hour: u32,
        after: u64,
        limit: usize,
    ) -> Result<(Vec<[u8; 16]>, Option<u64>), StoreError> {
        Ok(self.disk.lock().rows().request_keys(hour, after, limit))
    }
}
