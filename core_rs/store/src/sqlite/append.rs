//! One commit, written in one transaction.
//!
//! Owns the order and the statements of writing. Refuses to check epoch and sequence: the store
//! did.

use std::collections::BTreeSet;

use rusqlite::{Connection, ErrorCode, Transaction, params};

use super::hours;
use super::schema::to_db;
use crate::{Bytes, Commit, FinishedRow, RequestRow};

/// About what a row costs beside its bytes, to estimate how full the write-ahead log is.
pub(super) const ROW_BYTES: u64 = 64;

/// Why nothing was written.
pub(super) enum AppendError {
    /// A payload is there already.
    Duplicate { birth: u64 },
    /// The database failed.
    Broken(rusqlite::Error),
}

impl From<rusqlite::Error> for AppendError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Broken(error)
    }
}

/// Writes a commit; hours in `known` have their table.
pub(super) fn write(
    connection: &mut Connection,
    known: &BTreeSet<u32>,
    commit: &Commit,
) -> Result<(), AppendError> {
    let tx = connection.transaction()?;
    write_payloads(&tx, &commit.payloads)?;
    write_frame(&tx, commit)?;
    write_finished(&tx, &commit.finished)?;
    write_requests(&tx, known, &commit.requests)?;
    Ok(tx.commit()?)
}

/// The checksum of a frame covers its place, so that a frame in another's place is noticed.
pub(super) fn checksum(first_sequence: u64, count: u32, bytes: &[u8]) -> u32 {
    let place = crc32c::crc32c(&first_sequence.to_le_bytes());
    let place = crc32c::crc32c_append(place, &count.to_le_bytes());
    crc32c::crc32c_append(place, bytes)
}

/// About how many bytes a commit adds to the write-ahead log.
pub(super) fn weight(commit: &Commit) -> u64 {
    let rows = commit.payloads.len() + commit.finished.len() + commit.requests.len();
    let payloads: usize = commit.payloads.iter().map(|(_, bytes)| bytes.len()).sum();
    let endings: usize = commit.finished.iter().map(|row| row.ending.len()).sum();
    rows as u64 * ROW_BYTES + (commit.frame.len() + payloads + endings) as u64
}

fn write_frame(tx: &Transaction<'_>, commit: &Commit) -> rusqlite::Result<()> {
    let crc = checksum(commit.first_sequence, commit.count, &commit.frame);
    let mut insert = tx.prepare_cached("INSERT INTO log VALUES (?1, ?2, ?3, ?4)")?;
    insert.execute(params![
        to_db(commit.first_sequence),
        commit.count,
        crc,
        commit.frame
    ])?;
    Ok(())
}

fn write_payloads(tx: &Transaction<'_>, payloads: &[(u64, Bytes)]) -> Result<(), AppendError> {
    let mut insert = tx.prepare_cached("INSERT INTO payload VALUES (?1, ?2)")?;
    for (birth, bytes) in payloads {
        insert
            .execute(params![to_db(*birth), &bytes[..]])
            .map_err(|error| match error.sqlite_error_code() {
                Some(ErrorCode::ConstraintViolation) => AppendError::Duplicate { birth: *birth },
                _ => AppendError::Broken(error),
            })?;
    }
    Ok(())
}

fn write_finished(tx: &Transaction<'_>, finished: &[FinishedRow]) -> rusqlite::Result<()> {
    let mut insert = tx.prepare_cached(
        "INSERT INTO finished VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (birth) DO UPDATE SET tenant = excluded.tenant, status = excluded.status,
         finished_at_ms = excluded.finished_at_ms, ending = excluded.ending",
    )?;
    for row in finished {
        let (birth, at) = (to_db(row.birth), to_db(row.finished_at_ms));
        insert.execute(params![birth, row.tenant, row.status, at, &row.ending[..]])?;
    }
    Ok(())
}

fn write_requests(
    tx: &Transaction<'_>,
    known: &BTreeSet<u32>,
    requests: &[RequestRow],
) -> rusqlite::Result<()> {
    for rows in requests.chunk_by(|a, b| a.hour == b.hour) {
        if !known.contains(&rows[0].hour) {
            hours::create(tx, rows[0].hour)?;
        }
        let mut insert = hours::insert(tx, rows[0].hour)?;
        for row in rows {
            insert.execute(params![
                row.key,
                row.body,
                to_db(row.first_birth),
                row.count,
                hours::listed_column(&row.listed)
            ])?;
        }
    }
    Ok(())
}
