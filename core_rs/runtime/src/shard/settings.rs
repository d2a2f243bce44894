//! Settings of a shard, and the other values that a shard starts with.
//!
//! Owns the fields and their defaults. Refuses to know where the settings come from.

use backlane_engine::rules::limits::Limits;

/// Settings of a shard.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The limits on requests and executions.
    pub limits: Limits,
    /// Bytes of rows that are kept in memory.
    pub cache_bytes: usize,
    /// How long finished executions can be read, in milliseconds.
    pub retention_ms: u64,
    /// Number of facts between two rounds, in addition to the number of unfinished executions.
    /// After a round, the log before it can be trimmed.
    pub round_after_facts: u64,
    /// The server's version, which workers are told on their streams.
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

/// The position at which a shard's log continues.
#[derive(Debug, Clone, Copy)]
pub struct Position {
    /// The epoch under which the process holds the shard.
    pub epoch: u64,
    /// Sequence number of the next fact.
    pub next_sequence: u64,
    /// Number of facts in the log.
    pub facts_in_log: u64,
}

/// A source of randomness: an input, like time.
pub type Random = Box<dyn FnMut() -> u64 + Send>;
