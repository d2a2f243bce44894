//! The pump: decides the messages of streams in order, until a message has to wait.
//!
//! Owns the begin and the end of a stream, and the choice of the next message. Refuses to know the
//! meaning of messages.

use std::sync::Arc;

use backlane_engine::command::Known;
use backlane_engine::rules::access::Principal;
use backlane_wire::{ApiError, Method};

use crate::message::{CompletionKind, Output, Ticket};

use super::calls::enqueue;
use super::room::{Caller, Room};
use super::stream::{Stream, Work};
use super::{dispatch, work};

/// Starts a stream.
pub(super) fn open(room: &mut Room, ticket: Ticket, method: Method, principal: Arc<Principal>) {
    if let Err(refusal) = principal.may_call(method.entry().role) {
        return room.desk.refuse(ticket, &refusal.into());
    }
    let work = (method == Method::Work).then(Work::default);
    let stream = Stream::new(principal, work);
    room.streams.by_ticket.insert(ticket, stream);
}

/// Takes a message that arrived on a stream.
pub(super) fn frame(room: &mut Room, ticket: Ticket, bytes: Vec<u8>) {
    let Some(stream) = room.streams.get_mut(ticket) else {
        return room.desk.journal.park(Output::Decided(ticket, bytes.len()));
    };
    stream.backlog.push_back(bytes);
    if stream.work.is_some() {
        let speaks_again = room.desk.engine.stream_frame(ticket, room.desk.now);
        if speaks_again {
            dispatch::line_up(room, ticket);
        }
    }
    next(room, ticket);
}

/// Continues with every stream whose messages no longer have to wait.
pub(super) fn go_on(room: &mut Room) {
    while let Some(ticket) = room.streams.unblocked.pop() {
        next(room, ticket);
    }
}

/// Decides messages in order until one has to wait, for a read or for the client.
fn next(room: &mut Room, ticket: Ticket) {
    while let Some(stream) = room.streams.get_mut(ticket) {
        if stream.deciding.is_some() || stream.is_held_back() {
            return;
        }
        let Some(bytes) = stream.backlog.pop_front() else {
            if stream.is_over() {
                end(room, ticket, None);
            }
            return;
        };
        stream.deciding = Some(bytes.len());
        let is_work = stream.work.is_some();
        let principal = stream.principal.clone();
        let taken = if is_work {
            work::frame(room, ticket, &principal, &bytes)
        } else {
            enqueue_frame(room, ticket, principal, &bytes)
        };
        if let Err(error) = taken {
            end(room, ticket, Some(&error));
        }
    }
}

fn enqueue_frame(
    room: &mut Room,
    ticket: Ticket,
    principal: Arc<Principal>,
    bytes: &[u8],
) -> Result<(), ApiError> {
    let caller = Caller {
        ticket,
        principal,
        timeout_ms: None,
    };
    let job = enqueue::frame(&mut room.desk, &caller, bytes)?;
    room.run(job, Known::default());
    Ok(())
}

/// Ends a stream from the server's side, with or without an error.
fn end(room: &mut Room, ticket: Ticket, error: Option<&ApiError>) {
    close(room, ticket);
    match error {
        None => room.desk.complete(ticket, CompletionKind::End),
        Some(error) => room.desk.refuse(ticket, error),
    }
}

/// Notes that the client will send no more messages on a stream.
pub(super) fn half_close(room: &mut Room, ticket: Ticket) {
    if let Some(stream) = room.streams.get_mut(ticket) {
        stream.half_closed = true;
        next(room, ticket);
    }
}

/// Forgets a stream that has ended.
pub(super) fn close(room: &mut Room, ticket: Ticket) {
    if let Some(work) = room.streams.remove(&mut room.desk, ticket) {
        work::ended(room, ticket, work);
    }
}

/// Notes that this many bytes of a stream's messages, or a unary reply, were handed to the network.
pub(super) fn written(room: &mut Room, ticket: Ticket, size: usize) {
    match room.streams.written(ticket, size) {
        None => room.takers.delivered(ticket),
        Some(true) => dispatch::line_up(room, ticket),
        Some(false) => {}
    }
}
