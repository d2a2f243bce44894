//! The durable store: an append-only log of facts, and tables of rows that belong to the facts.
//!
//! Owns durability. The frame and the rows of a commit are written together or not at all, and
//! each is read back as it was written or reported as damaged.
//!
//! Refuses to know what the bytes mean. This crate contains no protobuf and no engine code. It
//! appends, replays, looks rows up by key, and removes what it is told to remove.

mod check;
mod commit;
mod error;
mod family;
mod fdatasync;
mod lookup;
pub mod memory;
mod row;
pub mod sqlite;
mod store;

pub use check::{Report, check, check_with, salvage, salvage_with};
pub use commit::{Commit, Frame, Headroom, Maintenance, Taken};
pub use error::StoreError;
pub use family::{
    ACTION, ATTEMPT, Class, DEAD_LETTER, ENDING, FAMILIES, Family, KeyKind, Mode, PAYLOAD, REQUEST,
    Retention,
};
pub use fdatasync::fdatasync_micros;
pub use lookup::{Damage, Lookup, Part, Stored};
pub use memory::{Fault, FaultPlan, MemoryDisk, MemoryStore, Volume};
pub use row::{Bytes, Change, Key, Listing, Put, Row};
pub use sqlite::copy::{backup, restore};
pub use sqlite::{FORMAT, Format, Migration, SqliteOptions, SqliteStore};
pub use store::{Reader, Store};
