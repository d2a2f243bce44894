//! Decisions: every command becomes facts or a refusal.
//!
//! Owns the rules about which commands and timers change what. Refuses to change the state itself:
//! it calls the one place that applies facts.

mod admission;
mod cancel;
mod dead_letter;
mod enqueue;
mod lease;
mod limit;
mod peek;
mod progress;
mod redrive;
mod report;
mod tick;

pub use admission::{Blocker, blocker};
pub use report::Speaker;
