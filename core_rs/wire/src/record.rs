//! The record of an execution, as every answer shows it.
//!
//! Owns the encoding of `v1.BackgroundExecution` from a payload and where the execution stands.
//! Refuses to decide any of it. Written by hand: it is made for every lease and every reply,
//! mostly by copying what the payload holds in encoded form already.

use backlane_engine::fact::{ErrorRecord, Living, Progress};
use backlane_engine::rules::id::Birth;
use backlane_engine::rules::status::Status;

use crate::payload::PayloadView;
use crate::scan::{Fields, Malformed, Wire};
use crate::{DecodeError, Ending, View, log, put};

/// `CASCADE_CANCEL`, the one policy this version has.
const CASCADE_CANCEL: u32 = 1;
/// Most bytes that a record adds to what its parts hold.
const FRAME_BYTES: usize = 256;

/// Where an execution stands.
#[derive(Debug, Clone, Copy)]
pub enum Standing<'a> {
    /// It is unfinished.
    Living(&'a Living),
    /// It is over.
    Ended(&'a Ending),
}

impl<'a> Standing<'a> {
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

    const fn ending(self) -> Option<&'a Ending> {
        match self {
            Self::Living(_) => None,
            Self::Ended(ending) => Some(ending),
        }
    }
}

/// The encoded `v1.BackgroundExecution` of an execution, from its encoded payload.
///
/// # Errors
/// [`DecodeError`] where the payload is malformed.
pub fn record(
    birth: Birth,
    shard: u16,
    payload: &[u8],
    standing: Standing<'_>,
    view: View,
) -> Result<Vec<u8>, DecodeError> {
    let made = PayloadView::of(payload)?;
    let output = standing.ending().and_then(|ending| ending.output.as_ref());
    let output = output.filter(|_| view == View::Full);
    let kept = if view == View::Full { payload.len() } else { 0 };
    let mut out = Vec::with_capacity(FRAME_BYTES + kept + output.map_or(0, |bytes| bytes.len()));
    put::text(&mut out, 1, &made.id(birth, shard).to_string());
    put::filled(&mut out, 2, made.tenant);
    put::filled(&mut out, 3, made.callable);
    if view == View::Full {
        put_bytes(&mut out, 4, made.input);
        out.extend_from_slice(made.maps);
    }
    let losses = put_config(&mut out, &made)?;
    put::uint(&mut out, 7, standing.status() as u32);
    put::timestamp(&mut out, 8, made.queued_at_ms);
    if let Some(output) = output {
        put::bytes(&mut out, 11, output);
    }
    put_given(&mut out, &made, losses);
    put_progress(&mut out, standing.progress());
    if let Some(ending) = standing.ending() {
        put_ending(&mut out, ending);
    }
    Ok(out)
}

/// An execution by its id and status: what a reply shows of those it has no room for.
///
/// # Errors
/// [`DecodeError`] where the payload is not one that was written here.
pub fn brief(
    birth: Birth,
    shard: u16,
    payload: &[u8],
    standing: Standing<'_>,
) -> Result<Vec<u8>, DecodeError> {
    let id = PayloadView::of(payload)?.id(birth, shard);
    let mut out = Vec::new();
    put::text(&mut out, 1, &id.to_string());
    put::uint(&mut out, 7, standing.status() as u32);
    Ok(out)
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

// The config with its defaults in place. Returns the limit on worker losses, which is kept with
// it but shown beside it.
fn put_config(out: &mut Vec<u8>, payload: &PayloadView<'_>) -> Result<u64, DecodeError> {
    let (mut mode, mut priority, mut timeout_ms, mut losses, mut retry) = (0, 0, 0, 0, None);
    for given in Fields::of(payload.config) {
        match field("Payload.config", given)? {
            (1, wire) => mode = wire.uint(),
            (2, wire) => priority = wire.uint(),
            _ => {}
        }
    }
    for given in Fields::of(payload.policy) {
        match field("Payload.policy", given)? {
            (1, wire) => timeout_ms = wire.uint(),
            (2, wire) => losses = wire.uint(),
            (3, wire) => retry = Some(wire.bytes()),
            _ => {}
        }
    }
    let mut problem = Ok(());
    put::message(out, 6, |out| {
        put::uint(out, 1, mode);
        put::some_uint(out, 2, Some(priority));
        put::some_uint(out, 3, Some(timeout_ms));
        if let Some(retry) = retry {
            put::message(out, 6, |out| problem = put_retry(out, retry));
        }
    });
    problem.map(|()| losses)
}

// From the log's `Retry` to the API's `RetryConfig`: alike but for defaults, which the API wants
// written, and for the set of categories.
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

fn put_given(out: &mut Vec<u8>, made: &PayloadView<'_>, max_worker_losses: u64) {
    put::some_timestamp(out, 17, made.not_before_ms);
    put::some_timestamp(out, 19, made.start_deadline_ms);
    put::some_timestamp(out, 20, made.deadline_ms);
    put::uint(out, 22, CASCADE_CANCEL);
    put::uint(out, 25, max_worker_losses);
    put_bytes(out, 34, made.dedup_key);
    put_bytes(out, 35, made.traceparent);
}

fn put_progress(out: &mut Vec<u8>, progress: &Progress) {
    put::some_timestamp(out, 9, progress.started_at_ms);
    put::uint(out, 16, progress.attempt);
    put::some_timestamp(out, 18, progress.next_attempt_at_ms);
    put::timestamp(out, 26, progress.updated_at_ms);
    put::uint(out, 27, progress.version);
    put::uint(out, 28, progress.cancel.is_some());
    let holder = progress.holding.as_ref().map(|holding| &holding.worker);
    put::some_text(
        out,
        31,
        holder.or(progress.last_worker.as_ref()).map(AsRef::as_ref),
    );
}

fn put_ending(out: &mut Vec<u8>, ending: &Ending) {
    put::timestamp(out, 10, ending.ended_at_ms);
    if let Some(error) = &ending.error {
        put::message(out, 12, |out| put_error(out, error));
    }
    put::uint(out, 29, ending.reason as u32);
    log::put_actor(out, 30, &ending.actor);
}

// The API's `ExecutionError`; `extra` is fields of it in encoded form.
fn put_error(out: &mut Vec<u8>, error: &ErrorRecord) {
    put::uint(out, 1, error.category as u32);
    put::text(out, 2, &error.message);
    put::some_text(out, 4, error.code.as_deref());
    put::uint(out, 5, error.attempt);
    put::uint(out, 10, error.occurred_at_ms);
    out.extend_from_slice(&error.extra);
}

#[cfg(test)]
pub(crate) mod tests;
