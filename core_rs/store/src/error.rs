//! The errors of a store. Each message says what is wrong and what to do.
//!
//! Owns the wording. Refuses to decide what follows from an error: the runtime does.

use std::io;
use std::path::PathBuf;

use crate::{Damage, Key};

/// Why a store refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another holder took the shard in the meantime. Nothing was written.
    #[error(
        "epoch {held} no longer holds this shard, because epoch {current} took it; nothing was \
         written. Drop this shard's memory; the shard can be taken again"
    )]
    Fenced {
        /// The epoch that the call carried.
        held: u64,
        /// The epoch that holds the shard.
        current: u64,
    },

    /// The store was opened, but the shard was not taken. Nothing was written.
    #[error("the shard has not been taken through this store: call take before writing")]
    NotTaken,

    /// The data belongs to another shard. Nothing was written.
    #[error(
        "this store holds shard {holds}, not shard {asked}: point the server at the data of \
         shard {asked}, or give it the shard number {holds}"
    )]
    WrongShard {
        /// The shard that the data belongs to.
        holds: u16,
        /// The shard that was asked for.
        asked: u16,
    },

    /// The commit does not begin where the log ends. Nothing was written.
    #[error("a commit must begin with sequence {expected}, not {offered}; nothing was written")]
    Gap {
        /// The sequence number with which the log continues.
        expected: u64,
        /// The sequence number with which the commit began.
        offered: u64,
    },

    /// The commit has no facts. Nothing was written.
    #[error("a commit must hold at least one fact; nothing was written")]
    Empty,

    /// A row does not fit the declaration of its family. Nothing was written or read.
    #[error("family {family}, key {key}: {what}; nothing was done")]
    Misfit {
        /// The name of the family.
        family: &'static str,
        /// The key of the row.
        key: String,
        /// Which rule the row breaks.
        what: &'static str,
    },

    /// The commit puts a row whose key exists, in a family whose rows are put once. Nothing was
    /// written.
    #[error("family {family} has a row with key {key} already; nothing was written")]
    Duplicate {
        /// The name of the family.
        family: &'static str,
        /// The key that exists.
        key: Key,
    },

    /// The connection broke during the commit, so the commit may be durable or not.
    #[error(
        "the outcome of the commit beginning with sequence {first_sequence} is unknown: {what}; \
         take the shard again to learn the outcome, and acknowledge nothing before"
    )]
    Unknown {
        /// The commit's first sequence number.
        first_sequence: u64,
        /// What broke.
        what: String,
    },

    /// The store cannot promise durability any more. Every further call returns the same error.
    #[error(
        "the store failed and must not be used further: {what}: {reason}; acknowledge nothing, \
         end this process, and start it again when the cause is repaired"
    )]
    Fatal {
        /// What was being done.
        what: String,
        /// The cause, in the words of the database or the operating system.
        reason: String,
    },

    /// The disk is full, and the reserve is used up. Nothing was written, and the store can be
    /// used further.
    #[error(
        "the disk of {} is full: {free_bytes} bytes are free; nothing was written. Make room on \
         that disk",
        .path.display()
    )]
    Full {
        /// The data directory.
        path: PathBuf,
        /// Bytes that are free on its disk.
        free_bytes: u64,
    },

    /// A file of the data directory was removed or replaced while the store was using it.
    #[error(
        "{} was removed or replaced while this process was using it. What was written since then \
         is lost, so nothing more is acknowledged. Put the directory back, restore a backup with \
         `backlane restore`, or start on an empty directory",
        .path.display()
    )]
    Removed {
        /// The file.
        path: PathBuf,
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
        /// The process that holds the directory, if it left its number.
        pid: Option<u32>,
    },

    /// The stored data is damaged or incomplete.
    #[error("the stored data is damaged: {what}")]
    Corrupt {
        /// What is missing or bad, where it is, and what can be done.
        what: String,
    },

    /// A read found damage that concerns more than one row.
    #[error("{0}")]
    Damaged(Damage),

    /// An older version of this program wrote the data, in a format that is no longer read.
    #[error(
        "{} was written by Backlane 0.1.0 (format {found}), and this version cannot read it: \
         start Backlane 0.1.0 on it until its executions have ended, and give this version \
         another data directory",
        .path.display()
    )]
    OlderVersion {
        /// The data directory.
        path: PathBuf,
        /// The format number of the data.
        found: u32,
    },

    /// A newer version of this program wrote the data.
    #[error(
        "the data has format {found}, this program knows formats up to {known}: start the newer \
         version again, or restore a backup made before the upgrade"
    )]
    NewerVersion {
        /// The format number of the data.
        found: u32,
        /// The newest format that this program can read.
        known: u32,
    },

    /// The operating system or the database refused something else. Nothing was lost.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// The cause.
        source: io::Error,
    },
}
