//! The log's table, and the one row that says whose log it is.
//!
//! Owns where the log begins and ends and which epoch holds it. Refuses to look inside frames.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::failure::reading;
use super::number::{from_db, to_db};
use crate::StoreError;

/// Makes the tables. The key of the log is the sequence number, so that writing appends at the
/// right edge of the tree.
pub(super) const DEFINITION: &str = "
CREATE TABLE shard (
    only           INTEGER PRIMARY KEY CHECK (only = 1),
    shard          INTEGER NOT NULL,
    epoch          INTEGER NOT NULL,
    node           TEXT    NOT NULL,
    first_sequence INTEGER NOT NULL
) STRICT;
CREATE TABLE log (
    first_sequence INTEGER PRIMARY KEY,
    count          INTEGER NOT NULL,
    crc            INTEGER NOT NULL,
    bytes          BLOB    NOT NULL
) STRICT;
";

/// The row that says whose data this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) shard: u16,
    pub(super) epoch: u64,
    /// Where the log begins. A log that lost its first frames is noticed by this.
    pub(super) first_sequence: u64,
}

/// Reads the row; `None` if the shard was never taken.
pub(super) fn read(connection: &Connection) -> Result<Option<Origin>, StoreError> {
    let sql = "SELECT shard, epoch, first_sequence FROM shard";
    let row = connection.query_row(sql, [], |row| {
        Ok(Origin {
            shard: row.get(0)?,
            epoch: from_db(row.get(1)?),
            first_sequence: from_db(row.get(2)?),
        })
    });
    row.optional()
        .map_err(|e| reading("reading whose shard this is", e))
}

/// Writes the row.
pub(super) fn record(
    connection: &mut Connection,
    origin: &Origin,
    node: &str,
) -> rusqlite::Result<()> {
    let tx = connection.transaction()?;
    tx.execute(
        "INSERT OR REPLACE INTO shard VALUES (1, ?1, ?2, ?3, ?4)",
        params![
            origin.shard,
            to_db(origin.epoch),
            node,
            to_db(origin.first_sequence)
        ],
    )?;
    tx.commit()
}

/// The sequence number with which the log continues: after the newest frame, or where the log
/// was to begin.
pub(super) fn next_sequence(c: &Connection, origin: Option<&Origin>) -> Result<u64, StoreError> {
    let sql = "SELECT first_sequence + count FROM log ORDER BY first_sequence DESC LIMIT 1";
    let next = c.query_row(sql, [], |row| row.get(0)).optional();
    let next = next.map_err(|e| reading("looking for the log's end", e))?;
    Ok(next.map_or_else(|| origin.map_or(1, |origin| origin.first_sequence), from_db))
}
