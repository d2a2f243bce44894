//! The runtime: feeds the engine, makes its facts durable, and only then lets anything out.
//!
//! Owns the shard (without I/O), and the threads, clock, reader and writer around it. Refuses to
//! know Python and gRPC: completions are taken by whoever holds the [`Runtime`].

pub mod message;
pub mod shard;

pub use message::{Completion, CompletionKind, Input, Output, Ticket};
pub use shard::{Settings, Shard};
