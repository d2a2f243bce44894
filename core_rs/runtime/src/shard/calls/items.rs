//! Items: commands about leases that come many in one request, each decided on its own.
//!
//! Owns what they have in common: which finished executions they name, one outcome for each, and
//! how the outcomes are sent. Refuses to know what a command does.

use std::sync::Arc;

use backlane_engine::command::{Held, Known, Needs};
use backlane_engine::decide::Speaker;
use backlane_engine::error::Refusal;
use backlane_engine::reply::Settled;
use backlane_engine::rules::access::Principal;
use backlane_engine::rules::id::ExecutionId;
use backlane_wire::{ApiError, Context, reply};

use crate::message::Ticket;
use crate::shard::desk::Desk;
use crate::shard::room::{Caller, Job, Room};

/// A command about a lease.
pub(super) trait Item: Send + 'static {
    /// The executions that the command names besides that of its lease.
    fn names(&self) -> Vec<&ExecutionId> {
        Vec::new()
    }

    /// Decides the command.
    fn settle(self, held: &Held, desk: &mut Desk, speaker: Speaker<'_>)
    -> Result<Settled, Refusal>;
}

/// Items of a request. An error stands for an item that could not be read.
type Read<T> = Vec<Result<(Held, T), ApiError>>;

/// How outcomes are sent.
enum Door {
    /// In a unary reply.
    Call,
    /// In a message on a `Work` stream.
    Stream,
}

struct Deciding<T> {
    ticket: Ticket,
    principal: Arc<Principal>,
    items: Read<T>,
    door: Door,
}

/// Prepares a call with items.
pub(super) fn call<T: Item>(
    desk: &mut Desk,
    caller: Caller,
    decode: impl FnOnce(&mut Context<'_>) -> Result<Read<T>, ApiError>,
) -> Result<Box<dyn Job>, ApiError> {
    let items = desk.with_context(&caller.principal, decode)?;
    Ok(Box::new(Deciding {
        ticket: caller.ticket,
        principal: caller.principal,
        items,
        door: Door::Call,
    }))
}

/// Prepares items that arrived on a `Work` stream.
pub(super) fn on_stream<T: Item>(
    ticket: Ticket,
    principal: Arc<Principal>,
    items: Read<T>,
) -> Box<dyn Job> {
    Box::new(Deciding {
        ticket,
        principal,
        items,
        door: Door::Stream,
    })
}

impl<T: Item> Job for Deciding<T> {
    fn needs(&self, desk: &Desk, known: &Known) -> Needs {
        let items = self.items.iter().flatten();
        let ids = items.flat_map(|(held, item)| std::iter::once(&held.id).chain(item.names()));
        desk.engine.needs_for(ids, known)
    }

    fn decide(self: Box<Self>, room: &mut Room, known: &Known) {
        let Self {
            ticket,
            principal,
            items,
            door,
        } = *self;
        let (desk, principal) = (&mut room.desk, &*principal);
        // An item that fails does not affect the others.
        let outcomes = items.into_iter().map(|item| {
            let (held, item) = item?;
            let settled = item.settle(&held, desk, Speaker { principal, known })?;
            Ok((held.id, settled))
        });
        let outcomes: Vec<Result<_, ApiError>> = outcomes.collect();
        desk.absorb();
        let now_ms = desk.now.mono_ms;
        match door {
            Door::Call => desk.reply(ticket, reply::outcomes_response(&outcomes, now_ms)),
            Door::Stream => {
                let message = reply::work_outcomes(&outcomes, now_ms);
                room.streams.send(desk, ticket, message);
                room.streams.decided(desk, ticket);
            }
        }
    }
}
