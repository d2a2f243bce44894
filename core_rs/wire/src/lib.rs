//! Backlane's wire: protobuf messages to engine values and back. No other crate knows protobuf.
//!
//! Owns the field rules of every request, the form of every reply and error, and the form of facts
//! and rows on disk. Refuses to decide anything about an execution.

mod config;
mod context;
mod decode_error;
mod enqueue;
mod error;
#[cfg(test)]
mod every_request;
mod failure;
mod fields;
#[cfg(test)]
mod fixtures;
mod generated;
mod hash;
mod log;
mod method;
#[cfg(test)]
mod numbers;
mod offer;
mod page;
mod put;
mod query;
mod record;
pub mod reply;
mod request;
pub mod row;
mod scan;
mod status;
mod trace;
mod value;
mod work;
mod worker;

pub use context::{Context, View};
pub use decode_error::DecodeError;
pub use enqueue::{
    EnqueueBatch, Run, decode_batch, decode_enqueue, decode_enqueue_stream, decode_run,
};
pub use error::{ApiError, Reason};
pub use log::{decode_facts, encode_fact};
pub use method::{Entry, METHODS, Method, Scope};
pub use page::page_token;
pub use query::{
    Get, List, Named, Peek, Wait, decode_cancel, decode_get, decode_list, decode_peek,
    decode_queue_stats, decode_wait,
};
pub use record::{Parts, Standing, brief, brief_record, record};
pub use value::RawValue;
pub use work::{WorkFrame, decode_work};
pub use worker::{
    Lease, Renew, Reports, decode_complete, decode_fail, decode_lease, decode_release, decode_renew,
};
