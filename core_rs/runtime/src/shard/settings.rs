//! Settings of a shard, and the other values that a shard is started with.
//!
//! Owns their shape and their defaults. Refuses to know where settings come from.

use backlane_engine::rules::limits::Limits;

/// Settings of a shard.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The limits on everything.
    pub limits: Limits,
    /// Bytes of rows that are kept in memory.
    pub cache_bytes: usize,
    /// The time for which finished executions can be read, milliseconds.
    pub retention_ms: u64,
    /// Facts between two rounds of carrying, after which the log before can be trimmed: this many
    /// and as many as there are unfinished executions.
    pub round_after_facts: u64,
    /// The version that workers are told on their streams.
    pub server_version: &'static str,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            cache_bytes: 16 << 20,
            retention_ms: 7 * 24 * 3_600_000,
            round_after_facts: 250_000,
            server_version: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// The place at which a shard's log goes on.
#[derive(Debug, Clone, Copy)]
pub struct Position {
    /// The epoch the shard was taken under.
    pub epoch: u64,
    /// Sequence of the next fact.
    pub next_sequence: u64,
    /// Facts in the log since its start.
    pub facts_in_log: u64,
}

/// A source of randomness: an input, like time.
pub type Random = Box<dyn FnMut() -> u64 + Send>;
