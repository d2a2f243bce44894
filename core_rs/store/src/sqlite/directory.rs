//! The data directory: the names of its files, and the lock on it.
//!
//! Owns the lock, which the operating system releases when the process ends for any reason, and
//! the permissions: only the server's user may read the directory. Refuses to read or write the
//! database.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::failure::io_error;
use crate::StoreError;

const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
const LOCK: &str = "LOCK";

pub(super) struct Directory {
    path: PathBuf,
    /// Kept open because closing the file releases the lock.
    _lock: Option<File>,
}

impl Directory {
    /// Makes the directory if it does not exist, and locks it.
    pub(super) fn lock(path: &Path) -> Result<Self, StoreError> {
        let making = || format!("making the data directory {}", path.display());
        make(path).map_err(io_error(making()))?;
        if let Some(parent) = parent(path) {
            let syncing = || format!("syncing the directory {}", parent.display());
            sync(parent).map_err(io_error(syncing()))?;
        }
        Self::lock_existing(path)
    }

    /// Locks a directory that must exist.
    pub(super) fn lock_existing(path: &Path) -> Result<Self, StoreError> {
        let lock = lock_file(path)?;
        Ok(Self {
            path: path.to_owned(),
            _lock: Some(lock),
        })
    }

    /// A directory that is read while another process may have locked it.
    pub(super) fn unlocked(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            _lock: None,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn database(&self) -> PathBuf {
        self.path.join("backlane.db")
    }

    pub(super) fn wal(&self) -> PathBuf {
        self.path.join("backlane.db-wal")
    }

    pub(super) fn wal_index(&self) -> PathBuf {
        self.path.join("backlane.db-shm")
    }

    pub(super) fn lock_path(&self) -> PathBuf {
        self.path.join(LOCK)
    }

    pub(super) fn reserve(&self) -> PathBuf {
        self.path.join("reserve")
    }

    /// The journal of a write outside of the write-ahead log: the first write of all is one.
    pub(super) fn rollback_journal(&self) -> PathBuf {
        self.path.join("backlane.db-journal")
    }

    pub(super) fn watermark(&self) -> PathBuf {
        self.path.join("watermark")
    }

    pub(super) fn marker(&self) -> PathBuf {
        self.path.join("damaged")
    }

    /// Makes an empty database file if there is none. `SQLite` gives its other files the same
    /// permissions.
    pub(super) fn make_database(&self) -> Result<(), StoreError> {
        let path = self.database();
        let made = private_file(&path);
        made.map_err(io_error(format!("making {}", path.display())))?;
        Ok(())
    }

    /// Makes the names of new files durable.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        let doing = || format!("syncing the directory {}", self.path.display());
        sync(&self.path).map_err(io_error(doing()))
    }
}

/// Opens a file for reading and writing, making it if it does not exist. Only the user of this
/// process may read a file made here.
pub(super) fn private_file(path: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .open(path)
}

/// Whether the error means that there is no room on the disk.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Makes the entries of a directory durable.
pub(super) fn sync(path: &Path) -> io::Result<()> {
    File::open(path).and_then(|directory| directory.sync_all())
}

fn make(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = parent(path) {
        fs::create_dir_all(parent)?;
    }
    DirBuilder::new().mode(DIRECTORY_MODE).create(path)
}

fn parent(path: &Path) -> Option<&Path> {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
}

/// Locks DIR/LOCK and leaves this process's number in the file.
fn lock_file(directory: &Path) -> Result<File, StoreError> {
    let path = directory.join(LOCK);
    let doing = || format!("locking {}", path.display());
    let mut file = private_file(&path).map_err(io_error(doing()))?;
    match file.try_lock() {
        Ok(()) => match leave_pid(&mut file) {
            // On a full disk the number is missing. It only helps a person.
            Err(error) if is_full(&error) => {}
            left => left.map_err(io_error(doing()))?,
        },
        Err(TryLockError::WouldBlock) => {
            return Err(StoreError::InUse {
                path: directory.to_owned(),
                pid: read_pid(&mut file),
            });
        }
        Err(TryLockError::Error(error)) => return Err(io_error(doing())(error)),
    }
    Ok(file)
}

fn leave_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
