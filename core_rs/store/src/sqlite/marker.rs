//! The file `damaged`, which a store leaves when it failed because the database is damaged.
//!
//! Owns the refusal to open such a directory again: the process ends once, and the next start
//! tells the operator what is damaged instead of failing again. Refuses to judge the damage.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use super::directory::{self, Directory};
use super::failure::{REMEDY, io_error};
use crate::StoreError;

/// Leaves the file. It names the damaged place as far as that is known.
pub(super) fn leave(directory: &Directory, what: &str, reason: &str) -> io::Result<()> {
    let mut file = directory::private_file(&directory.marker())?;
    file.set_len(0)?;
    writeln!(file, "backlane.db: {what}: {reason}")?;
    file.sync_all()?;
    directory::sync(directory.path())
}

/// Refuses a directory that has the file.
pub(super) fn check(directory: &Directory) -> Result<(), StoreError> {
    match read(&directory.marker())? {
        None => Ok(()),
        Some(text) => Err(StoreError::Corrupt {
            what: format!(
                "the server stopped because of damage in {}: {text}. To go on, {REMEDY}. After a \
                 backup was restored into this directory, delete the file {}",
                directory.path().display(),
                directory.marker().display()
            ),
        }),
    }
}

/// Reads the file, if there is one.
pub(super) fn read(path: &Path) -> Result<Option<String>, StoreError> {
    match fs::read(path) {
        Ok(text) => Ok(Some(String::from_utf8_lossy(&text).trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error(format!("reading {}", path.display()))(error)),
    }
}
