//! Whether the files that are open are still those that the directory shows.
//!
//! Owns the identity of each file of the data directory. A file that was removed or replaced stays
//! open and takes writes, but nobody can open it again: what is written to it is lost when the
//! process ends. Refuses to look into the files.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use super::directory::Directory;
use super::failure::io_error;
use crate::StoreError;

/// A file, and its device and inode numbers once it was seen.
struct Watched {
    path: PathBuf,
    identity: Option<(u64, u64)>,
    bytes: u64,
}

pub(super) struct Presence {
    files: [Watched; 5],
}

impl Presence {
    /// Watches the files of a directory from now on. The write-ahead log and its index are watched
    /// once they exist.
    pub(super) fn watch(directory: &Directory) -> Result<Self, StoreError> {
        let paths = [
            directory.wal(),
            directory.database(),
            directory.wal_index(),
            directory.watermark(),
            directory.lock_path(),
        ];
        let files = paths.map(|path| Watched {
            path,
            identity: None,
            bytes: 0,
        });
        let mut presence = Self { files };
        presence.check()?;
        Ok(presence)
    }

    /// Compares the directory with what was seen before.
    pub(super) fn check(&mut self) -> Result<(), StoreError> {
        self.files.iter_mut().try_for_each(Watched::check)
    }

    /// The length of the write-ahead log at the last check.
    pub(super) const fn wal_bytes(&self) -> u64 {
        self.files[0].bytes
    }

    /// The length of the database file at the last check.
    pub(super) const fn database_bytes(&self) -> u64 {
        self.files[1].bytes
    }
}

impl Watched {
    fn check(&mut self) -> Result<(), StoreError> {
        let found = match fs::metadata(&self.path) {
            Ok(file) => {
                self.bytes = file.len();
                Some((file.dev(), file.ino()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => None,
            Err(error) => {
                let doing = format!("looking at {}", self.path.display());
                return Err(io_error(doing)(error));
            }
        };
        if self.identity.is_some() && self.identity != found {
            let path = self.path.clone();
            return Err(StoreError::Removed { path });
        }
        self.identity = found;
        Ok(())
    }
}
