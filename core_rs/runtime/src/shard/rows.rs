//! Rows: from the engine's values to the store's families.
//!
//! Owns which row goes into which family under which key, and is the only place where decisions
//! enter the pending commit. Refuses to know the encodings: the wire crate does.

use std::sync::Arc;

use backlane_engine::Decided;
use backlane_engine::row::{
    ActionRow, AttemptRow, EndingRow, PayloadRow, RequestRow, Row as EngineRow,
};
use backlane_engine::rules::id::Birth;
use backlane_engine::rules::status::Status;
use backlane_engine::state::hour_of;
use backlane_store::{
    ACTION, ATTEMPT, Bytes, Change, DEAD_LETTER, ENDING, Family, Key, Listing, PAYLOAD, Put,
    REQUEST, Row,
};
use backlane_wire::{encode_fact, row};

use super::desk::Desk;

impl Desk {
    /// Adds the engine's decisions to the pending commit.
    pub(super) fn absorb(&mut self) {
        for Decided { fact, rows } in self.engine.take_decided() {
            let sequence = self.journal.next_sequence();
            encode_fact(&fact, &mut self.journal.pending.frame);
            self.journal.count_fact();
            self.tally.count_fact();
            for decided in rows {
                if let EngineRow::Ending(ending) = &decided {
                    self.ended.push(ending.id.birth);
                }
                if let EngineRow::Erased { birth } = &decided {
                    self.gone.add(*birth, sequence);
                }
                let row = stored(decided);
                // Request ids are looked up in the engine's index and then in the store, and dead
                // letters are listed from the store, so the cache keeps neither.
                if ![&REQUEST, &DEAD_LETTER].contains(&row.family) {
                    self.cache.follow(&row, sequence);
                }
                self.journal.add_row(row);
            }
        }
        let mark = self.engine.requests_mut().mark();
        self.journal.close_if_heavy(mark);
        self.watch_room();
    }

    /// Has the engine refuse new executions for which the disk has no room. Everything that is
    /// decided and not durable counts twice: first it is written to the log of the database, and
    /// later to the database.
    pub(super) fn watch_room(&mut self) {
        let needed = self.journal.unwritten().saturating_mul(2);
        self.engine.set_store_is_full(needed >= self.room_bytes);
    }
}

/// The row as the store keeps it.
pub(crate) fn stored(row: EngineRow) -> Row {
    match row {
        EngineRow::Payload(row) => payload(*row),
        EngineRow::Ending(row) => ending(&row),
        EngineRow::Attempt(row) => attempt(&row),
        EngineRow::AttemptDropped { birth, ordinal } => Row {
            family: &ATTEMPT,
            key: Key::Ordinal(birth, ordinal),
            change: Change::Delete,
        },
        EngineRow::Request(row) => request(&row),
        EngineRow::Action(row) => action(&row),
        EngineRow::DeadLetter {
            birth,
            tenant,
            status,
        } => dead_letter(birth, tenant, status),
        EngineRow::DeadLetterDropped { birth } => Row {
            family: &DEAD_LETTER,
            key: Key::Number(birth),
            change: Change::Delete,
        },
        EngineRow::Erased { birth } => Row {
            family: &ENDING,
            key: Key::Number(birth),
            change: Change::Erase,
        },
    }
}

fn put(family: &'static Family, key: Key, put: Put) -> Row {
    let change = Change::Put(put);
    Row {
        family,
        key,
        change,
    }
}

fn payload(row: PayloadRow) -> Row {
    let key = Key::Number(row.id.birth);
    let (head, body) = row::payload::encode(row);
    put(
        &PAYLOAD,
        key,
        Put {
            head: Bytes::from(head),
            body: body.map(Arc::from),
            ..Put::default()
        },
    )
}

fn ending(row: &EndingRow) -> Row {
    put(
        &ENDING,
        Key::Number(row.id.birth),
        Put {
            version: row.progress.version,
            at_ms: row.ended_at_ms,
            listing: Some(Listing {
                tenant: row.tenant.clone(),
                tag: row.status as u8,
            }),
            head: Bytes::from(row::ending::head(row)),
            body: row.output.clone(),
        },
    )
}

fn dead_letter(birth: Birth, tenant: Arc<str>, status: Status) -> Row {
    let tag = status as u8;
    let listing = Some(Listing { tenant, tag });
    put(
        &DEAD_LETTER,
        Key::Number(birth),
        Put {
            listing,
            ..Put::default()
        },
    )
}

fn attempt(row: &AttemptRow) -> Row {
    put(
        &ATTEMPT,
        Key::Ordinal(row.birth, row.ordinal),
        Put {
            head: Bytes::from(row::attempt::head(row)),
            ..Put::default()
        },
    )
}

fn action(row: &ActionRow) -> Row {
    put(
        &ACTION,
        Key::Ordinal(row.birth, row.ordinal),
        Put {
            head: Bytes::from(row::action::head(row)),
            body: row.contents.body.clone(),
            ..Put::default()
        },
    )
}

fn request(row: &RequestRow) -> Row {
    let key = Key::Digest {
        hour: hour_of(row.at_ms),
        digest: row.request.key,
    };
    put(
        &REQUEST,
        key,
        Put {
            head: Bytes::from(row::request::head(row)),
            ..Put::default()
        },
    )
}
