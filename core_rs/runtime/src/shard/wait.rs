//! Waits: callers that hear of ends.
//!
//! Owns who waits for what, and until when. Refuses to end a wait before the end it waited for is
//! durable: the answer rests on it like any other.

use std::collections::{BTreeMap, BTreeSet};

use backlane_engine::command::Known;
use backlane_engine::reply::Made;
use backlane_engine::rules::id::Birth;
use backlane_wire::{ApiError, View, WaitCall};

use crate::message::Ticket;

use super::Shard;
use super::answer::{Answer, Shape};
use super::calls::Caller;
use super::query::not_found;

#[derive(Debug)]
struct Waiting {
    ids: Vec<Result<Birth, ApiError>>,
    // How many more must end.
    missing: usize,
    until_ms: u64,
    // Of a Run: whether its execution was there before.
    run: Option<bool>,
}

/// Every call that waits.
#[derive(Debug, Default)]
pub(super) struct Waits {
    by_ticket: BTreeMap<Ticket, Waiting>,
    by_birth: BTreeSet<(Birth, Ticket)>,
    by_expiry: BTreeSet<(u64, Ticket)>,
    // Nothing is missing any more: answered at the end of the step.
    satisfied: Vec<Ticket>,
}

impl Waits {
    fn insert(&mut self, ticket: Ticket, waiting: Waiting) {
        let births = waiting.ids.iter().flatten();
        self.by_birth.extend(births.map(|birth| (*birth, ticket)));
        self.by_expiry.insert((waiting.until_ms, ticket));
        self.by_ticket.insert(ticket, waiting);
    }

    fn remove(&mut self, ticket: Ticket) -> Option<Waiting> {
        let waiting = self.by_ticket.remove(&ticket)?;
        self.by_expiry.remove(&(waiting.until_ms, ticket));
        for birth in waiting.ids.iter().flatten() {
            self.by_birth.remove(&(*birth, ticket));
        }
        Some(waiting)
    }

    /// Monotonic milliseconds of the first wait that runs out.
    pub(super) fn next_expiry(&self) -> Option<u64> {
        self.by_expiry.first().map(|(until_ms, _)| *until_ms)
    }
}

impl Shard {
    pub(super) fn wait(&mut self, caller: &Caller, wait: WaitCall, known: &Known) {
        let WaitCall {
            tenant,
            ids,
            needed,
            timeout_ms,
        } = wait;
        let ids: Vec<_> = ids
            .into_iter()
            .map(|id| {
                let id = id?;
                let there = self.is_there(&tenant, &id, known);
                if there {
                    Ok(id.birth)
                } else {
                    Err(not_found(&tenant, &id).into())
                }
            })
            .collect();
        self.wait_for(caller, ids, needed, timeout_ms, None);
    }

    pub(super) fn wait_for_run(&mut self, caller: &Caller, made: Made, timeout_ms: u64) {
        self.wait_for(
            caller,
            vec![Ok(made.birth)],
            1,
            timeout_ms,
            Some(made.existing),
        );
    }

    fn wait_for(
        &mut self,
        caller: &Caller,
        ids: Vec<Result<Birth, ApiError>>,
        needed: usize,
        timeout_ms: u64,
        run: Option<bool>,
    ) {
        let ended = ids
            .iter()
            .filter(|id| id.as_ref().is_ok_and(|birth| !self.is_living(*birth)));
        let ended = ended.count() + ids.iter().filter(|id| id.is_err()).count();
        let timeout_ms = timeout_ms.min(caller.timeout_ms.unwrap_or(u64::MAX));
        let until_ms = self.now.mono_ms.saturating_add(timeout_ms);
        let waiting = Waiting {
            ids,
            missing: needed.saturating_sub(ended),
            until_ms,
            run,
        };
        if waiting.missing == 0 || timeout_ms == 0 || self.draining {
            self.answer_wait(caller.ticket, waiting);
        } else {
            self.waits.insert(caller.ticket, waiting);
        }
    }

    /// An execution ended: whoever waited for it may go on.
    pub(super) fn ended(&mut self, birth: Birth) {
        let range = (birth, 0)..=(birth, Ticket::MAX);
        let tickets: Vec<_> = self
            .waits
            .by_birth
            .range(range)
            .map(|(_, ticket)| *ticket)
            .collect();
        for ticket in tickets {
            self.waits.by_birth.remove(&(birth, ticket));
            let Some(waiting) = self.waits.by_ticket.get_mut(&ticket) else {
                continue;
            };
            waiting.missing = waiting.missing.saturating_sub(1);
            if waiting.missing == 0 {
                self.waits.satisfied.push(ticket);
            }
        }
    }

    /// Answers the waits whose ends came in this step, now that all of it is decided.
    pub(super) fn answer_satisfied(&mut self) {
        for ticket in std::mem::take(&mut self.waits.satisfied) {
            self.finish_wait(ticket);
        }
    }

    fn finish_wait(&mut self, ticket: Ticket) {
        if let Some(waiting) = self.waits.remove(ticket) {
            self.answer_wait(ticket, waiting);
        }
    }

    fn answer_wait(&mut self, ticket: Ticket, waiting: Waiting) {
        let births: BTreeSet<_> = waiting.ids.iter().flatten().copied().collect();
        let shown = births.into_iter().map(|birth| self.shown(birth)).collect();
        let satisfied = waiting.missing == 0;
        let (view, shape) = match waiting.run {
            Some(existing) => (View::Full, Shape::Ran { existing }),
            None => (
                View::Basic,
                Shape::Waited {
                    ids: waiting.ids,
                    satisfied,
                },
            ),
        };
        self.answer(Answer {
            ticket,
            view,
            shown,
            shape,
        });
    }

    /// Answers the waits that ran out.
    pub(super) fn expire_waits(&mut self) {
        while let Some((until_ms, ticket)) = self.waits.by_expiry.first().copied() {
            if until_ms > self.now.mono_ms {
                break;
            }
            self.finish_wait(ticket);
        }
    }

    /// Answers every wait with the states so far: the server is about to stop.
    pub(super) fn finish_waits(&mut self) {
        for ticket in self.waits.by_ticket.keys().copied().collect::<Vec<_>>() {
            self.finish_wait(ticket);
        }
    }

    /// A caller waits no longer.
    pub(super) fn stop_waiting(&mut self, ticket: Ticket) {
        self.waits.remove(ticket);
    }
}
