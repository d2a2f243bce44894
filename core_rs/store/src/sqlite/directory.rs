//! The data directory: where its files are, who holds it, how much room it has.
//!
//! Owns the lock, which the operating system lets go when the process ends, however it ends.
//! Refuses to read or write the database.

use std::fs::{self, File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use super::failure::io_error;
use crate::{Headroom, StoreError};

pub(super) struct Directory {
    path: PathBuf,
    /// Held for its lock alone.
    _lock: File,
}

impl Directory {
    /// Makes the directory if need be and locks it.
    pub(super) fn lock(path: &Path) -> Result<Self, StoreError> {
        let making = || format!("making the data directory {}", path.display());
        fs::create_dir_all(path).map_err(io_error(making()))?;
        if let Some(parent) = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            sync(parent)?;
        }
        let lock = lock_file(path)?;
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    pub(super) fn database(&self) -> PathBuf {
        self.path.join("backlane.db")
    }

    pub(super) fn wal(&self) -> PathBuf {
        self.path.join("backlane.db-wal")
    }

    pub(super) fn watermark(&self) -> PathBuf {
        self.path.join("watermark")
    }

    /// Makes the names of new files durable.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        sync(&self.path)
    }

    /// Room in the file system and in `reusable` bytes of the database's own free pages.
    pub(super) fn headroom(&self, reusable: u64) -> Result<Headroom, StoreError> {
        let asking = || format!("asking for the free space of {}", self.path.display());
        let fs = rustix::fs::statvfs(&self.path).map_err(|e| io_error(asking())(e.into()))?;
        let used = bytes(&self.database()) + bytes(&self.wal());
        Ok(Headroom {
            free_bytes: fs
                .f_bavail
                .saturating_mul(fs.f_frsize)
                .saturating_add(reusable),
            used_bytes: used.saturating_sub(reusable),
        })
    }
}

fn bytes(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |file| file.len())
}

fn sync(path: &Path) -> Result<(), StoreError> {
    let doing = || format!("syncing the directory {}", path.display());
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(io_error(doing()))
}

/// Locks DIR/LOCK and leaves this process's number in it.
fn lock_file(directory: &Path) -> Result<File, StoreError> {
    let path = directory.join("LOCK");
    let doing = || format!("locking {}", path.display());
    let mut options = File::options();
    let opened = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path);
    let mut file = opened.map_err(io_error(doing()))?;
    match file.try_lock() {
        Ok(()) => leave_pid(&mut file).map_err(io_error(doing()))?,
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

fn leave_pid(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
