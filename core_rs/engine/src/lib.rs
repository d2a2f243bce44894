//! The engine makes every decision, and is pure.
//!
//! Owns order, status, leases, retries, limits and fairness. The engine has no clock, no I/O, no
//! threads, no protobuf and no Python; randomness is an input. Each command comes with its time.
//! Decisions leave the engine as facts. Applying a fact is the only change of [`state::State`], in
//! a running server as in a replay. State that need not survive a restart (virtual time, offers,
//! liveness of workers) is [`soft::Soft`].

pub mod command;
pub mod decide;
mod engine;
pub mod error;
pub mod fact;
pub mod reason;
pub mod reply;
pub mod row;
pub mod rules;
pub mod soft;
pub mod state;
pub mod task;
pub mod time;

pub use engine::{Decided, Engine, fold};
