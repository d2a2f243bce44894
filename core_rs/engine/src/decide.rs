//! Decisions: each family of commands turned into facts, or refused.
//!
//! Owns every rule of what may happen when. Refuses to change the state itself: it calls the one
//! place that applies a fact.

mod admission;
mod cancel;
mod enqueue;
mod lease;
mod limit;
mod peek;
mod report;
mod tick;

pub use admission::{Blocker, blocker};
pub use report::Speaker;
