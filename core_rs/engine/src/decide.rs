//! Decisions: every command becomes facts or a refusal.
//!
//! Owns the rules about which commands and timers change what. Refuses to change the state itself:
//! it calls the one place that applies facts.

mod admission;
mod agenda;
mod cancel;
mod dependency;
mod enqueue;
mod family;
mod lease;
mod limit;
mod peek;
mod report;
mod tick;

pub use admission::{Blocker, blocker};
pub use report::Speaker;
