//! The writer: one thread that owns the store.
//!
//! Owns making commits durable, removing old data in bounded chunks, and the looks at the disk: one
//! after each commit, before the commit counts as durable. Refuses to retry a commit that failed:
//! it is unknown whether that commit is durable, so no reply may leave any more, and the process
//! must start again from the data in the store. A commit for which the disk had no room did not
//! fail in this sense: nothing of it was written, and it is written once there is room.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use backlane_store::{Commit, Headroom, Maintenance, Store, StoreError};

use crate::message::Input;

/// How often an idle writer looks after the store, and how often it tries again on a full disk.
const IDLE: Duration = Duration::from_millis(250);
/// Commits between two shares of old data that are removed while the writer is never idle.
const FORGET_EVERY: u32 = 256;
/// With less room than this the disk counts as full.
const FULL_BELOW_BYTES: u64 = 4 << 20;
/// A full disk counts as full until there is so much room again.
const ROOM_AGAIN_BYTES: u64 = 16 << 20;

/// With so much room the shard needs to know no number.
const PLENTY_BYTES: u64 = 8 << 30;

/// A request to the writer.
#[derive(Debug)]
pub(crate) enum Work {
    Append(Commit),
    Maintain(Maintenance),
}

/// The last look at the disk.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Bytes that are free.
    pub free_bytes: u64,
    /// Bytes that the server holds back for the end of running executions.
    pub reserve_bytes: u64,
    /// Whether new executions are refused with `DISK_FULL`.
    pub is_full: bool,
}

/// What the writer needs of the threads around it.
pub(crate) trait Surroundings: Send {
    /// Sends an input to the shard.
    fn tell(&self, input: Input);
    /// Logs a line, even if no commit becomes durable any more.
    fn say(&self, line: String);
    /// Publishes the last look at the disk.
    fn show(&self, disk: Disk);
    /// Whether the process is to end.
    fn is_stopping(&self) -> bool;
}

pub(crate) struct Writer {
    store: Box<dyn Store>,
    epoch: u64,
    around: Box<dyn Surroundings>,
    goal: Maintenance,
    // Whether more data is to be removed than was removed so far.
    behind: bool,
    commits: u32,
    full: bool,
    waits: bool,
    has_reserve: Option<bool>,
    room: Option<u64>,
}

impl Writer {
    pub(crate) fn new(store: Box<dyn Store>, epoch: u64, around: Box<dyn Surroundings>) -> Self {
        Self {
            store,
            epoch,
            around,
            goal: Maintenance::default(),
            behind: false,
            commits: 0,
            full: false,
            waits: false,
            has_reserve: None,
            room: None,
        }
    }

    /// Serves requests until all senders are gone.
    ///
    /// # Errors
    /// The first error of the store. Nothing after it was written.
    pub(crate) fn run(&mut self, work: &Receiver<Work>) -> Result<(), StoreError> {
        self.look()?;
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
        loop {
            match self.store.append(self.epoch, commit) {
                Err(full @ StoreError::Full { .. }) => self.wait_for_room(full)?,
                appended => break appended?,
            }
        }
        self.waits = false;
        // Before anybody hears of the commit: files that are gone acknowledge nothing, and the
        // shard decides nothing more without knowing how much room is left.
        self.look()?;
        self.around.tell(Input::Committed(commit.next_sequence()));
        self.commits += 1;
        if self.commits.is_multiple_of(FORGET_EVERY) {
            self.forget()?;
        }
        Ok(())
    }

    /// Waits on a disk that is full although the reserve is used up. Nobody gets a reply until
    /// there is room again.
    fn wait_for_room(&mut self, full: StoreError) -> Result<(), StoreError> {
        if self.around.is_stopping() {
            return Err(full);
        }
        if !self.waits {
            self.waits = true;
            let line =
                format!("{full}. The reserve is used up: all calls wait until there is room");
            self.around.say(line);
        }
        self.look()?;
        thread::sleep(IDLE);
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
            // On a full disk the next goal tries again.
            let gone = or_full(self.store.maintain(self.epoch, &self.goal))?;
            self.behind = gone.is_some_and(|gone| gone >= self.goal.limit);
        }
        Ok(())
    }

    fn idle(&mut self) -> Result<(), StoreError> {
        if self.behind {
            return self.forget();
        }
        self.look()?;
        or_full(self.store.idle())?;
        Ok(())
    }

    /// Looks at the disk, and tells the shard how much room there is for new executions.
    fn look(&mut self) -> Result<(), StoreError> {
        let headroom = self.store.headroom()?;
        let bound = if self.full {
            ROOM_AGAIN_BYTES
        } else {
            FULL_BELOW_BYTES
        };
        let full = headroom.room_bytes < bound;
        if full != self.full {
            self.full = full;
            self.around.say(self.change(&headroom));
        }
        self.tell_reserve(&headroom);
        self.around.show(Disk {
            free_bytes: headroom.free_bytes,
            reserve_bytes: headroom.reserve_bytes,
            is_full: full,
        });
        let room = match headroom.room_bytes {
            _ if full => 0,
            PLENTY_BYTES.. => u64::MAX,
            room_bytes => room_bytes,
        };
        if self.room.replace(room) != Some(room) {
            self.around.tell(Input::Room(room));
        }
        Ok(())
    }

    fn change(&self, headroom: &Headroom) -> String {
        let place = self.store.place();
        let free = headroom.free_bytes;
        if self.full {
            format!(
                "the disk of {place} is full: {free} bytes are free, and {} in the reserve. New \
                 executions are refused (DISK_FULL); running ones go on. Make room on that disk",
                headroom.reserve_bytes
            )
        } else {
            format!(
                "the disk of {place} has room again: {free} bytes are free. New executions are \
                 accepted"
            )
        }
    }

    /// Logs that the reserve was used up, or was made again.
    fn tell_reserve(&mut self, headroom: &Headroom) {
        let has_reserve = headroom.reserve_bytes > 0;
        let before = self.has_reserve.replace(has_reserve);
        if before.is_some_and(|before| before != has_reserve) {
            let what = if has_reserve { "made again" } else { "used up" };
            let (place, free) = (self.store.place(), headroom.free_bytes);
            let line = format!("the disk reserve of {place} is {what}: {free} bytes are free");
            self.around.say(line);
        }
    }
}

/// `None` for work that the disk had no room for and that can wait.
fn or_full<T>(done: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match done {
        Err(StoreError::Full { .. }) => Ok(None),
        done => done.map(Some),
    }
}

/// The sender of requests to the writer.
pub(crate) type WriterDoor = Sender<Work>;
