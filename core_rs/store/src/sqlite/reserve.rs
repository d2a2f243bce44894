//! The file `reserve`: disk space that is kept back so that running executions can still end.
//!
//! Owns the file, and the arithmetic of how much room new executions have. The space is allocated
//! while there is enough of it, so that no other program can take it. When a write finds the disk
//! full, a share of the file is given up, and the write is repeated. Refuses to decide who may
//! still write: the runtime does.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use super::directory;

/// Beside the reserve, so much stays free of new executions: the write-ahead log and the database
/// both grow by the largest request that is decided before anybody notices.
pub(super) const KEPT_FREE_BYTES: u64 = 32 << 20;

/// The smallest share of the reserve that is given up at once.
const SHARE_BYTES: u64 = 16 << 20;

/// The reserve is made again when so much more than that is free.
const SPARE_BYTES: u64 = 16 << 20;

const BLOCK_BYTES: u64 = 512;

pub(super) struct Reserve {
    path: PathBuf,
    wanted: u64,
    held: u64,
}

impl Reserve {
    /// Looks at the file, which an earlier process may have left.
    pub(super) fn find(path: PathBuf, wanted: u64) -> Self {
        // Blocks and not the length: a file with holes reserves nothing.
        let held = fs::metadata(&path).map_or(0, |file| file.blocks() * BLOCK_BYTES);
        let held = held.min(wanted);
        Self { path, wanted, held }
    }

    /// The bytes that the file keeps back now.
    pub(super) const fn held(&self) -> u64 {
        self.held
    }

    /// The bytes that new executions may use, if `free` bytes are free on the disk and the
    /// database will yet grow by `growth` bytes.
    pub(super) fn room(&self, free: u64, growth: u64) -> u64 {
        let kept = self.wanted + KEPT_FREE_BYTES + growth;
        (free + self.held).saturating_sub(kept)
    }

    /// Allocates the whole reserve, if the disk has room for it. Without that the same amount of
    /// free space is kept from new executions, but other programs can use it.
    pub(super) fn make(&mut self, free: u64) {
        let missing = self.wanted - self.held;
        if missing > 0 && free > self.needs() {
            // A file system that cannot allocate in advance goes without.
            if self.allocate(self.wanted).is_ok() {
                self.held = self.wanted;
            }
        }
    }

    /// The free bytes that must be exceeded before the reserve is made again.
    pub(super) const fn needs(&self) -> u64 {
        self.wanted - self.held + KEPT_FREE_BYTES + SPARE_BYTES
    }

    /// Whether the file system has `bytes` for this process beside the reserve. It is tried,
    /// since no number tells what a quota leaves. A file system that cannot allocate in advance
    /// is believed to have them.
    pub(super) fn can_grow(&self, bytes: u64) -> bool {
        let grown = self.allocate(self.held + bytes);
        let shrunk = self.shrink(self.held);
        match grown.and(shrunk) {
            Ok(()) => true,
            Err(error) => !directory::is_full(&error),
        }
    }

    /// Allocates the file up to a length. If that fails, the file is as long as before.
    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let file = directory::private_file(&self.path)?;
        let allocated = fallocate(file, FallocateFlags::empty(), 0, bytes);
        if allocated.is_err() {
            // A part may have been allocated. It would be missing where it is needed.
            self.shrink(self.held)?;
        }
        Ok(allocated?)
    }

    fn shrink(&self, bytes: u64) -> io::Result<()> {
        let file = File::options().write(true).open(&self.path)?;
        file.set_len(bytes)?;
        // Blocks can be used again only once the file system has committed that they are free.
        file.sync_all()
    }

    /// Gives up a share of the reserve, at least `bytes` of it if there is as much. Returns
    /// whether anything was given up.
    pub(super) fn give_up(&mut self, bytes: u64) -> io::Result<bool> {
        if self.held == 0 {
            return Ok(false);
        }
        let left = self.held.saturating_sub(bytes.max(SHARE_BYTES));
        self.shrink(left)?;
        self.held = left;
        Ok(true)
    }
}

/// The bytes that this process can still use on the disk of a directory.
pub(super) fn free_bytes(directory: &Path) -> io::Result<u64> {
    let fs = statvfs(directory)?;
    Ok(fs.f_bavail.saturating_mul(fs.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    /// More than any file system of a test can allocate.
    const TOO_MUCH: u64 = 1 << 60;

    fn reserve(directory: &tempfile::TempDir, wanted: u64) -> Reserve {
        Reserve::find(directory.path().join("reserve"), wanted)
    }

    #[test]
    fn the_reserve_is_allocated_and_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut made = reserve(&directory, 4 * MIB);
        made.make(u64::MAX >> 1);
        assert_eq!(4 * MIB, made.held());
        let blocks = fs::metadata(&made.path).unwrap().blocks();
        assert!(blocks * BLOCK_BYTES >= 4 * MIB);
        assert_eq!(4 * MIB, reserve(&directory, 4 * MIB).held());
    }

    #[test]
    fn a_file_with_a_hole_reserves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = File::create(directory.path().join("reserve")).unwrap();
        file.set_len(4 * MIB).unwrap();
        assert_eq!(0, reserve(&directory, 4 * MIB).held());
    }

    #[test]
    fn shares_are_given_up_until_nothing_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let mut reserve = reserve(&directory, 40 * MIB);
        reserve.make(u64::MAX >> 1);
        let mut held = Vec::new();
        while reserve.give_up(20 * MIB).unwrap() {
            held.push(reserve.held());
        }
        assert_eq!(vec![20 * MIB, 0], held);
    }

    #[test]
    fn the_reserve_is_made_again_only_when_there_is_room_for_it() {
        let directory = tempfile::tempdir().unwrap();
        let mut reserve = reserve(&directory, 4 * MIB);
        let enough = 4 * MIB + KEPT_FREE_BYTES + SPARE_BYTES;
        reserve.make(enough);
        assert_eq!(0, reserve.held());
        reserve.make(enough + 1);
        assert_eq!(4 * MIB, reserve.held());
    }

    #[test]
    fn trying_whether_there_is_room_leaves_the_reserve_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let mut reserve = reserve(&directory, 4 * MIB);
        reserve.make(u64::MAX >> 1);
        assert!(reserve.can_grow(MIB));
        assert_eq!(4 * MIB, fs::metadata(&reserve.path).unwrap().len());
        reserve.allocate(TOO_MUCH).unwrap_err();
        assert_eq!(4 * MIB, fs::metadata(&reserve.path).unwrap().len());
    }

    #[test]
    fn giving_up_the_reserve_makes_no_room_for_new_executions() {
        let directory = tempfile::tempdir().unwrap();
        let mut reserve = reserve(&directory, 32 * MIB);
        reserve.make(u64::MAX >> 1);
        let before = reserve.room(80 * MIB, 5 * MIB);
        reserve.give_up(1).unwrap();
        let after = reserve.room(96 * MIB, 5 * MIB);
        assert_eq!((43 * MIB, 43 * MIB), (before, after));
        assert_eq!(0, reserve.room(32 * MIB, 0));
    }
}
