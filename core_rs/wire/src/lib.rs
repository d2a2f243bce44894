//! Backlane's wire: protobuf messages to engine values and back. No other crate knows protobuf.
//!
//! Owns the field rules of every request, the form of every reply and error, and the form of
//! facts, payloads and endings on disk. Refuses to decide anything about an execution.

mod call;
mod config;
mod decode_error;
mod ending;
mod enqueue;
mod error;
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
mod page;
mod payload;
mod put;
mod query;
mod record;
pub mod reply;
mod request;
mod scan;
mod status;
mod trace;
mod value;
mod work;
mod worker;

pub use call::{Call, Context, LeaseCall, View, WaitCall, decode_call};
pub use decode_error::DecodeError;
pub use ending::{Ending, finished};
pub use enqueue::{EnqueueBatch, EnqueueItem, decode_enqueue_stream};
pub use error::{ApiError, Reason};
pub use log::{decode_facts, encode_fact};
pub use method::Method;
pub use page::page_token;
pub use payload::PayloadParts;
pub use record::{Standing, brief, record};
pub use value::RawValue;
pub use work::{WorkFrame, decode_work};
