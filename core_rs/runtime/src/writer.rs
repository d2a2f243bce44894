//! The writer: one thread that owns the store.
//!
//! Owns making commits durable, removing old data in bounded chunks, and reporting how full the
//! store is. Refuses to retry a commit that failed: it is unknown whether that commit is durable,
//! so no reply may leave any more, and the process must start again from the data in the store.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use backlane_store::{Commit, Maintenance, Store, StoreError};

use crate::message::Input;

/// How often an idle writer looks after the store.
const IDLE: Duration = Duration::from_millis(250);
/// Number of commits between two looks at how full the store is.
const HEADROOM_EVERY: u32 = 256;
/// With fewer free bytes than this, new executions are refused, so that running ones can still end.
const RESERVE_BYTES: u64 = 64 << 20;

/// A request to the writer.
#[derive(Debug)]
pub(crate) enum Work {
    Append(Commit),
    Maintain(Maintenance),
}

pub(crate) struct Writer {
    store: Box<dyn Store>,
    epoch: u64,
    tell: Box<dyn Fn(Input) + Send>,
    goal: Maintenance,
    // Whether more data is to be removed than was removed so far.
    behind: bool,
    commits: u32,
    full: bool,
}

impl Writer {
    pub(crate) fn new(store: Box<dyn Store>, epoch: u64, tell: Box<dyn Fn(Input) + Send>) -> Self {
        let goal = Maintenance::default();
        Self {
            store,
            epoch,
            tell,
            goal,
            behind: false,
            commits: 0,
            full: false,
        }
    }

    /// Serves requests until all senders are gone.
    ///
    /// # Errors
    /// The first error of the store. Nothing after it was written.
    pub(crate) fn run(&mut self, work: &Receiver<Work>) -> Result<(), StoreError> {
        self.look_at_headroom()?;
        loop {
            match work.recv_timeout(if self.behind { Duration::ZERO } else { IDLE }) {
                Ok(Work::Append(commit)) => self.append(&commit)?,
                Ok(Work::Maintain(goal)) => self.aim(goal),
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => self.idle()?,
            }
        }
    }

    fn append(&mut self, commit: &Commit) -> Result<(), StoreError> {
        self.store.append(self.epoch, commit)?;
        (self.tell)(Input::Committed(commit.next_sequence()));
        self.commits += 1;
        if self.commits.is_multiple_of(HEADROOM_EVERY) {
            self.look_at_headroom()?;
            // Removes a share of old data even if the writer is never idle.
            self.forget()?;
        }
        Ok(())
    }

    fn aim(&mut self, goal: Maintenance) {
        let trim = self.goal.trim_below_sequence.max(goal.trim_below_sequence);
        self.goal = Maintenance {
            trim_below_sequence: trim,
            ..goal
        };
        self.behind = true;
    }

    fn forget(&mut self) -> Result<(), StoreError> {
        if self.behind {
            self.behind = self.store.maintain(self.epoch, &self.goal)? >= self.goal.limit;
        }
        Ok(())
    }

    fn idle(&mut self) -> Result<(), StoreError> {
        if self.behind {
            return self.forget();
        }
        self.look_at_headroom()?;
        self.store.idle()
    }

    fn look_at_headroom(&mut self) -> Result<(), StoreError> {
        let full = self.store.headroom()?.free_bytes < RESERVE_BYTES;
        if full != self.full {
            self.full = full;
            (self.tell)(Input::StoreIsFull(full));
        }
        Ok(())
    }
}

/// The sender of requests to the writer.
pub(crate) type WriterDoor = Sender<Work>;
