//! The watermark file: the last sequence number that was durable, outside of the database.
//!
//! Owns the proof that the log did not become shorter. When a frame of `SQLite`'s write-ahead log
//! is bad, `SQLite` silently drops that frame and all later ones, and it starts without a
//! write-ahead log that was deleted. The watermark reveals both. The file is written after each
//! commit and not synced: its content survives the end of the process, and after a power failure
//! it is at worst too low, which is harmless. Refuses to know frames: `replay` checks those.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::directory;
use super::failure::io_error;
use crate::StoreError;

/// The file holds "<20 digits> <8 hex digits>\n". That fits in one sector, so that a write is
/// never torn, and it is text, so that an operator can read it.
const LENGTH: usize = 30;

pub(super) struct Watermark {
    file: File,
    path: PathBuf,
    last: u64,
}

impl Watermark {
    /// Opens the file. A file that does not exist is made; it promises nothing yet.
    pub(super) fn open(path: &Path, accept_loss: bool) -> Result<Self, StoreError> {
        let doing = || format!("opening the watermark file {}", path.display());
        let file = directory::private_file(path).map_err(io_error(doing()))?;
        let mut text = [0; LENGTH];
        let is_new = file.metadata().map_err(io_error(doing()))?.len() == 0;
        let read = if is_new {
            Ok(())
        } else {
            file.read_exact_at(&mut text, 0)
        };
        let last = match read.ok().and_then(|()| decode(&text)) {
            Some(last) => last,
            None if is_new || accept_loss => 0,
            None => return Err(unreadable(path)),
        };
        Ok(Self {
            file,
            path: path.to_owned(),
            last,
        })
    }

    /// Checks that the log ends no earlier than promised, and promises its end from now on.
    pub(super) fn check(&mut self, last: u64, accept_loss: bool) -> Result<(), StoreError> {
        if last < self.last && !accept_loss {
            return Err(self.shorter(last));
        }
        let doing = format!("writing the watermark file {}", self.path.display());
        let written = self.raise(last).and_then(|()| self.file.sync_all());
        written.map_err(io_error(doing))
    }

    /// Promises that everything up to `last` is durable.
    pub(super) fn raise(&mut self, last: u64) -> io::Result<()> {
        self.last = last;
        self.file.write_all_at(&encode(last), 0)
    }

    fn shorter(&self, last: u64) -> StoreError {
        StoreError::Corrupt {
            what: format!(
                "facts {} to {} are missing: {} says that they were durable, but the log ends \
                 with {last}. If backlane.db-wal was deleted or moved, put it back. If this is a \
                 copy of a directory that was in use, its watermark is from a later moment than \
                 its database: start once with `backlane serve --accept-loss`, which goes on from \
                 where the database ends, and make the next copy with `backlane backup`. Otherwise \
                 restore a backup with `backlane restore`, or start once with --accept-loss, which \
                 forgets everything that those facts acknowledged",
                last + 1,
                self.last,
                self.path.display(),
            ),
        }
    }
}

/// Reads the last promised sequence number without opening the file for writing. `None` if the
/// file does not exist.
pub(super) fn read(path: &Path) -> Result<Option<u64>, StoreError> {
    let text = match fs::read(path) {
        Ok(text) if text.is_empty() => return Ok(None),
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(format!("reading {}", path.display()))(error)),
    };
    let last = text.try_into().ok().and_then(|text| decode(&text));
    last.map_or_else(|| Err(unreadable(path)), |last| Ok(Some(last)))
}

fn unreadable(path: &Path) -> StoreError {
    StoreError::Corrupt {
        what: format!(
            "the watermark file {} is not readable, so that nothing tells whether the log is \
             complete: restore the file, or start once with `backlane serve --accept-loss`",
            path.display()
        ),
    }
}

fn encode(last: u64) -> [u8; LENGTH] {
    let digits = format!("{last:020}");
    let line = format!("{digits} {:08x}\n", crc32c::crc32c(digits.as_bytes()));
    let mut text = [0; LENGTH];
    text.copy_from_slice(line.as_bytes());
    text
}

fn decode(text: &[u8; LENGTH]) -> Option<u64> {
    let digits = str::from_utf8(text.get(..20)?).ok()?;
    let last = digits.parse().ok()?;
    (encode(last) == *text).then_some(last)
}
