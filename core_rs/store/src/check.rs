//! Checking a data directory that no server uses, and saving what is undamaged in it.
//!
//! Owns the report. Refuses to repair: [`salvage`] passes on what is whole, and its caller writes
//! a new directory.

use std::path::Path;

use crate::sqlite::inspect;
use crate::{FORMAT, Format, Frame, Row, StoreError};

/// What a check or a salvage read.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// The number of frames that are whole.
    pub frames: u64,
    /// The number of rows that are whole.
    pub rows: u64,
    /// The damage, one line for each damaged frame, row, range of rows or page.
    pub damage: Vec<String>,
}

/// Reads every frame and every row of a data directory, verifies all checksums, and has `SQLite`
/// check the structure of the database. Nothing is changed.
///
/// # Errors
/// `InUse` if a server holds the directory; `OlderVersion` or `NewerVersion` if a version wrote
/// it whose format this one cannot read; `Corrupt` if another program wrote the database; `Io` if
/// there is no database or the file system refuses.
pub fn check(path: &Path) -> Result<Report, StoreError> {
    check_with(path, &FORMAT)
}

/// Checks a directory of another format, for tests.
///
/// # Errors
/// As for [`check`].
pub fn check_with(path: &Path, format: &'static Format) -> Result<Report, StoreError> {
    inspect::check(path, format)
}

/// Passes every frame and every row that is whole to the callbacks, and skips what is not. Frames
/// come in the order of their sequence numbers, and all rows are [`Change::Put`](crate::Change).
/// The report counts what was passed on and names all damage. Nothing is changed.
///
/// # Errors
/// As for [`check`].
pub fn salvage(
    path: &Path,
    frame: &mut dyn FnMut(Frame),
    row: &mut dyn FnMut(Row),
) -> Result<Report, StoreError> {
    salvage_with(path, &FORMAT, frame, row)
}

/// Salvages a directory of another format, for tests.
///
/// # Errors
/// As for [`check`].
pub fn salvage_with(
    path: &Path,
    format: &'static Format,
    frame: &mut dyn FnMut(Frame),
    row: &mut dyn FnMut(Row),
) -> Result<Report, StoreError> {
    inspect::salvage(path, format, frame, row)
}
