//! The rows beside the log: payloads, finished executions, request ids.
//!
//! Owns their lookup and their forgetting. Refuses to know sequences and epochs.

use std::collections::btree_map::OccupiedEntry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::{Bytes, Commit, FinishedRow, RequestRow, StoreError};

#[derive(Debug, Default)]
pub(super) struct Rows {
    payloads: BTreeMap<u64, Bytes>,
    finished: BTreeMap<u64, FinishedRow>,
    /// (finished at, birth): the order of expiry.
    endings: BTreeSet<(u64, u64)>,
    requests: BTreeMap<u32, Hour>,
    used_bytes: u64,
}

/// One hour's request ids. Rows are numbered from 0 in the order they were written.
#[derive(Debug, Default)]
struct Hour {
    rows: Vec<RequestRow>,
    newest: BTreeMap<[u8; 16], usize>,
}

impl Rows {
    pub(super) fn check_births(&self, payloads: &[(u64, Bytes)]) -> Result<(), StoreError> {
        let mut fresh = BTreeSet::new();
        for (birth, _) in payloads {
            if self.payloads.contains_key(birth) || !fresh.insert(birth) {
                return Err(StoreError::Duplicate { birth: *birth });
            }
        }
        Ok(())
    }

    pub(super) fn write(&mut self, commit: &Commit) {
        for (birth, bytes) in &commit.payloads {
            self.used_bytes += bytes.len() as u64;
            self.payloads.insert(*birth, Arc::clone(bytes));
        }
        for row in &commit.finished {
            self.remove_finished(row.birth);
            self.used_bytes += row.ending.len() as u64;
            self.endings.insert((row.finished_at_ms, row.birth));
            self.finished.insert(row.birth, row.clone());
        }
        for row in &commit.requests {
            self.requests.entry(row.hour).or_default().push(row.clone());
        }
    }

    fn remove_finished(&mut self, birth: u64) {
        if let Some(row) = self.finished.remove(&birth) {
            self.used_bytes -= row.ending.len() as u64;
            self.endings.remove(&(row.finished_at_ms, birth));
        }
    }

    pub(super) fn expire(&mut self, before_ms: u64, limit: usize) -> usize {
        let births: Vec<u64> = self
            .endings
            .range(..(before_ms, 0))
            .take(limit)
            .map(|(_, birth)| *birth)
            .collect();
        for birth in &births {
            self.remove_finished(*birth);
            if let Some(payload) = self.payloads.remove(birth) {
                self.used_bytes -= payload.len() as u64;
            }
        }
        births.len()
    }

    /// Drops the oldest hour if it lies below; tells whether one did.
    pub(super) fn drop_oldest_hour(&mut self, below: u32) -> bool {
        let due = self
            .requests
            .first_entry()
            .filter(|hour| *hour.key() < below);
        due.map(OccupiedEntry::remove).is_some()
    }

    pub(super) fn payload(&self, birth: u64) -> Option<Bytes> {
        self.payloads.get(&birth).cloned()
    }

    pub(super) fn finished(&self, birth: u64) -> Option<FinishedRow> {
        self.finished.get(&birth).cloned()
    }

    pub(super) fn list_finished(
        &self,
        tenant: &str,
        status: Option<u8>,
        before: u64,
        limit: usize,
    ) -> Vec<FinishedRow> {
        let newest_first = self.finished.range(..before).rev().map(|(_, row)| row);
        newest_first
            .filter(|row| *row.tenant == *tenant && status.is_none_or(|s| s == row.status))
            .take(limit)
            .cloned()
            .collect()
    }

    pub(super) fn request(&self, key: &[u8; 16], since_hour: u32) -> Option<RequestRow> {
        self.requests
            .range(since_hour..)
            .rev()
            .find_map(|(_, hour)| hour.find(key))
            .cloned()
    }

    pub(super) fn request_keys(
        &self,
        hour: u32,
        after: u64,
        limit: usize,
    ) -> (Vec<[u8; 16]>, Option<u64>) {
        self.requests
            .get(&hour)
            .map_or((Vec::new(), None), |hour| hour.keys(after, limit))
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.used_bytes
    }
}

impl Hour {
    fn push(&mut self, row: RequestRow) {
        self.newest.insert(row.key, self.rows.len());
        self.rows.push(row);
    }

    fn find(&self, key: &[u8; 16]) -> Option<&RequestRow> {
        self.rows.get(*self.newest.get(key)?)
    }

    /// The cursor is how many rows were seen.
    fn keys(&self, after: u64, limit: usize) -> (Vec<[u8; 16]>, Option<u64>) {
        let seen = usize::try_from(after).unwrap_or(usize::MAX);
        let rows = self.rows.get(seen..).unwrap_or_default();
        let keys: Vec<_> = rows.iter().take(limit).map(|row| row.key).collect();
        let more = keys.len() < rows.len();
        let reached = after + keys.len() as u64;
        (keys, more.then_some(reached))
    }
}
