//! Enqueue: one execution, a batch, or a message of a stream.
//!
//! Owns the replies of the calls that create executions. Refuses to decide whether an execution is
//! created: the engine does.

use std::borrow::Cow;

use backlane_engine::command::{Known, Needs, NewExecution, Read};
use backlane_engine::error::Refusal;
use backlane_engine::reply::Made;
use backlane_engine::rules::id::ExecutionId;
use backlane_wire::enqueue::{EnqueueBatch, decode_batch, decode_enqueue, decode_enqueue_stream};
use backlane_wire::{ApiError, View, reply};

use crate::message::Ticket;
use crate::shard::desk::Desk;
use crate::shard::room::{Caller, Job, Room};
use crate::shard::show::{self, Fetch, MAX_REPLY_BYTES, Shown};

/// Prepares an `Enqueue` call.
pub(crate) fn one(desk: &mut Desk, caller: Caller, bytes: &[u8]) -> Result<Box<dyn Job>, ApiError> {
    let new = desk.with_context(&caller.principal, |context| decode_enqueue(bytes, context))?;
    Ok(Box::new(One { caller, new }))
}

/// Prepares an `EnqueueBatch` call.
pub(crate) fn batch(
    desk: &mut Desk,
    caller: Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    let batch = desk.with_context(&caller.principal, |context| decode_batch(bytes, context))?;
    Ok(Box::new(Batch { caller, batch }))
}

/// Enqueues one execution, unless the server is about to stop.
pub(super) fn make(desk: &mut Desk, new: NewExecution, known: &Known) -> Result<Made, Refusal> {
    if desk.draining {
        return Err(Refusal::Draining);
    }
    let made = desk.engine.enqueue(new, known, desk.now);
    desk.absorb();
    made
}

struct One {
    caller: Caller,
    new: NewExecution,
}

impl Job for One {
    fn needs(&self, desk: &Desk, known: &Known) -> Needs {
        desk.engine.needs_for_new([&self.new], None, known)
    }

    fn decide(self: Box<Self>, room: &mut Room, known: &Known) {
        let ticket = self.caller.ticket;
        match make(&mut room.desk, self.new, known) {
            Ok(Made { birth, existing }) => show::one(room, ticket, birth, View::Full, move |it| {
                reply::enqueue_response(it, existing)
            }),
            Err(refusal) => room.desk.refuse(ticket, &refusal.into()),
        }
    }
}

struct Batch {
    caller: Caller,
    batch: EnqueueBatch,
}

impl Job for Batch {
    fn needs(&self, desk: &Desk, known: &Known) -> Needs {
        let EnqueueBatch { items, request } = &self.batch;
        desk.engine.needs_for_new(items, request.as_ref(), known)
    }

    fn decide(self: Box<Self>, room: &mut Room, known: &Known) {
        let ticket = self.caller.ticket;
        let EnqueueBatch { items, request } = self.batch;
        let desk = &mut room.desk;
        if desk.draining {
            return desk.refuse(ticket, &Refusal::Draining.into());
        }
        let made = desk
            .engine
            .enqueue_batch(items, request.as_ref(), known, desk.now);
        desk.absorb();
        match made {
            Ok((made, whole)) => answer_batch(room, ticket, &made, whole),
            Err(refusal) => desk.refuse(ticket, &refusal.into()),
        }
    }
}

fn answer_batch(room: &mut Room, ticket: Ticket, made: &[Made], whole: bool) {
    let existing: Vec<_> = made.iter().map(|made| made.existing).collect();
    let shown = made.iter().map(|made| Shown::now(&room.desk, made.birth));
    let fetch = Fetch {
        shown: shown.collect(),
        view: View::Basic,
        list: None,
    };
    show::fetch(room, fetch, move |room, shown| {
        let records = shown.and_then(|shown| {
            let records = show::capped(&mut room.desk, &shown, View::Basic);
            records.into_iter().collect::<Result<Vec<_>, _>>()
        });
        match records {
            Ok(records) => {
                let results: Vec<_> = records.into_iter().zip(existing).collect();
                let bytes = reply::enqueue_batch_response(&results, whole);
                room.desk.reply(ticket, bytes);
            }
            Err(error) => room.desk.refuse(ticket, &error),
        }
    });
}

/// Prepares one message of an `EnqueueStream`. Its items are decided independently, and the
/// outcomes are sent in the order of the items.
pub(crate) fn frame(
    desk: &mut Desk,
    caller: &Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    let items = desk.with_context(&caller.principal, |context| {
        decode_enqueue_stream(bytes, context)
    })?;
    let ticket = caller.ticket;
    Ok(Box::new(Frame { ticket, items }))
}

struct Frame {
    ticket: Ticket,
    items: Vec<Result<NewExecution, ApiError>>,
}

impl Job for Frame {
    fn needs(&self, desk: &Desk, known: &Known) -> Needs {
        let new = self.items.iter().flatten();
        desk.engine.needs_for_new(new, None, known)
    }

    fn decide(self: Box<Self>, room: &mut Room, known: &Known) {
        let mut known = Cow::Borrowed(known);
        let mut outcomes = Vec::with_capacity(self.items.len());
        for (at, item) in self.items.into_iter().enumerate() {
            let ended_before = room.desk.ended.len();
            outcomes.push(outcome(&mut room.desk, at, item, &known));
            // A later item may repeat the request of an execution that this item replaced.
            let finished = room.desk.ended[ended_before..].to_vec();
            if !finished.is_empty() {
                let requests = Vec::new();
                room.missing(Needs { finished, requests }, known.to_mut());
            }
        }
        let desk = &mut room.desk;
        for message in reply::enqueue_stream_responses(&outcomes, MAX_REPLY_BYTES) {
            room.streams.send(desk, self.ticket, message);
        }
        room.streams.decided(desk, self.ticket);
    }
}

/// Decides one item of a message.
fn outcome(
    desk: &mut Desk,
    at: usize,
    item: Result<NewExecution, ApiError>,
    known: &Known,
) -> Result<(ExecutionId, bool), ApiError> {
    let made =
        make(desk, item?, known).map_err(|refusal| refusal.within(&format!("items[{at}]")))?;
    let id = id_of(desk, &made, known);
    id.map(|id| (id, made.existing))
        .ok_or_else(|| ApiError::internal("no such id"))
}

/// The id of an execution that was enqueued or found. If the execution has finished, it was read
/// for the decision, or it ended just now and is in memory.
fn id_of(desk: &Desk, made: &Made, known: &Known) -> Option<ExecutionId> {
    let finished = match known.finished.get(&made.birth) {
        Some(Read::Found(done)) => Some(done.id),
        Some(Read::Absent | Read::Damaged(_)) | None => None,
    };
    let living = desk.engine.state().id(made.birth);
    living
        .or(finished)
        .or_else(|| show::id_in_memory(desk, made.birth))
}
