//! The clock: the one place where time is read.
//!
//! Owns the wall clock and the monotonic clock, and how far tests have moved them ahead. Refuses to
//! know what is due.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use backlane_engine::time::Now;
use thiserror::Error;

/// If more time than this passes between two looks at the clock, the whole server stood still: the
/// scheduler, a suspended machine, or a stopped process. The shard looks at least every
/// [`LOOK_EVERY_MS`].
const STALL_MS: u64 = 1_000;
/// Longest sleep of a shard between two looks at the clock, in milliseconds.
pub(crate) const LOOK_EVERY_MS: u64 = 200;
/// Tests can move a clock at most this far ahead, in milliseconds: 50 years, so that the time still
/// fits in ids.
const MOST_AHEAD_MS: u64 = 50 * 365 * 86_400_000;

/// Reads the time of a source and adds what tests have moved the clock ahead.
#[derive(Debug)]
pub struct Clock {
    source: Source,
    ahead: Arc<Ahead>,
}

#[derive(Debug)]
enum Source {
    Machine {
        /// Start of the process.
        began: Instant,
        /// Monotonic milliseconds of the newest look.
        last_ms: u64,
        /// Milliseconds that were stalls. Leases do not age during a stall.
        stalled_ms: u64,
    },
    /// A clock that stands still at a time, in milliseconds since the epoch.
    Standing(u64),
}

/// How far a clock is ahead of its source. Tests move the clock with this handle.
#[derive(Debug, Default)]
pub struct Ahead {
    ms: AtomicU64,
}

/// A clock cannot be moved as far as was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a clock goes at most 50 years ahead, and this one is {ahead_ms} ms ahead already")]
pub struct TooFarAhead {
    /// How far ahead the clock is, and remains, in milliseconds.
    pub ahead_ms: u64,
}

impl Ahead {
    /// Moves the wall clock and the monotonic clock ahead, as if the time had passed.
    ///
    /// # Errors
    /// [`TooFarAhead`]; then the clock was not moved.
    pub fn advance(&self, ms: u64) -> Result<(), TooFarAhead> {
        let further = |ahead_ms: u64| {
            ahead_ms
                .checked_add(ms)
                .filter(|ahead_ms| *ahead_ms <= MOST_AHEAD_MS)
        };
        self.ms
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, further)
            .map(|_| ())
            .map_err(|ahead_ms| TooFarAhead { ahead_ms })
    }

    fn ms(&self) -> u64 {
        self.ms.load(Ordering::SeqCst)
    }
}

impl Clock {
    /// A clock that reads the machine's clocks.
    #[must_use]
    pub fn real() -> Self {
        Self::of(Source::Machine {
            began: Instant::now(),
            last_ms: 0,
            stalled_ms: 0,
        })
    }

    /// A clock that stands still at a time, in milliseconds since the epoch, until it is moved.
    #[must_use]
    pub fn standing_at(start_ms: u64) -> Self {
        Self::of(Source::Standing(start_ms))
    }

    fn of(source: Source) -> Self {
        Self {
            source,
            ahead: Arc::default(),
        }
    }

    /// The handle that moves this clock ahead.
    #[must_use]
    pub fn ahead(&self) -> Arc<Ahead> {
        self.ahead.clone()
    }

    /// Reads the current time.
    pub fn now(&mut self) -> Now {
        let ahead_ms = self.ahead.ms();
        let Now { wall_ms, mono_ms } = self.source.now();
        Now {
            wall_ms: wall_ms.saturating_add(ahead_ms),
            mono_ms: mono_ms.saturating_add(ahead_ms),
        }
    }
}

impl Source {
    fn now(&mut self) -> Now {
        match self {
            Self::Standing(wall_ms) => Now {
                wall_ms: *wall_ms,
                mono_ms: 0,
            },
            Self::Machine {
                began,
                last_ms,
                stalled_ms,
            } => {
                let elapsed_ms = whole_ms(began.elapsed().as_millis());
                let gap = elapsed_ms.saturating_sub(*last_ms);
                if gap > STALL_MS {
                    *stalled_ms += gap - LOOK_EVERY_MS;
                }
                *last_ms = elapsed_ms;
                let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
                let wall_ms = whole_ms(since_epoch.unwrap_or_default().as_millis());
                Now {
                    wall_ms,
                    mono_ms: elapsed_ms - *stalled_ms,
                }
            }
        }
    }
}

fn whole_ms(ms: u128) -> u64 {
    u64::try_from(ms).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;
    /// Longest time that a test may take between two looks at the machine's clocks, in
    /// milliseconds.
    const PATIENCE_MS: u64 = 60_000;

    #[test]
    fn a_standing_clock_moves_only_when_it_is_moved() {
        let mut clock = Clock::standing_at(1_800_000_000_000);
        let start = clock.now();
        assert_eq!(start, clock.now());

        assert_eq!(Ok(()), clock.ahead().advance(HOUR_MS));
        let moved = Now {
            wall_ms: 1_800_003_600_000,
            mono_ms: HOUR_MS,
        };
        assert_eq!(moved, clock.now());
    }

    #[test]
    fn moving_a_machine_clock_moves_both_clocks_and_is_no_stall() {
        let mut clock = Clock::real();
        let before = clock.now();
        assert_eq!(Ok(()), clock.ahead().advance(HOUR_MS));
        let after = clock.now();

        let passed = |later: u64, sooner: u64| {
            (HOUR_MS..HOUR_MS + PATIENCE_MS).contains(&later.saturating_sub(sooner))
        };
        assert!(
            passed(after.wall_ms, before.wall_ms),
            "{before:?} {after:?}"
        );
        assert!(
            passed(after.mono_ms, before.mono_ms),
            "{before:?} {after:?}"
        );
        let again = clock.now();
        assert!(again.mono_ms >= after.mono_ms, "{after:?} {again:?}");
    }

    #[test]
    fn a_stall_of_the_process_does_not_age_leases() {
        let mut clock = Clock::real();
        assert_eq!(Ok(()), clock.ahead().advance(HOUR_MS));
        // As if the process had started an hour ago and had not looked at the clock since.
        if let Source::Machine { began, .. } = &mut clock.source {
            *began = began
                .checked_sub(std::time::Duration::from_millis(HOUR_MS))
                .unwrap_or(*began);
        }
        let now = clock.now();
        assert!(now.mono_ms < HOUR_MS + PATIENCE_MS, "{now:?}");
    }

    #[test]
    fn a_clock_that_is_moved_too_far_refuses_and_stays_in_place() {
        let mut clock = Clock::standing_at(0);
        let ahead = clock.ahead();
        assert_eq!(Ok(()), ahead.advance(MOST_AHEAD_MS));

        let refused = Err(TooFarAhead {
            ahead_ms: MOST_AHEAD_MS,
        });
        assert_eq!(refused, ahead.advance(1));
        assert_eq!(refused, ahead.advance(u64::MAX));
        assert_eq!(MOST_AHEAD_MS, clock.now().wall_ms);
    }
}
