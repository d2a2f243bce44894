//! The desk: one engine, the commit that is being filled, and the rows in memory.
//!
//! Owns how a decision gets into the pending commit, and how a completion gets out once the commit
//! is durable. Refuses to know any call, and which callers wait for what.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use backlane_engine::Engine;
use backlane_engine::command::Held;
use backlane_engine::reply::Granted;
use backlane_engine::rules::access::Principal;
use backlane_engine::rules::id::Birth;
use backlane_engine::time::Now;
use backlane_wire::reply::Timed;
use backlane_wire::{ApiError, Context};

use crate::message::{Completion, CompletionKind, Output, Ticket};

use super::cache::Cache;
use super::gone::Gone;
use super::journal::Journal;
use super::settings::{Random, Settings};
use super::tally::Tally;

/// Most lines about damaged rows that are logged. Later lines are dropped.
const MOST_NOTICES: usize = 1_000;

/// The leases of one reply or message, which leave once the log is durable up to a number.
pub(super) struct Leaving {
    /// All facts with a lower sequence number must be durable.
    pub(super) rests_on: u64,
    /// The leases.
    pub(super) held: Vec<Held>,
    /// Whether leaving counts as arriving at the worker.
    pub(super) acknowledges: bool,
}

/// One engine, and the data that its decisions need and change.
pub(super) struct Desk {
    pub(super) engine: Engine,
    pub(super) journal: Journal,
    pub(super) cache: Cache,
    pub(super) gone: Gone,
    pub(super) settings: Settings,
    pub(super) tally: Tally,
    pub(super) random: Random,
    pub(super) draining: bool,
    /// Bytes of disk that new executions may use, beside what is decided already.
    pub(super) room_bytes: u64,
    pub(super) now: Now,
    pub(super) out: Vec<Output>,
    /// Leases that leave the server once they are durable, in order.
    pub(super) leaving: VecDeque<Leaving>,
    /// Executions that ended since the waits were last looked at.
    pub(super) ended: Vec<Birth>,
    /// Lines that were logged already.
    pub(super) noticed: BTreeSet<String>,
}

impl Desk {
    /// Calls `run` with the context that the check of a request needs.
    pub(super) fn with_context<T>(
        &mut self,
        principal: &Arc<Principal>,
        check: impl FnOnce(&mut Context<'_>) -> T,
    ) -> T {
        check(&mut Context {
            limits: &self.settings.limits,
            principal,
            random: &mut self.random,
            wall_ms: self.now.wall_ms,
        })
    }

    /// Holds a completion back until all decisions so far are durable. This includes errors and
    /// reads, because they may depend on decisions that are not durable yet.
    pub(super) fn complete(&mut self, ticket: Ticket, kind: CompletionKind) {
        self.journal
            .park(Output::Complete(Completion { ticket, kind }));
    }

    /// Holds back the reply of a unary call.
    pub(super) fn reply(&mut self, ticket: Ticket, reply: impl Into<Timed>) {
        self.complete_timed(ticket, reply.into(), CompletionKind::Reply);
    }

    /// Holds back a message on a stream.
    pub(super) fn message(&mut self, ticket: Ticket, message: Timed) {
        self.complete_timed(ticket, message, CompletionKind::Message);
    }

    fn complete_timed(
        &mut self,
        ticket: Ticket,
        Timed { bytes, countdowns }: Timed,
        kind: impl FnOnce(Vec<u8>) -> CompletionKind,
    ) {
        let kind = kind(bytes);
        let output = Output::Complete(Completion { ticket, kind });
        self.journal.park_timed(output, countdowns);
    }

    /// Holds back the error of a call or a stream.
    pub(super) fn refuse(&mut self, ticket: Ticket, error: &ApiError) {
        self.complete(ticket, CompletionKind::from(error));
    }

    /// Logs a line about a defect or damage, but only once.
    pub(super) fn notice(&mut self, line: String) {
        if self.noticed.len() < MOST_NOTICES && self.noticed.insert(line.clone()) {
            self.complete(0, CompletionKind::Notice(line));
        }
    }

    /// Whether an execution is unfinished.
    pub(super) fn is_living(&self, birth: Birth) -> bool {
        self.engine.state().slot(birth).is_some()
    }

    /// A lease in the form in which its worker names it.
    pub(super) fn held(&self, granted: &Granted) -> Option<Held> {
        let id = self.engine.state().id(granted.birth)?;
        Some(Held {
            id,
            token: Some(granted.holding.token),
        })
    }
}
