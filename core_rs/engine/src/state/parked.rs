//! Parked: the extras and runs of suspended executions, in compact form.
//!
//! Owns the bytes of each suspended execution, and the names in them. Refuses to change what they
//! mean: a fact about such an execution takes it out, and puts it back if it is still suspended.
//!
//! Birth numbers are dense, so neighbours share one block of memory: an index of its own and a
//! block of its own would take as much again for each.

use std::collections::BTreeMap;

use crate::fact::Run;
use crate::rules::id::Birth;
use crate::state::bytes::{put_uint, take_uint};
use crate::state::compact::{fits, pack, unpack, worker};
use crate::state::{Extras, names::Names};

// A change copies the page. Most pages are smaller than 1 KiB.
const PAGE: u64 = 16;

/// The parked executions.
#[derive(Debug, Default)]
pub(super) struct Parked {
    // For each execution a number, and its bytes. The number is their length and, in its lowest
    // bits, the place in the page.
    pages: BTreeMap<u64, Box<[u8]>>,
    workers: Names,
}

impl Parked {
    pub(super) fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// The extras and the run of a parked execution.
    pub(super) fn get(&self, birth: Birth) -> Option<(Extras, Option<Box<Run>>)> {
        Some(self.read(self.bytes(birth)?))
    }

    /// Parks an execution that is not parked. Returns whether it could be parked.
    pub(super) fn put(&mut self, birth: Birth, extras: &Extras, run: Option<&Run>) -> bool {
        if !fits(extras) {
            return false;
        }
        let name = extras.last_worker.as_ref();
        let worker = name.map(|name| self.workers.intern(name));
        let bytes = pack(extras, run, worker);
        self.rewrite(birth, Some(&bytes));
        true
    }

    /// Takes a parked execution out.
    pub(super) fn take(&mut self, birth: Birth) -> Option<(Extras, Option<Box<Run>>)> {
        let bytes = self.bytes(birth)?;
        let (taken, worker) = (self.read(bytes), worker(bytes));
        self.rewrite(birth, None);
        if let Some(worker) = worker {
            self.workers.release(worker);
        }
        Some(taken)
    }

    fn bytes(&self, birth: Birth) -> Option<&[u8]> {
        let mut entries = entries(self.pages.get(&(birth / PAGE))?);
        let found = entries.find(|(place, _)| *place == place_of(birth));
        found.map(|(_, bytes)| bytes)
    }

    fn read(&self, bytes: &[u8]) -> (Extras, Option<Box<Run>>) {
        unpack(bytes, |worker| self.workers.get(worker).clone())
    }

    /// Writes the page of an execution again, with these bytes of the execution or without it.
    fn rewrite(&mut self, birth: Birth, own: Option<&[u8]>) {
        let own = own.map(|bytes| (place_of(birth), bytes));
        let page = self.pages.entry(birth / PAGE).or_default();
        let others = entries(page).filter(|(place, _)| *place != place_of(birth));
        let after: Vec<_> = others.chain(own).collect();
        let mut written = Vec::new();
        for (place, bytes) in after {
            put_uint(&mut written, bytes.len() as u64 * PAGE + place);
            written.extend_from_slice(bytes);
        }
        // A copy: the allocator may leave a block that shrinks as large as it is.
        *page = written.as_slice().into();
        if page.is_empty() {
            self.pages.remove(&(birth / PAGE));
        }
    }
}

const fn place_of(birth: Birth) -> u64 {
    birth % PAGE
}

/// The executions of a page: the place of each, and its bytes.
fn entries(mut page: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    std::iter::from_fn(move || {
        if page.is_empty() {
            return None;
        }
        let head = take_uint(&mut page);
        let length = usize::try_from(head / PAGE).unwrap_or(usize::MAX);
        let bytes = page.split_off(..length).expect("a whole execution");
        Some((head % PAGE, bytes))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extras(deadline_ms: u64, worker: &str) -> Extras {
        Extras {
            deadline_ms: Some(deadline_ms),
            // Of many lengths: the number in front takes one to three bytes.
            dedup_key: Some(
                "k".repeat(usize::try_from(deadline_ms % 40).unwrap_or(0) * 100)
                    .into(),
            ),
            last_worker: Some(worker.into()),
            ..Extras::default()
        }
    }

    #[test]
    fn neighbours_are_found_whatever_the_order_in_which_they_come_and_go() {
        let mut parked = Parked::default();
        let births = [40, 33, 47, 32, 48, 31, 1 << 47];
        for birth in births {
            assert!(parked.put(birth, &extras(birth, "w"), None));
        }
        for (at, birth) in births.into_iter().enumerate() {
            assert_eq!(Some((extras(birth, "w"), None)), parked.get(birth));
            assert_eq!(Some((extras(birth, "w"), None)), parked.take(birth));
            assert_eq!(None, parked.get(birth));
            for birth in &births[at + 1..] {
                assert_eq!(Some((extras(*birth, "w"), None)), parked.get(*birth));
            }
        }
        assert!(parked.is_empty());
        assert!(parked.workers.is_empty());
    }

    #[test]
    fn a_request_to_stop_is_not_parked() {
        let cancel = crate::fact::CancelAsked {
            at_ms: 1,
            reason: crate::rules::status::EndReason::Deadline,
            actor: crate::fact::Actor::engine(),
        };
        let extras = Extras {
            cancel: Some(cancel),
            ..extras(5, "w")
        };
        let mut parked = Parked::default();
        assert!(!parked.put(7, &extras, None));
        assert!(parked.is_empty() && parked.workers.is_empty());
    }
}
