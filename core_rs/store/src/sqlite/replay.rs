//! Reads the log from its beginning and proves that nothing is missing.
//!
//! Owns the checks of density and checksum. Refuses to look inside a frame.

use rusqlite::{Connection, Row};

use super::append::checksum;
use super::failure::reading;
use super::schema::from_db;
use crate::{Frame, StoreError};

const DOING: &str = "reading the log";

/// Hands over the frames from `first` up to `next`, which must all be there.
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
        let (frame, crc) = read(row).map_err(|e| reading(DOING, e))?;
        check(&frame, crc, expected)?;
        expected = frame.first_sequence + u64::from(frame.count);
        each(frame)?;
    }
    if expected == next {
        Ok(())
    } else {
        Err(missing(expected, next))
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<(Frame, u32)> {
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

fn check(frame: &Frame, crc: u32, expected: u64) -> Result<(), StoreError> {
    if frame.first_sequence > expected {
        return Err(missing(expected, frame.first_sequence));
    }
    let computed = checksum(frame.first_sequence, frame.count, &frame.bytes);
    if frame.first_sequence < expected || computed != crc || frame.count == 0 {
        return Err(damaged(frame, crc, computed));
    }
    Ok(())
}

fn missing(from: u64, until: u64) -> StoreError {
    StoreError::Corrupt {
        what: format!(
            "facts {from} to {} are missing from the middle of the log: \
             restore the data directory from a backup",
            until - 1
        ),
    }
}

fn damaged(frame: &Frame, stored: u32, computed: u32) -> StoreError {
    let last = frame.first_sequence + u64::from(frame.count).saturating_sub(1);
    StoreError::Corrupt {
        what: format!(
            "the frame with facts {} to {last} is bad (checksum {computed:08x}, written with \
             {stored:08x}): restore the data directory from a backup, and check the disk",
            frame.first_sequence
        ),
    }
}
