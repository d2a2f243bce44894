//! The step to format 4: executions that failed or timed out before come to the dead letters.
//!
//! Owns the rows that the step makes, and that a salvage makes of an older directory. The tags of
//! endings are read as format 3 wrote them: they are part of that format. Refuses to read the
//! endings themselves: the index tells enough, and a row that is damaged must not keep a directory
//! from being opened.

use std::sync::Arc;

use rusqlite::Transaction;

use super::number::from_db;
use super::table::{Table, bind_row};
use crate::{Change, DEAD_LETTER, ENDING, Key, Listing, Put, Row};

/// The tags of endings that are dead letters: failed, timed out.
const DEAD: [u8; 2] = [4, 6];

/// Makes the row of every dead letter.
pub(super) fn fill(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut insert = tx.prepare(&Table::of(&DEAD_LETTER).insert)?;
    let mut select = tx.prepare("SELECT number, tenant, tag FROM ending WHERE tag IN (?1, ?2)")?;
    let mut rows = select.query(DEAD)?;
    while let Some(row) = rows.next()? {
        let number = from_db(row.get(0)?);
        let put = put(Listing {
            tenant: Arc::from(row.get_ref(1)?.as_str()?),
            tag: row.get(2)?,
        });
        bind_row(&mut insert, &DEAD_LETTER, &Key::Number(number), &put)?;
        insert.raw_execute()?;
    }
    Ok(())
}

/// The dead letter of an ending; `None` for other rows, and for endings of other kinds.
pub(super) fn of_ending(row: &Row) -> Option<Row> {
    let Change::Put(ending) = &row.change else {
        return None;
    };
    let listing = ending.listing.clone().filter(|_| row.family == &ENDING)?;
    DEAD.contains(&listing.tag).then(|| Row {
        family: &DEAD_LETTER,
        key: row.key.clone(),
        change: Change::Put(put(listing)),
    })
}

fn put(listing: Listing) -> Put {
    Put {
        listing: Some(listing),
        ..Put::default()
    }
}
