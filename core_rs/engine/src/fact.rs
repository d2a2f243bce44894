//! Facts: all decisions of the engine, and all that the log must hold.
//!
//! Owns the fields that all facts share and the list of entities that facts change. Each entity has
//! a module of its own for its kinds of facts. Refuses to know how facts are written to disk;
//! `backlane-wire` does. A fact carries every value that was decided (ids, tokens, delays, times),
//! so that a replay of the log decides nothing again.

mod agenda;
mod execution;
mod log;
mod request;
mod run;
mod tenant;

pub use agenda::{AgendaChange, AgendaFact, Item, ItemNumber, Work};
pub use execution::{
    Backoff, CancelAsked, Ended, ErrorRecord, ExecutionChange, ExecutionFact, Holding, Living,
    Outcome, OutcomeKind, Policy, Progress, RequeueCause, Verdict,
};
pub use log::LogFact;
pub use request::{Births, RequestFact, RequestKey};
pub use run::{KeptInput, PauseAsked, Run, RunChange, RunFact, Wait, WaitEnd, WakeCause};
pub use tenant::TenantFact;

use crate::rules::id::Birth;
use crate::rules::status::ActorKind;

/// One decided fact: the fields that all facts share, and the change.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// Time of the decision, milliseconds since the epoch. The times of a log never decrease.
    pub at_ms: u64,
    /// The party that caused the fact.
    pub actor: Actor,
    /// The entity whose change led to this fact, where it was another entity.
    pub cause: Option<Entity>,
    /// The change that the fact records.
    pub kind: FactKind,
}

/// The kinds of facts, by the entity that they change.
#[derive(Debug, Clone, PartialEq)]
pub enum FactKind {
    /// An execution changed.
    Execution(ExecutionFact),
    /// A tenant's settings changed.
    Tenant(TenantFact),
    /// A request id was used.
    Request(RequestFact),
    /// The log itself changed: a round began.
    Log(LogFact),
    /// The run of an execution changed.
    Run(RunFact),
    /// An item of the agenda changed.
    Agenda(AgendaFact),
}

/// An object with a state of its own, which may have a timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entity {
    /// An execution, by its birth number.
    Execution(Birth),
    /// An item of the agenda, by its number.
    Agenda(ItemNumber),
}

impl Entity {
    /// The birth number, if the entity is an execution.
    #[must_use]
    pub const fn execution(self) -> Option<Birth> {
        match self {
            Self::Execution(birth) => Some(birth),
            Self::Agenda(_) => None,
        }
    }
}

impl FactKind {
    /// A change of an execution.
    #[must_use]
    pub const fn execution(birth: Birth, change: ExecutionChange) -> Self {
        Self::Execution(ExecutionFact { birth, change })
    }

    /// A change of a run.
    #[must_use]
    pub const fn run(birth: Birth, change: RunChange) -> Self {
        Self::Run(RunFact { birth, change })
    }

    /// The entity that the fact is about, if that entity has a state of its own.
    #[must_use]
    pub const fn entity(&self) -> Option<Entity> {
        match self {
            Self::Execution(fact) => Some(Entity::Execution(fact.birth)),
            Self::Run(fact) => Some(Entity::Execution(fact.birth)),
            Self::Agenda(fact) => Some(Entity::Agenda(fact.number)),
            Self::Tenant(_) | Self::Request(_) | Self::Log(_) => None,
        }
    }

    /// The change of an execution; `None` if the fact is about something else.
    #[must_use]
    pub const fn as_execution(&self) -> Option<&ExecutionFact> {
        match self {
            Self::Execution(fact) => Some(fact),
            Self::Tenant(_) | Self::Request(_) | Self::Log(_) | Self::Run(_) | Self::Agenda(_) => {
                None
            }
        }
    }
}

/// A party that causes a fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The kind of party.
    pub kind: ActorKind,
    /// The principal's name. Empty for the clock and the engine, for a worker, whom the lease
    /// names, and where no identity is configured.
    pub id: Box<str>,
}

impl Actor {
    /// A party without a name.
    #[must_use]
    pub fn of(kind: ActorKind) -> Self {
        Self {
            kind,
            id: Box::default(),
        }
    }

    /// The clock: a deadline or a timeout.
    #[must_use]
    pub fn clock() -> Self {
        Self::of(ActorKind::Clock)
    }

    /// The engine, as the cause of a consequence that nobody asked for.
    #[must_use]
    pub fn engine() -> Self {
        Self::of(ActorKind::Engine)
    }

    /// The worker that holds the lease which the fact is about.
    #[must_use]
    pub fn holder() -> Self {
        Self::of(ActorKind::Worker)
    }

    /// A party with a name.
    #[must_use]
    pub fn named(kind: ActorKind, id: &str) -> Self {
        Self {
            kind,
            id: id.into(),
        }
    }
}
