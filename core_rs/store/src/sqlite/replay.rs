//! Reads the log from its beginning and checks that no frame is missing or damaged.
//!
//! Owns the checks of sequence numbers and checksums. Refuses to look inside a frame.

use rusqlite::{Connection, Row};

use super::checksum;
use super::failure::{REMEDY, reading};
use super::number::from_db;
use crate::{Frame, StoreError};

const DOING: &str = "reading the log";

/// Passes the frames from `first` up to `next` to `each`. All of them must exist.
pub(super) fn replay(
    connection: &Connection,
    first: u64,
    next: u64,
    each: &mut dyn FnMut(Frame) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let sql = "SELECT first_sequence, count, crc, bytes FROM log ORDER BY first_sequence";
    let mut select = connection
        .prepare_cached(sql)
        .map_err(|e| reading(DOING, e))?;
    let mut rows = select.query([]).map_err(|e| reading(DOING, e))?;
    let mut expected = first;
    while let Some(row) = rows.next().map_err(|e| reading(DOING, e))? {
        let (frame, crc) = frame(row).map_err(|e| reading(DOING, e))?;
        if frame.first_sequence > expected {
            return Err(corrupt(&missing(expected, frame.first_sequence)));
        }
        if frame.first_sequence < expected || !is_sound(&frame, crc) {
            return Err(corrupt(&bad(&frame)));
        }
        expected = frame.first_sequence + u64::from(frame.count);
        each(frame)?;
    }
    if expected == next {
        Ok(())
    } else {
        Err(corrupt(&missing(expected, next)))
    }
}

/// Reads a row of the log: the frame, and the checksum with which it was written.
pub(super) fn frame(row: &Row<'_>) -> rusqlite::Result<(Frame, u32)> {
    let (first_sequence, count) = (from_db(row.get(0)?), row.get(1)?);
    Ok((
        Frame {
            first_sequence,
            count,
            bytes: row.get(3)?,
        },
        row.get(2)?,
    ))
}

/// Whether the frame is what was written.
pub(super) fn is_sound(frame: &Frame, crc: u32) -> bool {
    frame.count > 0 && crc == checksum::of_frame(frame.first_sequence, frame.count, &frame.bytes)
}

/// Names facts that are missing, from `from` up to but not including `until`.
pub(super) fn missing(from: u64, until: u64) -> String {
    format!("facts {from} to {} are missing from the log", until - 1)
}

/// Names a damaged frame.
pub(super) fn bad(frame: &Frame) -> String {
    let last = frame.first_sequence + u64::from(frame.count).saturating_sub(1);
    format!(
        "the frame with facts {} to {last} is damaged: its checksum is wrong",
        frame.first_sequence
    )
}

fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt {
        what: format!("{what}: {REMEDY}"),
    }
}
