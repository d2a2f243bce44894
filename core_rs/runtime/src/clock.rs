//! The clock: the one place where time is read.
//!
//! Owns the wall and the monotonic clock, and a clock that only tests move. Refuses to know what
//! is due.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use backlane_engine::time::Now;

/// Longer than this between two looks, and the whole server stood still: the scheduler, a
/// suspended machine, a stopped process. The shard looks at least every [`LOOK_EVERY_MS`].
const STALL_MS: u64 = 1_000;
/// The longest a shard sleeps between looks.
pub(crate) const LOOK_EVERY_MS: u64 = 200;

/// Reads the time, or takes it from a test.
#[derive(Debug)]
pub enum Clock {
    /// The machine's clocks.
    Real {
        /// When the process began.
        began: Instant,
        /// Monotonic milliseconds of the newest look.
        last_ms: u64,
        /// Milliseconds that were stalls: leases do not age in them.
        stalled_ms: u64,
    },
    /// Moved by hand.
    Manual(Arc<ManualClock>),
}

/// A clock that only moves when told.
#[derive(Debug)]
pub struct ManualClock {
    start_ms: u64,
    passed_ms: AtomicU64,
}

impl ManualClock {
    /// A clock that stands at that instant, milliseconds since the epoch.
    #[must_use]
    pub fn at(start_ms: u64) -> Arc<Self> {
        Arc::new(Self {
            start_ms,
            passed_ms: AtomicU64::new(0),
        })
    }

    /// Moves on.
    pub fn advance(&self, ms: u64) {
        self.passed_ms.fetch_add(ms, Ordering::SeqCst);
    }

    fn now(&self) -> Now {
        let mono_ms = self.passed_ms.load(Ordering::SeqCst);
        Now {
            wall_ms: self.start_ms + mono_ms,
            mono_ms,
        }
    }
}

impl Clock {
    /// The machine's clocks.
    #[must_use]
    pub fn real() -> Self {
        Self::Real {
            began: Instant::now(),
            last_ms: 0,
            stalled_ms: 0,
        }
    }

    /// The time now.
    pub fn now(&mut self) -> Now {
        match self {
            Self::Manual(clock) => clock.now(),
            Self::Real {
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
