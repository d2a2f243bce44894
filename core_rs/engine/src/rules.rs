//! The rules of the domain, each in a pure function or type.

pub mod access;
mod base62;
pub mod id;
pub mod limits;
pub mod retry;
pub mod role;
pub mod run;
pub mod status;
pub mod step;
