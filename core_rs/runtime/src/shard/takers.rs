//! Takers: calls and streams that wait for leases.
//!
//! Owns the lines of each offer, and the leases of unary replies that may not have been sent.
//! Refuses to choose an execution: the engine does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use backlane_engine::command::{Held, OfferKey, Taker};

use crate::message::Ticket;

/// Number of unary replies whose leases are remembered, in case the transport reports that a reply
/// was never sent.
const REMEMBERED: usize = 4_096;

/// A unary call that waits for leases.
#[derive(Debug)]
pub(super) struct LeaseWaiting {
    pub(super) taker: Taker,
    pub(super) max: usize,
    pub(super) until_ms: u64,
}

/// A place in a line: a unary call, or one lane of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seat {
    pub(super) ticket: Ticket,
    /// 0 for a unary call.
    pub(super) lane: usize,
}

/// The purpose of a lease for its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The worker has a free slot for the lease.
    Slot,
    /// The worker will have a free slot soon.
    Prefetch,
}

/// Calls and lanes of one offer, the longest waiting first. It is never empty.
#[derive(Debug, Default)]
struct Line {
    order: BTreeMap<u64, Seat>,
    numbers: BTreeMap<Seat, u64>,
    last: u64,
}

impl Line {
    fn pop(&mut self) -> Option<Seat> {
        let (_, seat) = self.order.pop_first()?;
        self.numbers.remove(&seat);
        Some(seat)
    }

    fn push(&mut self, seat: Seat) {
        if !self.numbers.contains_key(&seat) {
            self.last += 1;
            self.order.insert(self.last, seat);
            self.numbers.insert(seat, self.last);
        }
    }

    fn remove(&mut self, seat: Seat) {
        if let Some(number) = self.numbers.remove(&seat) {
            self.order.remove(&number);
        }
    }
}

/// All calls and streams that wait for leases.
#[derive(Debug, Default)]
pub(super) struct Takers {
    pub(super) calls: BTreeMap<Ticket, LeaseWaiting>,
    for_slots: BTreeMap<OfferKey, Line>,
    for_prefetch: BTreeMap<OfferKey, Line>,
    by_expiry: BTreeSet<(u64, Ticket)>,
    pub(super) given: BTreeMap<Ticket, Vec<Held>>,
    given_order: VecDeque<Ticket>,
}

impl Takers {
    pub(super) fn insert(&mut self, ticket: Ticket, waiting: LeaseWaiting) {
        self.by_expiry.insert((waiting.until_ms, ticket));
        self.line_up(waiting.taker.offer, Seat { ticket, lane: 0 }, Purpose::Slot);
        self.calls.insert(ticket, waiting);
    }

    const fn lines(&self, purpose: Purpose) -> &BTreeMap<OfferKey, Line> {
        match purpose {
            Purpose::Slot => &self.for_slots,
            Purpose::Prefetch => &self.for_prefetch,
        }
    }

    const fn lines_mut(&mut self, purpose: Purpose) -> &mut BTreeMap<OfferKey, Line> {
        match purpose {
            Purpose::Slot => &mut self.for_slots,
            Purpose::Prefetch => &mut self.for_prefetch,
        }
    }

    /// Those of the offers that somebody waits for.
    pub(super) fn awaited(&self, purpose: Purpose, offers: &BTreeSet<OfferKey>) -> Vec<OfferKey> {
        let lines = self.lines(purpose);
        if lines.len() < offers.len() {
            let keys = lines.keys().filter(|key| offers.contains(key));
            return keys.copied().collect();
        }
        let keys = offers.iter().filter(|key| lines.contains_key(key));
        keys.copied().collect()
    }

    /// The number of calls and lanes that wait for an offer.
    pub(super) fn len(&self, offer: OfferKey, purpose: Purpose) -> usize {
        let line = self.lines(purpose).get(&offer);
        line.map_or(0, |line| line.order.len())
    }

    /// Takes the longest waiting call or lane out of a line.
    pub(super) fn pop(&mut self, offer: OfferKey, purpose: Purpose) -> Option<Seat> {
        let lines = self.lines_mut(purpose);
        let line = lines.get_mut(&offer)?;
        let seat = line.pop();
        if line.order.is_empty() {
            lines.remove(&offer);
        }
        seat
    }

    /// Puts a call or a lane at the end of a line of its offer, unless it is in the line.
    pub(super) fn line_up(&mut self, offer: OfferKey, seat: Seat, purpose: Purpose) {
        self.lines_mut(purpose).entry(offer).or_default().push(seat);
    }

    /// Removes a call or a lane from the lines of its offer.
    pub(super) fn leave(&mut self, offer: OfferKey, seat: Seat) {
        for purpose in [Purpose::Slot, Purpose::Prefetch] {
            let lines = self.lines_mut(purpose);
            if let Some(line) = lines.get_mut(&offer) {
                line.remove(seat);
                if line.order.is_empty() {
                    lines.remove(&offer);
                }
            }
        }
    }

    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<LeaseWaiting> {
        let waiting = self.calls.remove(&ticket)?;
        self.by_expiry.remove(&(waiting.until_ms, ticket));
        self.leave(waiting.taker.offer, Seat { ticket, lane: 0 });
        Some(waiting)
    }

    /// The waiting `Lease` call that runs out first, with the monotonic milliseconds of that time.
    pub(super) fn first_expiry(&self) -> Option<(u64, Ticket)> {
        self.by_expiry.first().copied()
    }

    /// Forgets the leases of a unary reply that was sent.
    pub(super) fn delivered(&mut self, ticket: Ticket) {
        self.given.remove(&ticket);
    }

    /// Remembers the leases of a unary reply until the reply was sent.
    pub(super) fn remember(&mut self, ticket: Ticket, held: Vec<Held>) {
        self.given.insert(ticket, held);
        self.given_order.push_back(ticket);
        if self.given_order.len() > REMEMBERED {
            let oldest = self.given_order.pop_front();
            oldest.and_then(|ticket| self.given.remove(&ticket));
        }
    }
}
