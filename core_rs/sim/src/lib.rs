//! Backlane's simulator: a whole server and its clients on one thread, without a clock.
//!
//! Owns the runs: each is decided by its seed alone, with crashes, faults, lost messages and
//! jumping clocks, and every answer and fact of it is held against the invariants. Refuses to
//! look into the shard for answers: clients speak encoded messages, as real ones do.

pub mod api;
pub mod asked;
pub mod check;
mod dice;
#[allow(clippy::doc_markdown, reason = "generated")]
mod generated;
pub mod judge;
mod network;
mod plan;
mod producers;
mod requests;
mod run;
mod sabotage;
mod server;
mod trace;
mod workers;
mod world;

pub use dice::Dice;
pub use run::{Course, Failure, Run, STEPS, run};
pub use sabotage::Sabotage;
