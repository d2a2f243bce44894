//! Tests of the shard from outside: encoded calls in, encoded replies out, and a store driven by
//! hand.
//!
//! Owns the tests that scenarios cannot express (the order of commits and replies, streams, drain,
//! sizes), and plays the scenarios as well. Refuses to look inside the shard.

mod attempts;
mod awaited;
mod delete;
mod dependencies;
mod desk;
mod drain;
mod durability;
mod endings;
mod enqueue_stream;
mod explained;
mod find;
mod json;
mod lanes;
mod leases;
mod lists;
mod over;
mod redriven_graphs;
mod redrives;
mod requests;
mod retention;
mod runs;
mod scenarios;
#[path = "../../../engine/tests/suite/script.rs"]
mod script;
mod sizes;
mod spawn;
mod spoken;
mod stage;
mod stage_explain;
mod stage_runs;
mod view;
mod waits;
mod work;
mod work_stream;
