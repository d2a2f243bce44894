//! Copies of a data directory: of one that a server may be using, and of a copy that is put back.
//!
//! Owns what belongs to a copy: the database as of one moment, with right page checksums, and a
//! watermark of the same moment. Refuses to judge what is in it: a check of the copy does.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::directory::{self, Directory};
use super::failure::{io_error, reading};
use super::watermark::{self, Watermark};
use super::{SqliteOptions, connection, format, marker, origin, replay};
use crate::{FORMAT, StoreError};

/// How often a copy waits for a database that another process is opening or closing.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);

/// Copies the data directory `from` into the new directory `to`, as of one moment. A server may be
/// using `from`, and goes on meanwhile. Everything that it had acknowledged before the call is in
/// the copy.
///
/// # Errors
/// `OlderVersion` or `NewerVersion` if a version wrote `from` whose format this one cannot read;
/// `Corrupt` if a page of it is damaged; `Io` if there is no database or `to` cannot be written.
pub fn backup(from: &Path, to: &Path) -> Result<(), StoreError> {
    let source = Directory::unlocked(from);
    require_database(&source)?;
    marker::check(&source)?;
    format::check_plain(&source, &FORMAT)?;
    // Read first: everything up to it was durable, so it must be in the copy.
    let promised = watermark::read(&source.watermark())?.unwrap_or(0);
    let doing = format!("opening {}", source.database().display());
    let options = SqliteOptions::default();
    let opened = connection::open_reader(&source.database(), &options);
    let opened = opened.map_err(|e| reading(&doing, e))?;
    format::number(&opened, &source, &FORMAT)?;
    let target = Directory::lock(to)?;
    target.make_database()?;
    let mut copy = open(&target)?;
    copy_pages(&opened, &mut copy).map_err(|e| {
        let (from, to) = (from.display(), to.display());
        reading(&format!("copying {from} to {to}"), e)
    })?;
    drop(copy);
    let last = finish(&target)?;
    if last < promised {
        let what = replay::missing(last + 1, promised + 1);
        return Err(StoreError::Corrupt { what });
    }
    Ok(())
}

/// Copies a directory that no server uses, such as a backup, into the new directory `to`. With
/// `accept_loss`, the copy may end before its watermark, and goes on from where it ends.
///
/// # Errors
/// `InUse` if a server uses `from`; `Io` if there is no database or `to` cannot be written.
pub fn restore(from: &Path, to: &Path, accept_loss: bool) -> Result<(), StoreError> {
    let source = Directory::unlocked(from);
    require_database(&source)?;
    marker::check(&source)?;
    let _held = hold(&source)?;
    let target = Directory::lock(to)?;
    copy_file(&source.database(), &target.database())?;
    if source.wal().exists() {
        copy_file(&source.wal(), &target.wal())?;
    }
    let has_watermark = source.watermark().exists();
    if has_watermark && !accept_loss {
        copy_file(&source.watermark(), &target.watermark())?;
        return target.sync();
    }
    finish(&target).map(|_| ())
}

fn require_database(directory: &Directory) -> Result<(), StoreError> {
    let database = directory.database();
    if database.is_file() {
        return Ok(());
    }
    let doing = format!("looking for {}", database.display());
    Err(io_error(doing)(io::ErrorKind::NotFound.into()))
}

/// Keeps servers from a directory while it is read. It may be on a disk that cannot be written.
fn hold(directory: &Directory) -> Result<Option<File>, StoreError> {
    let path = directory.lock_path();
    let doing = || format!("locking {}", path.display());
    let lock = match File::open(&path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(doing())(error)),
    };
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse {
            path: directory.path().to_owned(),
            pid: None,
        }),
        Err(TryLockError::Error(error)) => Err(io_error(doing())(error)),
    }
}

fn open(target: &Directory) -> Result<Connection, StoreError> {
    let doing = format!("opening {}", target.database().display());
    connection::open_copy(&target.database()).map_err(|e| reading(&doing, e))
}

/// Copies all pages within one look at the source, so that commits in the meantime do not matter.
fn copy_pages(from: &Connection, to: &mut Connection) -> rusqlite::Result<()> {
    let backup = Backup::new(from, to)?;
    for _ in 0..TRIES {
        if backup.step(-1)? == StepResult::Done {
            return Ok(());
        }
        thread::sleep(PAUSE);
    }
    let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
    Err(rusqlite::Error::SqliteFailure(busy, None))
}

/// Writes the watermark that belongs to a copied database, and makes everything durable. Returns
/// the last sequence number in the copy.
fn finish(target: &Directory) -> Result<u64, StoreError> {
    let copy = open(target)?;
    let origin = origin::read(&copy)?;
    let last = origin::next_sequence(&copy, origin.as_ref())? - 1;
    // Moves a log that was copied too into the database.
    copy.close().map_err(|(_, error)| {
        reading(&format!("closing {}", target.database().display()), error)
    })?;
    Watermark::open(&target.watermark(), true)?.check(last, true)?;
    target.sync()?;
    Ok(last)
}

fn copy_file(from: &Path, to: &Path) -> Result<(), StoreError> {
    let copied = || -> io::Result<()> {
        let mut target = directory::private_file(to)?;
        io::copy(&mut File::open(from)?, &mut target)?;
        target.sync_all()
    };
    let doing = format!("copying {} to {}", from.display(), to.display());
    copied().map_err(io_error(doing))
}
