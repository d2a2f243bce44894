//! The rules of the domain, each in a pure function or type.

pub mod access;
pub mod id;
pub mod limits;
pub mod retry;
pub mod role;
pub mod status;
