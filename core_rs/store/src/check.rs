//! Checking a data directory that no server uses, and saving what is undamaged in it.
//!
//! Owns the report. Refuses to repair: salvage hands over what is whole, and its caller writes a
//! new directory.

/// What a check or a salvage read.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// Frames that are whole.
    pub frames: u64,
    /// Rows that are whole.
    pub rows: u64,
    /// The damage, one line each: a frame, a row or a page by name.
    pub damage: Vec<String>,
}
