//! The writer: one thread that owns the store, through its keeper.
//!
//! Owns the order of the work, and when it waits: for work, and for room on a full disk. Refuses to
//! know what is done with the store: the keeper does.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use backlane_store::{Commit, Maintenance, StoreError};

use crate::keeper::{Appended, Keeper};

/// How often an idle writer looks after the store, and how often it tries again on a full disk.
const IDLE: Duration = Duration::from_millis(250);

/// A request to the writer.
#[derive(Debug)]
pub(crate) enum Work {
    Append(Commit),
    Maintain(Maintenance),
}

pub(crate) struct Writer<Stopping> {
    keeper: Keeper,
    /// Whether the process is to end.
    is_stopping: Stopping,
}

impl<Stopping: Fn() -> bool> Writer<Stopping> {
    pub(crate) const fn new(keeper: Keeper, is_stopping: Stopping) -> Self {
        Self {
            keeper,
            is_stopping,
        }
    }

    /// Serves requests until all senders are gone.
    ///
    /// # Errors
    /// The first error of the store. Nothing after it was written.
    pub(crate) fn run(&mut self, work: &Receiver<Work>) -> Result<(), StoreError> {
        self.keeper.look()?;
        loop {
            let patience = if self.keeper.is_behind() {
                Duration::ZERO
            } else {
                IDLE
            };
            match work.recv_timeout(patience) {
                Ok(Work::Append(commit)) => self.append(&commit)?,
                Ok(Work::Maintain(goal)) => self.keeper.aim(goal),
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => self.keeper.idle()?,
            }
        }
    }

    /// Appends a commit, and waits for room if the disk is full.
    fn append(&mut self, commit: &Commit) -> Result<(), StoreError> {
        loop {
            match self.keeper.append(commit)? {
                Appended::Durable => return Ok(()),
                Appended::NoRoom(full) if (self.is_stopping)() => return Err(full),
                Appended::NoRoom(_) => thread::sleep(IDLE),
            }
        }
    }
}

/// The sender of requests to the writer.
pub(crate) type WriterDoor = Sender<Work>;
