//! Parts that facts and rows share: encoding and decoding.
//!
//! Owns the encoding of actors, leases, policies, progress and errors. Each part is written by
//! hand and read with prost; tests compare the two. Refuses to know facts and rows.

use std::sync::Arc;

use backlane_engine::fact::{
    Actor, Backoff, Births, CancelAsked, ErrorRecord, Holding, Outcome, OutcomeKind, Policy,
    Progress, RequestKey,
};
use backlane_engine::rules::id::{ExecutionId, LeaseToken};
use backlane_engine::rules::retry::{Category, Retry, Strategy};
use backlane_engine::rules::status::{ActorKind, EndReason, Phase};
use prost::Message;

use crate::generated::backlane::log::v1;
use crate::{DecodeError, put};

/// Decodes a message; `what` names it in the error.
pub(crate) fn read<M: Message + Default>(
    what: &'static str,
    bytes: &[u8],
) -> Result<M, DecodeError> {
    M::decode(bytes).map_err(|error| DecodeError::malformed(what, &error))
}

/// The value of a required field.
pub(crate) fn present<T>(what: &'static str, value: Option<T>) -> Result<T, DecodeError> {
    value.ok_or(DecodeError::Missing { what })
}

/// The change in a fact. prost reads a change that this version does not know as absent.
pub(crate) fn change<T>(what: &'static str, change: Option<T>) -> Result<T, DecodeError> {
    change.ok_or(DecodeError::UnknownChange { what })
}

/// The enum value that a number stands for.
pub(crate) fn known<T>(
    what: &'static str,
    number: u32,
    from_number: impl Fn(u32) -> Option<T>,
) -> Result<T, DecodeError> {
    let unknown = DecodeError::UnknownNumber {
        what,
        number: number.into(),
    };
    from_number(number).ok_or(unknown)
}

/// A number that must fit in a narrower type.
pub(crate) fn narrow<T: TryFrom<u64>>(
    what: &'static str,
    number: impl Into<u64>,
) -> Result<T, DecodeError> {
    let number = number.into();
    T::try_from(number).map_err(|_| DecodeError::UnknownNumber { what, number })
}

/// Writes fields 1 to 3 of a row or a fact: the parts of an execution id besides the birth number.
pub(crate) fn put_id(out: &mut Vec<u8>, id: &ExecutionId) {
    put::uint(out, 1, id.seconds);
    put::fixed64(out, 2, id.random);
    put::fixed32(out, 3, id.salt.into());
}

/// The execution id that fields 1 to 3 and the birth number stand for.
pub(crate) fn id(
    birth: u64,
    seconds: u32,
    random: u64,
    salt: u32,
) -> Result<ExecutionId, DecodeError> {
    Ok(ExecutionId {
        seconds,
        salt: narrow("salt", salt)?,
        birth,
        random,
    })
}

/// Writes an `Actor`. The API uses the same field numbers.
pub(crate) fn put_actor(out: &mut Vec<u8>, tag: u32, actor: &Actor) {
    put::message(out, tag, |out| {
        put::uint(out, 1, actor.kind as u32);
        put::text(out, 2, &actor.id);
    });
}

/// The actor in a decoded message.
pub(crate) fn actor(from: v1::Actor) -> Result<Actor, DecodeError> {
    let kind = known("Actor.kind", from.kind, ActorKind::from_number)?;
    Ok(Actor {
        kind,
        id: from.id.into(),
    })
}

/// Writes the fields of a `Policy`.
pub(crate) fn put_policy(out: &mut Vec<u8>, policy: &Policy) {
    put::uint(out, 1, policy.timeout_ms);
    put::uint(out, 2, policy.max_worker_losses);
    if let Some(rule) = &policy.retry {
        put::message(out, 3, |out| put_retry(out, rule));
    }
}

fn put_retry(out: &mut Vec<u8>, retry: &Retry) {
    put::uint(out, 1, retry.max_attempts);
    put::uint(out, 2, retry.strategy as u32);
    put::uint(out, 3, retry.initial_delay_ms);
    put::fixed64(out, 4, retry.backoff_multiplier.to_bits());
    put::uint(out, 5, retry.max_delay_ms);
    put::uint(out, 6, retry.jitter);
    put::uint(out, 7, retry.retry_on);
}

/// The policy in a decoded message.
pub(crate) fn policy(from: v1::Policy) -> Result<Policy, DecodeError> {
    Ok(Policy {
        timeout_ms: from.timeout_ms,
        max_worker_losses: from.max_worker_losses,
        retry: from.retry.map(retry).transpose()?,
    })
}

fn retry(from: v1::Retry) -> Result<Retry, DecodeError> {
    Ok(Retry {
        max_attempts: from.max_attempts,
        strategy: known("Retry.strategy", from.strategy, Strategy::from_number)?,
        initial_delay_ms: from.initial_delay_ms,
        backoff_multiplier: from.backoff_multiplier,
        max_delay_ms: from.max_delay_ms,
        jitter: from.jitter,
        retry_on: from.retry_on,
    })
}

/// Writes the fields of a `Progress`.
pub(crate) fn put_progress(out: &mut Vec<u8>, progress: &Progress) {
    put::uint(out, 1, progress.phase as u32);
    put::uint(out, 2, progress.attempt);
    put::uint(out, 3, progress.spent);
    put::uint(out, 4, progress.losses);
    put::uint(out, 5, progress.undelivered);
    put::uint(out, 6, progress.version);
    put::uint(out, 7, progress.updated_at_ms);
    put::some_uint(out, 8, progress.started_at_ms);
    put_backoff(out, (9, 15), progress.backoff);
    if let Some(live) = &progress.holding {
        put_holding(out, 10, live);
    }
    put::some_text(out, 11, progress.last_worker.as_deref());
    if let Some(cancel) = &progress.cancel {
        put::message(out, 12, |out| {
            put::uint(out, 1, cancel.at_ms);
            put::uint(out, 2, cancel.reason as u32);
            put_actor(out, 3, &cancel.actor);
        });
    }
    if let Some(newest) = &progress.outcome {
        put::message(out, 13, |out| {
            put_token(out, 1, newest.token);
            put::uint(out, 2, newest.kind as u32);
        });
    }
    put::some_uint(out, 14, progress.last_failed);
    put::uint(out, 16, progress.resumes);
    put::uint(out, 17, progress.is_paused);
    put::some_uint(out, 18, progress.leased_at_ms);
}

/// The progress in a decoded message.
pub(crate) fn progress(from: v1::Progress) -> Result<Progress, DecodeError> {
    Ok(Progress {
        phase: known("Progress.phase", from.phase, Phase::from_number)?,
        attempt: from.attempt,
        spent: from.spent,
        losses: narrow("Progress.losses", from.losses)?,
        undelivered: narrow("Progress.undelivered", from.undelivered)?,
        version: narrow("Progress.version", from.version)?,
        updated_at_ms: from.updated_at_ms,
        started_at_ms: from.started_at_ms,
        backoff: backoff(from.next_attempt_at_ms, from.backoff_ms),
        holding: from.holding.map(holding).transpose()?,
        last_worker: from.last_worker.map(Arc::from),
        last_failed: from.last_failed,
        cancel: from.cancel.map(cancel).transpose()?,
        outcome: from.outcome.map(outcome).transpose()?,
        resumes: from.resumes,
        is_paused: from.paused,
        leased_at_ms: from.leased_at_ms,
    })
}

/// Writes a backoff as two fields: its end and its length.
pub(crate) fn put_backoff(out: &mut Vec<u8>, (until, delay): (u32, u32), backoff: Option<Backoff>) {
    put::some_uint(out, until, backoff.map(|backoff| backoff.until_ms));
    put::some_uint(out, delay, backoff.map(|backoff| backoff.delay_ms));
}

/// The backoff with this end. A log of an earlier program version does not tell the length.
pub(crate) fn backoff(until_ms: Option<u64>, delay_ms: Option<u64>) -> Option<Backoff> {
    until_ms.map(|until_ms| Backoff {
        delay_ms: delay_ms.unwrap_or(u64::MAX),
        until_ms,
    })
}

fn cancel(from: v1::CancelAsked) -> Result<CancelAsked, DecodeError> {
    Ok(CancelAsked {
        at_ms: from.at_ms,
        reason: known("CancelAsked.reason", from.reason, EndReason::from_number)?,
        actor: actor(present("CancelAsked.actor", from.actor)?)?,
    })
}

fn outcome(from: v1::Outcome) -> Result<Outcome, DecodeError> {
    Ok(Outcome {
        token: token(present("Outcome.token", from.token)?)?,
        kind: known("Outcome.kind", from.kind, OutcomeKind::from_number)?,
    })
}

/// Writes a `Holding` as the field `tag`.
pub(crate) fn put_holding(out: &mut Vec<u8>, tag: u32, holding: &Holding) {
    put::message(out, tag, |out| {
        put_token(out, 1, holding.token);
        put::text(out, 2, &holding.worker);
        put::uint(out, 3, holding.duration_ms);
        put::text(out, 4, &holding.principal);
    });
}

/// The holding in a decoded message.
pub(crate) fn holding(from: v1::Holding) -> Result<Holding, DecodeError> {
    Ok(Holding {
        token: token(present("Holding.token", from.token)?)?,
        worker: from.worker.into(),
        principal: from.principal.into(),
        duration_ms: from.duration_ms,
    })
}

fn put_token(out: &mut Vec<u8>, tag: u32, token: LeaseToken) {
    put::message(out, tag, |out| {
        put::uint(out, 1, token.shard);
        put::uint(out, 2, token.epoch);
        put::uint(out, 3, token.counter);
        put::fixed64(out, 4, token.random);
    });
}

fn token(from: v1::Token) -> Result<LeaseToken, DecodeError> {
    Ok(LeaseToken {
        shard: narrow("Token.shard", from.shard)?,
        epoch: from.epoch,
        counter: from.counter,
        random: from.random,
    })
}

/// Writes an `ErrorRecord` as the field `tag`.
pub(crate) fn put_error(out: &mut Vec<u8>, tag: u32, error: &ErrorRecord) {
    put::message(out, tag, |out| {
        put::uint(out, 1, error.category as u32);
        put::text(out, 2, &error.message);
        put::some_text(out, 3, error.code.as_deref());
        put::uint(out, 4, error.attempt);
        put::uint(out, 5, error.occurred_at_ms);
        put::filled(out, 6, &error.extra);
    });
}

/// The error in a decoded message.
pub(crate) fn error(from: v1::ErrorRecord) -> Result<ErrorRecord, DecodeError> {
    Ok(ErrorRecord {
        category: known("ErrorRecord.category", from.category, Category::from_number)?,
        message: from.message.into(),
        code: from.code.map(String::into_boxed_str),
        attempt: from.attempt,
        occurred_at_ms: from.occurred_at_ms,
        extra: from.extra.into(),
    })
}

/// Writes a `Request` as the field `tag`.
pub(crate) fn put_request(out: &mut Vec<u8>, tag: u32, request: &RequestKey) {
    put::message(out, tag, |out| {
        put::bytes(out, 1, &request.key);
        put::bytes(out, 2, &request.body);
    });
}

/// The request key in a decoded message.
pub(crate) fn request(from: &v1::Request) -> Result<RequestKey, DecodeError> {
    Ok(RequestKey {
        key: hash("Request.key", &from.key)?,
        body: hash("Request.body", &from.body)?,
    })
}

/// A hash, which must have 16 bytes.
pub(crate) fn hash(what: &'static str, bytes: &[u8]) -> Result<[u8; 16], DecodeError> {
    let wrong = |_| DecodeError::malformed(what, &"it must have 16 bytes");
    bytes.try_into().map_err(wrong)
}

/// Writes fields 2 to 4 of a message: the executions that a request was answered with.
pub(crate) fn put_births(out: &mut Vec<u8>, births: &Births) {
    match births {
        Births::Run { first, count } => {
            put::uint(out, 2, *first);
            put::uint(out, 3, *count);
        }
        Births::List(listed) => put_numbers(out, 4, listed),
    }
}

/// Writes numbers as a packed field, unless there are none.
pub(crate) fn put_numbers(out: &mut Vec<u8>, tag: u32, numbers: &[u64]) {
    if !numbers.is_empty() {
        put::message(out, tag, |out| {
            for number in numbers {
                put::varint(out, *number);
            }
        });
    }
}

/// The executions that fields 2 to 4 stand for.
pub(crate) fn births(first: u64, count: u32, listed: Vec<u64>) -> Births {
    if listed.is_empty() {
        return Births::Run { first, count };
    }
    Births::List(listed.into())
}
