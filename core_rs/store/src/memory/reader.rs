//! A reader of a [`MemoryDisk`].
//!
//! Owns the check that a method reads a family of its kind. Refuses to know how rows are kept.

use super::disk::MemoryDisk;
use crate::store::{check_kind, check_listed};
use crate::{Family, Key, KeyKind, Lookup, Part, Reader, StoreError};

pub(super) struct MemoryReader {
    pub(super) disk: MemoryDisk,
}

impl Reader for MemoryReader {
    fn get(
        &mut self,
        family: &'static Family,
        keys: &[Key],
        part: Part,
    ) -> Result<Vec<Lookup>, StoreError> {
        let disk = self.disk.lock();
        for key in keys {
            check_kind(disk.families(), family, key.kind())?;
        }
        let lookup = |key| disk.rows().lookup(family, key, part);
        Ok(keys.iter().map(lookup).collect())
    }

    fn of_number(
        &mut self,
        family: &'static Family,
        number: u64,
        from: u32,
        limit: usize,
    ) -> Result<Vec<(u32, Lookup)>, StoreError> {
        let disk = self.disk.lock();
        check_kind(disk.families(), family, KeyKind::Ordinal)?;
        Ok(disk.rows().of_number(family, number, from, limit))
    }

    fn list(
        &mut self,
        family: &'static Family,
        tenant: &str,
        tag: Option<u8>,
        before: u64,
        limit: usize,
    ) -> Result<Vec<u64>, StoreError> {
        let disk = self.disk.lock();
        check_listed(disk.families(), family)?;
        Ok(disk.rows().list(family, tenant, tag, before, limit))
    }

    fn all(
        &mut self,
        family: &'static Family,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Lookup)>, StoreError> {
        let disk = self.disk.lock();
        check_kind(disk.families(), family, KeyKind::Name)?;
        Ok(disk.rows().all(family, after, limit))
    }

    fn digests(
        &mut self,
        family: &'static Family,
        digests: &[[u8; 16]],
        since_hour: u32,
    ) -> Result<Vec<Lookup>, StoreError> {
        let disk = self.disk.lock();
        check_kind(disk.families(), family, KeyKind::Digest)?;
        let newest = |digest: &[u8; 16]| disk.rows().newest(family, *digest, since_hour);
        Ok(digests.iter().map(newest).collect())
    }

    fn digests_of_hour(
        &mut self,
        family: &'static Family,
        hour: u32,
        after: u64,
        limit: usize,
    ) -> Result<(Vec<[u8; 16]>, Option<u64>), StoreError> {
        let disk = self.disk.lock();
        check_kind(disk.families(), family, KeyKind::Digest)?;
        Ok(disk.rows().digests_of_hour(family, hour, after, limit))
    }
}
