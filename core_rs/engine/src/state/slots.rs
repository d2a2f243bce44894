//! Slots: the 64 bytes each unfinished execution costs, in fixed pages found by birth number.
//!
//! Owns their layout and where they are. Refuses to know what the numbers mean together.
//!
//! Births are dense, so a page of neighbours needs no index of its own: finding a slot is one
//! look into an ordered map that holds one entry per page. A page goes when its last slot went.

use std::collections::BTreeMap;

use crate::rules::id::Birth;
use crate::rules::status::Phase;
use crate::state::QueueKey;

const PAGE_SLOTS: u64 = 128;

/// What every unfinished execution needs in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// The id's unguessable part.
    pub random: u64,
    /// Milliseconds since the epoch.
    pub queued_at_ms: u64,
    /// Milliseconds since the epoch, of the newest change.
    pub updated_at_ms: u64,
    /// Milliseconds since the epoch, of the newest attempt; 0 before the first.
    pub started_at_ms: u64,
    /// Where it queues.
    pub queue: QueueKey,
    /// Which interned policy.
    pub policy: u32,
    /// The id's seconds.
    pub seconds: u32,
    /// 1 at birth and one more per change.
    pub version: u32,
    /// Ordinal of the newest attempt.
    pub attempt: u32,
    /// Encoded size of what it was made with.
    pub payload_bytes: u32,
    /// The id's other random part.
    pub salt: u16,
    /// Attempts that failed or timed out.
    pub spent: u16,
    /// Leases lost.
    pub losses: u8,
    /// Leases never acknowledged.
    pub undelivered: u8,
    /// Higher runs sooner.
    pub priority: u8,
    /// Where it stands.
    pub phase: Phase,
}

const _: () = assert!(size_of::<Option<Slot>>() <= 64);

type Page = [Option<Slot>];

/// Every unfinished execution's slot.
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
    /// The slot of a birth number, if that execution is unfinished.
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

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The births at or after one, in order.
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
