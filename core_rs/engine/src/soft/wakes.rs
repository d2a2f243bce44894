//! Wakes: the times on the monotonic clock at which entities must be looked at again.
//!
//! Owns the order of the wakes. Refuses to know their reasons: the look decides what is due.

use std::collections::{BTreeMap, BTreeSet};

use crate::fact::Entity;

/// The wakes, at most one for each entity.
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

    /// The wakes in order of time: each is a time in monotonic milliseconds and an entity.
    pub fn in_order(&self) -> impl Iterator<Item = (u64, Entity)> + '_ {
        self.order.iter().copied()
    }
}
