//! Backlane's simulator: a whole server and its clients on one thread, without a real clock.
//!
//! Owns the runs. Each run is decided by its seed alone, with crashes, faults, lost messages and
//! jumping clocks; every reply and every fact is checked against the invariants. Refuses to look
//! into the shard for replies: clients use encoded messages, as real clients do.

pub mod api;
pub mod asked;
pub mod check;
mod dice;
#[allow(clippy::doc_markdown, reason = "generated")]
mod generated;
pub mod judge;
mod names;
mod network;
mod plan;
mod producers;
mod reading;
mod requests;
mod run;
mod sabotage;
mod scenes;
mod server;
mod steering;
mod trace;
mod workers;
mod world;

pub use dice::Dice;
pub use plan::Excuses;
pub use run::{Course, Failure, Run, STEPS, run};
pub use sabotage::Sabotage;
