//! Bytes to facts.
//!
//! Owns the refusal of what this version does not know. Refuses to guess: a fold of facts that
//! are half understood would be another state.

use std::sync::Arc;

use backlane_engine::fact::{
    Actor, Births, CancelAsked, Ended, ErrorRecord, Fact, FactKind, Holding, Living, Outcome,
    OutcomeKind, Policy, Progress, RequestKey, RequeueCause,
};
use backlane_engine::rules::id::{ExecutionId, LeaseToken};
use backlane_engine::rules::retry::{Category, Retry, Strategy};
use backlane_engine::rules::status::{ActorKind, EndReason, Phase, Status};
use prost::Message;

use crate::DecodeError;
use crate::generated::backlane::log::v1;
use crate::scan::{Fields, Wire};

/// Hands over every fact of a frame in order.
///
/// # Errors
/// A [`DecodeError`] naming what is malformed, missing or unknown; whatever `each` returns.
pub fn decode_facts<E: From<DecodeError>>(
    frame: &[u8],
    each: &mut dyn FnMut(Fact) -> Result<(), E>,
) -> Result<(), E> {
    let mut facts = Fields::of(frame);
    while !facts.rest().is_empty() {
        let cut_off = || DecodeError::malformed("Fact", &"it is cut off");
        let bytes = facts.length_delimited().ok_or_else(cut_off)?;
        each(fact(bytes)?)?;
    }
    Ok(())
}

fn fact(bytes: &[u8]) -> Result<Fact, DecodeError> {
    let (mut at_ms, mut kind) = (0, None);
    for field in Fields::of(bytes) {
        match field.map_err(|error| DecodeError::malformed("Fact", &error))? {
            (1, Wire::Varint(at)) => at_ms = at,
            (number, wire) => kind = Some(self::kind(number, wire.bytes())?),
        }
    }
    let kind = kind.ok_or(DecodeError::Missing { what: "Fact.kind" })?;
    Ok(Fact { at_ms, kind })
}

fn kind(number: u32, bytes: &[u8]) -> Result<FactKind, DecodeError> {
    Ok(match number {
        2 => FactKind::Enqueued(Box::new(living(read("Fact.enqueued", bytes)?)?)),
        3 => FactKind::Carried(Box::new(living(read("Fact.carried", bytes)?)?)),
        4 => FactKind::Due(read::<v1::Due>("Fact.due", bytes)?.birth),
        5 => leased(read("Fact.leased", bytes)?)?,
        6 => requeued(read("Fact.requeued", bytes)?)?,
        7 => {
            let asked: v1::CancelRequested = read("Fact.cancel_requested", bytes)?;
            let cancel = cancel(present("CancelRequested.cancel", asked.cancel)?)?;
            FactKind::CancelRequested {
                birth: asked.birth,
                cancel,
            }
        }
        8 => FactKind::Ended(Box::new(ended(read("Fact.ended", bytes)?)?)),
        9 => {
            let set: v1::LimitSet = read("Fact.limit_set", bytes)?;
            FactKind::LimitSet {
                tenant: set.tenant.into(),
                callable: set.callable.map(Arc::from),
                max_running: set.max_running,
            }
        }
        10 => {
            let began: v1::RoundBegan = read("Fact.round_began", bytes)?;
            FactKind::RoundBegan {
                next_birth: began.next_birth,
            }
        }
        11 => batch_accepted(read("Fact.batch_accepted", bytes)?)?,
        number => return Err(DecodeError::UnknownKind { number }),
    })
}

fn read<M: Message + Default>(what: &'static str, bytes: &[u8]) -> Result<M, DecodeError> {
    M::decode(bytes).map_err(|error| DecodeError::malformed(what, &error))
}

fn present<T>(what: &'static str, value: Option<T>) -> Result<T, DecodeError> {
    value.ok_or(DecodeError::Missing { what })
}

fn known<T>(
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

fn narrow<T: TryFrom<u64>>(what: &'static str, number: impl Into<u64>) -> Result<T, DecodeError> {
    let number = number.into();
    T::try_from(number).map_err(|_| DecodeError::UnknownNumber { what, number })
}

fn living(from: v1::Living) -> Result<Living, DecodeError> {
    let shard = narrow("Living.shard", from.shard)?;
    Ok(Living {
        id: ExecutionId {
            seconds: from.seconds,
            shard,
            birth: from.birth,
            random: from.random,
        },
        tenant: from.tenant.into(),
        callable: from.callable.into(),
        priority: narrow("Living.priority", from.priority)?,
        queued_at_ms: from.queued_at_ms,
        policy: policy(present("Living.policy", from.policy)?)?,
        not_before_ms: from.not_before_ms,
        start_deadline_ms: from.start_deadline_ms,
        deadline_ms: from.deadline_ms,
        dedup_key: from.dedup_key.map(String::into_boxed_str),
        request: from
            .request
            .map(|request| request_key(&request))
            .transpose()?,
        payload_bytes: from.payload_bytes,
        progress: progress(present("Living.progress", from.progress)?)?,
    })
}

/// A policy from its message.
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

/// A progress from its message.
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
        next_attempt_at_ms: from.next_attempt_at_ms,
        holding: from.holding.map(holding),
        last_worker: from.last_worker.map(Arc::from),
        cancel: from.cancel.map(cancel).transpose()?,
        outcome: from.outcome.map(outcome).transpose()?,
    })
}

fn outcome(from: v1::Outcome) -> Result<Outcome, DecodeError> {
    let token = LeaseToken {
        epoch: from.epoch,
        counter: from.counter,
    };
    let kind = known("Outcome.kind", from.kind, OutcomeKind::from_number)?;
    Ok(Outcome { token, kind })
}

fn holding(from: v1::Holding) -> Holding {
    Holding {
        token: LeaseToken {
            epoch: from.epoch,
            counter: from.counter,
        },
        worker: from.worker.into(),
        duration_ms: from.duration_ms,
    }
}

fn cancel(from: v1::CancelAsked) -> Result<CancelAsked, DecodeError> {
    Ok(CancelAsked {
        at_ms: from.at_ms,
        reason: known("CancelAsked.reason", from.reason, EndReason::from_number)?,
        actor: actor(present("CancelAsked.actor", from.actor)?)?,
    })
}

/// An actor from its message.
pub(crate) fn actor(from: v1::Actor) -> Result<Actor, DecodeError> {
    let kind = known("Actor.kind", from.kind, ActorKind::from_number)?;
    Ok(Actor {
        kind,
        id: from.id.into(),
    })
}

fn leased(from: v1::Leased) -> Result<FactKind, DecodeError> {
    let holding = holding(present("Leased.holding", from.holding)?);
    Ok(FactKind::Leased {
        birth: from.birth,
        holding,
        attempt: from.attempt,
    })
}

fn requeued(from: v1::Requeued) -> Result<FactKind, DecodeError> {
    Ok(FactKind::Requeued {
        birth: from.birth,
        cause: known("Requeued.cause", from.cause, RequeueCause::from_number)?,
        next_attempt_at_ms: from.next_attempt_at_ms,
        error: from.error.map(error_record).transpose()?.map(Box::new),
    })
}

fn ended(from: v1::Ended) -> Result<Ended, DecodeError> {
    let outcome = match from.outcome_kind {
        0 => None,
        kind => Some(known("Ended.outcome_kind", kind, OutcomeKind::from_number)?),
    };
    Ok(Ended {
        birth: from.birth,
        status: known("Ended.status", from.status, Status::from_number)?,
        reason: known("Ended.reason", from.reason, EndReason::from_number)?,
        actor: actor(present("Ended.actor", from.actor)?)?,
        output: from.output.map(Arc::from),
        error: from.error.map(error_record).transpose()?.map(Box::new),
        outcome,
    })
}

/// An error from its message.
pub(crate) fn error_record(from: v1::ErrorRecord) -> Result<ErrorRecord, DecodeError> {
    Ok(ErrorRecord {
        category: known("ErrorRecord.category", from.category, Category::from_number)?,
        message: from.message.into(),
        code: from.code.map(String::into_boxed_str),
        attempt: from.attempt,
        occurred_at_ms: from.occurred_at_ms,
        extra: from.extra.into(),
    })
}

fn request_key(from: &v1::Request) -> Result<RequestKey, DecodeError> {
    let hash = |what, bytes: &[u8]| {
        let wrong = |_| DecodeError::malformed(what, &"it is not of 16 bytes");
        bytes.try_into().map_err(wrong)
    };
    Ok(RequestKey {
        key: hash("Request.key", &from.key)?,
        body: hash("Request.body", &from.body)?,
    })
}

fn batch_accepted(from: v1::BatchAccepted) -> Result<FactKind, DecodeError> {
    let request = request_key(&present("BatchAccepted.request", from.request)?)?;
    let births = if from.listed.is_empty() {
        Births::Run {
            first: from.first_birth,
            count: from.count,
        }
    } else {
        Births::List(from.listed.into())
    };
    Ok(FactKind::BatchAccepted { request, births })
}
