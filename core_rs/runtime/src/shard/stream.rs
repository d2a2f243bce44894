//! Streams: messages in order, as many at a time as both sides can take.
//!
//! Owns the backlog of a stream and when its reading pauses. Refuses to know what the messages
//! mean: `producer.rs` and `work.rs` do.

use std::collections::VecDeque;
use std::sync::Arc;

use backlane_engine::command::Known;
use backlane_engine::error::Refusal;
use backlane_engine::rules::access::Principal;
use backlane_wire::{ApiError, Method, decode_enqueue_stream};

use crate::message::{CompletionKind, Output, Ticket};

use super::Shard;
use super::calls::Job;
use super::work::Work;

/// Unwritten bytes above which a stream gets no further leases.
const FULL_BYTES: usize = 4 << 20;

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) principal: Arc<Principal>,
    /// What a Work stream has; `None` on an enqueue stream.
    pub(super) work: Option<Work>,
    backlog: VecDeque<Vec<u8>>,
    unwritten_bytes: usize,
    // Bytes of leases that were decided, while their payload is read.
    promised_bytes: usize,
    // Bytes of the message being decided; it may wait for a read.
    deciding: Option<usize>,
    half_closed: bool,
}

impl Stream {
    /// Whether no more leases may be sent.
    pub(super) const fn is_full(&self) -> bool {
        self.half_closed || self.unwritten_bytes + self.promised_bytes > FULL_BYTES
    }

    /// Whether all was said on both sides. Leases whose payload is being read are still to come:
    /// the worker hears of them before the end, and gives them back or comes again for them.
    const fn is_over(&self) -> bool {
        self.half_closed && self.promised_bytes == 0
    }

    /// Whether its messages have to wait until the client takes what was answered. A worker has
    /// room for answers beside its leases.
    const fn is_held_back(&self) -> bool {
        let room = if self.work.is_some() {
            2 * FULL_BYTES
        } else {
            FULL_BYTES
        };
        self.unwritten_bytes > room
    }
}

impl Shard {
    pub(super) fn open(&mut self, ticket: Ticket, method: Method, principal: Arc<Principal>) {
        let work = (method == Method::Work).then(Work::default);
        let stream = Stream {
            principal,
            work,
            backlog: VecDeque::new(),
            unwritten_bytes: 0,
            promised_bytes: 0,
            deciding: None,
            half_closed: false,
        };
        self.streams.insert(ticket, stream);
    }

    pub(super) fn frame(&mut self, ticket: Ticket, bytes: Vec<u8>) {
        let Some(stream) = self.streams.get_mut(&ticket) else {
            return self.journal.park(Output::Decided(ticket, bytes.len()));
        };
        stream.backlog.push_back(bytes);
        if stream.work.is_some() {
            self.engine.stream_frame(ticket, self.now);
        }
        self.next_frame(ticket);
    }

    /// Decides messages in order until one has to wait, for a read or for the client.
    pub(super) fn next_frame(&mut self, ticket: Ticket) {
        while let Some(stream) = self.streams.get_mut(&ticket) {
            if stream.deciding.is_some() || stream.is_held_back() {
                return;
            }
            let Some(bytes) = stream.backlog.pop_front() else {
                return self.after_frames(ticket);
            };
            stream.deciding = Some(bytes.len());
            let is_work = stream.work.is_some();
            let principal = stream.principal.clone();
            if is_work {
                self.work_frame(ticket, &principal, &bytes);
            } else {
                self.enqueue_stream_frame(ticket, &principal, &bytes);
            }
        }
    }

    fn after_frames(&mut self, ticket: Ticket) {
        if self.streams.get(&ticket).is_some_and(Stream::is_over) {
            self.end_stream(ticket, None);
        }
    }

    /// A message was decided: the next may be.
    pub(super) fn frame_done(&mut self, ticket: Ticket) {
        let stream = self.streams.get_mut(&ticket);
        if let Some(size) = stream.and_then(|stream| stream.deciding.take()) {
            self.journal.park(Output::Decided(ticket, size));
        }
    }

    fn enqueue_stream_frame(&mut self, ticket: Ticket, principal: &Arc<Principal>, bytes: &[u8]) {
        let limits = self.settings.limits;
        let mut context = Self::context(&limits, principal, &mut self.random);
        match decode_enqueue_stream(bytes, &mut context) {
            Ok(items) if self.draining => {
                let refused = items.iter().map(|_| Err(ApiError::from(Refusal::Draining)));
                self.enqueue_frame(ticket, &refused.collect::<Vec<_>>(), &Known::default());
            }
            Ok(items) => self.run(Box::new(Job::Stream(ticket, items)), Known::default()),
            Err(error) => self.end_stream(ticket, Some(&error)),
        }
    }

    pub(super) fn send_message(&mut self, ticket: Ticket, bytes: Vec<u8>) {
        if let Some(stream) = self.streams.get_mut(&ticket) {
            stream.unwritten_bytes += bytes.len();
            self.complete(ticket, CompletionKind::Message(bytes));
        }
    }

    /// Ends a stream from this side, well or with an error.
    pub(super) fn end_stream(&mut self, ticket: Ticket, error: Option<&ApiError>) {
        self.forget_stream(ticket);
        match error {
            None => self.complete(ticket, CompletionKind::End),
            Some(error) => self.refuse(ticket, error),
        }
    }

    pub(super) fn half_close(&mut self, ticket: Ticket) {
        let Some(stream) = self.streams.get_mut(&ticket) else {
            return;
        };
        stream.half_closed = true;
        self.next_frame(ticket);
    }

    pub(super) fn close(&mut self, ticket: Ticket) {
        self.forget_stream(ticket);
    }

    fn forget_stream(&mut self, ticket: Ticket) {
        let Some(stream) = self.streams.remove(&ticket) else {
            return;
        };
        let undecided: usize = stream.backlog.iter().map(Vec::len).sum();
        let undecided = undecided + stream.deciding.unwrap_or(0);
        self.journal.park(Output::Decided(ticket, undecided));
        if let Some(work) = stream.work {
            self.work_ended(ticket, work);
        }
    }

    /// Leases of so many bytes will be sent once they were read.
    pub(super) fn promise(&mut self, ticket: Ticket, bytes: usize) {
        if let Some(stream) = self.streams.get_mut(&ticket) {
            stream.promised_bytes += bytes;
        }
    }

    /// They were read: what is sent of them counts from now on.
    pub(super) fn keep_promise(&mut self, ticket: Ticket, bytes: usize) {
        if let Some(stream) = self.streams.get_mut(&ticket) {
            stream.promised_bytes = stream.promised_bytes.saturating_sub(bytes);
        }
    }

    pub(super) fn written(&mut self, ticket: Ticket, size: usize) {
        let Some(stream) = self.streams.get_mut(&ticket) else {
            return self.takers.delivered(ticket);
        };
        let (was_full, was_held_back) = (stream.is_full(), stream.is_held_back());
        stream.unwritten_bytes = stream.unwritten_bytes.saturating_sub(size);
        let (is_full, is_held_back) = (stream.is_full(), stream.is_held_back());
        if was_full && !is_full {
            self.line_up_stream(ticket);
        }
        if was_held_back && !is_held_back {
            self.next_frame(ticket);
        }
    }
}
