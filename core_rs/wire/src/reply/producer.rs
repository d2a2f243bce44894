//! Replies to producers.
//!
//! Owns the replies of `ExecutionService`. Refuses to know workers.

use std::sync::Arc;

use backlane_engine::fact::ErrorRecord;
use backlane_engine::reply::Counts;
use backlane_engine::row::AttemptOutcome;
use backlane_engine::rules::id::ExecutionId;

use super::{record_and_existing, repeated};
use crate::record::put_error;
use crate::{ApiError, put};

/// Encodes an `EnqueueResponse` from a FULL record.
#[must_use]
pub fn enqueue_response(record: &[u8], existing: bool) -> Vec<u8> {
    record_and_existing(record, existing)
}

/// Encodes a `RunResponse` from a FULL record.
#[must_use]
pub fn run_response(record: &[u8], existing: bool) -> Vec<u8> {
    record_and_existing(record, existing)
}

/// Encodes a `GetResponse` from a record.
#[must_use]
pub fn get_response(record: &[u8]) -> Vec<u8> {
    record_and_existing(record, false)
}

/// Encodes a `CountResponse`.
#[must_use]
pub fn count_response(count: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put::uint(&mut out, 1, count);
    out
}

/// Encodes a `CancelResponse` from a FULL record.
#[must_use]
pub fn cancel_response(record: &[u8]) -> Vec<u8> {
    record_and_existing(record, false)
}

/// Encodes a `ProvideInputResponse` from a BASIC record.
#[must_use]
pub fn provide_input_response(record: &[u8], existing: bool) -> Vec<u8> {
    record_and_existing(record, existing)
}

/// Encodes a `PauseResponse` or a `ResumeResponse` from a FULL record.
#[must_use]
pub fn control_response(record: &[u8]) -> Vec<u8> {
    record_and_existing(record, false)
}

/// Encodes a `RedriveResponse` from a FULL record.
#[must_use]
pub fn redrive_response(record: &[u8], existing: bool, dependents: &[ExecutionId]) -> Vec<u8> {
    let mut out = record_and_existing(record, existing);
    for id in dependents {
        put::text(&mut out, 3, &id.to_string());
    }
    out
}

/// Encodes a `GetTaskRecordResponse` from a task record.
#[must_use]
pub fn task_record_response(record: &[u8]) -> Vec<u8> {
    record_and_existing(record, false)
}

/// Encodes a `DiscardDeadLettersResponse`. An outcome is the id of the execution, or an error.
#[must_use]
pub fn discard_response(outcomes: &[Result<ExecutionId, ApiError>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(outcomes.len() * 40);
    for outcome in outcomes {
        put::message(&mut out, 1, |out| match outcome {
            Ok(id) => put::message(out, 1, |out| put::text(out, 1, &id.to_string())),
            Err(error) => put::bytes(out, 2, &error.to_status()),
        });
    }
    out
}

/// Encodes a `SpawnResponse` from the FULL record of the child.
#[must_use]
pub fn spawn_response(record: &[u8], existing: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(record.len() + 12);
    put::bytes(&mut out, 1, record);
    put::uint(&mut out, 3, existing);
    out
}

/// Encodes a `SpawnResponse` for a child that the parent runs inline.
#[must_use]
pub fn spawn_inline_response() -> Vec<u8> {
    let mut out = Vec::new();
    put::message(&mut out, 2, |_| ());
    out
}

/// Encodes an `EnqueueBatchResponse` from BASIC records; the flag of a result says that the
/// execution existed before.
#[must_use]
pub fn enqueue_batch_response(results: &[(Vec<u8>, bool)], existing: bool) -> Vec<u8> {
    let bytes: usize = results.iter().map(|(record, _)| record.len() + 12).sum();
    let mut out = Vec::with_capacity(bytes + 2);
    for (record, existing) in results {
        put::message(&mut out, 1, |out| {
            put::bytes(out, 1, record);
            put::uint(out, 2, *existing);
        });
    }
    put::uint(&mut out, 2, existing);
    out
}

/// Encodes outcomes as the fewest `EnqueueStreamResponse`s of at most `most` bytes each. An outcome
/// is an id and whether the execution existed before, or an error.
#[must_use]
pub fn enqueue_stream_responses(
    outcomes: &[Result<(ExecutionId, bool), ApiError>],
    most: usize,
) -> Vec<Vec<u8>> {
    let mut full = Vec::new();
    let mut out = Vec::with_capacity((outcomes.len() * 44).min(most));
    for outcome in outcomes {
        let begin = out.len();
        put::message(&mut out, 1, |out| match outcome {
            Ok((id, existing)) => put::message(out, 1, |out| {
                put::text(out, 1, &id.to_string());
                put::uint(out, 2, *existing);
            }),
            Err(error) => put::bytes(out, 2, &error.to_status()),
        });
        if out.len() > most && begin > 0 {
            let next = out.split_off(begin);
            full.push(std::mem::replace(&mut out, next));
        }
    }
    full.push(out);
    full
}

/// Encodes a `ListResponse`; `next` is a [`crate::page_token`].
#[must_use]
pub fn list_response(records: &[Vec<u8>], next: Option<&str>) -> Vec<u8> {
    let mut out = repeated(1, records);
    put::text(&mut out, 2, next.unwrap_or_default());
    out
}

/// Encodes a `ListDeadLettersResponse`; `next` is a page token of that list.
#[must_use]
pub fn list_dead_letters_response(records: &[Vec<u8>], next: Option<&str>) -> Vec<u8> {
    list_response(records, next)
}

/// One attempt, as a `ListAttemptsResponse` shows it.
#[derive(Debug, Clone, Copy)]
pub struct AttemptShown<'a> {
    /// Ordinal of the lease.
    pub ordinal: u32,
    /// Ordinal of the attempt.
    pub attempt: u32,
    /// The id of the worker that held the lease.
    pub worker: &'a str,
    /// Begin of the lease, in milliseconds since the epoch.
    pub started_at_ms: u64,
    /// End of the lease, in milliseconds since the epoch; `None` while the lease is live.
    pub ended_at_ms: Option<u64>,
    /// How the attempt ended, or that it is still running.
    pub outcome: AttemptOutcome,
    /// The error, where the attempt ended with one.
    pub error: Option<&'a ErrorRecord>,
}

/// Encodes an `Attempt`.
#[must_use]
pub fn attempt(shown: &AttemptShown<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    put::uint(&mut out, 1, shown.ordinal);
    put::uint(&mut out, 2, shown.attempt);
    put::text(&mut out, 3, shown.worker);
    put::timestamp(&mut out, 4, shown.started_at_ms);
    put::some_timestamp(&mut out, 5, shown.ended_at_ms);
    put::uint(&mut out, 6, shown.outcome as u32);
    if let Some(error) = shown.error {
        put_error(&mut out, 7, error);
    }
    out
}

/// Encodes a `ListAttemptsResponse`; `next` is a [`crate::page_token`].
#[must_use]
pub fn list_attempts_response(attempts: &[Vec<u8>], next: Option<&str>) -> Vec<u8> {
    list_response(attempts, next)
}

/// Encodes a `WaitResponse` from BASIC records; `satisfied` says whether enough executions have
/// ended.
#[must_use]
pub fn wait_response(outcomes: &[Result<Vec<u8>, ApiError>], satisfied: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for outcome in outcomes {
        put::message(&mut out, 1, |out| match outcome {
            Ok(record) => put::bytes(out, 1, record),
            Err(error) => put::bytes(out, 2, &error.to_status()),
        });
    }
    put::uint(&mut out, 2, satisfied);
    out
}

/// Encodes a `PeekResponse` from BASIC records.
#[must_use]
pub fn peek_response(records: &[Vec<u8>]) -> Vec<u8> {
    repeated(1, records)
}

/// Encodes a `GetQueueStatsResponse`; callables are sorted by name.
#[must_use]
pub fn queue_stats_response(
    counts: Counts,
    oldest_queued_at_ms: Option<u64>,
    callables: &[(Arc<str>, Counts)],
) -> Vec<u8> {
    let mut out = Vec::new();
    put_counts(&mut out, 1, counts);
    put::some_timestamp(&mut out, 5, oldest_queued_at_ms);
    for (name, counts) in callables {
        put::message(&mut out, 6, |out| {
            put::text(out, 1, name);
            put_counts(out, 2, *counts);
            put::uint(out, 6, counts.suspended);
            put::uint(out, 7, counts.held);
            put::uint(out, 8, counts.ending);
        });
    }
    put::uint(&mut out, 7, counts.suspended);
    put::uint(&mut out, 8, counts.held);
    put::uint(&mut out, 9, counts.ending);
    out
}

/// Writes the counts that the reply and its callables have in one order.
fn put_counts(out: &mut Vec<u8>, first_tag: u32, counts: Counts) {
    let numbers = [
        counts.ready,
        counts.pending,
        counts.retrying,
        counts.running,
    ];
    for (tag, number) in (first_tag..).zip(numbers) {
        put::uint(out, tag, number);
    }
}
