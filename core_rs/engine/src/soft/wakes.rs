//! Wakes: when to look at an entity again, on the monotonic clock, at most one for each entity.
//!
//! Owns the order of the wakes. Refuses to know the reasons: the look decides what is due.

use std::collections::{BTreeMap, BTreeSet};

use crate::fact::Entity;

/// At most one wake for each entity.
#[derive(Debug, Default)]
pub struct Wakes {
    at: BTreeMap<Entity, u64>,
    order: BTreeSet<(u64, Entity)>,
}

impl Wakes {
    /// Sets, moves or clears the wake of an entity.
    pub fn set(&mut self, entity: Entity, at_ms: Option<u64>) {
        let before = match at_ms {
            Some(at_ms) => self.at.insert(entity, at_ms),
            None => self.at.remove(&entity),
        };
        if before != at_ms {
            if let Some(before) = before {
                self.order.remove(&(before, entity));
            }
            if let Some(at_ms) = at_ms {
                self.order.insert((at_ms, entity));
            }
        }
    }

    /// The wakes in order of time: monotonic milliseconds, with the entity of each.
    pub fn in_order(&self) -> impl Iterator<Item = (u64, Entity)> + '_ {
        self.order.iter().copied()
    }
}
