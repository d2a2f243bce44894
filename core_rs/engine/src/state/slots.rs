//! Slots: the 64 bytes of memory per unfinished execution, in fixed pages found by birth number.
//!
//! Owns the layout and place of slots. Refuses to know how their fields depend on each other.
//!
//! Birth numbers are dense, so a page of neighbours needs no index of its own: finding a slot is
//! one look-up in an ordered map with one entry per page. A page is freed with its last slot.

use std::collections::BTreeMap;

use crate::rules::id::Birth;
use crate::rules::status::Phase;
use crate::state::QueueKey;

// Pages of 2 KiB: an allocator that divides blocks of 64 KiB wastes an eighth on pages of 8 KiB.
const PAGE_SLOTS: u64 = 32;

/// The data that every unfinished execution needs in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// The random bytes at the end of the id.
    pub random: u64,
    /// Time of the enqueue, in milliseconds since the epoch.
    pub queued_at_ms: u64,
    /// Time of the newest change, in milliseconds since the epoch.
    pub updated_at_ms: u64,
    /// Start of the newest attempt, in milliseconds since the epoch; 0 before the first.
    pub started_at_ms: u64,
    /// The queue of the execution.
    pub queue: QueueKey,
    /// The number of the interned policy.
    pub policy: u32,
    /// The seconds of the id, since the KSUID epoch.
    pub seconds: u32,
    /// Version of the execution: 1 at birth, and one more for each change.
    pub version: u32,
    /// Ordinal of the newest attempt.
    pub attempt: u32,
    /// Encoded size of the payload, in bytes.
    pub payload_bytes: u32,
    /// The random bytes of the id after the birth number.
    pub salt: u16,
    /// Attempts that failed or timed out.
    pub spent: u16,
    /// Leases that were lost because their worker fell silent.
    pub losses: u8,
    /// Leases that no worker ever acknowledged.
    pub undelivered: u8,
    /// Priority, 0 to 255. A higher priority runs sooner.
    pub priority: u8,
    /// The phase of the execution.
    pub phase: Phase,
}

const _: () = assert!(size_of::<Option<Slot>>() <= 64);

type Page = [Option<Slot>];

/// The slots of all unfinished executions.
#[derive(Debug, Default)]
pub struct Slots {
    pages: BTreeMap<u64, (u32, Box<Page>)>,
    len: usize,
}

fn place(birth: Birth) -> (u64, usize) {
    let index = usize::try_from(birth % PAGE_SLOTS).unwrap_or(0);
    (birth / PAGE_SLOTS, index)
}

impl Slots {
    /// The slot of the execution with this birth number, if the execution is unfinished.
    #[must_use]
    pub fn get(&self, birth: Birth) -> Option<&Slot> {
        let (page, index) = place(birth);
        self.pages.get(&page)?.1[index].as_ref()
    }

    pub(super) fn get_mut(&mut self, birth: Birth) -> Option<&mut Slot> {
        let (page, index) = place(birth);
        self.pages.get_mut(&page)?.1[index].as_mut()
    }

    pub(super) fn insert(&mut self, birth: Birth, slot: Slot) {
        let (page, index) = place(birth);
        let empty = || {
            (
                0,
                vec![None; usize::try_from(PAGE_SLOTS).unwrap_or(0)].into_boxed_slice(),
            )
        };
        let (used, slots) = self.pages.entry(page).or_insert_with(empty);
        if slots[index].replace(slot).is_none() {
            *used += 1;
            self.len += 1;
        }
    }

    pub(super) fn remove(&mut self, birth: Birth) -> Option<Slot> {
        let (page, index) = place(birth);
        let (used, slots) = self.pages.get_mut(&page)?;
        let slot = slots[index].take()?;
        *used -= 1;
        self.len -= 1;
        if *used == 0 {
            self.pages.remove(&page);
        }
        Some(slot)
    }

    /// Number of unfinished executions.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no unfinished executions.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The birth numbers of unfinished executions from `first` on, in order.
    pub fn births_from(&self, first: Birth) -> impl Iterator<Item = Birth> + '_ {
        let (first_page, _) = place(first);
        let pages = self.pages.range(first_page..);
        let births = pages.flat_map(|(page, (_, slots))| {
            let used = (page * PAGE_SLOTS..).zip(slots.iter());
            used.filter_map(|(birth, slot)| slot.is_some().then_some(birth))
        });
        births.skip_while(move |birth| *birth < first)
    }
}
