//! Backups of a data directory, and putting them back.
//!
//! Owns the order: the copy is made, then read as a whole, as a check of a directory does, and
//! only then it gets its name. Refuses to know what a copy consists of: the store does.

use std::path::{Path, PathBuf};

use backlane_store::StoreError;
use thiserror::Error;

use crate::fresh::{self, FreshError};
use crate::inspect::{self, Findings};

/// Why there is no copy.
#[derive(Debug, Error)]
pub enum CopyError {
    /// The new directory cannot be made.
    #[error(transparent)]
    Fresh(#[from] FreshError),
    /// The copy cannot be made.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The copy was made and is damaged, because what was copied is damaged.
    #[error("{} is damaged, and nothing was written: {what}", .path.display())]
    Damaged {
        /// The directory that was copied.
        path: PathBuf,
        /// The damage, one line each.
        what: String,
    },
}

/// Copies the data directory `path` into the new directory `new`, as of one moment, and checks the
/// copy. A server may be using `path`; it goes on meanwhile.
///
/// # Errors
/// [`CopyError`]; then there is no directory `new`, or `new` is empty as before.
pub fn backup(path: &Path, new: &Path) -> Result<Findings, CopyError> {
    fresh::fill(new, |unfinished| {
        backlane_store::backup(path, unfinished)?;
        whole(path, unfinished)
    })
}

/// Copies a backup into the new directory `new`, on which a server can be started, and checks the
/// copy. With `accept_loss`, the backup may end before its watermark says.
///
/// # Errors
/// [`CopyError`]; then there is no directory `new`, or `new` is empty as before.
pub fn restore(backup: &Path, new: &Path, accept_loss: bool) -> Result<Findings, CopyError> {
    fresh::fill(new, |unfinished| {
        backlane_store::restore(backup, unfinished, accept_loss)?;
        whole(backup, unfinished)
    })
}

/// Reads a whole copy, and refuses it if it is damaged.
fn whole(path: &Path, copy: &Path) -> Result<Findings, CopyError> {
    let findings = inspect::check(copy)?;
    if findings.damage.is_empty() {
        return Ok(findings);
    }
    Err(CopyError::Damaged {
        path: path.to_owned(),
        what: findings.damage.join("\n"),
    })
}
