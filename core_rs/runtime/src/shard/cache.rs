//! The cache: rows kept in memory.
//!
//! Owns the choice of the rows that stay in memory. Refuses to read rows: the others are read from
//! the store. A row that is not durable yet never leaves the cache, so every row is in the cache or
//! in the store.

use std::collections::{HashMap, VecDeque};

use backlane_store::{Change, ENDING, Family, Key, PAYLOAD, Put, Row, Stored};

/// Bytes that an entry costs besides its row: reference counts, a slot of a map that is partly
/// empty, a position in the order.
const ENTRY_BYTES: usize = 320;
/// Number of entries of removed rows that the order may have beside as many as there are rows.
const SPARE_ENTRIES: usize = 4_096;

/// The rows in memory, of all families.
#[derive(Debug, Default)]
pub(super) struct Cache {
    // Only looked up by key, never walked: its order decides nothing.
    rows: HashMap<(u16, Key), Stored>,
    // The rows in the order of their facts' sequence numbers.
    order: VecDeque<(u64, (u16, Key))>,
    bytes: usize,
    most_bytes: usize,
    /// Length of the order beyond which the entries of removed rows leave it.
    most_order: usize,
}

impl Cache {
    pub(super) fn new(most_bytes: usize) -> Self {
        Self {
            most_bytes,
            most_order: SPARE_ENTRIES,
            ..Self::default()
        }
    }

    /// Notes a row that the fact with this sequence number writes or removes.
    pub(super) fn follow(&mut self, row: &Row, sequence: u64) {
        let key = (row.family.number, row.key.clone());
        match &row.change {
            Change::Delete => self.remove(&key),
            // Rows of attempts and actions are not asked for any more, and leave in their turn.
            Change::Erase => {
                for family in [&PAYLOAD, &ENDING] {
                    self.remove(&(family.number, row.key.clone()));
                }
            }
            Change::Put(put) => {
                let stored = stored(put);
                self.bytes += size(&stored);
                self.order.push_back((sequence, key.clone()));
                if let Some(replaced) = self.rows.insert(key, stored) {
                    self.bytes -= size(&replaced);
                }
            }
        }
    }

    pub(super) fn get(&self, family: &'static Family, key: Key) -> Option<&Stored> {
        self.rows.get(&(family.number, key))
    }

    /// Drops the oldest durable rows until the cache has its allowed size.
    pub(super) fn evict(&mut self, durable: u64) {
        if self.order.len() > self.most_order {
            let rows = &self.rows;
            self.order.retain(|(_, key)| rows.contains_key(key));
            self.most_order = 2 * self.order.len() + SPARE_ENTRIES;
        }
        while self.bytes > self.most_bytes {
            let oldest = self
                .order
                .front()
                .filter(|(sequence, _)| *sequence < durable);
            let Some((_, key)) = oldest.cloned() else {
                break;
            };
            self.order.pop_front();
            self.remove(&key);
        }
    }

    fn remove(&mut self, key: &(u16, Key)) {
        if let Some(stored) = self.rows.remove(key) {
            self.bytes -= size(&stored);
        }
    }
}

fn stored(put: &Put) -> Stored {
    Stored {
        version: put.version,
        listing: put.listing.clone(),
        head: put.head.clone(),
        body: put.body.clone(),
    }
}

fn size(stored: &Stored) -> usize {
    let body = stored.body.as_ref().map_or(0, |body| body.len());
    // Rows of one tenant may share its name, and those of many tenants do not.
    let listing = stored.listing.as_ref().map_or(0, |by| by.tenant.len());
    stored.head.len() + body + listing + ENTRY_BYTES
}

#[cfg(test)]
mod tests {
    use backlane_store::{Bytes, PAYLOAD};

    use super::*;

    fn payload(birth: u64) -> Row {
        let head = Bytes::from([0; 8]);
        Row {
            family: &PAYLOAD,
            key: Key::Number(birth),
            change: Change::Put(Put {
                head,
                ..Put::default()
            }),
        }
    }

    fn kept(cache: &Cache, births: std::ops::RangeInclusive<u64>) -> Vec<u64> {
        let is_kept = |birth: &u64| cache.get(&PAYLOAD, Key::Number(*birth)).is_some();
        births.filter(is_kept).collect()
    }

    #[test]
    fn the_oldest_rows_are_dropped_but_only_if_they_are_durable() {
        let mut cache = Cache::new(0);
        for birth in 1..=3 {
            cache.follow(&payload(birth), birth);
        }
        cache.evict(3);
        assert_eq!(vec![3], kept(&cache, 1..=3));
    }

    #[test]
    fn a_removed_row_is_absent_and_uses_no_memory() {
        let mut cache = Cache::new(0);
        cache.follow(&payload(1), 1);
        let removed = Row {
            change: Change::Delete,
            ..payload(1)
        };
        cache.follow(&removed, 2);
        assert_eq!((Vec::<u64>::new(), 0), (kept(&cache, 1..=1), cache.bytes));
    }

    #[test]
    fn removed_rows_leave_the_order_even_behind_a_row_that_stays() {
        let mut cache = Cache::new(usize::MAX);
        cache.follow(&payload(0), 0);
        for birth in 1..=100_000 {
            cache.follow(&payload(birth), birth);
            let erased = Row {
                change: Change::Erase,
                ..payload(birth)
            };
            cache.follow(&erased, birth);
            cache.evict(birth);
        }
        assert_eq!(vec![0], kept(&cache, 0..=100_000));
        assert!(cache.order.len() <= 2 * SPARE_ENTRIES);
    }
}
