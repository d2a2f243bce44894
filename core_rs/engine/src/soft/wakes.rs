//! Wakes: the times on the monotonic clock at which entities must be looked at again.
//!
//! Owns the order of the wakes. Refuses to know their reasons: the look decides what is due.

use std::collections::BTreeMap;

use crate::fact::Entity;
use crate::state::{EntityKey, Times};

/// The wakes, at most one for each entity.
#[derive(Debug, Default)]
pub struct Wakes {
    at: BTreeMap<EntityKey, u64>,
    order: Times,
}

impl Wakes {
    /// Sets, moves or clears the wake of an entity.
    pub fn set(&mut self, entity: Entity, at_ms: Option<u64>) {
        let before = match at_ms {
            Some(at_ms) => self.at.insert(entity.into(), at_ms),
            None => self.at.remove(&entity.into()),
        };
        if before != at_ms {
            if let Some(before) = before {
                self.order.remove(before, entity);
            }
            if let Some(at_ms) = at_ms {
                self.order.insert(at_ms, entity);
            }
        }
    }

    /// The wake of an entity.
    #[must_use]
    pub fn get(&self, entity: Entity) -> Option<u64> {
        self.at.get(&entity.into()).copied()
    }

    /// The entities that have a wake.
    pub fn entities(&self) -> impl Iterator<Item = Entity> + '_ {
        self.at.keys().map(|key| (*key).into())
    }

    /// The wakes in order of time: each is a time in monotonic milliseconds and an entity.
    pub fn in_order(&self) -> impl Iterator<Item = (u64, Entity)> + '_ {
        self.order.in_order()
    }
}
