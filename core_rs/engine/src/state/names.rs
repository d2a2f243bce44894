//! Interned names of workers: many suspended executions were held by a few workers, so each keeps
//! only a number.
//!
//! Owns the table of names and its reference counts. Refuses to know whose names they are.

use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Debug, Default)]
pub(super) struct Names {
    entries: Vec<(Arc<str>, u64)>,
    free: Vec<u32>,
    by_name: BTreeMap<Arc<str>, u32>,
}

impl Names {
    pub(super) fn get(&self, key: u32) -> &Arc<str> {
        &self.entries[key as usize].0
    }

    pub(super) fn intern(&mut self, name: &Arc<str>) -> u32 {
        if let Some(key) = self.by_name.get(name).copied() {
            self.entries[key as usize].1 += 1;
            return key;
        }
        let entry = (name.clone(), 1);
        let key = if let Some(key) = self.free.pop() {
            self.entries[key as usize] = entry;
            key
        } else {
            self.entries.push(entry);
            u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
        };
        self.by_name.insert(name.clone(), key);
        key
    }

    pub(super) fn release(&mut self, key: u32) {
        let (name, count) = &mut self.entries[key as usize];
        *count -= 1;
        if *count == 0 {
            self.by_name.remove(&std::mem::take(name));
            self.free.push(key);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_share_a_number_that_is_used_again() {
        let mut names = Names::default();
        let first = names.intern(&"a".into());
        assert_eq!(first, names.intern(&"a".into()));
        let second = names.intern(&"b".into());
        names.release(first);
        assert_eq!("a", &**names.get(first));
        names.release(first);
        assert_eq!(first, names.intern(&"c".into()));
        assert_eq!("c", &**names.get(first));
        assert_eq!("b", &**names.get(second));
        names.release(first);
        names.release(second);
        assert!(names.is_empty());
    }
}
