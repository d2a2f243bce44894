//! Request ids: the newest are in memory; filters stand for those that only the store has.
//!
//! Owns the question whether a request id may have been used. Refuses to know the store: for a
//! `Maybe`, the runtime has to read.
//!
//! An id may leave memory only once the store has it durably. The filters are Bloom filters, one
//! chain for each hour, each link twice as large as the one before. 14 bits and 7 probes per key
//! lead to about 2 needless look-ups in 1 000 per link. The filters cost 2 bytes per id, for 24
//! hours.

use std::collections::{BTreeMap, VecDeque};

use crate::fact::{Births, RequestKey};
use crate::rules::limits::REQUEST_HOURS;

const KEPT: usize = 65_536;
const FIRST_FILTER_KEYS: usize = 1_024;
const BITS_PER_KEY: usize = 14;
const PROBES: u64 = 7;
const HOUR_MS: u64 = 3_600_000;

/// What memory knows about a request id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// The id was used: the hash of its body, and the executions of its reply.
    Used([u8; 16], Births),
    /// The id was not used in the last 24 hours.
    Unused,
    /// Only the store can tell.
    Maybe,
}

#[derive(Debug)]
struct Filter {
    words: Box<[u64]>,
    room: usize,
}

impl Filter {
    fn for_keys(keys: usize) -> Self {
        let words = (keys * BITS_PER_KEY).div_ceil(64);
        Self {
            words: vec![0; words].into_boxed_slice(),
            room: keys,
        }
    }

    fn bits(&self, key: [u8; 16]) -> impl Iterator<Item = (usize, u64)> + use<> {
        // The key is a hash, so its two halves serve as the two hashes of double hashing.
        let wide = u128::from_le_bytes(key);
        let low = u64::try_from(wide & u128::from(u64::MAX)).unwrap_or(0);
        let high = u64::try_from(wide >> 64).unwrap_or(0) | 1;
        let total = self.words.len() as u64 * 64;
        (0..PROBES).map(move |probe| {
            let bit = low.wrapping_add(probe.wrapping_mul(high)) % total;
            (usize::try_from(bit / 64).unwrap_or(0), 1 << (bit % 64))
        })
    }

    fn insert(&mut self, key: [u8; 16]) {
        for (word, bit) in self.bits(key) {
            self.words[word] |= bit;
        }
        self.room = self.room.saturating_sub(1);
    }

    fn may_hold(&self, key: [u8; 16]) -> bool {
        self.bits(key)
            .all(|(word, bit)| self.words[word] & bit != 0)
    }
}

/// Request ids of the last 24 hours.
#[derive(Debug, Default)]
pub struct RequestIndex {
    recent: BTreeMap<[u8; 16], ([u8; 16], Births, u64)>,
    // Ids in order of use, each with its hour. The first `durable` of them are durable.
    order: VecDeque<(u32, [u8; 16])>,
    durable: usize,
    // Number of ids that have left `order`. A mark counts them too.
    gone: usize,
    filters: BTreeMap<u32, Vec<Filter>>,
    // Hours whose ids are in the store and not yet in a filter: every look-up answers `Maybe`.
    unread: Vec<u32>,
}

/// The hour that a time falls in.
#[must_use]
pub fn hour_of(at_ms: u64) -> u32 {
    u32::try_from(at_ms / HOUR_MS).unwrap_or(u32::MAX)
}

/// The oldest hour whose request ids are still kept.
#[must_use]
pub fn oldest_hour(at_ms: u64) -> u32 {
    hour_of(at_ms.saturating_sub(REQUEST_HOURS * HOUR_MS))
}

impl RequestIndex {
    /// What memory knows about a request id at a time.
    #[must_use]
    pub fn look_up(&self, key: [u8; 16], now_ms: u64) -> Lookup {
        if let Some((body, births, at_ms)) = self.recent.get(&key)
            && at_ms + REQUEST_HOURS * HOUR_MS > now_ms
        {
            return Lookup::Used(*body, births.clone());
        }
        let oldest = oldest_hour(now_ms);
        let mut filters = self
            .filters
            .range(oldest..)
            .flat_map(|(_, filters)| filters);
        let unread = self.unread.iter().any(|hour| *hour >= oldest);
        if unread || filters.any(|filter| filter.may_hold(key)) {
            return Lookup::Maybe;
        }
        Lookup::Unused
    }

    pub(super) fn insert(&mut self, request: RequestKey, births: Births, at_ms: u64) {
        self.recent
            .insert(request.key, (request.body, births, at_ms));
        self.order.push_back((hour_of(at_ms), request.key));
    }

    /// A mark for [`Self::durable_up_to`]: it covers the ids that memory has received so far.
    #[must_use]
    pub fn mark(&self) -> usize {
        self.gone + self.order.len()
    }

    /// Tells that all ids up to a mark are durable. The oldest of them move to the filters where
    /// memory holds too many.
    pub fn durable_up_to(&mut self, mark: usize) {
        let durable = mark.saturating_sub(self.gone).min(self.order.len());
        self.durable = self.durable.max(durable);
        while self.order.len() > KEPT && self.durable > 0 {
            if let Some((hour, key)) = self.leave() {
                self.learn(hour, key);
            }
        }
    }

    /// Removes the oldest id from memory. If the id was used again since, only its old place is
    /// removed.
    fn leave(&mut self) -> Option<(u32, [u8; 16])> {
        let (hour, key) = self.order.pop_front()?;
        self.durable -= 1;
        self.gone += 1;
        if self
            .recent
            .get(&key)
            .is_some_and(|(_, _, at_ms)| hour_of(*at_ms) == hour)
        {
            self.recent.remove(&key);
        }
        Some((hour, key))
    }

    /// Tells that the store has ids of these hours. Until they are learned, look-ups answer
    /// `Maybe`.
    pub fn expect(&mut self, hours: impl IntoIterator<Item = u32>) {
        self.unread.extend(hours);
    }

    /// Adds an id that the store has.
    pub fn learn(&mut self, hour: u32, key: [u8; 16]) {
        let filters = self.filters.entry(hour).or_default();
        if filters.last().is_none_or(|filter| filter.room == 0) {
            let keys = FIRST_FILTER_KEYS << filters.len().min(16);
            filters.push(Filter::for_keys(keys));
        }
        if let Some(filter) = filters.last_mut() {
            filter.insert(key);
        }
    }

    /// Tells that all ids of an hour were learned.
    pub fn learned(&mut self, hour: u32) {
        self.unread.retain(|unread| *unread != hour);
    }

    /// Forgets the hours that are no longer kept.
    pub fn expire(&mut self, now_ms: u64) {
        let oldest = oldest_hour(now_ms);
        self.filters = self.filters.split_off(&oldest);
        self.unread.retain(|hour| *hour >= oldest);
        while self.durable > 0 && self.order.front().is_some_and(|(hour, _)| *hour < oldest) {
            self.leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(number: u64) -> RequestKey {
        let spread = u128::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
        RequestKey {
            key: spread.to_le_bytes(),
            body: [7; 16],
        }
    }

    fn used(birth: u64) -> Lookup {
        Lookup::Used(
            [7; 16],
            Births::Run {
                first: birth,
                count: 1,
            },
        )
    }

    fn filled(many: u64) -> RequestIndex {
        let mut index = RequestIndex::default();
        for birth in 0..many {
            index.insert(
                request(birth),
                Births::Run {
                    first: birth,
                    count: 1,
                },
                HOUR_MS,
            );
        }
        index
    }

    #[test]
    fn ids_that_are_not_durable_stay_in_memory() {
        let mut index = filled(70_000);
        index.durable_up_to(0);
        assert_eq!(used(0), index.look_up(request(0).key, HOUR_MS));
        index.durable_up_to(index.mark());
        assert_eq!(Lookup::Maybe, index.look_up(request(0).key, HOUR_MS));
        assert_eq!(used(69_999), index.look_up(request(69_999).key, HOUR_MS));
    }

    #[test]
    fn ids_never_seen_are_almost_always_known_to_be_unused() {
        let mut index = filled(200_000);
        index.durable_up_to(index.mark());
        let unknown = (1_000_000..1_010_000_u64)
            .filter(|number| index.look_up(request(*number).key, HOUR_MS) != Lookup::Unused)
            .count();
        assert!(unknown < 300, "{unknown} of 10 000");
    }

    #[test]
    fn a_day_later_an_id_is_unused_again() {
        let index = filled(1);
        assert_eq!(used(0), index.look_up(request(0).key, 25 * HOUR_MS - 1));
        assert_eq!(Lookup::Unused, index.look_up(request(0).key, 25 * HOUR_MS));
    }

    #[test]
    fn an_id_used_anew_a_day_later_outlives_its_first_use() {
        let mut index = filled(1);
        index.durable_up_to(index.mark());
        let births = Births::Run { first: 9, count: 1 };
        index.insert(request(0), births, 26 * HOUR_MS);
        index.expire(26 * HOUR_MS);
        assert_eq!(used(9), index.look_up(request(0).key, 26 * HOUR_MS));
    }

    #[test]
    fn a_mark_covers_only_ids_that_came_before_it() {
        let mut index = filled(10);
        let mark = index.mark();
        index.durable_up_to(mark);
        index.expire(30 * HOUR_MS);
        let births = Births::Run { first: 9, count: 1 };
        index.insert(request(99), births, 30 * HOUR_MS);
        index.durable_up_to(mark);
        index.expire(60 * HOUR_MS);
        assert_eq!(1, index.order.len(), "an id that is not durable stays");
    }

    #[test]
    fn hours_that_were_not_read_yet_may_hold_any_id() {
        let mut index = RequestIndex::default();
        index.expect([5]);
        assert_eq!(Lookup::Maybe, index.look_up(request(1).key, 5 * HOUR_MS));
        index.learn(5, request(1).key);
        index.learned(5);
        assert_eq!(Lookup::Maybe, index.look_up(request(1).key, 5 * HOUR_MS));
        assert_eq!(Lookup::Unused, index.look_up(request(2).key, 5 * HOUR_MS));
    }
}
