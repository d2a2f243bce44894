//! The rows of all families, in memory.
//!
//! Owns their lookup and their removal. Refuses to know sequence numbers and epochs.

use std::collections::{BTreeMap, BTreeSet};

use super::hours::Hours;
use crate::{
    Change, Class, Commit, Damage, Family, Key, KeyKind, Lookup, Mode, Part, Put, Row, StoreError,
    Stored,
};

#[derive(Debug, Default)]
pub(super) struct Rows {
    /// The rows of every family but the digest families, by family number.
    tables: BTreeMap<u16, BTreeMap<Key, Put>>,
    hours: Hours,
    /// Class, start of the retention period, number: the order of expiry.
    expiry: BTreeSet<(Class, u64, u64)>,
    /// Rows that a test declared damaged.
    spoiled: BTreeSet<(u16, Key)>,
    used_bytes: u64,
}

impl Rows {
    /// Checks that no row of the commit is put twice in a family whose rows are put once.
    pub(super) fn check_duplicates(&self, rows: &[Row]) -> Result<(), StoreError> {
        let mut exists: BTreeMap<(u16, &Key), bool> = BTreeMap::new();
        let once = |row: &&Row| row.family.mode == Mode::Once && row.family.key != KeyKind::Digest;
        for row in rows.iter().filter(once) {
            let is_put = matches!(row.change, Change::Put(_));
            let before = exists.insert((row.family.number, &row.key), is_put);
            if is_put && before.unwrap_or_else(|| self.find(row.family, &row.key).is_some()) {
                return Err(StoreError::Duplicate {
                    family: row.family.name,
                    key: row.key.clone(),
                });
            }
        }
        Ok(())
    }

    pub(super) fn write(&mut self, families: &[&Family], commit: &Commit) {
        for row in &commit.rows {
            match &row.change {
                Change::Put(put) => self.put(families, row.family, &row.key, put),
                Change::Delete => self.remove(families, row.family, &row.key),
                Change::Erase => self.erase(families, row),
            }
        }
    }

    fn put(&mut self, families: &[&Family], family: &Family, key: &Key, put: &Put) {
        self.remove(families, family, key);
        self.used_bytes += put.len() as u64;
        if let Key::Digest { hour, digest } = key {
            self.hours.push(family, *hour, *digest, put.clone());
            return;
        }
        if let (Some(class), Some(number)) = (family.starts(), key.number()) {
            self.expiry.insert((class, put.at_ms, number));
        }
        let table = self.tables.entry(family.number).or_default();
        table.insert(key.clone(), put.clone());
    }

    fn remove(&mut self, families: &[&Family], family: &Family, key: &Key) {
        let table = self.tables.get_mut(&family.number);
        let Some(put) = table.and_then(|table| table.remove(key)) else {
            return;
        };
        self.used_bytes -= put.len() as u64;
        if let (Some(class), Some(number)) = (family.starts(), key.number()) {
            self.release(families, class, put.at_ms, number);
        }
    }

    fn erase(&mut self, families: &[&Family], row: &Row) {
        let (Some(class), Some(number)) = (row.family.class(), row.key.number()) else {
            return;
        };
        let of_class = families.iter().filter(|it| it.class() == Some(class));
        for family in of_class {
            for key in self.keys_of(family, number) {
                self.remove(families, family, &key);
            }
        }
    }

    /// Removes an entry of expiry, unless another row of the same entity has the same one.
    fn release(&mut self, families: &[&Family], class: Class, at_ms: u64, number: u64) {
        let starting = families
            .iter()
            .filter(|family| family.starts() == Some(class));
        let mut rows = starting.flat_map(|family| {
            let keys = self.keys_of(family, number).into_iter();
            keys.filter_map(|key| self.find(family, &key))
        });
        if rows.all(|put| put.at_ms != at_ms) {
            self.expiry.remove(&(class, at_ms, number));
        }
    }

    /// Removes at most `limit` entities of the class whose retention started before `before_ms`.
    pub(super) fn expire(
        &mut self,
        families: &[&Family],
        class: Class,
        before_ms: u64,
        limit: usize,
    ) -> usize {
        for gone in 0..limit {
            let due = self
                .expiry
                .range((class, 0, 0)..(class, before_ms, 0))
                .next();
            let Some(&(class, at_ms, number)) = due else {
                return gone;
            };
            for family in families
                .iter()
                .filter(|family| family.class() == Some(class))
            {
                for key in self.keys_of(family, number) {
                    self.remove(families, family, &key);
                }
            }
            self.expiry.remove(&(class, at_ms, number));
        }
        limit
    }

    fn keys_of(&self, family: &Family, number: u64) -> Vec<Key> {
        let range = match family.key {
            KeyKind::Ordinal => Key::Ordinal(number, 0)..=Key::Ordinal(number, u32::MAX),
            _ => Key::Number(number)..=Key::Number(number),
        };
        let table = self.tables.get(&family.number);
        let keys = table.map(|table| table.range(range).map(|(key, _)| key.clone()));
        keys.into_iter().flatten().collect()
    }

    /// Drops the oldest hour table if its hour lies below `below`. Tells whether one was dropped.
    pub(super) fn drop_oldest_hour(&mut self, below: u32) -> bool {
        let dropped = self.hours.drop_oldest(below);
        self.used_bytes -= dropped.unwrap_or(0);
        dropped.is_some()
    }

    pub(super) fn spoil(&mut self, family: &Family, key: &Key) {
        self.spoiled.insert((family.number, key.clone()));
    }

    pub(super) fn lookup(&self, family: &'static Family, key: &Key, part: Part) -> Lookup {
        if self.spoiled.contains(&(family.number, key.clone())) {
            return Lookup::Damaged(Damage {
                family: family.name,
                key: key.to_string(),
                what: "a planned fault".to_owned(),
            });
        }
        self.find(family, key)
            .map_or(Lookup::Absent, |put| stored(put, part))
    }

    fn find(&self, family: &Family, key: &Key) -> Option<&Put> {
        match key {
            Key::Digest { hour, digest } => self.hours.find(family, *hour, digest),
            _ => self.tables.get(&family.number)?.get(key),
        }
    }

    pub(super) fn of_number(
        &self,
        family: &'static Family,
        number: u64,
        from: u32,
        limit: usize,
    ) -> Vec<(u32, Lookup)> {
        let keys = self.keys_of(family, number).into_iter();
        let ordinals = keys.filter_map(|key| match key {
            Key::Ordinal(_, ordinal) if ordinal >= from => Some(ordinal),
            _ => None,
        });
        let lookup = |ordinal| {
            let key = Key::Ordinal(number, ordinal);
            (ordinal, self.lookup(family, &key, Part::Whole))
        };
        ordinals.take(limit).map(lookup).collect()
    }

    pub(super) fn list(
        &self,
        family: &Family,
        tenant: &str,
        tag: Option<u8>,
        before: u64,
        limit: usize,
    ) -> Vec<u64> {
        let matches = |put: &Put| {
            let listing = put.listing.as_ref();
            listing.is_some_and(|l| *l.tenant == *tenant && tag.is_none_or(|tag| tag == l.tag))
        };
        let table = self.tables.get(&family.number);
        let newest_first = table.into_iter().flat_map(|table| table.iter().rev());
        newest_first
            .filter(|(_, put)| matches(put))
            .filter_map(|(key, _)| key.number())
            .filter(|number| *number < before)
            .take(limit)
            .collect()
    }

    pub(super) fn all(
        &self,
        family: &'static Family,
        after: Option<&Key>,
        limit: usize,
    ) -> Vec<(Key, Lookup)> {
        let table = self.tables.get(&family.number);
        let keys = table.into_iter().flat_map(BTreeMap::keys);
        keys.filter(|key| after.is_none_or(|after| *key > after))
            .take(limit)
            .map(|key| (key.clone(), self.lookup(family, key, Part::Whole)))
            .collect()
    }

    /// The newest row of the digest in the hours from `since_hour` on.
    pub(super) fn newest(
        &self,
        family: &'static Family,
        digest: [u8; 16],
        since_hour: u32,
    ) -> Lookup {
        let hour = self.hours.newest(family, &digest, since_hour);
        hour.map_or(Lookup::Absent, |hour| {
            self.lookup(family, &Key::Digest { hour, digest }, Part::Whole)
        })
    }

    pub(super) fn digests_of_hour(
        &self,
        family: &Family,
        hour: u32,
        after: u64,
        limit: usize,
    ) -> (Vec<[u8; 16]>, Option<u64>) {
        self.hours.digests(family, hour, after, limit)
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.used_bytes
    }
}

fn stored(put: &Put, part: Part) -> Lookup {
    Lookup::Found(Stored {
        version: put.version,
        listing: put.listing.clone(),
        head: put.head.clone(),
        body: put.body.clone().filter(|_| part == Part::Whole),
    })
}
