//! Tests of the whole engine: scenarios, models, fairness, offers and rounds.
//!
//! Owns the tests that need more than one part of the engine. Every test runs in a
//! [`world::World`], which rebuilds the state from the log and audits the invariants after each
//! step.

mod audit;
mod audit_counts;
mod clocks;
mod dependencies;
mod dependencies_model;
mod endings;
mod explained;
mod fairness;
mod families;
mod given;
mod life;
mod liveness;
mod looks;
mod model;
mod model_runs;
mod offers;
mod over;
mod pauses;
mod prefetch;
mod redriven_graphs;
mod redrives;
mod refusals;
mod requests;
mod rounds;
mod runs;
mod scenarios;
mod script;
mod stage;
mod stage_explain;
mod stage_runs;
mod steps;
mod suspensions;
mod view;
mod words;
mod world;
