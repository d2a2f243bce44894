//! Recovery: takes a shard and applies its log.
//!
//! Owns the way from a store to a [`Shard`]. Refuses to start if any part of the log cannot be
//! read.

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use backlane_engine::fact::Fact;
use backlane_engine::fold;
use backlane_engine::state::{Impossible, State, hour_of, oldest_hour};
use backlane_engine::time::Now;
use backlane_store::{Store, StoreError};
use backlane_wire::{DecodeError, decode_facts};
use thiserror::Error;

use crate::shard::{Position, Random, Settings, Shard};

/// The number of the only shard of a server.
pub(crate) const SHARD: u16 = 0;
/// Most decoded facts that one message to the applying thread holds.
const CHUNK_FACTS: usize = 256;
/// Hours of request ids that are read at a start at most, however wrong the clock was: 31 days.
const MOST_HOURS: u32 = 31 * 24;
/// Messages that may wait for the applying thread.
const CHUNKS_AHEAD: usize = 16;

/// Why a shard cannot start.
#[derive(Debug, Error)]
pub enum RecoverError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Facts that follow each other in the log, and the sequence number of the first.
type Chunk = (u64, Vec<Fact>);

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
    let (state, facts_in_log) = replay(store)?;
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

/// Applies the log of the store. One thread reads and decodes frames while another applies them,
/// because each takes about half of the time. Returns the state and the number of facts.
fn replay(store: &mut dyn Store) -> Result<(State, u64), StoreError> {
    let (decoded, to_apply) = sync_channel(CHUNKS_AHEAD);
    thread::scope(|scope| {
        let applying = scope.spawn(move || apply_all(&to_apply));
        let read = store.replay(&mut |frame| {
            let mut sequence = frame.first_sequence;
            let mut chunk = Vec::with_capacity(CHUNK_FACTS);
            // The applying thread ends early only with an error, which is returned below.
            let send = |end: u64, chunk: &mut Vec<Fact>| {
                let full = std::mem::replace(chunk, Vec::with_capacity(CHUNK_FACTS));
                let _ = decoded.send((end - full.len() as u64, full));
            };
            let read = decode_facts(&frame.bytes, &mut |fact| {
                chunk.push(fact);
                sequence += 1;
                if chunk.len() == CHUNK_FACTS {
                    send(sequence, &mut chunk);
                }
                Ok(())
            });
            send(sequence, &mut chunk);
            read.map_err(|why: DecodeError| unfollowable(sequence, &why))
        });
        drop(decoded);
        // A fact that cannot be applied comes before whatever ended the reading.
        let applied = applying.join().unwrap_or_else(|panic| resume_unwind(panic));
        let applied = applied?;
        read.map(|()| applied)
    })
}

fn apply_all(decoded: &Receiver<Chunk>) -> Result<(State, u64), StoreError> {
    let mut state = State::new(SHARD);
    let mut count = 0;
    for (first_sequence, facts) in decoded {
        for (sequence, fact) in (first_sequence..).zip(&facts) {
            fold(&mut state, fact).map_err(|why: Impossible| unfollowable(sequence, &why))?;
            count += 1;
        }
    }
    Ok((state, count))
}

fn unfollowable(sequence: u64, why: &dyn std::fmt::Display) -> StoreError {
    StoreError::Corrupt {
        what: format!("fact {sequence} of the log cannot be applied: {why}"),
    }
}

/// The hours whose request ids are still kept. The newest request ids belong to the hour of the
/// newest fact, even if the wall clock was set back since.
#[must_use]
pub fn request_hours(shard: &Shard, now: Now) -> std::ops::RangeInclusive<u32> {
    let newest_ms = now.wall_ms.max(shard.engine().state().last_at_ms());
    let newest = hour_of(newest_ms);
    let oldest = oldest_hour(shard.engine().retention_now_ms());
    oldest.max(newest.saturating_sub(MOST_HOURS))..=newest
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
