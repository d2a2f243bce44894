//! Streams: messages in order, as many at a time as both sides can take.
//!
//! Owns the backlog of a stream, the bytes that are being sent on it, and when its reading pauses.
//! Refuses to know the meaning of messages: `calls/enqueue.rs` and `work.rs` do.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use backlane_engine::Engine;
use backlane_engine::command::{OfferKey, Taker};
use backlane_engine::reason::Offering;
use backlane_engine::rules::access::Principal;
use backlane_wire::reply::Timed;

use crate::message::{Output, Ticket};

use super::desk::Desk;
use super::takers::{Purpose, Seat};

/// Bytes not yet handed to the network, above which a stream gets no further leases.
const FULL_BYTES: usize = 4 << 20;

/// One open stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) principal: Arc<Principal>,
    /// The state of a `Work` stream; `None` on an `EnqueueStream`.
    pub(super) work: Option<Work>,
    pub(super) backlog: VecDeque<Vec<u8>>,
    unwritten_bytes: usize,
    /// Bytes of leases that were decided and whose payloads are still being read.
    promised_bytes: usize,
    /// Bytes of the message that is being decided. The decision may wait for a read.
    pub(super) deciding: Option<usize>,
    pub(super) half_closed: bool,
}

/// The state of a `Work` stream.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) hello: Option<Hello>,
    pub(super) draining: bool,
}

/// The contents of a worker's first message.
#[derive(Debug)]
pub(super) struct Hello {
    pub(super) worker: Arc<str>,
    pub(super) duration_ms: u64,
    pub(super) lanes: Vec<Lane>,
}

/// Callables of a worker that share slots, and the room for their leases.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) offer: OfferKey,
    /// Number of leases for free slots.
    credit: u64,
    /// Number of leases ahead of free slots.
    prefetch: u64,
    /// Bytes of leases that the worker can still take; `None` for no limit.
    credit_bytes: Option<u64>,
}

impl Lane {
    pub(super) const fn new(offer: OfferKey) -> Self {
        Self {
            offer,
            credit: 0,
            prefetch: 0,
            credit_bytes: None,
        }
    }

    /// Adds credit.
    pub(super) fn extend(&mut self, executions: u32, prefetch: u32, bytes: Option<u64>) {
        self.credit = self.credit.saturating_add(executions.into());
        self.prefetch = self.prefetch.saturating_add(prefetch.into());
        self.credit_bytes = bytes.map(|more| self.credit_bytes.unwrap_or(0).saturating_add(more));
    }

    /// Uses credit for leases that are sent.
    pub(super) fn spend(&mut self, purpose: Purpose, leases: usize, bytes: usize) {
        let credit = match purpose {
            Purpose::Slot => &mut self.credit,
            Purpose::Prefetch => &mut self.prefetch,
        };
        *credit = credit.saturating_sub(leases as u64);
        let left = |left: u64| left.saturating_sub(bytes as u64);
        self.credit_bytes = self.credit_bytes.map(left);
    }

    /// The number of leases that the credit allows, and of their bytes.
    fn room(&self, purpose: Purpose) -> (u64, u64) {
        let most = match purpose {
            Purpose::Slot => self.credit,
            Purpose::Prefetch => self.prefetch,
        };
        (most, self.credit_bytes.unwrap_or(u64::MAX))
    }
}

impl Stream {
    pub(super) fn new(principal: Arc<Principal>, work: Option<Work>) -> Self {
        Self {
            principal,
            work,
            backlog: VecDeque::new(),
            unwritten_bytes: 0,
            promised_bytes: 0,
            deciding: None,
            half_closed: false,
        }
    }

    /// Whether no more leases may be sent.
    const fn is_full(&self) -> bool {
        self.half_closed || self.unwritten_bytes + self.promised_bytes > FULL_BYTES
    }

    /// Whether both sides are done. Leases whose payloads are being read are still sent before the
    /// end: the worker releases them, or reconnects to keep them.
    pub(super) const fn is_over(&self) -> bool {
        self.half_closed && self.promised_bytes == 0
    }

    /// Whether messages must wait until the client has received earlier replies. A `Work` stream
    /// has extra room for replies in addition to its leases.
    pub(super) const fn is_held_back(&self) -> bool {
        let room = if self.work.is_some() {
            2 * FULL_BYTES
        } else {
            FULL_BYTES
        };
        self.unwritten_bytes > room
    }

    /// Bytes that came in and are not decided yet.
    fn undecided_bytes(&self) -> usize {
        let backlog: usize = self.backlog.iter().map(Vec::len).sum();
        backlog + self.deciding.unwrap_or(0)
    }
}

/// All open streams.
#[derive(Debug, Default)]
pub(super) struct Streams {
    pub(super) by_ticket: BTreeMap<Ticket, Stream>,
    /// Streams whose messages no longer have to wait.
    pub(super) unblocked: Vec<Ticket>,
}

impl Streams {
    pub(super) fn get_mut(&mut self, ticket: Ticket) -> Option<&mut Stream> {
        self.by_ticket.get_mut(&ticket)
    }

    pub(super) fn work(&self, ticket: Ticket) -> Option<&Work> {
        self.by_ticket.get(&ticket)?.work.as_ref()
    }

    pub(super) fn work_mut(&mut self, ticket: Ticket) -> Option<&mut Work> {
        self.by_ticket.get_mut(&ticket)?.work.as_mut()
    }

    /// Sends a message on a stream.
    pub(super) fn send(&mut self, desk: &mut Desk, ticket: Ticket, message: impl Into<Timed>) {
        if let Some(stream) = self.by_ticket.get_mut(&ticket) {
            let message = message.into();
            stream.unwritten_bytes += message.bytes.len();
            desk.message(ticket, message);
        }
    }

    /// Notes that the message in progress was decided, so that the next message can be.
    pub(super) fn decided(&mut self, desk: &mut Desk, ticket: Ticket) {
        let stream = self.by_ticket.get_mut(&ticket);
        if let Some(size) = stream.and_then(|stream| stream.deciding.take()) {
            desk.journal.park(Output::Decided(ticket, size));
        }
        self.unblocked.push(ticket);
    }

    /// Reserves room for leases that will be sent once their payloads were read.
    pub(super) fn promise(&mut self, ticket: Ticket, bytes: usize) {
        if let Some(stream) = self.by_ticket.get_mut(&ticket) {
            stream.promised_bytes += bytes;
        }
    }

    /// Releases the reserved room: the payloads were read, and the bytes that are really sent count
    /// from now on. Returns whether the stream has room for leases again.
    pub(super) fn keep_promise(&mut self, ticket: Ticket, bytes: usize) -> bool {
        self.by_ticket.get_mut(&ticket).is_some_and(|stream| {
            let was_full = stream.is_full();
            stream.promised_bytes = stream.promised_bytes.saturating_sub(bytes);
            was_full && !stream.is_full()
        })
    }

    /// Notes bytes that were handed to the network. Returns `None` if there is no such stream, and
    /// otherwise whether the stream has room for leases again.
    pub(super) fn written(&mut self, ticket: Ticket, size: usize) -> Option<bool> {
        let stream = self.by_ticket.get_mut(&ticket)?;
        let (was_full, was_held_back) = (stream.is_full(), stream.is_held_back());
        stream.unwritten_bytes = stream.unwritten_bytes.saturating_sub(size);
        let has_room = was_full && !stream.is_full();
        if was_held_back && !stream.is_held_back() {
            self.unblocked.push(ticket);
        }
        Some(has_room)
    }

    /// The lanes of a worker; empty before its hello.
    pub(super) fn lanes(&self, ticket: Ticket) -> &[Lane] {
        let hello = self.work(ticket).and_then(|work| work.hello.as_ref());
        hello.map_or(&[], |hello| &hello.lanes)
    }

    /// One lane of a worker, to change its credit.
    pub(super) fn lane_mut(&mut self, seat: Seat) -> Option<&mut Lane> {
        let hello = self.work_mut(seat.ticket)?.hello.as_mut()?;
        hello.lanes.get_mut(seat.lane)
    }

    /// Whether a lane can take leases now.
    pub(super) fn has_room(&self, seat: Seat, purpose: Purpose, engine: &Engine) -> bool {
        let lane = self.lanes(seat.ticket).get(seat.lane);
        let (most, bytes) = lane.map_or((0, 0), |lane| lane.room(purpose));
        // A worker that lost a lease by silence may be frozen.
        let may_take = |stream: &Stream| {
            let draining = stream.work.as_ref().is_none_or(|work| work.draining);
            !stream.is_full() && !draining && !engine.soft().holds.is_mute(seat.ticket)
        };
        most > 0 && bytes > 0 && self.by_ticket.get(&seat.ticket).is_some_and(may_take)
    }

    /// The leases that a lane can take now, as worker, number and bytes; `None` if it can take
    /// none.
    pub(super) fn room(
        &self,
        seat: Seat,
        purpose: Purpose,
        engine: &Engine,
    ) -> Option<(Taker, usize, u64)> {
        if !self.has_room(seat, purpose, engine) {
            return None;
        }
        let stream = self.by_ticket.get(&seat.ticket)?;
        let hello = stream.work.as_ref()?.hello.as_ref()?;
        let lane = hello.lanes.get(seat.lane)?;
        let taker = Taker {
            worker: hello.worker.clone(),
            offer: lane.offer,
            duration_ms: hello.duration_ms,
            principal: stream.principal.name.clone(),
            stream: Some(seat.ticket),
            prefetches: purpose == Purpose::Prefetch,
        };
        let (most, bytes) = lane.room(purpose);
        Some((taker, usize::try_from(most).unwrap_or(usize::MAX), bytes))
    }

    /// The lanes of the workers that take executions: not of those that drain, nor of those that
    /// may be frozen.
    pub(super) fn offering(&self, engine: &Engine) -> impl Iterator<Item = Offering> {
        let live = self.by_ticket.iter().filter(|(ticket, stream)| {
            let draining = stream.work.as_ref().is_none_or(|work| work.draining);
            !draining && !stream.half_closed && !engine.soft().holds.is_mute(**ticket)
        });
        live.flat_map(|(ticket, _)| {
            let lanes = self.lanes(*ticket).iter().enumerate();
            lanes.filter_map(|(lane, offered)| {
                let seat = Seat {
                    ticket: *ticket,
                    lane,
                };
                let room = self.room(seat, Purpose::Slot, engine);
                Some(Offering {
                    worker: self.worker(*ticket)?.clone(),
                    offer: offered.offer,
                    free: room.map_or(0, |(_, most, _)| most as u64),
                    stream: Some(*ticket),
                })
            })
        })
    }

    fn worker(&self, ticket: Ticket) -> Option<&Arc<str>> {
        let hello = self.work(ticket)?.hello.as_ref()?;
        Some(&hello.worker)
    }

    /// Forgets a stream. Returns the state of a `Work` stream.
    pub(super) fn remove(&mut self, desk: &mut Desk, ticket: Ticket) -> Option<Work> {
        let stream = self.by_ticket.remove(&ticket)?;
        let undecided = stream.undecided_bytes();
        desk.journal.park(Output::Decided(ticket, undecided));
        stream.work
    }
}
