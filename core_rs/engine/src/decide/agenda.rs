//! The agenda: what the end of an execution means for others.
//!
//! Owns the consequences of ends: dependents are promoted or skipped, descendants are cancelled.
//! The first consequences belong to the commit of the end. The others are items of the agenda,
//! which is worked off in chunks, so that nothing else waits for a large number of them. Refuses
//! to decide about the execution that ended.
//!
//! An execution that ended otherwise than completed is either in the line of [`Engine::settle`] or
//! on the agenda, until all of its dependents are skipped. So a gate whose execution is gone, and
//! which is in neither, has opened.

use crate::engine::{Decision, Engine};
use crate::error::Refusal;
use crate::fact::{
    Actor, AgendaChange, AgendaFact, Ended, Entity, ExecutionChange, FactKind, Item, ItemNumber,
    Work,
};
use crate::rules::id::Birth;
use crate::rules::status::{EndReason, Phase, Status};
use crate::time::Now;

use super::tick::ends;

/// How far a piece of work got.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    /// The last execution that was looked at; `None` once all are done.
    pub(super) stopped_after: Option<Birth>,
    /// Whether an execution could not be changed, because it is set aside.
    pub(super) troubled: bool,
}

impl Engine {
    /// The work that a fact leads to, if it ends an execution. Call it before the fact is applied.
    pub(crate) fn consequences(&self, kind: &FactKind) -> Vec<Work> {
        let Some((ended, end)) = end_in(kind) else {
            return self.consequences_of_verdict(kind);
        };
        let completed = end.status.is_success();
        let gates = self.state.edges().awaited_gates(ended);
        let settle = |gate| Work::Settle {
            ended,
            gate,
            completed,
        };
        let cancel = self
            .cascades(ended, end)
            .then_some(Work::Cancel { ancestor: ended });
        gates.map(settle).chain(cancel).collect()
    }

    /// The work that the decision about a later end leads to. The outcome is known, so dependents
    /// are skipped now: one of them may be a descendant, for which the execution waits.
    fn consequences_of_verdict(&self, kind: &FactKind) -> Vec<Work> {
        let Some(fact) = kind.as_execution() else {
            return Vec::new();
        };
        let ExecutionChange::Concluded(_) = fact.change else {
            return Vec::new();
        };
        let ended = fact.birth;
        let settle = |gate| Work::Settle {
            ended,
            gate,
            completed: false,
        };
        self.state
            .edges()
            .awaited_gates(ended)
            .map(settle)
            .collect()
    }

    /// Adds work to the line. Promotions come last: until then, an execution that ended otherwise
    /// than completed is on the agenda, or its dependents are skipped.
    pub(crate) fn line_up(&mut self, works: Vec<Work>) {
        for work in works {
            match work {
                Work::Settle {
                    completed: true, ..
                } => self.unsettled.push_back(work),
                Work::Settle { .. } | Work::Cancel { .. } => self.unsettled.push_front(work),
            }
        }
    }

    /// Does the work that ends have led to, looking at no more than `left` executions, which it
    /// counts down. The rest goes on the agenda.
    pub(crate) fn settle(&mut self, left: &mut usize, now: Now) {
        self.conclude(now);
        while let Some(work) = self.unsettled.pop_front() {
            let item = Item { work, after: 0 };
            let Progress {
                stopped_after,
                troubled,
            } = self.work_on(item, left, now);
            if let Some(after) = stopped_after {
                let number = self.open_item(Item { work, after }, now);
                if troubled {
                    self.soft.troubled.insert(number);
                }
            } else if troubled {
                let number = self.open_item(item, now);
                self.put_off(number, item, now);
            }
            self.conclude(now);
        }
    }

    fn open_item(&mut self, item: Item, now: Now) -> ItemNumber {
        let number = self.state.agenda().next();
        // An item with this number cannot be open, so this is not refused.
        let _ = self.note_item(number, AgendaChange::Opened(item), now);
        number
    }

    /// Puts an item off until the next start: an execution that is set aside could not be changed.
    fn put_off(&mut self, number: ItemNumber, item: Item, now: Now) {
        if item.after != 0 {
            let _ = self.note_item(number, AgendaChange::Advanced { after: 0 }, now);
        }
        let why = "it concerns an execution that is set aside";
        self.soft.set_aside(Entity::Agenda(number), why);
    }

    fn note_item(
        &mut self,
        number: ItemNumber,
        change: AgendaChange,
        now: Now,
    ) -> Result<(), Refusal> {
        let kind = FactKind::Agenda(AgendaFact { number, change });
        self.commit_alone(Decision::of(Actor::engine(), kind), now)
    }

    /// Whether the agenda has work that can be done now.
    #[must_use]
    pub fn has_agenda(&self) -> bool {
        self.next_item().is_some()
    }

    fn next_item(&self) -> Option<(ItemNumber, Item)> {
        let mut items = self.state.agenda().items_after(0);
        items.find(|(number, _)| self.is_open(Entity::Agenda(*number)))
    }

    /// Works off a share of the agenda, looking at no more than `most` executions. Returns whether
    /// there is more to do.
    pub fn step_agenda(&mut self, most: usize, now: Now) -> bool {
        let mut left = most;
        while left > 0
            && let Some((number, item)) = self.next_item()
        {
            let Progress {
                stopped_after,
                troubled,
            } = self.work_on(item, &mut left, now);
            if troubled {
                self.soft.troubled.insert(number);
            }
            let noted = match stopped_after {
                Some(after) => self.note_item(number, AgendaChange::Advanced { after }, now),
                None if self.soft.troubled.remove(&number) => {
                    self.put_off(number, item, now);
                    Ok(())
                }
                None => self.note_item(number, AgendaChange::Closed, now),
            };
            // A refusal sets the item aside, and the next one is taken.
            let _ = noted;
            self.settle(&mut left, now);
        }
        self.has_agenda()
    }

    fn work_on(&mut self, item: Item, left: &mut usize, now: Now) -> Progress {
        match item.work {
            Work::Settle {
                ended,
                gate,
                completed,
            } => self.settle_gate(ended, (gate, completed), item.after, left, now),
            Work::Cancel { ancestor } => self.cancel_family(ancestor, item.after, left, now),
        }
    }

    fn settle_gate(
        &mut self,
        ended: Birth,
        (gate, completed): (Birth, bool),
        after: Birth,
        left: &mut usize,
        now: Now,
    ) -> Progress {
        let dependents = self.state.edges().dependents(gate, after);
        let dependents: Vec<Birth> = dependents.take(left.saturating_add(1)).collect();
        let mut progress = Progress::default();
        let mut last = after;
        for birth in dependents {
            if *left == 0 {
                progress.stopped_after = Some(last);
                break;
            }
            *left -= 1;
            last = birth;
            let decision = if completed {
                self.promoted(birth, now)
            } else {
                Some(skipped(birth))
            };
            let Some(decision) = decision else { continue };
            let decision = decision.because_of(Entity::Execution(ended));
            progress.troubled |= self.commit_alone(decision, now).is_err();
        }
        progress
    }

    /// The promotion of an execution, if nothing is left that it waits for.
    fn promoted(&self, birth: Birth, now: Now) -> Option<Decision> {
        let gates = self.state.edges().waits_for(birth);
        if self.state.slot(birth)?.phase != Phase::Blocked
            || !gates.iter().all(|gate| self.is_passed(*gate))
        {
            return None;
        }
        let not_before = self
            .state
            .extras(birth)
            .and_then(|extras| extras.not_before_ms);
        let is_due = not_before.is_none_or(|instant| instant <= now.wall_ms);
        let change = ExecutionChange::Promoted { is_due };
        Some(Decision::of(
            Actor::engine(),
            FactKind::execution(birth, change),
        ))
    }

    /// Whether the execution of a gate has completed.
    fn is_passed(&self, gate: Birth) -> bool {
        let owner = self.state.edges().owner(gate);
        self.state.slot(owner).is_none() && !self.state.agenda().has_failed(gate)
    }
}

/// The end that a fact is about.
pub(super) fn end_in(kind: &FactKind) -> Option<(Birth, Ended)> {
    let fact = kind.as_execution()?;
    match &fact.change {
        ExecutionChange::Ended(ended) => Some((fact.birth, *ended)),
        ExecutionChange::Enqueued(_)
        | ExecutionChange::Carried(_)
        | ExecutionChange::Due
        | ExecutionChange::Leased { .. }
        | ExecutionChange::Requeued { .. }
        | ExecutionChange::CancelRequested { .. }
        | ExecutionChange::Promoted { .. }
        | ExecutionChange::Concluded(_)
        | ExecutionChange::Discarded
        | ExecutionChange::Deleted => None,
    }
}

/// The end of an execution whose dependency did not complete.
pub(super) fn skipped(birth: Birth) -> Decision {
    let ended = Ended {
        status: Status::Cancelled,
        reason: EndReason::DependencyFailed,
        outcome: None,
    };
    ends(Actor::engine(), birth, ended)
}
