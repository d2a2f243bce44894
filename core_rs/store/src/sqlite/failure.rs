//! Turns errors of the database and the file system into errors of the store.
//!
//! Owns the question which errors mean damage, and the words that name the damaged place and the
//! remedy. Refuses to decide whether the store goes on: the caller knows what was being done.

use std::io;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, Error, ErrorCode, ffi};

use super::pages::{self, Oddity};
use crate::StoreError;

/// What an operator can do about damaged data.
pub(super) const REMEDY: &str = "run `backlane check DIR` on the data directory to list the \
     damage; then restore a backup, or save what is undamaged into a new directory NEW with \
     `backlane check --salvage NEW DIR`";

/// Converts an error that occurred while nothing was being written.
pub(super) fn reading(doing: &str, error: Error) -> StoreError {
    if is_corruption(&error) {
        let what = describe(&error);
        return StoreError::Corrupt {
            what: format!("{doing}: {what}; the database is not readable: {REMEDY}"),
        };
    }
    StoreError::Io {
        doing: doing.to_owned(),
        source: io::Error::other(error),
    }
}

/// Whether the error means that the file's content is wrong, so that trying again cannot help.
pub(super) fn is_corruption(error: &Error) -> bool {
    let code = error.sqlite_error().map_or(0, |error| error.extended_code);
    let is_bad_page = matches!(code, ffi::SQLITE_IOERR_DATA | ffi::SQLITE_IOERR_CORRUPTFS);
    is_bad_page
        || matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        )
}

/// Whether the error means that a row cannot be read although the database can: its page is
/// damaged or unreadable, or its columns are not what was written.
pub(super) fn is_damage(error: &Error) -> bool {
    let is_decoding = matches!(
        error,
        Error::FromSqlConversionFailure(..)
            | Error::InvalidColumnType(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::Utf8Error(..)
    );
    let is_unreadable = error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure);
    is_decoding || is_unreadable || is_corruption(error)
}

/// Whether the error means that a write found no room on the disk. Such a write was not made
/// durable, and the transaction it belonged to was undone, so that it can be repeated. (An error
/// of a sync is another matter: after it nobody knows what the disk holds.)
pub(super) fn is_full(error: &Error) -> bool {
    let code = error.sqlite_error().map_or(0, |error| error.extended_code);
    // The second is the index of the write-ahead log, a file that grows with it.
    code == ffi::SQLITE_FULL || code == ffi::SQLITE_IOERR_SHMSIZE
}

/// The error in words. Names the page if the page's checksum was wrong or the page is empty.
pub(super) fn describe(error: &Error) -> String {
    match pages::take_oddity() {
        Some(Oddity::Checksum(page)) if is_corruption(error) => {
            format!("the checksum of page {page} of backlane.db is wrong")
        }
        Some(Oddity::Zeros(page)) if is_corruption(error) => {
            format!("page {page} of backlane.db is all zeros ({error})")
        }
        _ => error.to_string(),
    }
}

/// Keeps closing from checkpointing: after a failed write the files stay as they are, for the
/// recovery at the next start.
pub(super) fn leave_files_alone(connection: &Connection) {
    // Nothing is left to do if even this is refused: the store has failed already.
    let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
}

/// Converts an error of the file system and says what was being done.
pub(super) fn io_error(doing: impl Into<String>) -> impl FnOnce(io::Error) -> StoreError {
    let doing = doing.into();
    move |source| StoreError::Io { doing, source }
}
