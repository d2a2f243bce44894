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
    /// The monotonic time at which the wall clock will reach a time; now if that time has passed.
    #[must_use]
    pub const fn mono_of(self, wall_ms: u64) -> u64 {
        self.mono_ms
            .saturating_add(wall_ms.saturating_sub(self.wall_ms))
    }

    /// The wall time at which the monotonic clock will reach a time; now if that time has passed.
    #[must_use]
    pub const fn wall_of(self, mono_ms: u64) -> u64 {
        self.wall_ms
            .saturating_add(mono_ms.saturating_sub(self.mono_ms))
    }
}
