//! The values that cross the store's trait.
//!
//! Owns their shape. Refuses to know how they are encoded, by whom, or where they are kept.

use std::sync::Arc;

use crate::StoreError;

/// Immutable bytes, shared instead of copied.
pub type Bytes = Arc<[u8]>;

/// One durable unit: facts encoded by the runtime as opaque bytes, and the rows that belong to
/// them. All of it is kept, or none.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Sequence of the first fact. Dense over commits; the first fact of all is number 1.
    pub first_sequence: u64,
    /// Number of facts in the frame, at least 1.
    pub count: u32,
    /// The facts, opaque.
    pub frame: Vec<u8>,
    /// Birth number and payload. A payload is written once; a second one is refused. Birth
    /// numbers stay below 2^63 (the ids have room for 48 bits).
    pub payloads: Vec<(u64, Bytes)>,
    /// Executions that ended. A later row of the same birth number replaces the earlier one.
    pub finished: Vec<FinishedRow>,
    /// Request ids. Repeating one is no error: the newest row is the one that is found.
    pub requests: Vec<RequestRow>,
}

impl Commit {
    /// The sequence that follows this commit's last fact.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.first_sequence + u64::from(self.count)
    }

    /// Whether this commit is where the log goes on.
    pub(crate) fn check_follows(&self, expected: u64) -> Result<(), StoreError> {
        if self.count == 0 {
            return Err(StoreError::Empty);
        }
        if self.first_sequence != expected {
            return Err(StoreError::Gap {
                expected,
                offered: self.first_sequence,
            });
        }
        Ok(())
    }
}

/// A finished execution: what the store must know to find and expire it, and its opaque record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedRow {
    /// The execution's birth number.
    pub birth: u64,
    /// Whose it is.
    pub tenant: Box<str>,
    /// How it ended, as a number the store only compares.
    pub status: u8,
    /// When it ended, milliseconds since the epoch.
    pub finished_at_ms: u64,
    /// The record, opaque.
    pub ending: Bytes,
}

/// A request id that was answered: its hash, its body's hash, and what it made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRow {
    /// Hours since the epoch: says which table holds the row, and so when it is dropped.
    pub hour: u32,
    /// Hash of the request id with its scope.
    pub key: [u8; 16],
    /// Hash of the request's body.
    pub body: [u8; 16],
    /// Birth number of the first execution the request made.
    pub first_birth: u64,
    /// How many executions it made; their birth numbers follow one another.
    pub count: u32,
    /// The executions it answered, where they do not: some were there before.
    pub listed: Vec<u64>,
}

/// One commit's facts as replay returns them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Sequence of the first fact.
    pub first_sequence: u64,
    /// Number of facts.
    pub count: u32,
    /// The facts, opaque.
    pub bytes: Vec<u8>,
}

/// What the holder of a shard learns when it takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// The epoch every append must carry; one more than any holder had before.
    pub epoch: u64,
    /// Sequence of the first fact of the oldest kept frame, or `next_sequence` if none is kept.
    pub first_sequence: u64,
    /// Sequence the next commit must begin with.
    pub next_sequence: u64,
}

/// A bounded chunk of forgetting. A zero asks for nothing of that kind.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Maintenance {
    /// Frames wholly below this sequence go, oldest first. The newest frame always stays: it
    /// tells where the log goes on.
    pub trim_below_sequence: u64,
    /// Executions that finished before this instant go with their payloads, longest ago first.
    pub expire_finished_before_ms: u64,
    /// Request ids of hours below this one go, oldest hour first. An hour goes whole and takes
    /// up all that is left of the limit, so that at most one goes in a call.
    pub drop_request_hours_below: u32,
    /// At most so many rows go in one call, over all three kinds together, but for an hour's. An
    /// execution with its payload counts as one row.
    pub limit: usize,
}

/// How much the store can still take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headroom {
    /// Bytes that can still be written.
    pub free_bytes: u64,
    /// Bytes the store occupies now.
    pub used_bytes: u64,
}
