//! The clock of retention: it decides when finished executions and request ids are old enough.
//!
//! Owns how this clock follows the wall clock. Refuses to know what is removed and when.
//!
//! A wall clock that is wrong for a moment must not remove anything early. So the clock of
//! retention never jumps ahead while the server runs: behind the wall clock it runs at twice the
//! speed of the monotonic clock until it has caught up, and ahead of the wall clock it stands
//! still. Only a start lets it jump, by one hour at most.

use crate::time::Now;

/// Most milliseconds that the clock jumps ahead at a start.
const START_MS: u64 = 3_600_000;

/// A clock that follows the wall clock slowly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetentionClock {
    at_ms: u64,
    seen_mono_ms: u64,
}

impl RetentionClock {
    /// The clock at a start of the server. `last_at_ms` is the time of the newest fact, 0 where
    /// there is none.
    #[must_use]
    pub fn start(last_at_ms: u64, now: Now) -> Self {
        let at_ms = match last_at_ms {
            0 => now.wall_ms,
            last_at_ms => now.wall_ms.min(last_at_ms.saturating_add(START_MS)),
        };
        Self {
            at_ms,
            seen_mono_ms: now.mono_ms,
        }
    }

    /// Follows the clocks.
    pub fn follow(&mut self, now: Now) {
        let passed_ms = now.mono_ms.saturating_sub(self.seen_mono_ms);
        self.seen_mono_ms = now.mono_ms;
        let reach_ms = self.at_ms.saturating_add(passed_ms.saturating_mul(2));
        self.at_ms = self.at_ms.max(now.wall_ms.min(reach_ms));
    }

    /// The time, in milliseconds since the epoch.
    #[must_use]
    pub const fn now_ms(&self) -> u64 {
        self.at_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;
    const NOON_MS: u64 = 1_800_000_000_000;

    fn at(wall_ms: u64, mono_ms: u64) -> Now {
        Now { wall_ms, mono_ms }
    }

    #[test]
    fn a_right_wall_clock_is_followed_exactly() {
        let mut clock = RetentionClock::start(0, at(NOON_MS, 7));
        clock.follow(at(NOON_MS + 500, 507));
        assert_eq!(NOON_MS + 500, clock.now_ms());
    }

    #[test]
    fn a_wall_clock_that_is_a_day_ahead_for_a_second_moves_it_by_two_seconds() {
        let mut clock = RetentionClock::start(0, at(NOON_MS, 0));
        clock.follow(at(NOON_MS + 24 * HOUR_MS, 1_000));
        assert_eq!(NOON_MS + 2_000, clock.now_ms());
        clock.follow(at(NOON_MS + 2_000, 2_000));
        assert_eq!(NOON_MS + 2_000, clock.now_ms());
    }

    #[test]
    fn a_wall_clock_that_was_set_back_lets_it_stand_still() {
        let mut clock = RetentionClock::start(0, at(NOON_MS, 0));
        clock.follow(at(NOON_MS - HOUR_MS, 1_000));
        assert_eq!(NOON_MS, clock.now_ms());
    }

    #[test]
    fn after_three_days_of_downtime_it_catches_up_an_hour_at_once_and_the_rest_slowly() {
        let wall_ms = NOON_MS + 72 * HOUR_MS;
        let mut clock = RetentionClock::start(NOON_MS, at(wall_ms, 0));
        assert_eq!(NOON_MS + HOUR_MS, clock.now_ms());
        clock.follow(at(wall_ms + 80 * HOUR_MS, 80 * HOUR_MS));
        assert_eq!(wall_ms + 80 * HOUR_MS, clock.now_ms());
    }
}
