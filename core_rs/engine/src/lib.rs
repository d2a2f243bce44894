//! The engine: decides everything, and is pure.
//!
//! Owns order, status, leases, retries, limits and fairness. It has no clock, no I/O, no thread,
//! no randomness but its inputs, no protobuf and no Python. A command comes with the time it is
//! decided at; what is decided leaves as facts; applying a fact is the only mutation of
//! [`state::State`], live and on replay alike. What need not survive a restart (virtual time,
//! offers, liveness of workers) is [`soft::Soft`].

pub mod command;
pub mod decide;
mod engine;
pub mod error;
pub mod fact;
pub mod reply;
pub mod row;
pub mod rules;
pub mod soft;
pub mod state;
pub mod time;

pub use engine::{Decided, Engine, fold};
