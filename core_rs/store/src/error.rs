//! Everything that can go wrong in a store, said so that whoever reads it at night knows what is
//! missing and what to do.
//!
//! Owns the words. Refuses to decide what follows: the runtime stops, takes again or reports.

use std::io;
use std::path::PathBuf;

/// Why a store refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Someone took the shard since. Nothing was written.
    #[error(
        "epoch {held} no longer holds this shard: epoch {current} does; nothing was written. \
         This process must drop the shard's memory and may take it again"
    )]
    Fenced {
        /// The epoch the call carried.
        held: u64,
        /// The epoch that holds the shard.
        current: u64,
    },

    /// The store was opened but the shard was never taken through it. Nothing was written.
    #[error("the shard has not been taken through this store: call take before writing")]
    NotTaken,

    /// The data belongs to another shard. Nothing was written.
    #[error(
        "this store holds shard {holds}, not shard {asked}: point the server at the data of \
         shard {asked}, or give it the shard number {holds}"
    )]
    WrongShard {
        /// The shard whose data this is.
        holds: u16,
        /// The shard that was asked for.
        asked: u16,
    },

    /// A commit that does not begin where the log ends. Nothing was written.
    #[error("a commit must begin with sequence {expected}, not {offered}; nothing was written")]
    Gap {
        /// The sequence the log goes on with.
        expected: u64,
        /// The sequence the commit began with.
        offered: u64,
    },

    /// A commit without facts. Nothing was written.
    #[error("a commit must hold at least one fact; nothing was written")]
    Empty,

    /// A payload for a birth number that has one. Nothing was written.
    #[error("birth number {birth} has its payload already; nothing was written")]
    Duplicate {
        /// The birth number that came twice.
        birth: u64,
    },

    /// The connection broke during the commit: it may be durable or not. Taking the shard again
    /// tells which.
    #[error(
        "the outcome of the commit beginning with sequence {first_sequence} is unknown: {what}; \
         take the shard again to learn it, acknowledge nothing before"
    )]
    Unknown {
        /// The commit's first sequence.
        first_sequence: u64,
        /// What broke.
        what: String,
    },

    /// The store cannot promise durability any more. Every further call answers the same.
    #[error(
        "the store failed and must not be used further: {what}: {reason}; acknowledge nothing, \
         end this process, and start it again when the cause is repaired"
    )]
    Fatal {
        /// What was being done.
        what: String,
        /// The cause, as the layer below told it.
        reason: String,
    },

    /// Another process holds the data directory.
    #[error(
        "the data directory {} is in use by {}: stop that process or choose another directory",
        .path.display(),
        .pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    InUse {
        /// The data directory.
        path: PathBuf,
        /// The process that holds it, if it left its number.
        pid: Option<u32>,
    },

    /// What is kept is damaged or incomplete.
    #[error("the stored data is damaged: {what}")]
    Corrupt {
        /// What is missing or bad, by sequence where there is one, and what can be done.
        what: String,
    },

    /// A newer version of this program wrote the data.
    #[error(
        "the data has format version {found}, this program knows up to {known}: start the newer \
         version again, or restore a backup made before the upgrade"
    )]
    NewerVersion {
        /// The version of the data.
        found: u32,
        /// The newest version this program can read.
        known: u32,
    },

    /// The operating system or the database refused something else; nothing was lost by it.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// The cause.
        source: io::Error,
    },
}
