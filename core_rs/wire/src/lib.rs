//! Translates between protobuf messages and engine values. No other crate knows protobuf.
//!
//! Owns the field rules of every request, the form of every reply and error, and the form of facts
//! and rows on disk. Refuses to decide anything about an execution.

pub mod carry;
mod config;
mod context;
pub mod control;
pub mod dead_letter;
mod decode_error;
pub mod enqueue;
mod error;
#[cfg(test)]
mod every_request;
pub mod explain;
mod failure;
mod family;
mod fields;
pub mod filter;
#[cfg(test)]
mod fixtures;
mod generated;
mod hash;
mod json;
pub mod limit;
mod log;
mod method;
#[cfg(test)]
mod numbers;
mod offer;
mod page;
mod put;
pub mod query;
mod record;
pub mod redrive;
pub mod reply;
mod request;
pub mod row;
mod rpc_status;
pub mod run;
mod scan;
pub mod spawn;
pub mod steps;
pub mod task;
mod trace;
mod unreadable;
mod value;
pub mod work;
pub mod worker;

pub use context::{Context, View};
pub use decode_error::DecodeError;
pub use error::{ApiError, Reason};
pub use log::{decode_facts, encode_fact, facts};
pub use method::{Entry, METHODS, Method, Scope};
pub use page::page_token;
pub use record::{Parts, Standing, brief, brief_record, record};
pub use value::RawValue;
