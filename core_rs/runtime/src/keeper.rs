//! The keeper: everything that is done with the store of a shard while it is in use.
//!
//! Owns appending commits, removing old data in bounded chunks, and the looks at the disk: one
//! after each commit, before the commit counts as durable. Refuses to wait: the writer's thread
//! does, and the simulator does without a thread. Refuses also to retry a commit that failed: it is
//! unknown whether that commit is durable, so no reply may leave any more, and the process must
//! start again from the data in the store. A commit for which the disk had no room did not fail in
//! this sense: nothing of it was written, and it is written once there is room.

use backlane_store::{Commit, Headroom, Maintenance, Store, StoreError};

use crate::message::Input;

/// Commits between two shares of old data that are removed while the writer is never idle.
const FORGET_EVERY: u32 = 256;
/// With less room than this the disk counts as full.
const FULL_BELOW_BYTES: u64 = 4 << 20;
/// A full disk counts as full until there is so much room again.
const ROOM_AGAIN_BYTES: u64 = 16 << 20;

/// With so much room the shard needs to know no number.
const PLENTY_BYTES: u64 = 8 << 30;

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

/// What the keeper tells to whatever is around it.
pub trait Surroundings: Send {
    /// Sends an input to the shard.
    fn tell(&self, input: Input);
    /// Logs a line, even if no commit becomes durable any more.
    fn say(&self, line: String);
    /// Publishes the last look at the disk.
    fn show(&self, disk: Disk);
}

/// The outcome of an append that did not fail.
#[derive(Debug)]
pub enum Appended {
    /// The commit is durable, and the shard was told.
    Durable,
    /// The disk is full although the reserve is used up. Nothing was written, and the same commit
    /// can be appended when there is room. Nobody gets a reply until then.
    NoRoom(StoreError),
}

/// The store of a shard, and what is known about its disk.
pub struct Keeper {
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

impl Keeper {
    /// The keeper of a store that was taken under this epoch.
    #[must_use]
    pub fn new(store: Box<dyn Store>, epoch: u64, around: Box<dyn Surroundings>) -> Self {
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

    /// The store, for reading.
    pub fn store(&mut self) -> &mut dyn Store {
        &mut *self.store
    }

    /// Whether more data is to be removed than was removed so far.
    #[must_use]
    pub const fn is_behind(&self) -> bool {
        self.behind
    }

    /// Appends a commit.
    ///
    /// # Errors
    /// The error of the store, after which nothing may be acknowledged.
    pub fn append(&mut self, commit: &Commit) -> Result<Appended, StoreError> {
        match self.store.append(self.epoch, commit) {
            Err(full @ StoreError::Full { .. }) => return self.no_room(full),
            appended => appended?,
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
        Ok(Appended::Durable)
    }

    fn no_room(&mut self, full: StoreError) -> Result<Appended, StoreError> {
        if !std::mem::replace(&mut self.waits, true) {
            let line =
                format!("{full}. The reserve is used up: all calls wait until there is room");
            self.around.say(line);
        }
        self.look()?;
        Ok(Appended::NoRoom(full))
    }

    /// Sets what may be removed from now on.
    pub fn aim(&mut self, goal: Maintenance) {
        let trim = self.goal.trim_below_sequence.max(goal.trim_below_sequence);
        self.goal = Maintenance {
            trim_below_sequence: trim,
            ..goal
        };
        self.behind = true;
    }

    /// Removes one chunk of old data, if there is some.
    ///
    /// # Errors
    /// The error of the store, as for [`Self::append`].
    pub fn forget(&mut self) -> Result<(), StoreError> {
        if self.behind {
            // On a full disk the next goal tries again.
            let gone = or_full(self.store.maintain(self.epoch, &self.goal))?;
            self.behind = gone.is_some_and(|gone| gone >= self.goal.limit);
        }
        Ok(())
    }

    /// Does a bounded share of what can wait, when there is no other work.
    ///
    /// # Errors
    /// The error of the store, as for [`Self::append`].
    pub fn idle(&mut self) -> Result<(), StoreError> {
        if self.behind {
            return self.forget();
        }
        self.look()?;
        or_full(self.store.idle())?;
        Ok(())
    }

    /// Looks at the disk, and tells the shard how much room there is for new executions.
    ///
    /// # Errors
    /// The error of the store, as for [`Self::append`].
    pub fn look(&mut self) -> Result<(), StoreError> {
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
