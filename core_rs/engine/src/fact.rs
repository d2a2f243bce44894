//! Facts: everything that the engine ever decides, and everything that a fold of the log needs.
//!
//! Owns the envelope of a fact and the list of entities that facts are about. Each entity has a
//! module of its own for its kinds of facts. Refuses to know how facts are written to disk;
//! `backlane-wire` does. A fact carries everything that was decided (ids, tokens, delays,
//! instants), so that replaying the fact decides nothing again.

mod execution;
mod log;
mod request;
mod tenant;

pub use execution::{
    CancelAsked, Ended, ErrorRecord, ExecutionChange, ExecutionFact, Holding, Living, Outcome,
    OutcomeKind, Policy, Progress, RequeueCause,
};
pub use log::LogFact;
pub use request::{Births, RequestFact, RequestKey};
pub use tenant::TenantFact;

use crate::rules::id::Birth;
use crate::rules::status::ActorKind;

/// One decided fact: an envelope around a kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// Time of the decision, milliseconds since the epoch. The times of a log never decrease.
    pub at_ms: u64,
    /// The party that brought the fact about.
    pub actor: Actor,
    /// The entity whose change led to this fact, where another entity's change did.
    pub cause: Option<Entity>,
    /// The change itself.
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
    /// The log itself: rounds of carrying.
    Log(LogFact),
}

/// Something that has a state of its own, and may have a timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entity {
    /// An execution, by its birth number.
    Execution(Birth),
}

impl FactKind {
    /// A change of an execution.
    #[must_use]
    pub const fn execution(birth: Birth, change: ExecutionChange) -> Self {
        Self::Execution(ExecutionFact { birth, change })
    }

    /// The entity that the fact is about, if that entity has a state of its own.
    #[must_use]
    pub const fn entity(&self) -> Option<Entity> {
        match self {
            Self::Execution(fact) => Some(Entity::Execution(fact.birth)),
            Self::Tenant(_) | Self::Request(_) | Self::Log(_) => None,
        }
    }

    /// The change of an execution, if the fact is one.
    #[must_use]
    pub const fn as_execution(&self) -> Option<&ExecutionFact> {
        match self {
            Self::Execution(fact) => Some(fact),
            Self::Tenant(_) | Self::Request(_) | Self::Log(_) => None,
        }
    }
}

/// A party that brings a fact about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The kind of party.
    pub kind: ActorKind,
    /// A principal's name. Empty for the clock and the engine, where no identity is configured,
    /// and for the holder of a lease, whom the lease names.
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

    /// A deadline or a timeout.
    #[must_use]
    pub fn clock() -> Self {
        Self::of(ActorKind::Clock)
    }

    /// A consequence that the engine draws by itself.
    #[must_use]
    pub fn engine() -> Self {
        Self::of(ActorKind::Engine)
    }

    /// The holder of the lease that the fact is about.
    #[must_use]
    pub fn holder() -> Self {
        Self::of(ActorKind::Worker)
    }

    /// A party with an identity.
    #[must_use]
    pub fn named(kind: ActorKind, id: &str) -> Self {
        Self {
            kind,
            id: id.into(),
        }
    }
}
