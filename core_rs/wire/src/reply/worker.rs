//! Replies and messages to workers.
//!
//! Owns the replies of `WorkerService` and the messages that the server sends on a `Work` stream.
//! Refuses to know when each message is sent.

use backlane_engine::reply::{Granted, Settled};
use backlane_engine::rules::id::{ExecutionId, LeaseToken};

use super::{Timed, repeated};
use crate::run::Story;
use crate::{ApiError, put};

/// The result of one item of a worker's complete, fail, release or renewal.
type Outcome = Result<(ExecutionId, Settled), ApiError>;

/// Encodes a `Lease` from a FULL record, for a lane of the worker. Its remaining times are whole,
/// because they count from the time when the lease leaves the server. `story` is the run, if
/// something was recorded.
#[must_use]
pub fn lease(
    record: &[u8],
    granted: &Granted,
    lane: u32,
    story: Option<&Story>,
    pause_requested: bool,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(record.len() + 100);
    put::bytes(&mut out, 1, record);
    put::text(&mut out, 2, &granted.holding.token.to_string());
    put::uint(&mut out, 3, granted.attempt);
    put::timestamp(&mut out, 4, granted.expires_at_ms);
    put::timestamp(&mut out, 5, granted.attempt_deadline_ms);
    put::some_uint(&mut out, 6, Some(granted.holding.duration_ms));
    put::some_uint(&mut out, 7, Some(granted.timeout_ms));
    put::uint(&mut out, 8, granted.is_prefetched);
    put::uint(&mut out, 9, lane);
    if let Some(story) = story {
        for step in story.known_steps() {
            put::bytes(&mut out, 10, &step);
        }
        put::text(&mut out, 11, story.schema_version());
    }
    put::uint(&mut out, 12, pause_requested);
    out
}

/// Encodes a `LeaseResponse` from encoded leases.
#[must_use]
pub fn lease_response(leases: &[Vec<u8>]) -> Vec<u8> {
    repeated(1, leases)
}

/// Encodes a `RenewLeasesResponse`, `CompleteResponse`, `FailResponse`, `ReleaseResponse`,
/// `ReportStepsResponse`, `SuspendResponse` or `ReportProgressResponse`, at a time in monotonic
/// milliseconds. All have the same fields.
#[must_use]
pub fn outcomes_response(outcomes: &[Outcome], mono_ms: u64) -> Timed {
    let mut reply = Timed::from(Vec::with_capacity(outcomes.len() * 44));
    for outcome in outcomes {
        put_outcome(&mut reply, outcome, mono_ms);
    }
    reply
}

fn put_outcome(reply: &mut Timed, outcome: &Outcome, mono_ms: u64) {
    reply.message(1, |reply| match outcome {
        Ok((id, settled)) => reply.message(1, |result| {
            let out = &mut result.bytes;
            put::text(out, 1, &id.to_string());
            put::uint(out, 2, settled.status as u32);
            put::some_timestamp(out, 3, settled.expires_at_ms);
            put::uint(out, 4, settled.cancel_requested);
            if let Some(ends) = settled.ends {
                result.put_ends(5, ends, mono_ms);
            }
            put::uint(&mut result.bytes, 7, settled.pause_requested);
        }),
        Err(error) => put::bytes(&mut reply.bytes, 2, &error.to_status()),
    });
}

/// Encodes the reply to a hello: the leases that the worker still holds, and the server's version.
#[must_use]
pub fn work_welcome(
    held: &[(ExecutionId, LeaseToken)],
    duration_ms: u64,
    version: &str,
) -> Vec<u8> {
    down(1, |out| {
        put_leases(out, held);
        put::uint(out, 2, duration_ms);
        put::text(out, 3, version);
    })
}

/// Encodes a message with new leases.
#[must_use]
pub fn work_leases(leases: &[Vec<u8>]) -> Vec<u8> {
    down(2, |out| {
        for lease in leases {
            put::bytes(out, 1, lease);
        }
    })
}

/// Encodes the reply to a complete, fail, release, steps or suspend on the stream, at a time in
/// monotonic milliseconds.
#[must_use]
pub fn work_outcomes(outcomes: &[Outcome], mono_ms: u64) -> Timed {
    let mut message = Timed::default();
    message.message(3, |message| {
        for outcome in outcomes {
            put_outcome(message, outcome, mono_ms);
        }
    });
    message
}

/// Encodes a message that asks the worker to stop the executions of these leases.
#[must_use]
pub fn work_cancels(leases: &[(ExecutionId, LeaseToken)]) -> Vec<u8> {
    down(4, |out| put_leases(out, leases))
}

/// Encodes a message that asks the worker to yield the executions of these leases to a pause.
#[must_use]
pub fn work_pauses(leases: &[(ExecutionId, LeaseToken)]) -> Vec<u8> {
    down(7, |out| put_leases(out, leases))
}

/// Encodes a message that the worker has lost these leases.
#[must_use]
pub fn work_lost(leases: &[(ExecutionId, LeaseToken)]) -> Vec<u8> {
    down(5, |out| put_leases(out, leases))
}

/// Encodes a message that the server is about to stop.
#[must_use]
pub fn work_drain() -> Vec<u8> {
    down(6, |_| ())
}

// Encodes a `WorkResponse` whose oneof holds the field `tag`.
fn down(tag: u32, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    put::message(&mut out, tag, write);
    out
}

fn put_leases(out: &mut Vec<u8>, leases: &[(ExecutionId, LeaseToken)]) {
    for (id, token) in leases {
        put::message(out, 1, |out| {
            put::text(out, 1, &id.to_string());
            put::text(out, 2, &token.to_string());
        });
    }
}
