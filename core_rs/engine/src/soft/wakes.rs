//! Wakes: the times on the monotonic clock at which entities must be looked at again.
//!
//! Owns the order of the wakes. Refuses to know their reasons: the look decides what is due.
//!
//! The numbers of entities are dense, so the times of neighbours share a block of memory: each of
//! them takes a third of a place of its own in an ordered map.

use std::collections::BTreeMap;

use crate::fact::Entity;
use crate::state::{EntityKey, Times};

const PAGE: usize = 8;

// The time of an entity without a wake. A wake at that time would never come either.
const NEVER: u64 = u64::MAX;

type Page = [u64; PAGE];

/// The wakes, at most one for each entity.
#[derive(Debug, Default)]
pub struct Wakes {
    at: BTreeMap<u64, Box<Page>>,
    order: Times,
}

impl Wakes {
    /// Sets, moves or clears the wake of an entity.
    pub fn set(&mut self, entity: Entity, at_ms: Option<u64>) {
        let at_ms = at_ms.filter(|at_ms| *at_ms != NEVER);
        let before = self.replace(entity, at_ms);
        if before != at_ms {
            if let Some(before) = before {
                self.order.remove(before, entity);
            }
            if let Some(at_ms) = at_ms {
                self.order.insert(at_ms, entity);
            }
        }
    }

    fn replace(&mut self, entity: Entity, at_ms: Option<u64>) -> Option<u64> {
        let (number, place) = place(entity);
        let before = if let Some(at_ms) = at_ms {
            let page = self.at.entry(number);
            let times = page.or_insert_with(|| Box::new([NEVER; PAGE]));
            std::mem::replace(&mut times[place], at_ms)
        } else {
            let times = self.at.get_mut(&number)?;
            let before = std::mem::replace(&mut times[place], NEVER);
            if **times == [NEVER; PAGE] {
                self.at.remove(&number);
            }
            before
        };
        Some(before).filter(|before| *before != NEVER)
    }

    /// The wake of an entity.
    #[must_use]
    pub fn get(&self, entity: Entity) -> Option<u64> {
        let (page, place) = place(entity);
        let at_ms = self.at.get(&page)?[place];
        Some(at_ms).filter(|at_ms| *at_ms != NEVER)
    }

    /// The wakes in order of time: each is a time in monotonic milliseconds and an entity.
    pub fn in_order(&self) -> impl Iterator<Item = (u64, Entity)> + '_ {
        self.order.in_order()
    }
}

/// The page of an entity, and its place there.
fn place(entity: Entity) -> (u64, usize) {
    let number = EntityKey::from(entity).number();
    let place = usize::try_from(number % PAGE as u64).unwrap_or(0);
    (number / PAGE as u64, place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wakes_of_neighbours_are_apart_and_leave_nothing_behind() {
        let entities = [7, 8, 9, 15, 16].map(Entity::Execution);
        let entities = [&entities[..], &[Entity::Agenda(8)]].concat();
        let mut wakes = Wakes::default();
        for (at_ms, entity) in (0..).zip(&entities) {
            wakes.set(*entity, Some(at_ms));
        }
        wakes.set(entities[0], Some(70));
        wakes.set(entities[1], Some(NEVER));
        let expected = [70, NEVER, 2, 3, 4, 5].map(|at_ms| Some(at_ms).filter(|at| *at != NEVER));
        let found = entities.iter().map(|entity| wakes.get(*entity));
        assert_eq!(expected.to_vec(), found.collect::<Vec<_>>());
        assert_eq!(Some((70, entities[0])), wakes.in_order().last());
        for entity in entities {
            wakes.set(entity, None);
        }
        assert!(wakes.at.is_empty());
        assert_eq!(0, wakes.in_order().count());
    }
}
