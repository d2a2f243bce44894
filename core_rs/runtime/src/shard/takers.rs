//! Takers: calls and streams that wait for leases.
//!
//! Owns the line of each offer, and the leases of unary replies that may not have been sent.
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

/// All calls and streams that wait for leases.
#[derive(Debug, Default)]
pub(super) struct Takers {
    pub(super) calls: BTreeMap<Ticket, LeaseWaiting>,
    pub(super) by_offer: BTreeMap<OfferKey, VecDeque<Ticket>>,
    by_expiry: BTreeSet<(u64, Ticket)>,
    pub(super) given: BTreeMap<Ticket, Vec<Held>>,
    given_order: VecDeque<Ticket>,
}

impl Takers {
    pub(super) fn insert(&mut self, ticket: Ticket, waiting: LeaseWaiting) {
        self.by_expiry.insert((waiting.until_ms, ticket));
        self.line_up(waiting.taker.offer, ticket);
        self.calls.insert(ticket, waiting);
    }

    /// Puts a call or a stream at the end of its offer's line, unless it is in the line.
    pub(super) fn line_up(&mut self, offer: OfferKey, ticket: Ticket) {
        let line = self.by_offer.entry(offer).or_default();
        if !line.contains(&ticket) {
            line.push_back(ticket);
        }
    }

    pub(super) fn leave(&mut self, offer: OfferKey, ticket: Ticket) {
        if let Some(line) = self.by_offer.get_mut(&offer) {
            line.retain(|one| *one != ticket);
            if line.is_empty() {
                self.by_offer.remove(&offer);
            }
        }
    }

    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<LeaseWaiting> {
        let waiting = self.calls.remove(&ticket)?;
        self.by_expiry.remove(&(waiting.until_ms, ticket));
        self.leave(waiting.taker.offer, ticket);
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
