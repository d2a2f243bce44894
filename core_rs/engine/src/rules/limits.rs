//! The limits on all data that clients send and the server keeps.
//!
//! Owns the numbers. Refuses to know where they are checked: the wire crate checks sizes, and
//! `decide` checks counts.

/// The configurable limits. Sizes are bytes of the encoded form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest input, in bytes.
    pub max_input_bytes: usize,
    /// Largest output, in bytes.
    pub max_output_bytes: usize,
    /// Largest context, in bytes.
    pub max_context_bytes: usize,
    /// Largest metadata, in bytes.
    pub max_metadata_bytes: usize,
    /// Longest error message, in bytes. A longer message is cut, and a mark is added.
    pub max_error_message_bytes: usize,
    /// Largest details of an error, in bytes.
    pub max_details_bytes: usize,
    /// Deepest nesting of arrays and objects in a JSON value.
    pub max_json_depth: usize,
    /// Most items of a batch.
    pub max_batch_items: usize,
    /// Largest batch, in bytes.
    pub max_batch_bytes: usize,
    /// Most items of one call of a worker.
    pub max_lease_items: usize,
    /// Most unfinished executions of a tenant.
    pub max_queue_per_tenant: u64,
    /// Most records on a page of a list.
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

/// Shortest lease period, in milliseconds.
pub const MIN_LEASE_MS: u64 = 1_000;
/// Longest lease period, in milliseconds.
pub const MAX_LEASE_MS: u64 = 3_600_000;
/// Lease period where the worker asks for none, in milliseconds.
pub const DEFAULT_LEASE_MS: u64 = 30_000;
/// Longest wait of a `Lease` call, in milliseconds.
pub const MAX_POLL_MS: u64 = 60_000;
/// Longest wait for the end of executions, and the default, in milliseconds.
pub const MAX_WAIT_MS: u64 = 3_600_000;
/// Largest `retry_after_ms` that a worker may report.
pub const MAX_RETRY_AFTER_MS: u64 = 86_400_000;
/// How long a worker may continue an execution after it was asked to stop, in milliseconds.
pub const CANCEL_GRACE_MS: u64 = 10_000;
/// How long the leases of a broken stream stay live, in milliseconds.
pub const STREAM_GRACE_MS: u64 = 5_000;
/// How long a released execution is withheld from the worker that released it, in milliseconds.
pub const RELEASE_PAUSE_MS: u64 = 5_000;
/// How long a worker may have a prefetched lease before it acknowledges the lease, in milliseconds.
/// Workers keep to a fifth of it. The rest is for the way of their messages.
pub const PREFETCH_MS: u64 = 5_000;
/// How long a prefetched execution is withheld from the worker that released it without an attempt,
/// in milliseconds.
pub const PREFETCH_PAUSE_MS: u64 = 1_000;
/// Executions that a worker may have released within the pause, before it gets nothing at all until
/// the first pauses are over.
pub const MAX_PAUSES: usize = 128;
/// Leases that may be lost without acknowledgement before further ones count as worker losses.
pub const MAX_UNDELIVERED: u8 = 10;
/// Pause between two reports of progress that an execution shows, in milliseconds.
pub const PROGRESS_MS: u64 = 100;
/// Longest message of a report of progress, in bytes.
pub const MAX_PROGRESS_MESSAGE_BYTES: usize = 1 << 10;
/// Default of the longest run of one attempt, in milliseconds.
pub const DEFAULT_TIMEOUT_MS: u64 = 300_000;
/// Default priority.
pub const DEFAULT_PRIORITY: u8 = 50;
/// Default number of lost leases that ends an execution.
pub const DEFAULT_MAX_WORKER_LOSSES: u32 = 3;
/// Largest number of lost leases that a client may allow.
pub const MAX_WORKER_LOSSES: u32 = 100;
/// Most bytes of names, inputs, outputs and errors of one run.
pub const MAX_RUN_BYTES: u32 = 1 << 20;
/// Most recorded actions of one run, after which its worker and its clients can only end waits and
/// pauses.
pub const MAX_RUN_ACTIONS: u32 = 10_000;
/// Most inputs of one run that no wait has taken yet.
pub const MAX_KEPT_INPUTS: usize = 64;
/// Most executions that one execution may depend on.
pub const MAX_DEPENDENCIES: usize = 256;
/// Most unfinished ancestors of an execution.
pub const MAX_ANCESTORS: usize = 64;
/// Most limits of a tenant on running executions: its own, and those of its callables.
pub const MAX_LIMITS: usize = 1_000;
/// Most consequences of an end that belong to the commit of that end. The agenda has the others.
pub const SETTLED_AT_ONCE: usize = 64;
/// Most executions that one step of the agenda looks at.
pub const AGENDA_CHUNK: usize = 256;
/// How long a request id is kept, in hours.
pub const REQUEST_HOURS: u64 = 24;
