//! Decisions: every command becomes facts or a refusal.
//!
//! Owns the rules about which commands and timers change what. Refuses to change the state itself:
//! it calls the one place that applies facts.

mod admission;
mod agenda;
mod cancel;
mod dead_letter;
mod delete;
mod dependency;
mod enqueue;
mod explain;
mod family;
mod input;
mod lease;
mod limit;
mod pause;
mod peek;
mod progress;
mod redrive;
mod report;
mod run;
mod steps;
mod suspend;
mod tick;

pub use admission::{Blocker, blocker, blockers};
pub use report::Speaker;
