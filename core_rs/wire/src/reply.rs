//! Replies, encoded.
//!
//! Owns the messages that answer calls and streams. Refuses to know what the records in them
//! say: those come encoded from [`crate::record`].

mod producer;
mod worker;

pub use producer::{
    cancel_response, enqueue_batch_response, enqueue_response, enqueue_stream_responses,
    get_response, list_response, peek_response, queue_stats_response, run_response, wait_response,
};
pub use worker::{
    lease, lease_response, outcomes_response, work_cancels, work_drain, work_leases, work_lost,
    work_outcomes, work_welcome,
};

use crate::put;

// A reply that repeats one encoded message, with room for what may follow.
fn repeated(tag: u32, messages: &[Vec<u8>]) -> Vec<u8> {
    let bytes: usize = messages.iter().map(|message| message.len() + 6).sum();
    let mut out = Vec::with_capacity(bytes + 64);
    for message in messages {
        put::bytes(&mut out, tag, message);
    }
    out
}

// A reply that is one encoded record and perhaps a flag.
fn record_and_existing(record: &[u8], existing: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(record.len() + 8);
    put::bytes(&mut out, 1, record);
    put::uint(&mut out, 2, existing);
    out
}

#[cfg(test)]
mod tests;
