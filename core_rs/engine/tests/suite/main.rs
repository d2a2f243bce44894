//! The engine from outside: scenarios, models, fairness, offers and rounds.
//!
//! Owns the proofs that need more than one part of the engine. Every one of them runs in a
//! [`world::World`], which folds the log anew and audits the invariants after each step.

mod audit;
mod fairness;
mod liveness;
mod model;
mod offers;
mod refusals;
mod requests;
mod rounds;
mod scenarios;
mod script;
mod stage;
mod steps;
mod view;
mod words;
mod world;
