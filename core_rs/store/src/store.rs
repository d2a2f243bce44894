//! The two traits: the one writer of a shard, and its readers.
//!
//! Owns the promises every implementation keeps; `tests/contract.rs` holds them to these.
//! Refuses to know how they are kept.

use crate::{
    Bytes, Commit, FinishedRow, Frame, Headroom, Maintenance, RequestRow, StoreError, Taken,
};

/// The one writer of one shard. A call that returns an error changed nothing, save where the
/// error says that this is unknown.
pub trait Store: Send {
    /// Takes the shard: grows the epoch durably, which fences every earlier holder.
    ///
    /// # Errors
    /// `WrongShard` if the data belongs to another shard; `Fatal` after an earlier failure.
    fn take(&mut self, shard: u16, node: &str) -> Result<Taken, StoreError>;

    /// Hands over every kept frame in order, checking checksums, density and completeness.
    ///
    /// # Errors
    /// `Corrupt` naming the sequences that are missing or bad; whatever `each` returns.
    fn replay(
        &mut self,
        each: &mut dyn FnMut(Frame) -> Result<(), StoreError>,
    ) -> Result<(), StoreError>;

    /// Appends one commit, durable when this returns `Ok`.
    ///
    /// # Errors
    /// `NotTaken`, `Fenced`, `Gap`, `Empty` and `Duplicate` leave the store as it was and in
    /// use. After `Unknown` only [`Store::take`] helps. After `Fatal` nothing does.
    fn append(&mut self, epoch: u64, commit: &Commit) -> Result<(), StoreError>;

    /// Does a bounded share of trimming and retention and returns how much of `work.limit` was
    /// used. More may be left exactly when that is all of it.
    ///
    /// # Errors
    /// `NotTaken`, `Fenced`, `Fatal`, as for [`Store::append`].
    fn maintain(&mut self, epoch: u64, work: &Maintenance) -> Result<usize, StoreError>;

    /// Housekeeping for moments without work, in a bounded share. Never needed for correctness.
    ///
    /// # Errors
    /// `Fatal` if the disk failed.
    fn idle(&mut self) -> Result<(), StoreError>;

    /// How much can still be written. Cheap enough to ask between commits.
    ///
    /// # Errors
    /// `Io` if the file system does not tell; `Fatal` after an earlier failure.
    fn headroom(&self) -> Result<Headroom, StoreError>;

    /// A reader for another thread. It sees every commit that returned before its call began.
    ///
    /// # Errors
    /// `Io` if it cannot be opened; `Fatal` after an earlier failure.
    fn reader(&self) -> Result<Box<dyn Reader>, StoreError>;
}

/// Reads rows beside the writer, without hindering it.
pub trait Reader: Send {
    /// The payloads of these birth numbers, in the order asked.
    ///
    /// # Errors
    /// `Io` or `Corrupt` if reading fails.
    fn payloads(&mut self, births: &[u64]) -> Result<Vec<Option<Bytes>>, StoreError>;

    /// The finished rows of these birth numbers, in the order asked.
    ///
    /// # Errors
    /// `Io` or `Corrupt` if reading fails.
    fn finished(&mut self, births: &[u64]) -> Result<Vec<Option<FinishedRow>>, StoreError>;

    /// A tenant's finished rows with births below `before`, optionally of one status only; the
    /// highest birth first, at most `limit`.
    ///
    /// # Errors
    /// `Io` or `Corrupt` if reading fails.
    fn list_finished(
        &mut self,
        tenant: &str,
        status: Option<u8>,
        before: u64,
        limit: usize,
    ) -> Result<Vec<FinishedRow>, StoreError>;

    /// The newest row of each key, in the order asked, looking at `since_hour` and later.
    ///
    /// # Errors
    /// `Io` or `Corrupt` if reading fails.
    fn requests(
        &mut self,
        keys: &[[u8; 16]],
        since_hour: u32,
    ) -> Result<Vec<Option<RequestRow>>, StoreError>;

    /// The keys of one hour in the order they were written, from the opaque cursor `after` (0 at
    /// first), at most `limit`; with the next cursor, or `None` at the end. For rebuilding
    /// filters in memory.
    ///
    /// # Errors
    /// `Io` or `Corrupt` if reading fails.
    fn request_keys(
        &mut self,
        hour: u32,
        after: u64,
        limit: usize,
    ) -> Result<(Vec<[u8; 16]>, Option<u64>), StoreError>;
}
