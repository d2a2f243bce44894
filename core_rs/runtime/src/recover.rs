//! Recovery: takes a shard and applies its log.
//!
//! Owns the way from a store to a [`Shard`]. Refuses to start if any part of the log cannot be
//! read.

use backlane_engine::fold;
use backlane_engine::state::{Impossible, State, hour_of, oldest_hour};
use backlane_engine::time::Now;
use backlane_store::{Store, StoreError};
use backlane_wire::{DecodeError, decode_facts};
use thiserror::Error;

use crate::shard::{Position, Random, Settings, Shard};

/// The number of the only shard of a server.
pub(crate) const SHARD: u16 = 0;

/// Why a shard cannot start.
#[derive(Debug, Error)]
pub enum RecoverError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a fact of the log cannot be applied.
#[derive(Debug, Error)]
enum Unfollowable {
    #[error(transparent)]
    Unreadable(#[from] DecodeError),
    #[error(transparent)]
    Impossible(#[from] Impossible),
}

/// Takes the shard, applies its log and returns it, ready for its first step.
///
/// # Errors
/// [`RecoverError`], naming the damaged or missing part.
pub fn recover(
    store: &mut dyn Store,
    node: &str,
    settings: Settings,
    random: Random,
    now: Now,
) -> Result<Shard, RecoverError> {
    let taken = store.take(SHARD, node)?;
    let mut state = State::new(SHARD);
    let mut facts_in_log = 0;
    store.replay(&mut |frame| {
        let mut sequence = frame.first_sequence;
        decode_facts(&frame.bytes, &mut |fact| {
            fold(&mut state, &fact)?;
            sequence += 1;
            Ok(())
        })
        .map_err(|why: Unfollowable| StoreError::Corrupt {
            what: format!("fact {sequence} of the log cannot be applied: {why}"),
        })?;
        facts_in_log += u64::from(frame.count);
        Ok(())
    })?;
    let position = Position {
        epoch: taken.epoch,
        next_sequence: taken.next_sequence,
        facts_in_log,
    };
    let mut shard = Shard::start(state, position, settings, random, now);
    let hours = request_hours(&shard, now);
    shard.expect_requests(hours);
    Ok(shard)
}

/// The hours whose request ids are still kept. If the wall clock was set back, the newest logged
/// time counts instead, because the newest request ids belong to its hour.
#[must_use]
pub fn request_hours(shard: &Shard, now: Now) -> std::ops::RangeInclusive<u32> {
    let newest_ms = now.wall_ms.max(shard.engine().state().last_at_ms());
    oldest_hour(newest_ms)..=hour_of(newest_ms)
}

/// A source of the machine's randomness.
///
/// # Panics
/// If the machine gives no randomness. Ids could be guessed then, so it is safer to stop.
#[must_use]
pub fn machine_random() -> Random {
    // Randomness is read in blocks: one system call serves many ids.
    let mut block = [0_u8; 512];
    let mut used = block.len();
    Box::new(move || {
        if used == block.len() {
            getrandom::fill(&mut block).expect("the machine gives randomness");
            used = 0;
        }
        let word: [u8; 8] = block[used..used + 8].try_into().unwrap_or_default();
        used += 8;
        u64::from_le_bytes(word)
    })
}
