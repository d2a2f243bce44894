//! Time as an argument.
//!
//! Owns the pair of clocks that comes with every command. Refuses to read one.

/// The time a command is decided at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since the epoch: instants are compared with it.
    pub wall_ms: u64,
    /// Milliseconds since the process started: durations run on it. It stands still while the
    /// whole server did, so that a stall extends leases by its length.
    pub mono_ms: u64,
}

impl Now {
    /// The monotonic time at which a wall-clock instant will be reached; now if it has passed.
    #[must_use]
    pub const fn mono_of(self, wall_ms: u64) -> u64 {
        self.mono_ms
            .saturating_add(wall_ms.saturating_sub(self.wall_ms))
    }

    /// The wall time at which a monotonic one will be reached; now if it has passed.
    #[must_use]
    pub const fn wall_of(self, mono_ms: u64) -> u64 {
        self.wall_ms
            .saturating_add(mono_ms.saturating_sub(self.mono_ms))
    }
}
