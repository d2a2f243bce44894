//! Waits: calls that wait for executions to end.
//!
//! Owns the table of waiting calls. Refuses to answer them: `calls/wait.rs` does.

use std::collections::{BTreeMap, BTreeSet};

use backlane_engine::rules::id::Birth;
use backlane_wire::ApiError;

use crate::message::Ticket;

/// One call that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) ids: Vec<Result<Birth, ApiError>>,
    /// Number of executions that must still end.
    pub(super) missing: usize,
    /// End of the wait, in monotonic milliseconds.
    pub(super) until_ms: u64,
    /// For a `Run` call: whether its execution existed before.
    pub(super) run: Option<bool>,
}

/// All calls that wait.
#[derive(Debug, Default)]
pub(super) struct Waits {
    by_ticket: BTreeMap<Ticket, Waiting>,
    by_birth: BTreeSet<(Birth, Ticket)>,
    by_expiry: BTreeSet<(u64, Ticket)>,
    // Calls whose executions have ended.
    satisfied: Vec<Ticket>,
}

impl Waits {
    pub(super) fn insert(&mut self, ticket: Ticket, waiting: Waiting) {
        let births = waiting.ids.iter().flatten();
        self.by_birth.extend(births.map(|birth| (*birth, ticket)));
        self.by_expiry.insert((waiting.until_ms, ticket));
        self.by_ticket.insert(ticket, waiting);
    }

    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Waiting> {
        let waiting = self.by_ticket.remove(&ticket)?;
        self.by_expiry.remove(&(waiting.until_ms, ticket));
        for birth in waiting.ids.iter().flatten() {
            self.by_birth.remove(&(*birth, ticket));
        }
        Some(waiting)
    }

    /// The wait that runs out first, with the monotonic milliseconds of that time.
    pub(super) fn first_expiry(&self) -> Option<(u64, Ticket)> {
        self.by_expiry.first().copied()
    }

    /// The tickets of all calls that wait.
    pub(super) fn tickets(&self) -> Vec<Ticket> {
        self.by_ticket.keys().copied().collect()
    }

    /// Counts the executions that ended.
    pub(super) fn follow(&mut self, ended: &mut Vec<Birth>) {
        for birth in ended.drain(..) {
            let range = (birth, 0)..=(birth, Ticket::MAX);
            let tickets = self.by_birth.range(range).map(|(_, ticket)| *ticket);
            for ticket in tickets.collect::<Vec<_>>() {
                self.by_birth.remove(&(birth, ticket));
                let Some(waiting) = self.by_ticket.get_mut(&ticket) else {
                    continue;
                };
                waiting.missing = waiting.missing.saturating_sub(1);
                if waiting.missing == 0 {
                    self.satisfied.push(ticket);
                }
            }
        }
    }

    /// Takes the calls whose executions have ended.
    pub(super) fn take_satisfied(&mut self) -> Vec<Ticket> {
        std::mem::take(&mut self.satisfied)
    }
}
