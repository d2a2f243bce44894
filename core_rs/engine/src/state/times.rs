//! Times: entities in the order of the times at which they must be looked at.
//!
//! Owns the order, in 16 bytes for each entity. Refuses to know the reasons of the times, and which
//! clock they are read from.

use std::collections::BTreeSet;

use crate::fact::Entity;

const AGENDA_BIT: u64 = 1 << 63;

/// An entity in one number, in the order of [`Entity`]. No number of an execution or of an item has
/// the highest bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntityKey(u64);

impl EntityKey {
    /// The number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl From<Entity> for EntityKey {
    fn from(entity: Entity) -> Self {
        match entity {
            Entity::Execution(birth) => Self(birth),
            Entity::Agenda(number) => Self(AGENDA_BIT | number),
        }
    }
}

impl From<EntityKey> for Entity {
    fn from(EntityKey(number): EntityKey) -> Self {
        match number & AGENDA_BIT {
            0 => Self::Execution(number),
            _ => Self::Agenda(number & !AGENDA_BIT),
        }
    }
}

/// Times in milliseconds, each with an entity, earliest first.
#[derive(Debug, Default)]
pub struct Times(BTreeSet<(u64, EntityKey)>);

impl Times {
    /// Adds a time of an entity.
    pub fn insert(&mut self, at_ms: u64, entity: Entity) {
        self.0.insert((at_ms, entity.into()));
    }

    /// Removes a time of an entity.
    pub fn remove(&mut self, at_ms: u64, entity: Entity) {
        self.0.remove(&(at_ms, entity.into()));
    }

    /// The times in order, each with its entity.
    pub fn in_order(&self) -> impl Iterator<Item = (u64, Entity)> + '_ {
        self.0.iter().map(|(at_ms, key)| (*at_ms, (*key).into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_the_order_of_times_and_entities() {
        let (first, last) = (Entity::Execution(1), Entity::Execution((1 << 48) - 1));
        let (item, far) = (Entity::Agenda(0), Entity::Agenda(AGENDA_BIT - 1));
        let entities = [first, last, item, far];
        assert!(entities.is_sorted());
        let mut times = Times::default();
        for entity in entities.into_iter().rev() {
            times.insert(5, entity);
        }
        times.insert(4, far);
        times.remove(5, last);
        let expected = vec![(4, far), (5, first), (5, item), (5, far)];
        assert_eq!(expected, times.in_order().collect::<Vec<_>>());
    }
}
