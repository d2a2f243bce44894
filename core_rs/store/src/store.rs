//! The two traits of this crate: the single writer of a shard, and its readers.
//!
//! Owns the promises that every implementation keeps. `tests/contract` checks each of them
//! against each implementation. Refuses to know how an implementation keeps them.

use crate::{
    Commit, Family, Frame, Headroom, Key, KeyKind, Lookup, Maintenance, Part, StoreError, Taken,
};

/// The single writer of one shard. A call that returns an error changed nothing, except where
/// the error says that the outcome is unknown.
pub trait Store: Send {
    /// Takes the shard: increases the epoch durably, which shuts out every earlier holder.
    ///
    /// # Errors
    /// `WrongShard` if the data belongs to another shard; `Fatal` after an earlier failure.
    fn take(&mut self, shard: u16, node: &str) -> Result<Taken, StoreError>;

    /// Passes every kept frame to `each`, in order. Checks that every checksum is right and that
    /// no frame is missing.
    ///
    /// # Errors
    /// `Corrupt`, which names the missing or bad sequence numbers; any error that `each` returns.
    fn replay(
        &mut self,
        each: &mut dyn FnMut(Frame) -> Result<(), StoreError>,
    ) -> Result<(), StoreError>;

    /// Appends one commit. The commit is durable when this call returns `Ok`.
    ///
    /// # Errors
    /// `NotTaken`, `Fenced`, `Gap`, `Empty`, `Misfit` and `Duplicate` leave the store unchanged
    /// and usable, and so does `Full`: the same commit can be appended when there is room. After
    /// `Unknown` the shard must be taken again. After `Fatal` the store must be
    /// opened again.
    fn append(&mut self, epoch: u64, commit: &Commit) -> Result<(), StoreError>;

    /// Trims the log and removes expired rows, at most as much as `work.limit` allows. Returns
    /// how much of the limit was used. If that is the whole limit, more may be left to remove.
    ///
    /// # Errors
    /// `NotTaken`, `Fenced`, `Full`, `Fatal`, as for [`Store::append`].
    fn maintain(&mut self, epoch: u64, work: &Maintenance) -> Result<usize, StoreError>;

    /// Does a bounded amount of housekeeping. The runtime calls it when there is no other work.
    /// Correctness never depends on it.
    ///
    /// # Errors
    /// `Full` if there was no room for it; `Fatal` if the disk failed.
    fn idle(&mut self) -> Result<(), StoreError>;

    /// Looks at the disk: returns how much can still be written, and makes the reserve again when
    /// there is room for it. The call is cheap enough to make after each commit.
    ///
    /// # Errors
    /// `Removed` if a file of the store is gone, after which nothing may be acknowledged; `Io` if
    /// the file system does not answer; `Fatal` after an earlier failure.
    fn headroom(&mut self) -> Result<Headroom, StoreError>;

    /// Names the place of the data, for people.
    fn place(&self) -> String;

    /// Opens a reader for use on another thread. Each call on the reader sees every commit whose
    /// append returned before that call began.
    ///
    /// # Errors
    /// `Io` if the reader cannot be opened; `Fatal` after an earlier failure.
    fn reader(&self) -> Result<Box<dyn Reader>, StoreError>;
}

/// Reads rows while the writer writes, without blocking the writer.
///
/// Damage to a row is a [`Lookup::Damaged`] for that row and never fails the rest of the call.
/// Each method refuses a family that the store does not have, or whose keys are of another kind
/// than the method reads, with `Misfit`.
pub trait Reader: Send {
    /// Looks up keys. Returns one outcome per key, in the order of `keys`.
    ///
    /// # Errors
    /// `Io` if the whole call failed, for example because the connection is lost.
    fn get(
        &mut self,
        family: &'static Family,
        keys: &[Key],
        part: Part,
    ) -> Result<Vec<Lookup>, StoreError>;

    /// Reads the rows of one number of an Ordinal family: ordinals from `from` on, ascending, at
    /// most `limit`. No returned outcome is `Absent`.
    ///
    /// # Errors
    /// `Damaged` if the database cannot tell which rows exist; `Io` if the whole call failed.
    fn of_number(
        &mut self,
        family: &'static Family,
        number: u64,
        from: u32,
        limit: usize,
    ) -> Result<Vec<(u32, Lookup)>, StoreError>;

    /// Lists the numbers of a listed family: those of one tenant, of one tag or of all tags,
    /// below `before`, highest first, at most `limit`. Only the index is read.
    ///
    /// # Errors
    /// `Damaged` if the index cannot be read; `Io` if the whole call failed.
    fn list(
        &mut self,
        family: &'static Family,
        tenant: &str,
        tag: Option<u8>,
        before: u64,
        limit: usize,
    ) -> Result<Vec<u64>, StoreError>;

    /// Reads all rows of a Name family, in the order of their keys: those after the key `after`,
    /// at most `limit`. No returned outcome is `Absent`.
    ///
    /// # Errors
    /// `Damaged` if the database cannot tell which rows exist; `Io` if the whole call failed.
    fn all(
        &mut self,
        family: &'static Family,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Lookup)>, StoreError>;

    /// Finds the newest row of each digest in the hours from `since_hour` on. Returns one outcome
    /// per digest, in the order of `digests`.
    ///
    /// # Errors
    /// `Io` if the whole call failed.
    fn digests(
        &mut self,
        family: &'static Family,
        digests: &[[u8; 16]],
        since_hour: u32,
    ) -> Result<Vec<Lookup>, StoreError>;

    /// Reads the digests of one hour in the order in which they were written, for rebuilding
    /// filters in memory: from the cursor `after` (0 for the first call), at most `limit`.
    /// Returns the next cursor, or `None` at the end.
    ///
    /// # Errors
    /// `Damaged` if the table cannot be read; `Io` if the whole call failed.
    fn digests_of_hour(
        &mut self,
        family: &'static Family,
        hour: u32,
        after: u64,
        limit: usize,
    ) -> Result<(Vec<[u8; 16]>, Option<u64>), StoreError>;
}

/// Refuses a read of a family that the store does not have or that has keys of another kind.
pub(crate) fn check_kind(
    families: &[&'static Family],
    family: &'static Family,
    kind: KeyKind,
) -> Result<(), StoreError> {
    check_known(families, family)?;
    if family.key == kind {
        Ok(())
    } else {
        Err(misfit(
            family,
            "this read is not for the family's kind of key",
        ))
    }
}

/// Refuses to list a family that the store does not have or that is not listed.
pub(crate) fn check_listed(
    families: &[&'static Family],
    family: &'static Family,
) -> Result<(), StoreError> {
    check_known(families, family)?;
    if family.listed {
        Ok(())
    } else {
        Err(misfit(family, "the family is not listed"))
    }
}

fn check_known(families: &[&'static Family], family: &'static Family) -> Result<(), StoreError> {
    if families.contains(&family) {
        Ok(())
    } else {
        Err(misfit(family, "this store was opened without the family"))
    }
}

fn misfit(family: &'static Family, what: &'static str) -> StoreError {
    StoreError::Misfit {
        family: family.name,
        key: "any".to_owned(),
        what,
    }
}
