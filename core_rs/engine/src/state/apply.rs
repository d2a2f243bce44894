//! Applies facts. This is the only change of the durable state, in a running server as in a replay.
//!
//! Owns the order of checking and changing: a fact is checked against the state first, and a fact
//! that contradicts the state changes nothing. Each entity has a module of its own for the changes
//! of its facts. Refuses to know why a fact was decided.

mod agenda;
mod execution;
mod run;
mod tenant;

pub(crate) use run::actions_of;

use thiserror::Error;

use crate::fact::{Entity, Fact, FactKind, ItemNumber, Living, LogFact, RequestFact};
use crate::rules::id::Birth;
use crate::rules::status::Phase;
use crate::state::{Extras, State};

/// A fact that contradicts the facts before it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Impossible {
    /// The fact changes an execution that does not exist.
    #[error("a fact changes execution number {birth}, which does not exist")]
    Unknown {
        /// Birth number of the execution.
        birth: Birth,
    },
    /// A round wrote an execution again with other data than the facts before it had led to.
    #[error(
        "execution number {birth} was written again with a state that contradicts the earlier facts"
    )]
    CarriedDiffers {
        /// Birth number of the execution.
        birth: Birth,
    },
    /// The phase of the execution does not allow this fact.
    #[error("a fact is impossible for execution number {birth} in phase {phase:?}")]
    NotAllowed {
        /// Birth number of the execution.
        birth: Birth,
        /// The phase of the execution, if the execution exists.
        phase: Option<Phase>,
    },
    /// The fact contradicts the open items of the agenda.
    #[error("a fact is impossible for item {number} of the agenda")]
    Agenda {
        /// The number of the item.
        number: ItemNumber,
    },
}

impl State {
    /// Applies one fact. Returns the last state of an execution that the fact ended.
    ///
    /// # Errors
    /// [`Impossible`] where the fact contradicts the state; then nothing has changed.
    pub fn apply(&mut self, fact: &Fact) -> Result<Option<Box<Living>>, Impossible> {
        if self.is_unseen(&fact.kind) {
            self.pass_time(fact.at_ms);
            return Ok(None);
        }
        match &fact.kind {
            FactKind::Execution(change) => self.check_execution(change)?,
            FactKind::Run(change) => self.check_run(change)?,
            FactKind::Agenda(change) => self.check_agenda(*change)?,
            FactKind::Tenant(_) | FactKind::Request(_) | FactKind::Log(_) => {}
        }
        self.pass_time(fact.at_ms);
        let about = fact.kind.entity().and_then(Entity::execution);
        if let Some(birth) = about {
            self.unpark(birth);
        }
        let ended = self.apply_checked(fact);
        if let Some(birth) = about {
            self.park(birth);
        }
        Ok(ended)
    }

    fn apply_checked(&mut self, fact: &Fact) -> Option<Box<Living>> {
        match &fact.kind {
            FactKind::Execution(change) => return self.apply_execution(change, fact),
            FactKind::Tenant(change) => self.apply_tenant(change),
            FactKind::Request(RequestFact { request, births }) => {
                self.requests.insert(*request, births.clone(), fact.at_ms);
            }
            FactKind::Log(LogFact::RoundBegan {
                next_birth,
                next_item,
            }) => {
                self.round_began(*next_birth);
                self.agenda.begin_at(*next_item);
            }
            FactKind::Agenda(change) => self.apply_agenda(*change),
            FactKind::Run(change) => self.apply_run(change, fact),
        }
        None
    }

    /// Gives an execution its extras and its run back: a fact is about to change it.
    fn unpark(&mut self, birth: Birth) {
        let Some((extras, run)) = self.parked.take(birth) else {
            return;
        };
        if !extras.is_empty() {
            self.extras.insert(birth, Box::new(extras));
        }
        if let Some(run) = run {
            self.runs.insert(birth, run);
        }
    }

    /// Takes the extras and the run of a suspended execution into the compact form.
    fn park(&mut self, birth: Birth) {
        let slot = self.slots.get(birth);
        if slot.is_none_or(|slot| slot.phase != Phase::Suspended) {
            return;
        }
        let none = Extras::default();
        let extras = self.extras.get(&birth).map_or(&none, AsRef::as_ref);
        let run = self.runs.get(&birth).map(AsRef::as_ref);
        if self.parked.put(birth, extras, run) {
            self.extras.remove(&birth);
            self.runs.remove(&birth);
        }
    }

    /// Whether a fact is to be skipped. A trimmed log begins somewhere before a complete round.
    /// Facts about an execution or an item of the agenda are skipped until that round carries it;
    /// they are all skipped if it ended before.
    fn is_unseen(&self, kind: &FactKind) -> bool {
        let is_old_execution = |birth: Birth| {
            let is_unknown = self.slots.get(birth).is_none();
            is_unknown && birth < self.unseen_below
        };
        match kind {
            FactKind::Execution(fact) => {
                is_old_execution(fact.birth) && !fact.change.holds_the_execution()
            }
            FactKind::Run(fact) => is_old_execution(fact.birth),
            FactKind::Agenda(fact) => {
                let is_unknown = self.agenda.item(fact.number).is_none();
                self.unseen_below != 0 && is_unknown && !fact.change.holds_the_item()
            }
            FactKind::Tenant(_) | FactKind::Request(_) | FactKind::Log(_) => false,
        }
    }

    fn round_began(&mut self, next_birth: Birth) {
        self.next_birth = self.next_birth.max(next_birth);
        if self.unseen_below != 0 {
            self.unseen_below = next_birth;
        }
    }

    /// Advances the time of the state: later facts have no earlier time.
    pub(crate) const fn pass_time(&mut self, at_ms: u64) {
        if at_ms > self.last_at_ms {
            self.last_at_ms = at_ms;
        }
    }
}
