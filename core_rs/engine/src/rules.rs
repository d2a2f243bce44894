//! The rules of the domain, each a pure function or type of its own.

pub mod access;
pub mod id;
pub mod limits;
pub mod retry;
pub mod role;
pub mod status;
