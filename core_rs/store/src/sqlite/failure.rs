//! Turns the database's errors into the store's.
//!
//! Owns that one table. Refuses to decide whether the store goes on: its caller knows what was
//! under way.

use std::io;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode};

use crate::StoreError;

/// An error while nothing was being written.
pub(super) fn reading(doing: &str, error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Corrupt {
            what: format!(
                "{doing}: {error}; the database file is not readable: \
                 restore the data directory from a backup"
            ),
        },
        _ => StoreError::Io {
            doing: doing.to_owned(),
            source: io::Error::other(error),
        },
    }
}

/// Keeps closing from checkpointing: after a failed write the files stay as they are, for the
/// recovery that the next start makes.
pub(super) fn leave_files_alone(connection: &Connection) {
    // Nothing is left to do if even this is refused: the store has failed already.
    let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
}

/// Turns an error of the file system into the store's, saying what was being done.
pub(super) fn io_error(doing: impl Into<String>) -> impl FnOnce(io::Error) -> StoreError {
    let doing = doing.into();
    move |source| StoreError::Io { doing, source }
}
