//! Time as an argument.
//!
//! Owns the two clock readings that come with every command. Refuses to read a clock.

/// The time at which a command is decided.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Now {
    /// The wall clock: milliseconds since the epoch. Deadlines and scheduled times are compared
    /// with it.
    pub wall_ms: u64,
    /// The monotonic clock: milliseconds since the process started. Durations are measured with it.
    /// This clock stands still while the whole server is stalled, so that a stall extends leases by
    /// its own length.
    pub mono_ms: u64,
}

impl Now {
    /// The monotonic time at which a duration is over that should end at a wall time; now if that
    /// time has passed. The duration has `whole_ms` milliseconds, and never more of them are left,
    /// even if the wall clock was set back since the duration began.
    #[must_use]
    pub fn mono_end(self, wall_ms: u64, whole_ms: u64) -> u64 {
        let left_ms = wall_ms.saturating_sub(self.wall_ms).min(whole_ms);
        self.mono_ms.saturating_add(left_ms)
    }

    /// The wall time at which the monotonic clock will reach a time; now if that time has passed.
    #[must_use]
    pub const fn wall_of(self, mono_ms: u64) -> u64 {
        self.wall_ms
            .saturating_add(mono_ms.saturating_sub(self.mono_ms))
    }
}
