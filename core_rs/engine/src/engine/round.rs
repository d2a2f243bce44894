//! Rounds: a walk that writes all unfinished executions and limits to the log again, so that the
//! log before the walk can be trimmed.
//!
//! Owns the position of the walk. The limits of tenants come first, then the agenda, then the
//! executions. Refuses to
//! know when a round is due: the runtime does.

use crate::engine::{Decided, Engine};
use crate::fact::{
    Actor, AgendaChange, AgendaFact, ExecutionChange, Fact, FactKind, ItemNumber, LogFact,
    RunChange,
};
use crate::rules::id::Birth;
use crate::state::LimitKey;
use crate::time::Now;

/// The position of a walk: after one entity, or at the beginning of a kind of entities.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Walk {
    /// Among the limits of tenants: the limit that was carried last.
    Limits(Option<LimitKey>),
    /// Among the items of the agenda: the item that was carried last.
    Agenda(ItemNumber),
    /// Among the executions: the next execution to carry has at least this birth number.
    Executions(Birth),
}

/// A round in progress.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    walk: Walk,
    // Executions with this birth number or a higher one are in the log after the beginning of the
    // round.
    born_before: Birth,
}

impl Engine {
    /// Begins a round. Once the round is over, the log before this call may be trimmed.
    pub fn begin_round(&mut self, now: Now) {
        let next_birth = self.state.next_birth();
        self.round = Some(Round {
            walk: Walk::Limits(None),
            born_before: next_birth,
        });
        let next_item = self.state.agenda().next();
        let began = LogFact::RoundBegan {
            next_birth,
            next_item,
        };
        self.carry_fact(FactKind::Log(began), now);
    }

    /// Carries at most `most` entities. Returns whether the round is over.
    pub fn carry(&mut self, most: usize, now: Now) -> bool {
        let mut left = most;
        while let Some(round) = self.round.filter(|_| left > 0) {
            let carried = match round.walk {
                Walk::Limits(after) => self.carry_limits(round, after, left, now),
                Walk::Agenda(after) => self.carry_agenda(round, after, left, now),
                Walk::Executions(from) => self.carry_executions(round, from, left, now),
            };
            left -= carried.min(left);
        }
        self.round.is_none()
    }

    fn carry_limits(
        &mut self,
        round: Round,
        after: Option<LimitKey>,
        most: usize,
        now: Now,
    ) -> usize {
        let limits: Vec<_> = self.state.limits_after(after).take(most).collect();
        let carried = limits.len();
        let walk = match limits.last() {
            Some((last, _)) if carried == most => Walk::Limits(Some(*last)),
            _ => Walk::Agenda(0),
        };
        self.round = Some(Round { walk, ..round });
        for (_, limit) in limits {
            self.carry_fact(FactKind::Tenant(limit), now);
        }
        carried
    }

    /// Carries open items of the agenda. An item that is opened after the beginning of the round is
    /// in the log already, and is carried all the same.
    fn carry_agenda(&mut self, round: Round, after: ItemNumber, most: usize, now: Now) -> usize {
        let items: Vec<_> = self.state.agenda().items_after(after).take(most).collect();
        let carried = items.len();
        let walk = match items.last() {
            Some((last, _)) if carried == most => Walk::Agenda(*last),
            _ => Walk::Executions(0),
        };
        self.round = Some(Round { walk, ..round });
        for (number, item) in items {
            let change = AgendaChange::Carried(item);
            self.carry_fact(FactKind::Agenda(AgendaFact { number, change }), now);
        }
        carried
    }

    fn carry_executions(&mut self, round: Round, from: Birth, most: usize, now: Now) -> usize {
        let births = self.state.slots().births_from(from);
        let births: Vec<_> = births
            .take_while(|birth| *birth < round.born_before)
            .take(most)
            .collect();
        self.round = births.last().filter(|_| births.len() == most).map(|last| {
            let walk = Walk::Executions(last + 1);
            Round { walk, ..round }
        });
        for birth in &births {
            if let Some(living) = self.state.living(*birth) {
                let change = ExecutionChange::Carried(Box::new(living));
                self.carry_fact(FactKind::execution(*birth, change), now);
            }
            // In the same step as the execution: no other fact may come between the two.
            if let Some(run) = self.state.run(*birth) {
                let change = RunChange::Carried(Box::new(run.into_owned()));
                self.carry_fact(FactKind::run(*birth, change), now);
            }
        }
        births.len()
    }

    /// Logs a fact that repeats the state. Only the time of the state changes.
    fn carry_fact(&mut self, kind: FactKind, now: Now) {
        let at_ms = self.at_ms(now);
        self.state.pass_time(at_ms);
        self.decided.push(Decided {
            fact: Fact {
                at_ms,
                actor: Actor::engine(),
                cause: None,
                kind,
            },
            rows: Vec::new(),
        });
    }
}
