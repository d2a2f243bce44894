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
    /// Number of executions that must yet end.
    pub(super) missing: usize,
    /// Monotonic milliseconds at which the wait runs out.
    pub(super) until_ms: u64,
    /// For a `Run`: whether its execution was there before.
    pub(super) run: Option<bool>,
}

/// All calls that wait.
#[derive(Debug, Default)]
pub(super) struct Waits {
    by_ticket: BTreeMap<Ticket, Waiting>,
    by_birth: BTreeSet<(Birth, Ticket)>,
    by_expiry: BTreeSet<(u64, Ticket)>,
    // Calls for which nothing is missing any more.
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

    /// All calls that wait.
    pub(super) fn tickets(&self) -> Vec<Ticket> {
        self.by_ticket.keys().copied().collect()
    }

    /// Follows the ends of executions.
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

    /// The calls for which nothing is missing any more.
    pub(super) fn take_satisfied(&mut self) -> Vec<Ticket> {
        std::mem::take(&mut self.satisfied)
    }
}
