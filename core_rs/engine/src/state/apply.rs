//! Applying facts: the only mutation of the state, live and on replay alike.
//!
//! Owns the order of checking and changing: a fact is checked against the state first, and a fact
//! that cannot follow changes nothing. Each entity has a module of its own for what its facts
//! change. Refuses to judge why a fact was decided.

mod execution;
mod tenant;

use thiserror::Error;

use crate::fact::{Fact, FactKind, Living, LogFact, RequestFact};
use crate::rules::id::Birth;
use crate::rules::status::Phase;
use crate::state::State;

/// A fact that cannot follow what was folded before it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Impossible {
    /// The fact changes an execution that is not there.
    #[error("a fact changes execution number {birth}, which is not there")]
    Unknown {
        /// Birth number of the execution.
        birth: Birth,
    },
    /// A carried execution differs from the folded one.
    #[error("execution number {birth} was carried with another state than the log gave it")]
    CarriedDiffers {
        /// Birth number of the execution.
        birth: Birth,
    },
    /// The execution is in a phase that the fact cannot follow.
    #[error("a fact cannot follow for execution number {birth}, whose phase is {phase:?}")]
    NotAllowed {
        /// Birth number of the execution.
        birth: Birth,
        /// The phase of the execution, if it is there.
        phase: Option<Phase>,
    },
}

impl State {
    /// Folds one fact in. Returns the last state of an execution that the fact ended.
    ///
    /// # Errors
    /// [`Impossible`] where the fact cannot follow; then nothing changed.
    pub fn apply(&mut self, fact: &Fact) -> Result<Option<Box<Living>>, Impossible> {
        if self.is_unseen(&fact.kind) {
            self.pass_time(fact.at_ms);
            return Ok(None);
        }
        if let FactKind::Execution(change) = &fact.kind {
            self.check_execution(change)?;
        }
        self.pass_time(fact.at_ms);
        match &fact.kind {
            FactKind::Execution(change) => return Ok(self.apply_execution(change, fact)),
            FactKind::Tenant(change) => self.apply_tenant(change),
            FactKind::Request(RequestFact { request, births }) => {
                self.requests.insert(*request, births.clone(), fact.at_ms);
            }
            FactKind::Log(LogFact::RoundBegan { next_birth }) => self.round_began(*next_birth),
        }
        Ok(None)
    }

    /// Whether a fact says nothing to this fold. A trimmed log begins somewhere before a whole
    /// round. Facts about an execution mean nothing until that round carries the execution, or
    /// if the execution ended before.
    fn is_unseen(&self, kind: &FactKind) -> bool {
        use crate::fact::ExecutionChange as Change;
        let Some(fact) = kind.as_execution() else {
            return false;
        };
        match &fact.change {
            Change::Enqueued(_) | Change::Carried(_) => false,
            Change::Due
            | Change::Leased { .. }
            | Change::Requeued { .. }
            | Change::CancelRequested { .. }
            | Change::Ended(_) => {
                fact.birth < self.unseen_below && self.slots.get(fact.birth).is_none()
            }
        }
    }

    fn round_began(&mut self, next_birth: Birth) {
        self.next_birth = self.next_birth.max(next_birth);
        if self.unseen_below != 0 {
            self.unseen_below = next_birth;
        }
    }

    /// Time went on: later facts have no earlier time.
    pub(crate) const fn pass_time(&mut self, at_ms: u64) {
        if at_ms > self.last_at_ms {
            self.last_at_ms = at_ms;
        }
    }
}
