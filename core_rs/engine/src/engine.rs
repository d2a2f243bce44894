//! The engine as one piece: state, soft state, and the decisions on their way out.
//!
//! Owns the one place where a decision is applied. Refuses to hold rules: they are in `decide`
//! and `rules`.

mod decision;
mod round;

pub(crate) use decision::{Contents, Decision};

use crate::command::{Finished, Known, OfferKey, OfferSpec, Read, StreamKey};
use crate::error::Refusal;
use crate::fact::{Entity, Fact, FactKind};
use crate::row::{EndingRow, Row};
use crate::rules::id::{Birth, ExecutionId};
use crate::rules::limits::Limits;
use crate::soft::{About, Soft, Told};
use crate::state::{Impossible, State};
use crate::time::Now;

use decision::rows_of;
use round::Round;

/// A fact that was decided and applied, and its rows. They become durable together.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    /// The fact.
    pub fact: Fact,
    /// The rows that are written or removed with it, in order.
    pub rows: Vec<Row>,
}

/// Decides commands for one shard.
///
/// A method that returns an error changed nothing. Everything else that it decided waits in
/// [`Self::take_decided`]; no reply may leave before that is durable.
#[derive(Debug)]
pub struct Engine {
    pub(crate) state: State,
    pub(crate) soft: Soft,
    pub(crate) limits: Limits,
    pub(crate) epoch: u64,
    pub(crate) next_counter: u64,
    pub(crate) store_is_full: bool,
    round: Option<Round>,
    decided: Vec<Decided>,
}

impl Engine {
    /// An engine over a folded state, which holds the shard under `epoch`.
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
            round: None,
            decided: Vec::new(),
        }
    }

    /// The state that is durable, or about to be.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The state that a restart forgets.
    #[must_use]
    pub const fn soft(&self) -> &Soft {
        &self.soft
    }

    /// The limits that decisions keep to.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Everything that was decided since the last call, in order.
    pub fn take_decided(&mut self) -> Vec<Decided> {
        std::mem::take(&mut self.decided)
    }

    /// The notices for streams, to be sent once the decisions are durable.
    pub fn take_told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.soft.told)
    }

    /// Tells whether the store still has room for new executions.
    pub const fn set_store_is_full(&mut self, full: bool) {
        self.store_is_full = full;
    }

    /// The index of request ids, to be told what is durable.
    pub const fn requests_mut(&mut self) -> &mut crate::state::RequestIndex {
        self.state.requests_mut()
    }

    /// Registers an offer; [`Self::release_offer`] gives it back.
    pub fn acquire_offer(&mut self, spec: OfferSpec) -> OfferKey {
        self.soft.offers.acquire(spec, self.state.tenants())
    }

    /// Gives an offer back.
    pub fn release_offer(&mut self, key: OfferKey) {
        self.soft.offers.release(key);
    }

    /// A message came on a worker's stream.
    pub fn stream_frame(&mut self, stream: StreamKey, now: Now) {
        self.soft.holds.frame(stream, now);
    }

    /// A worker's stream ended: its leases wait for the worker to come back, for a grace period.
    pub fn stream_ended(&mut self, stream: StreamKey, now: Now) {
        for birth in self.soft.holds.stream_ended(stream, now) {
            self.soft.rearm(Entity::Execution(birth));
        }
    }

    /// An execution that is over: as it was read, or as it was decided since the decisions were
    /// taken last, of which no reader can know.
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

    /// The ending of an execution that ended since the decisions were taken last.
    pub(crate) fn just_ended(&self, birth: Birth) -> Option<&EndingRow> {
        let rows = self.decided.iter().rev().flat_map(|decided| &decided.rows);
        let endings = rows.filter_map(Row::as_ending);
        endings.into_iter().find(|ending| ending.id.birth == birth)
    }

    /// Applies a decision and queues it for the log.
    ///
    /// # Errors
    /// [`Refusal::SetAside`] where the decision cannot follow the state; nothing changed. A
    /// decision looks at this very state, so that is a defect. The execution is set aside, since
    /// ending the process would make one bad execution a crash loop.
    pub(crate) fn commit(&mut self, decision: Decision, now: Now) -> Result<(), Refusal> {
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
        let last = match self.state.apply(&fact) {
            Ok(last) => last,
            Err(impossible) => return Err(self.set_aside(&fact.kind, &impossible)),
        };
        let about = before.or_else(|| self.about(&fact.kind));
        let held = before.is_some_and(|about| about.held);
        self.soft.follow(&self.state, &fact.kind, about, now);
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
        let Entity::Execution(birth) = entity;
        let id = self.state.id(birth);
        Refusal::SetAside {
            execution_id: id.map_or_else(|| format!("number {birth}"), |id| id.to_string()),
            why: why.to_owned(),
        }
    }

    /// The time that a fact is logged with. It never decreases.
    pub(crate) fn at_ms(&self, now: Now) -> u64 {
        now.wall_ms.max(self.state.last_at_ms())
    }

    fn about(&self, kind: &FactKind) -> Option<About> {
        let Entity::Execution(birth) = kind.entity()?;
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

/// Folds a log.
///
/// # Errors
/// [`Impossible`] where a fact cannot follow what came before: the log is damaged.
pub fn fold(state: &mut State, fact: &Fact) -> Result<(), Impossible> {
    state.apply(fact).map(drop)
}

#[cfg(test)]
mod tests;
