//! The hour tables of digest families, in memory.
//!
//! Owns their order. Refuses to decide when an hour is dropped.

use std::collections::BTreeMap;

use crate::{Family, Put};

/// The hour tables of all digest families, by hour and family number: the order of dropping.
#[derive(Debug, Default)]
pub(super) struct Hours(BTreeMap<(u32, u16), Hour>);

/// The rows of one family in one hour, in the order in which they were written.
#[derive(Debug, Default)]
struct Hour {
    rows: Vec<([u8; 16], Put)>,
    newest: BTreeMap<[u8; 16], usize>,
}

impl Hours {
    pub(super) fn push(&mut self, family: &Family, hour: u32, digest: [u8; 16], put: Put) {
        let hour = self.0.entry((hour, family.number)).or_default();
        hour.newest.insert(digest, hour.rows.len());
        hour.rows.push((digest, put));
    }

    /// The newest row of the digest in one hour.
    pub(super) fn find(&self, family: &Family, hour: u32, digest: &[u8; 16]) -> Option<&Put> {
        let hour = self.0.get(&(hour, family.number))?;
        let (_, put) = hour.rows.get(*hour.newest.get(digest)?)?;
        Some(put)
    }

    /// The newest hour from `since_hour` on that has the digest.
    pub(super) fn newest(
        &self,
        family: &Family,
        digest: &[u8; 16],
        since_hour: u32,
    ) -> Option<u32> {
        let newest_first = self.0.range((since_hour, 0)..).rev();
        let of_family = newest_first.filter(|((_, number), _)| *number == family.number);
        let mut having = of_family.filter(|(_, hour)| hour.newest.contains_key(digest));
        having.next().map(|((hour, _), _)| *hour)
    }

    /// The digests of one hour after the first `after` rows, and the next cursor.
    pub(super) fn digests(
        &self,
        family: &Family,
        hour: u32,
        after: u64,
        limit: usize,
    ) -> (Vec<[u8; 16]>, Option<u64>) {
        let hour = self.0.get(&(hour, family.number));
        let rows = hour.map_or(&[][..], |hour| &hour.rows);
        let seen = usize::try_from(after).unwrap_or(usize::MAX);
        let rest = rows.get(seen..).unwrap_or_default();
        let digests: Vec<_> = rest.iter().take(limit).map(|(digest, _)| *digest).collect();
        let more = digests.len() < rest.len();
        let reached = after + digests.len() as u64;
        (digests, more.then_some(reached))
    }

    /// Drops the oldest hour table if its hour lies below `below`. Returns how many bytes it had.
    pub(super) fn drop_oldest(&mut self, below: u32) -> Option<u64> {
        let oldest = self.0.first_entry().filter(|entry| entry.key().0 < below)?;
        let rows = oldest.remove().rows;
        Some(rows.iter().map(|(_, put)| put.len() as u64).sum())
    }
}
