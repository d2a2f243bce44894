//! Commits, frames and the other values that the writer of a store passes and receives.
//!
//! Owns their shape and the rule that commits follow one another without a gap. Refuses to know
//! how facts are encoded and where commits are kept.

use crate::{Change, Class, Row, StoreError};

/// Bytes of disk that a row is counted with beside its content: one page, because a row of an
/// index with random keys may change a page of its own.
const ROW_BYTES: u64 = 4096;

/// One durable unit: encoded facts, and the rows that belong to them. A store keeps all of a
/// commit or nothing of it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Sequence number of the first fact. The facts of all commits are numbered without gaps,
    /// and the first fact of a store has number 1.
    pub first_sequence: u64,
    /// Number of facts in the frame, at least 1.
    pub count: u32,
    /// The encoded facts. The store does not decode them.
    pub frame: Vec<u8>,
    /// The changes of rows, in the order in which they apply.
    pub rows: Vec<Row>,
}

impl Row {
    /// The most bytes of disk that writing this row may take, as far as can be told beforehand.
    #[must_use]
    pub fn weight(&self) -> u64 {
        let content = match &self.change {
            Change::Put(put) => put.len(),
            Change::Delete | Change::Erase => 0,
        };
        ROW_BYTES + content as u64
    }
}

impl Commit {
    /// The sequence number that follows this commit's last fact.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.first_sequence + u64::from(self.count)
    }

    /// The most bytes of disk that writing this commit may take, as far as can be told beforehand.
    #[must_use]
    pub fn weight(&self) -> u64 {
        let rows: u64 = self.rows.iter().map(Row::weight).sum();
        rows + self.frame.len() as u64
    }

    /// Checks that this commit continues a log whose next sequence number is `expected`.
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

/// The facts of one commit, as replay returns them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Sequence number of the first fact.
    pub first_sequence: u64,
    /// Number of facts.
    pub count: u32,
    /// The encoded facts.
    pub bytes: Vec<u8>,
}

/// What the holder of a shard learns when it takes the shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// The epoch that every append must carry; one more than any earlier holder's epoch.
    pub epoch: u64,
    /// Sequence number of the first fact of the oldest kept frame, or `next_sequence` if no
    /// frame is kept.
    pub first_sequence: u64,
    /// Sequence number with which the next commit must begin.
    pub next_sequence: u64,
}

/// A bounded amount of trimming and expiry. The default asks for nothing.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Maintenance {
    /// Frames whose facts all lie below this sequence number are removed, oldest first. The
    /// newest frame always stays, because it tells where the log continues.
    pub trim_below_sequence: u64,
    /// Entities of this class whose retention period started before this instant (milliseconds
    /// since the epoch) are removed with all their rows, oldest first.
    pub expire: Option<(Class, u64)>,
    /// Hours of digest families below this hour are dropped, oldest first. One table is dropped
    /// whole and uses up the rest of the limit, so that a call drops at most one.
    pub drop_hours_below: u32,
    /// The largest number of frames and entities that one call removes, together. An entity
    /// with all its rows counts as one.
    pub limit: usize,
}

/// How much the store can still take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headroom {
    /// Bytes that are free on the disk; none while a quota refuses writes. Free pages inside a
    /// database are not among them, because a commit is written elsewhere first.
    pub free_bytes: u64,
    /// Bytes that the store holds back for the end of what is running.
    pub reserve_bytes: u64,
    /// Bytes that may still be used for new executions. What is left after them is for the end of
    /// what is running.
    pub room_bytes: u64,
    /// Bytes that the store occupies now.
    pub used_bytes: u64,
}
