//! Dispatch: leases to whoever can take them. Unary calls and streams drain one order.
//!
//! Owns who is waiting for work, by offer. Refuses to choose an execution: the engine does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use backlane_engine::command::{Held, OfferKey, Taker};
use backlane_engine::reply::Granted;

use crate::message::Ticket;

use super::Shard;
use super::answer::{Answer, MAX_REPLY_BYTES, Shape};
use backlane_wire::{View, reply};

/// Leases a taker gets in one turn before the next of the same offer has one: enough for a busy
/// worker's batch, little enough that one does not empty the queue for all.
const TURN: usize = 256;
/// What a lease adds to the bytes its execution was made with.
const LEASE_BYTES: usize = 512;
/// All that a record has beside input, context and metadata: names, ids, instants.
const NAMES_BYTES: usize = 4_096;
/// Unary replies of which the transport may yet say that they never left.
const REMEMBERED: usize = 4_096;

/// A unary call that takes leases.
#[derive(Debug)]
pub(super) struct LeaseWaiting {
    pub(super) taker: Taker,
    pub(super) max: usize,
    pub(super) until_ms: u64,
}

/// Everybody who waits for work.
#[derive(Debug, Default)]
pub(super) struct Takers {
    calls: BTreeMap<Ticket, LeaseWaiting>,
    by_offer: BTreeMap<OfferKey, VecDeque<Ticket>>,
    by_expiry: BTreeSet<(u64, Ticket)>,
    given: BTreeMap<Ticket, Vec<Held>>,
    given_order: VecDeque<Ticket>,
}

impl Takers {
    pub(super) fn insert(&mut self, ticket: Ticket, waiting: LeaseWaiting) {
        self.by_expiry.insert((waiting.until_ms, ticket));
        self.line_up(waiting.taker.offer, ticket);
        self.calls.insert(ticket, waiting);
    }

    /// Puts a call or a stream at the end of its offer's line, once.
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

    /// Monotonic milliseconds of the first long poll that runs out.
    pub(super) fn next_expiry(&self) -> Option<u64> {
        self.by_expiry.first().map(|(until_ms, _)| *until_ms)
    }

    /// A unary reply left: nobody will say that it did not.
    pub(super) fn delivered(&mut self, ticket: Ticket) {
        self.given.remove(&ticket);
    }

    fn remember(&mut self, ticket: Ticket, held: Vec<Held>) {
        self.given.insert(ticket, held);
        self.given_order.push_back(ticket);
        if self.given_order.len() > REMEMBERED {
            let oldest = self.given_order.pop_front();
            oldest.and_then(|ticket| self.given.remove(&ticket));
        }
    }
}

impl Shard {
    /// Gives out what can be given. Offers take turns; within one, whoever waits longest.
    pub(super) fn dispatch(&mut self) {
        if self.draining {
            return;
        }
        for offer in self.takers.by_offer.keys().copied().collect::<Vec<_>>() {
            self.serve(offer);
        }
        self.absorb_timers();
    }

    fn serve(&mut self, offer: OfferKey) {
        // One look at each in line; who could take more goes to the end and has another turn.
        let mut idle = 0;
        while self.engine.has_work(offer) {
            let Some(line) = self.takers.by_offer.get_mut(&offer) else {
                return;
            };
            if idle >= line.len() {
                return;
            }
            let Some(ticket) = line.pop_front() else {
                return;
            };
            let took = self.give(ticket);
            idle = if took { 0 } else { idle + 1 };
        }
    }

    /// One taker's turn. Answers whether it took anything.
    fn give(&mut self, ticket: Ticket) -> bool {
        if let Some(waiting) = self.takers.calls.get(&ticket) {
            let (taker, max) = (waiting.taker.clone(), waiting.max);
            let granted = self.grant(&taker, max, u64::MAX);
            if granted.is_empty() {
                self.takers.line_up(taker.offer, ticket);
                return false;
            }
            self.takers.remove(ticket);
            self.engine.release_offer(taker.offer);
            self.give_to_call(ticket, granted);
            return true;
        }
        self.give_to_stream(ticket)
    }

    fn give_to_stream(&mut self, ticket: Ticket) -> bool {
        let Some((taker, room, bytes)) = self.room_on_stream(ticket) else {
            return false;
        };
        let granted = self.grant(&taker, room.min(TURN), bytes);
        let took = !granted.is_empty();
        self.spend_credit(ticket, &granted);
        self.promise(ticket, lease_bytes(&granted));
        if self.room_on_stream(ticket).is_some() {
            self.takers.line_up(taker.offer, ticket);
        }
        if took {
            self.send_granted(ticket, granted, true);
        }
        took
    }

    /// Leases the best for a taker: as many as fit, and always the first.
    fn grant(&mut self, taker: &Taker, max: usize, credit_bytes: u64) -> Vec<Granted> {
        let mut granted: Vec<Granted> = Vec::new();
        let (mut bytes, mut credit) = (0, credit_bytes);
        let room = MAX_REPLY_BYTES.saturating_sub(self.largest_lease());
        while granted.len() < max && (granted.is_empty() || bytes < room) && credit > 0 {
            let Some(lease) = self.engine.lease(taker, self.now) else {
                break;
            };
            let size = usize::try_from(lease.payload_bytes).unwrap_or(usize::MAX);
            bytes += size + LEASE_BYTES;
            credit = credit.saturating_sub(size as u64 + LEASE_BYTES as u64);
            granted.push(lease);
        }
        self.absorb_timers();
        granted
    }

    /// Bytes of the largest lease that the limits allow, and thus of any that comes next.
    const fn largest_lease(&self) -> usize {
        let limits = &self.settings.limits;
        limits.max_input_bytes + limits.max_context_bytes + limits.max_metadata_bytes + NAMES_BYTES
    }

    fn give_to_call(&mut self, ticket: Ticket, granted: Vec<Granted>) {
        let held = granted
            .iter()
            .filter_map(|granted| self.held(granted))
            .collect();
        self.takers.remember(ticket, held);
        self.send_granted(ticket, granted, false);
    }

    fn send_granted(&mut self, ticket: Ticket, granted: Vec<Granted>, stream: bool) {
        let shown = granted
            .iter()
            .map(|granted| self.shown(granted.birth))
            .collect();
        let (view, shape) = (View::Full, Shape::Leases { granted, stream });
        self.answer(Answer {
            ticket,
            view,
            shown,
            shape,
        });
    }

    /// The reply of a unary lease never left: its executions are queued again at their place.
    pub(super) fn take_back(&mut self, ticket: Ticket) {
        if let Some(waiting) = self.takers.remove(ticket) {
            self.engine.release_offer(waiting.taker.offer);
        }
        for held in self.takers.given.remove(&ticket).unwrap_or_default() {
            self.engine.undeliver(&held, self.now);
        }
        self.absorb_timers();
    }

    /// Answers the long polls that ran out.
    pub(super) fn expire_polls(&mut self) {
        while let Some((until_ms, ticket)) = self.takers.by_expiry.first().copied() {
            if until_ms > self.now.mono_ms {
                break;
            }
            self.finish_poll(ticket);
        }
    }

    fn finish_poll(&mut self, ticket: Ticket) {
        if let Some(waiting) = self.takers.remove(ticket) {
            self.engine.release_offer(waiting.taker.offer);
            self.reply(ticket, reply::lease_response(&[]));
        }
    }

    /// Answers every long poll: the server is about to stop.
    pub(super) fn finish_polls(&mut self) {
        for ticket in self.takers.calls.keys().copied().collect::<Vec<_>>() {
            self.finish_poll(ticket);
        }
    }
}

/// About as many bytes as these leases come to.
pub(super) fn lease_bytes(granted: &[Granted]) -> usize {
    let bytes = |lease: &Granted| usize::try_from(lease.payload_bytes).unwrap_or(usize::MAX);
    granted
        .iter()
        .map(|lease| bytes(lease).saturating_add(LEASE_BYTES))
        .sum()
}
