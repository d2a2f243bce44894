//! The whole engine: durable state, soft state, and the decisions that wait for the log.
//!
//! Owns the one place where a decision is applied. Refuses to hold rules: those are in `decide` and
//! `rules`.

mod decision;
mod round;

pub(crate) use decision::{Contents, Decision};

use std::collections::VecDeque;

use crate::command::{Finished, Known, OfferKey, OfferSpec, Read, StreamKey};
use crate::error::Refusal;
use crate::fact::{Entity, Fact, FactKind, Work};
use crate::row::{EndingRow, Row};
use crate::rules::id::{Birth, ExecutionId};
use crate::rules::limits::{Limits, SETTLED_AT_ONCE};
use crate::soft::{About, Soft, Told};
use crate::state::{Impossible, State};
use crate::time::Now;

use decision::rows_of;
use round::Round;

/// A fact that was decided and applied, with its rows. Fact and rows become durable in one commit.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    /// The decided fact.
    pub fact: Fact,
    /// The rows that the commit writes or removes, in order.
    pub rows: Vec<Row>,
}

/// Decides commands for one shard.
///
/// A method that returns an error has changed nothing. All other decisions wait in
/// [`Self::take_decided`]. No reply may leave before these are durable.
#[derive(Debug)]
pub struct Engine {
    pub(crate) state: State,
    pub(crate) soft: Soft,
    pub(crate) limits: Limits,
    pub(crate) epoch: u64,
    pub(crate) next_counter: u64,
    pub(crate) store_is_full: bool,
    /// The largest number of executions that one choice for a lease looked at.
    pub(crate) most_examined: usize,
    /// The ends whose consequences are not decided yet. Empty between two commands.
    pub(crate) unsettled: VecDeque<Work>,
    /// Ancestors that waited for their descendants, the last of which may have ended.
    pub(crate) concluding: Vec<Birth>,
    round: Option<Round>,
    decided: Vec<Decided>,
}

impl Engine {
    /// Starts an engine on the state that the log led to. The engine holds the shard under `epoch`.
    #[must_use]
    pub fn start(state: State, epoch: u64, limits: Limits, now: Now) -> Self {
        let soft = Soft::rebuild(&state, now);
        Self {
            state,
            soft,
            limits,
            epoch,
            next_counter: 1,
            store_is_full: false,
            most_examined: 0,
            unsettled: VecDeque::new(),
            concluding: Vec::new(),
            round: None,
            decided: Vec::new(),
        }
    }

    /// The durable state, including decisions that are not on disk yet.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The soft state, which a restart rebuilds.
    #[must_use]
    pub const fn soft(&self) -> &Soft {
        &self.soft
    }

    /// The time by which retention counts, in milliseconds since the epoch.
    #[must_use]
    pub const fn retention_now_ms(&self) -> u64 {
        self.soft.retention.now_ms()
    }

    /// The limits that decisions obey.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Takes every decision since the last call, in order.
    pub fn take_decided(&mut self) -> Vec<Decided> {
        std::mem::take(&mut self.decided)
    }

    /// Number of decisions since they were last taken.
    pub(crate) const fn waiting_decisions(&self) -> usize {
        self.decided.len()
    }

    /// Takes the notices for streams. They may be sent once the decisions are durable.
    pub fn take_told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.soft.told)
    }

    /// Sets whether the store is too full for new executions.
    pub const fn set_store_is_full(&mut self, full: bool) {
        self.store_is_full = full;
    }

    /// The index of request ids, for telling it which ids are durable.
    pub const fn requests_mut(&mut self) -> &mut crate::state::RequestIndex {
        self.state.requests_mut()
    }

    /// Registers a use of an offer; [`Self::release_offer`] ends it.
    pub fn acquire_offer(&mut self, spec: OfferSpec) -> OfferKey {
        self.soft.offers.acquire(spec, self.state.tenants())
    }

    /// Ends one use of an offer.
    pub fn release_offer(&mut self, key: OfferKey, now: Now) {
        self.soft.offers.release(key, self.state.tenants());
        if let Some(spec) = self.soft.offers.unused(key) {
            self.soft.seen.note(spec, now.wall_ms);
        }
    }

    /// Notes that a message arrived on a worker's stream. Returns whether the worker gets leases
    /// again that it did not get before, because it had lost one by silence.
    pub fn stream_frame(&mut self, stream: StreamKey, now: Now) -> bool {
        self.soft.holds.frame(stream, now)
    }

    /// Ends a worker's stream. Its leases stay live for a grace period, so that the worker can
    /// reconnect.
    pub fn stream_ended(&mut self, stream: StreamKey, now: Now) {
        for birth in self.soft.holds.stream_ended(stream, now) {
            self.soft.rearm(Entity::Execution(birth));
        }
    }

    /// A finished execution: as read from the store, or as ended by a decision that was not yet
    /// taken and that no reader can see.
    pub(crate) fn finished(
        &self,
        id: &ExecutionId,
        known: &Known,
    ) -> Result<Option<Finished>, Refusal> {
        let found = match known.finished.get(&id.birth) {
            Some(Read::Found(done)) => Some(done.clone()),
            Some(Read::Damaged(what)) => {
                return Err(Refusal::DataDamaged {
                    subject: id.to_string(),
                    what: what.to_string(),
                });
            }
            Some(Read::Absent) | None => self.just_ended(id.birth).map(Finished::from),
        };
        Ok(found.filter(|done| done.id == *id))
    }

    /// The ending of an execution that ended since decisions were last taken.
    pub(crate) fn just_ended(&self, birth: Birth) -> Option<&EndingRow> {
        let rows = self.decided.iter().rev().flat_map(|decided| &decided.rows);
        let endings = rows.filter_map(Row::as_ending);
        endings.into_iter().find(|ending| ending.id.birth == birth)
    }

    /// Applies a decision and queues it for the log, with the first consequences of an end.
    ///
    /// # Errors
    /// [`Refusal::SetAside`] where the decision contradicts the state; then nothing has changed.
    /// Every decision is made from this same state, so a contradiction is a defect of the program.
    /// The execution is set aside: ending the process would let one bad execution crash the server
    /// again after every restart.
    pub(crate) fn commit(&mut self, decision: Decision, now: Now) -> Result<(), Refusal> {
        self.commit_alone(decision, now)?;
        self.settle(&mut { SETTLED_AT_ONCE }, now);
        Ok(())
    }

    /// Applies a decision and queues it for the log. The consequences of an end are left to
    /// [`Self::settle`].
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub(crate) fn commit_alone(&mut self, decision: Decision, now: Now) -> Result<(), Refusal> {
        let decision = self.await_descendants(decision);
        let Decision {
            actor,
            cause,
            kind,
            contents,
        } = decision;
        let at_ms = self.at_ms(now);
        let fact = Fact {
            at_ms,
            actor,
            cause,
            kind,
        };
        if let Some(entity) = fact.kind.entity() {
            self.refuse_set_aside(entity)?;
        }
        let before = self.about(&fact.kind);
        let consequences = self.consequences(&fact.kind);
        let concluding = self.concluding_after(&fact.kind);
        let last = match self.state.apply(&fact) {
            Ok(last) => last,
            Err(impossible) => return Err(self.set_aside(&fact.kind, &impossible)),
        };
        self.line_up(consequences);
        self.concluding.extend(concluding);
        let about = before.or_else(|| self.about(&fact.kind));
        let held = before.is_some_and(|about| about.held);
        self.soft.follow(&self.state, &fact.kind, about, now);
        while let Some(gone) = self.state.forget_idle_name() {
            self.soft.forget(gone);
        }
        let rows = rows_of(&self.state, &fact, contents, held, last);
        self.decided.push(Decided { fact, rows });
        Ok(())
    }

    /// Refuses decisions about an entity that was set aside.
    pub(crate) fn refuse_set_aside(&self, entity: Entity) -> Result<(), Refusal> {
        match self.soft.set_aside_why(entity) {
            None => Ok(()),
            Some(why) => Err(self.set_aside_refusal(entity, why)),
        }
    }

    fn set_aside(&mut self, kind: &FactKind, impossible: &Impossible) -> Refusal {
        let why = impossible.to_string();
        let entity = kind.entity();
        if let Some(entity) = entity {
            self.soft.set_aside(entity, &why);
        }
        entity.map_or_else(
            || Refusal::SetAside {
                execution_id: String::new(),
                why: why.clone(),
            },
            |entity| self.set_aside_refusal(entity, &why),
        )
    }

    fn set_aside_refusal(&self, entity: Entity, why: &str) -> Refusal {
        let execution_id = match entity {
            Entity::Execution(birth) => self
                .state
                .id(birth)
                .map_or_else(|| format!("number {birth}"), |id| id.to_string()),
            Entity::Agenda(number) => format!("of item {number} of the agenda"),
        };
        Refusal::SetAside {
            execution_id,
            why: why.to_owned(),
        }
    }

    /// The time that a fact is logged with. It never decreases.
    pub(crate) fn at_ms(&self, now: Now) -> u64 {
        now.wall_ms.max(self.state.last_at_ms())
    }

    fn about(&self, kind: &FactKind) -> Option<About> {
        let birth = kind.entity()?.execution()?;
        let queue = self.state.slot(birth)?.queue;
        Some(About {
            birth,
            queue,
            id: self.state.id(birth)?,
            held: self.state.holding(birth).is_some(),
        })
    }
}

impl From<&EndingRow> for Finished {
    fn from(ending: &EndingRow) -> Self {
        Self {
            id: ending.id,
            tenant: ending.tenant.clone(),
            status: ending.status,
            outcome: ending.progress.outcome,
        }
    }
}

/// Applies a fact of the log.
///
/// # Errors
/// [`Impossible`] where a fact contradicts the facts before it: the log is damaged.
pub fn fold(state: &mut State, fact: &Fact) -> Result<(), Impossible> {
    state.apply(fact)?;
    while state.forget_idle_name().is_some() {}
    Ok(())
}

#[cfg(test)]
mod tests;
