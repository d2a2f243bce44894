//! The census: which executions have which rows, and whether the rows can be decoded.
//!
//! Owns the numbers of the executions that rows speak of. Refuses to keep the rows themselves:
//! a data directory can be larger than the memory.

use std::collections::BTreeMap;

use backlane_engine::rules::id::Birth;
use backlane_store::{ACTION, ATTEMPT, Change, ENDING, Key, PAYLOAD, Put, REQUEST, Row};
use backlane_wire::{DecodeError, row};

/// The executions that rows speak of. The store passes the rows of a family in ascending order.
#[derive(Debug, Default)]
pub(crate) struct Census {
    payloads: Vec<Birth>,
    endings: Vec<Birth>,
    attempts: BTreeMap<Birth, u32>,
    highest: Birth,
    latest_ms: u64,
    damage: Vec<String>,
}

impl Census {
    /// Counts a row. Attempts are counted of living executions alone.
    pub(super) fn row(&mut self, row: &Row, is_living: impl Fn(Birth) -> bool) {
        let Change::Put(put) = &row.change else {
            return;
        };
        self.latest_ms = self.latest_ms.max(put.at_ms);
        if let Err(error) = decode(row, put) {
            let (family, key) = (row.family.name, &row.key);
            self.damage
                .push(format!("{family} {key} cannot be decoded: {error}"));
        }
        match row.key {
            Key::Number(birth) if row.family == &PAYLOAD => self.payloads.push(birth),
            Key::Number(birth) if row.family == &ENDING => self.endings.push(birth),
            Key::Ordinal(birth, ordinal) if row.family == &ATTEMPT && is_living(birth) => {
                let last = self.attempts.entry(birth).or_default();
                *last = ordinal.max(*last);
            }
            _ => {}
        }
        if let Key::Number(birth) | Key::Ordinal(birth, _) = row.key {
            self.highest = self.highest.max(birth);
        }
    }

    /// The executions that have a payload, ascending.
    pub(crate) fn payloads(&self) -> &[Birth] {
        &self.payloads
    }

    /// The executions that have an ending, ascending.
    pub(crate) fn endings(&self) -> &[Birth] {
        &self.endings
    }

    pub(crate) fn has_payload(&self, birth: Birth) -> bool {
        self.payloads.binary_search(&birth).is_ok()
    }

    pub(crate) fn has_ending(&self, birth: Birth) -> bool {
        self.endings.binary_search(&birth).is_ok()
    }

    /// The newest attempt of a living execution that has a row.
    pub(crate) fn last_attempt(&self, birth: Birth) -> u32 {
        self.attempts.get(&birth).copied().unwrap_or(0)
    }

    /// The highest number of an execution.
    pub(crate) const fn highest(&self) -> Birth {
        self.highest
    }

    /// The latest end of an execution, milliseconds since the epoch.
    pub(crate) const fn latest_ms(&self) -> u64 {
        self.latest_ms
    }

    /// The rows that cannot be decoded, one line each.
    pub(super) fn damage(&self) -> &[String] {
        &self.damage
    }
}

/// Decodes a row whose checksums are right: only a defect, or another version, wrote one that
/// cannot be decoded.
fn decode(row: &Row, put: &Put) -> Result<(), DecodeError> {
    match row.key {
        Key::Number(birth) if row.family == &PAYLOAD => {
            row::payload::id(birth, &put.head)?;
            row::payload::tenant(&put.head).map(drop)
        }
        Key::Number(birth) if row.family == &ENDING => {
            row::ending::read(birth, "", &put.head, None).map(drop)
        }
        Key::Ordinal(birth, ordinal) if row.family == &ATTEMPT => {
            row::attempt::read(birth, ordinal, &put.head).map(drop)
        }
        Key::Ordinal(birth, ordinal) if row.family == &ACTION => {
            row::action::read(birth, ordinal, &put.head, None).map(drop)
        }
        Key::Digest { .. } if row.family == &REQUEST => row::request::known(&put.head).map(drop),
        _ => Ok(()),
    }
}
