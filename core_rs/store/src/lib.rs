//! The log-shaped store: one small trait, and what implements it.
//!
//! Owns durability: frames of facts, payloads, finished executions and request ids, written
//! together or not at all, and read back as they were.
//!
//! Refuses to know what the bytes mean. There is no protobuf and no engine in here, and the store
//! never chooses an execution: it appends, replays, looks up by number and forgets when told.

mod commit;
mod error;
mod fdatasync;
pub mod memory;
pub mod sqlite;
mod store;

pub use commit::{Bytes, Commit, FinishedRow, Frame, Headroom, Maintenance, RequestRow, Taken};
pub use error::StoreError;
pub use fdatasync::fdatasync_micros;
pub use memory::{Fault, FaultPlan, MemoryDisk, MemoryStore};
pub use sqlite::{SqliteOptions, SqliteStore};
pub use store::{Reader, Store};
