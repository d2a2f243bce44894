//! The producers' commands: enqueue, one by one, in batches and over streams; cancel.

use backlane_engine::command::{Cancel, Known};
use backlane_engine::reply::Made;
use backlane_engine::rules::id::Birth;
use backlane_wire::{ApiError, EnqueueBatch, EnqueueItem, View, reply};

use crate::message::Ticket;

use super::Shard;
use super::answer::{Answer, MAX_REPLY_BYTES, Shape};
use super::calls::Caller;

impl Shard {
    fn make(&mut self, item: &EnqueueItem, known: &Known) -> Result<Made, ApiError> {
        let made = self.engine.enqueue(&item.new, known, self.now);
        self.absorb([&item.payload]);
        Ok(made?)
    }

    pub(super) fn enqueue(&mut self, caller: &Caller, item: &EnqueueItem, known: &Known) {
        match self.make(item, known) {
            Ok(Made { birth, existing }) => {
                self.answer_one(caller.ticket, birth, Shape::Enqueued { existing });
            }
            Err(error) => self.refuse(caller.ticket, &error),
        }
    }

    /// Answers with one execution as it stands.
    pub(super) fn answer_one(&mut self, ticket: Ticket, birth: Birth, shape: Shape) {
        let shown = vec![self.shown(birth)];
        self.answer(Answer {
            ticket,
            view: View::Full,
            shown,
            shape,
        });
    }

    pub(super) fn enqueue_and_wait(
        &mut self,
        caller: &Caller,
        item: &EnqueueItem,
        timeout_ms: u64,
        known: &Known,
    ) {
        match self.make(item, known) {
            Ok(made) => self.wait_for_run(caller, made, timeout_ms),
            Err(error) => self.refuse(caller.ticket, &error),
        }
    }

    pub(super) fn enqueue_batch(&mut self, caller: &Caller, batch: EnqueueBatch, known: &Known) {
        let EnqueueBatch { items, request, .. } = batch;
        let (new, parts): (Vec<_>, Vec<_>) = items
            .into_iter()
            .map(|item| (item.new, item.payload))
            .unzip();
        let made = self
            .engine
            .enqueue_batch(&new, request.as_ref(), known, self.now);
        match made {
            Ok((made, whole)) => {
                let fresh = made.iter().zip(&parts).filter(|(made, _)| !made.existing);
                self.absorb(fresh.map(|(_, parts)| parts));
                let shown = made.iter().map(|made| self.shown(made.birth)).collect();
                let existing = made.iter().map(|made| made.existing).collect();
                let shape = Shape::Batch { existing, whole };
                let (ticket, view) = (caller.ticket, View::Basic);
                self.answer(Answer {
                    ticket,
                    view,
                    shown,
                    shape,
                });
            }
            Err(refusal) => {
                self.absorb_timers();
                self.refuse(caller.ticket, &ApiError::from(refusal));
            }
        }
    }

    /// One message of an enqueue stream: its items are independent, the outcomes in order.
    pub(super) fn enqueue_frame(
        &mut self,
        ticket: Ticket,
        items: &[Result<EnqueueItem, ApiError>],
        known: &Known,
    ) {
        let outcomes: Vec<_> = items
            .iter()
            .map(|item| {
                let made = self.make(item.as_ref().map_err(Clone::clone)?, known)?;
                // What a request id led to may be finished: its id is in what was read.
                let finished = known.finished.get(&made.birth).and_then(Option::as_ref);
                let living = self.engine.state().id(made.birth);
                let id = living.or_else(|| finished.map(|done| done.id));
                id.map(|id| (id, made.existing))
                    .ok_or_else(|| ApiError::internal("no such id"))
            })
            .collect();
        for message in reply::enqueue_stream_responses(&outcomes, MAX_REPLY_BYTES) {
            self.send_message(ticket, message);
        }
        self.frame_done(ticket);
        self.unblocked.push(ticket);
    }

    pub(super) fn cancel(&mut self, caller: &Caller, cancel: &Cancel, known: &Known) {
        let result = self.engine.cancel(cancel, known, self.now);
        self.absorb_timers();
        match result {
            Ok(()) => self.answer_one(caller.ticket, cancel.id.birth, Shape::Cancelled),
            Err(refusal) => self.refuse(caller.ticket, &ApiError::from(refusal)),
        }
    }
}
