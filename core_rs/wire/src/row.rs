//! Rows on disk: one module for each family.
//!
//! Owns how the engine's rows are encoded as a head and a body, and decoded again. Refuses to know
//! tables and keys: the runtime and the store do.

pub mod action;
pub mod attempt;
pub mod ending;
pub mod payload;
pub mod request;

#[cfg(test)]
mod tests;
