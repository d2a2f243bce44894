//! Recovery: taking a shard and folding its log.
//!
//! Owns the way from a store to a [`Shard`]. Refuses to start on anything it cannot read whole.

use backlane_engine::fold;
use backlane_engine::state::{Impossible, State, hour_of, oldest_hour};
use backlane_engine::time::Now;
use backlane_store::{Store, StoreError};
use backlane_wire::{DecodeError, decode_facts};
use thiserror::Error;

use crate::shard::{Position, Random, Settings, Shard};

/// The one shard of an embedded server.
pub(crate) const SHARD: u16 = 0;

/// Why a shard cannot start.
#[derive(Debug, Error)]
pub enum RecoverError {
    /// The store refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a fact of the log cannot be followed.
#[derive(Debug, Error)]
enum Unfollowable {
    #[error(transparent)]
    Unreadable(#[from] DecodeError),
    #[error(transparent)]
    Impossible(#[from] Impossible),
}

/// Takes the shard, folds its log and answers it, ready to be stepped.
///
/// # Errors
/// [`RecoverError`], naming what is damaged or missing.
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
            what: format!("fact {sequence} of the log cannot be followed: {why}"),
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

/// The hours whose request ids still count. Logged time leads where the wall clock was set back:
/// the newest ids are in its hour.
#[must_use]
pub fn request_hours(shard: &Shard, now: Now) -> std::ops::RangeInclusive<u32> {
    let newest_ms = now.wall_ms.max(shard.engine().state().last_at_ms());
    oldest_hour(newest_ms)..=hour_of(newest_ms)
}

/// The machine's randomness.
///
/// # Panics
/// Where the machine gives none: ids could be guessed, so it is better to stop than to go on.
#[must_use]
pub fn machine_random() -> Random {
    // Read in blocks: one system call for many ids.
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
