//! The rows beside the log: payloads, finished executions, request ids.
//!
//! Owns their lookup and their forgetting. Refuses to know sequences and epochs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
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

/// One hour's request ids. Rows are numbered from 1 in the order they were written.
#[derive(Debug, Default)]
struct Hour {
    rows: VecDeque<RequestRow>,
    /// How many rows went from the front already.
    gone: u64,
    newest: BTreeMap<[u8; 16], u64>,
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

    pub(super) fn drop_requests(&mut self, below: u32, limit: usize) -> usize {
        let mut gone = 0;
        while gone < limit {
            let Some(mut entry) = self.requests.first_entry().filter(|e| *e.key() < below) else {
                break;
            };
            gone += entry.get_mut().shorten(limit - gone);
            if entry.get().rows.is_empty() {
                entry.remove();
            }
        }
        gone
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
        self.newest.insert(row.key, self.last() + 1);
        self.rows.push_back(row);
    }

    /// The number of the newest row.
    fn last(&self) -> u64 {
        self.gone + self.rows.len() as u64
    }

    fn row(&self, number: u64) -> Option<&RequestRow> {
        let at = usize::try_from(number.checked_sub(self.gone + 1)?).ok()?;
        self.rows.get(at)
    }

    fn find(&self, key: &[u8; 16]) -> Option<&RequestRow> {
        self.row(*self.newest.get(key)?)
    }

    fn keys(&self, after: u64, limit: usize) -> (Vec<[u8; 16]>, Option<u64>) {
        let numbers = after.max(self.gone) + 1..;
        let keys: Vec<_> = numbers
            .map_while(|number| self.row(number))
            .map(|row| row.key)
            .take(limit)
            .collect();
        let reached = after.max(self.gone) + keys.len() as u64;
        (keys, (reached < self.last()).then_some(reached))
    }

    fn shorten(&mut self, limit: usize) -> usize {
        let count = limit.min(self.rows.len());
        for row in self.rows.drain(..count) {
            self.gone += 1;
            if self.newest.get(&row.key) == Some(&self.gone) {
                self.newest.remove(&row.key);
            }
        }
        count
    }
}
