//! Reading a log: the facts of a frame, and the state that a store's log leads to.
//!
//! Owns no check of its own. Refuses to know the engine that wrote the log.

use backlane_engine::fact::Fact;
use backlane_engine::state::State;
use backlane_store::{Store, StoreError};
use backlane_wire::{DecodeError, decode_facts};

use super::FOLD;
use crate::check::{Violation, broken};

pub(super) fn read(frame: &[u8]) -> Result<Vec<Fact>, DecodeError> {
    let mut facts = Vec::new();
    decode_facts(frame, &mut |fact| {
        facts.push(fact);
        Ok::<_, DecodeError>(())
    })?;
    Ok(facts)
}

/// The state that a store's log leads to, and the next sequence number.
pub(super) fn refold(store: &mut dyn Store, shard: u16) -> Result<(State, u64), Violation> {
    let (mut state, mut next_sequence) = (State::new(shard), 1);
    let corrupt = |what: String| StoreError::Corrupt { what };
    let replayed = store.replay(&mut |frame| {
        next_sequence = frame.first_sequence + u64::from(frame.count);
        for fact in read(&frame.bytes).map_err(|error| corrupt(error.to_string()))? {
            state
                .apply(&fact)
                .map_err(|error| corrupt(error.to_string()))?;
        }
        Ok(())
    });
    replayed.map_err(|error| broken(FOLD, error))?;
    Ok((state, next_sequence))
}
