//! The record of an execution, as every reply shows it.
//!
//! Owns the encoding of `v1.BackgroundExecution` from the rows of an execution and its current
//! state. Refuses to decide any value. The encoding is written by hand for speed: every lease and
//! every reply needs a record, and most of a record is copied from the payload, which is stored in
//! encoded form.

use backlane_engine::command::ProgressReport;
use backlane_engine::fact::{ErrorRecord, Living, Progress};
use backlane_engine::row::EndingRow;
use backlane_engine::rules::id::{Birth, ExecutionId};
use backlane_engine::rules::status::Status;

use crate::context::View;
use crate::log::parts;
use crate::row::payload::{self, HeadView};
use crate::scan::{Fields, Malformed, Wire};
use crate::{DecodeError, put};

/// `CASCADE_CANCEL`, the default, which a payload leaves out.
const CASCADE_CANCEL: u64 = 1;
/// Most bytes that a record adds to the bytes of its parts.
const FRAME_BYTES: usize = 256;

/// Where an execution stands: unfinished or ended.
#[derive(Debug, Clone, Copy)]
pub enum Standing<'a> {
    /// The execution is unfinished.
    Living(&'a Living),
    /// The execution has ended.
    Ended(&'a EndingRow),
}

impl<'a> Standing<'a> {
    /// The error with which the execution ended, or will end once its descendants have.
    fn error(self) -> Option<&'a ErrorRecord> {
        match self {
            Self::Living(living) => living.verdict_error(),
            Self::Ended(ending) => ending.error.as_deref(),
        }
    }

    const fn status(self) -> Status {
        match self {
            Self::Living(living) => living.progress.phase.status(),
            Self::Ended(ending) => ending.status,
        }
    }

    const fn progress(self) -> &'a Progress {
        match self {
            Self::Living(living) => &living.progress,
            Self::Ended(ending) => &ending.progress,
        }
    }

    const fn ending(self) -> Option<&'a EndingRow> {
        match self {
            Self::Living(_) => None,
            Self::Ended(ending) => Some(ending),
        }
    }
}

/// The parts that a record is made of.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// Birth number of the execution.
    pub birth: Birth,
    /// Head of the payload: the small fields of the request and the id.
    pub head: &'a [u8],
    /// Body of the payload: input and context. A BASIC view does not need the body.
    pub body: Option<&'a [u8]>,
    /// Where the execution stands.
    pub standing: Standing<'a>,
    /// The error of the newest failed attempt that was followed by another attempt.
    pub last_error: Option<&'a ErrorRecord>,
    /// How far the execution has come, as its worker says.
    pub progress: Option<&'a ProgressReport>,
}

/// Encodes the `v1.BackgroundExecution` of an execution.
///
/// # Errors
/// [`DecodeError`] where the payload is malformed.
pub fn record(parts: &Parts<'_>, view: View) -> Result<Vec<u8>, DecodeError> {
    let made = HeadView::of(parts.head)?;
    let standing = parts.standing;
    let full = view == View::Full;
    let output = standing.ending().and_then(|ending| ending.output.as_ref());
    let output = output.filter(|_| full);
    let body = parts.body.filter(|_| full).unwrap_or_default();
    let kept = parts.head.len() + body.len() + output.map_or(0, |bytes| bytes.len());
    let mut out = Vec::with_capacity(FRAME_BYTES + kept);
    put::text(&mut out, 1, &made.id(parts.birth)?.to_string());
    put::filled(&mut out, 2, made.tenant);
    put::filled(&mut out, 3, made.callable);
    out.extend_from_slice(body);
    let (losses, cancellation) = put_config(&mut out, &made)?;
    put::uint(&mut out, 7, standing.status() as u32);
    put::timestamp(&mut out, 8, made.queued_at_ms);
    if let Some(output) = output {
        put::bytes(&mut out, 11, output);
    }
    if full {
        out.extend_from_slice(made.metadata);
    }
    put_given(&mut out, &made, losses)?;
    put::uint(&mut out, 22, cancellation);
    put_family(&mut out, &made, full)?;
    if made.has_dependencies {
        for id in payload::depends_on(parts.head) {
            put::text(&mut out, 23, &id.to_string());
        }
    }
    put_progress(&mut out, standing.progress());
    if let Some(report) = parts.progress {
        put_report(&mut out, report);
    }
    match standing {
        Standing::Living(living) => put::uint(&mut out, 39, living.progress.is_paused),
        Standing::Ended(ending) => put_ending(&mut out, ending),
    }
    if let Some(error) = standing.error().or(parts.last_error) {
        put_error(&mut out, 36, error);
    }
    Ok(out)
}

/// Encodes a record of only id and status, for replies that have no room for more.
///
/// # Errors
/// [`DecodeError`] where the head of the payload is malformed.
pub fn brief(parts: &Parts<'_>) -> Result<Vec<u8>, DecodeError> {
    let id = HeadView::of(parts.head)?.id(parts.birth)?;
    Ok(brief_record(&id, Some(parts.standing.status())))
}

/// Encodes a record of only id and status; without the status where that is not known.
#[must_use]
pub fn brief_record(id: &ExecutionId, status: Option<Status>) -> Vec<u8> {
    let mut out = Vec::new();
    put::text(&mut out, 1, &id.to_string());
    put::uint(&mut out, 7, status.map_or(0, |status| status as u32));
    out
}

fn put_bytes(out: &mut Vec<u8>, tag: u32, value: Option<&[u8]>) {
    if let Some(value) = value {
        put::bytes(out, tag, value);
    }
}

fn field<'a>(
    what: &'static str,
    field: Result<(u32, Wire<'a>), Malformed>,
) -> Result<(u32, Wire<'a>), DecodeError> {
    field.map_err(|error| DecodeError::malformed(what, &error))
}

// Writes the config with its defaults filled in. Returns the limit on worker losses and the
// cancellation policy: the payload keeps both in the policy, but a record shows them outside of the
// config.
fn put_config(out: &mut Vec<u8>, made: &HeadView<'_>) -> Result<(u64, u64), DecodeError> {
    let (mut timeout_ms, mut losses, mut retry) = (0, 0, None);
    let mut cancellation = CASCADE_CANCEL;
    for given in Fields::of(made.policy) {
        match field("PayloadHead.policy", given)? {
            (1, wire) => timeout_ms = wire.uint(),
            (2, wire) => losses = wire.uint(),
            (3, wire) => retry = Some(wire.bytes()),
            (4, wire) => cancellation = wire.uint(),
            _ => {}
        }
    }
    let mut problem = Ok(());
    put::message(out, 6, |out| {
        put::uint(out, 1, made.mode);
        put::some_uint(out, 2, Some(made.priority));
        put::some_uint(out, 3, Some(timeout_ms));
        if let Some(retry) = retry {
            put::message(out, 6, |out| problem = put_retry(out, retry));
        }
    });
    problem.map(|()| (losses, cancellation))
}

// Translates the log's `Retry` to the API's `RetryConfig`. The two differ in defaults, which the
// API spells out, and in the set of categories.
fn put_retry(out: &mut Vec<u8>, retry: &[u8]) -> Result<(), DecodeError> {
    let mut values = [0; 8];
    for given in Fields::of(retry) {
        let (tag, wire) = field("Policy.retry", given)?;
        if let Some(value) = usize::try_from(tag)
            .ok()
            .and_then(|tag| values.get_mut(tag))
        {
            *value = wire.uint();
        }
    }
    let [
        _,
        max_attempts,
        strategy,
        initial_ms,
        multiplier,
        most_ms,
        jitter,
        retry_on,
    ] = values;
    put::some_uint(out, 1, Some(max_attempts));
    put::uint(out, 2, strategy);
    put::some_uint(out, 3, Some(initial_ms));
    put::fixed64(out, 4, multiplier);
    put::some_uint(out, 5, Some(most_ms));
    put::some_uint(out, 6, Some(jitter));
    if retry_on != 0 {
        put::message(out, 7, |out| {
            (0..u64::BITS)
                .filter(|bit| retry_on >> bit & 1 == 1)
                .for_each(|category| put::varint(out, category.into()));
        });
    }
    Ok(())
}

fn put_given(
    out: &mut Vec<u8>,
    made: &HeadView<'_>,
    max_worker_losses: u64,
) -> Result<(), DecodeError> {
    put::some_timestamp(out, 17, made.not_before_ms);
    put::some_timestamp(out, 19, made.start_deadline_ms);
    put::some_timestamp(out, 20, made.deadline_ms);
    put::uint(out, 25, max_worker_losses);
    if let Some(from) = made.retried_from()? {
        put::text(out, 33, &from.to_string());
    }
    put_bytes(out, 34, made.dedup_key);
    put_bytes(out, 35, made.traceparent);
    Ok(())
}

/// Writes a report of progress as a JSON object.
fn put_report(out: &mut Vec<u8>, report: &ProgressReport) {
    let entry = |out: &mut Vec<u8>, key: &str, value: &dyn Fn(&mut Vec<u8>)| {
        put::message(out, 1, |out| {
            put::text(out, 1, key);
            put::message(out, 2, value);
        });
    };
    put::message(out, 32, |out| {
        put::message(out, 5, |out| {
            if let Some(fraction) = report.fraction {
                entry(out, "fraction", &|out| {
                    put::fixed64(out, 2, fraction.to_bits());
                });
            }
            if !report.message.is_empty() {
                entry(out, "message", &|out| put::text(out, 3, &report.message));
            }
        });
    });
}

// Writes the parent, and of a spawned child what its spawn said.
fn put_family(out: &mut Vec<u8>, made: &HeadView<'_>, full: bool) -> Result<(), DecodeError> {
    if made.parent_type != 0 {
        put::message(out, 21, |out| {
            put::bytes(out, 1, made.parent_id);
            put::uint(out, 2, made.parent_type);
        });
    }
    for given in Fields::of(made.spawn_child) {
        match field("PayloadHead.spawn_child", given)? {
            (2, wire) => put::uint(out, 40, wire.uint()),
            (3, wire) if full => put::bytes(out, 41, wire.bytes()),
            _ => {}
        }
    }
    Ok(())
}

fn put_progress(out: &mut Vec<u8>, progress: &Progress) {
    put::some_timestamp(out, 9, progress.started_at_ms);
    put::uint(out, 16, progress.attempt);
    put::some_timestamp(out, 18, progress.backoff.map(|backoff| backoff.until_ms));
    put::timestamp(out, 26, progress.updated_at_ms);
    put::uint(out, 27, progress.version);
    put::uint(out, 28, progress.cancel.is_some());
    let holder = progress.holding.as_ref().map(|holding| &holding.worker);
    put::some_text(
        out,
        31,
        holder.or(progress.last_worker.as_ref()).map(AsRef::as_ref),
    );
    put::uint(out, 37, progress.losses);
    put::uint(out, 38, progress.spent);
}

fn put_ending(out: &mut Vec<u8>, ending: &EndingRow) {
    put::timestamp(out, 10, ending.ended_at_ms);
    if let Some(error) = &ending.error {
        put_error(out, 12, error);
    }
    put::uint(out, 29, ending.reason as u32);
    parts::put_actor(out, 30, &ending.actor);
}

/// Writes the API's `ExecutionError` as the field `tag`. `extra` holds further fields of that
/// message in encoded form.
pub(crate) fn put_error(out: &mut Vec<u8>, tag: u32, error: &ErrorRecord) {
    put::message(out, tag, |out| {
        put::uint(out, 1, error.category as u32);
        put::text(out, 2, &error.message);
        put::some_text(out, 4, error.code.as_deref());
        put::uint(out, 5, error.attempt);
        put::uint(out, 10, error.occurred_at_ms);
        out.extend_from_slice(&error.extra);
    });
}

#[cfg(test)]
pub(crate) mod tests;
