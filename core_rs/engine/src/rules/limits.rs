//! The limits on everything that can be sent or kept.
//!
//! Owns the numbers. Refuses to know where they are checked: sizes by the wire, counts by
//! `decide`.

/// Every limit, each configurable. Sizes are bytes of the encoded form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest input.
    pub max_input_bytes: usize,
    /// Longest output.
    pub max_output_bytes: usize,
    /// Largest context.
    pub max_context_bytes: usize,
    /// Largest metadata.
    pub max_metadata_bytes: usize,
    /// Longer error messages are cut, with a mark.
    pub max_error_message_bytes: usize,
    /// Largest details of an error.
    pub max_details_bytes: usize,
    /// Deepest JSON.
    pub max_json_depth: usize,
    /// Most items of a batch.
    pub max_batch_items: usize,
    /// Largest batch.
    pub max_batch_bytes: usize,
    /// Most items of a worker's call.
    pub max_lease_items: usize,
    /// Most unfinished executions of a tenant.
    pub max_queue_per_tenant: u64,
    /// Largest page.
    pub max_page: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_input_bytes: 1 << 20,
            max_output_bytes: 1 << 20,
            max_context_bytes: 64 << 10,
            max_metadata_bytes: 64 << 10,
            max_error_message_bytes: 8 << 10,
            max_details_bytes: 64 << 10,
            max_json_depth: 24,
            max_batch_items: 10_000,
            max_batch_bytes: 16 << 20,
            max_lease_items: 1_000,
            max_queue_per_tenant: 10_000_000,
            max_page: 1_000,
        }
    }
}

/// Shortest lease, milliseconds.
pub const MIN_LEASE_MS: u64 = 1_000;
/// Longest lease, milliseconds.
pub const MAX_LEASE_MS: u64 = 3_600_000;
/// A lease's length where none is asked for, milliseconds.
pub const DEFAULT_LEASE_MS: u64 = 30_000;
/// Longest long poll, milliseconds.
pub const MAX_POLL_MS: u64 = 60_000;
/// Longest and default wait, milliseconds.
pub const MAX_WAIT_MS: u64 = 3_600_000;
/// Longest `retry_after_ms`.
pub const MAX_RETRY_AFTER_MS: u64 = 86_400_000;
/// How long the holder of a cancelled execution may go on, milliseconds.
pub const CANCEL_GRACE_MS: u64 = 10_000;
/// How long the leases of a broken stream wait for their worker, milliseconds.
pub const STREAM_GRACE_MS: u64 = 5_000;
/// How long a released execution is kept from the worker that gave it back, milliseconds.
pub const RELEASE_PAUSE_MS: u64 = 5_000;
/// Leases that may vanish unacknowledged before they count as worker losses.
pub const MAX_UNDELIVERED: u8 = 10;
/// Longest run of one attempt where none is given, milliseconds.
pub const DEFAULT_TIMEOUT_MS: u64 = 300_000;
/// Priority where none is given.
pub const DEFAULT_PRIORITY: u8 = 50;
/// Lost leases that end an execution where no number is given.
pub const DEFAULT_MAX_WORKER_LOSSES: u32 = 3;
/// Most lost leases that can be asked for.
pub const MAX_WORKER_LOSSES: u32 = 100;
/// Hours a request id is kept.
pub const REQUEST_HOURS: u64 = 24;
