//! Facts to bytes.
//!
//! Owns the order and the numbers of the fields. Refuses to know how they are read: a test
//! compares the two.

use backlane_engine::fact::{
    Actor, Births, CancelAsked, Ended, ErrorRecord, Fact, FactKind, Holding, Living, Outcome,
    Policy, Progress, RequestKey, RequeueCause,
};
use backlane_engine::rules::id::Birth;
use backlane_engine::rules::retry::Retry;

use crate::put;

/// Appends an encoded `log.v1.Fact` with its length in front.
pub fn encode_fact(fact: &Fact, out: &mut Vec<u8>) {
    put::prefixed(out, |out| {
        put::uint(out, 1, fact.at_ms);
        kind(out, &fact.kind);
    });
}

fn kind(out: &mut Vec<u8>, kind: &FactKind) {
    match kind {
        FactKind::Enqueued(living) => put::message(out, 2, |out| self::living(out, living)),
        FactKind::Carried(living) => put::message(out, 3, |out| self::living(out, living)),
        FactKind::Due(birth) => put::message(out, 4, |out| put::uint(out, 1, *birth)),
        FactKind::Leased {
            birth,
            holding,
            attempt,
        } => put::message(out, 5, |out| {
            put::uint(out, 1, *birth);
            put::message(out, 2, |out| self::holding(out, holding));
            put::uint(out, 3, *attempt);
        }),
        FactKind::Requeued {
            birth,
            cause,
            next_attempt_at_ms,
            error,
        } => {
            let error = error.as_deref();
            put::message(out, 6, |out| {
                requeued(out, *birth, *cause, *next_attempt_at_ms, error);
            });
        }
        FactKind::CancelRequested { birth, cancel } => put::message(out, 7, |out| {
            put::uint(out, 1, *birth);
            put::message(out, 2, |out| cancel_asked(out, cancel));
        }),
        FactKind::Ended(ended) => put::message(out, 8, |out| self::ended(out, ended)),
        FactKind::LimitSet {
            tenant,
            callable,
            max_running,
        } => put::message(out, 9, |out| {
            put::text(out, 1, tenant);
            put::some_text(out, 2, callable.as_deref());
            put::some_uint(out, 3, *max_running);
        }),
        FactKind::RoundBegan { next_birth } => {
            put::message(out, 10, |out| put::uint(out, 1, *next_birth));
        }
        FactKind::BatchAccepted { request, births } => put::message(out, 11, |out| {
            put::message(out, 1, |out| request_key(out, request));
            self::births(out, births);
        }),
    }
}

fn living(out: &mut Vec<u8>, living: &Living) {
    put::uint(out, 1, living.id.birth);
    put::uint(out, 2, living.id.seconds);
    put::fixed64(out, 3, living.id.random);
    put::text(out, 4, &living.tenant);
    put::text(out, 5, &living.callable);
    put::uint(out, 6, living.priority);
    put::uint(out, 7, living.queued_at_ms);
    put::message(out, 8, |out| policy(out, &living.policy));
    put::some_uint(out, 9, living.not_before_ms);
    put::some_uint(out, 10, living.start_deadline_ms);
    put::some_uint(out, 11, living.deadline_ms);
    put::some_text(out, 12, living.dedup_key.as_deref());
    if let Some(request) = &living.request {
        put::message(out, 13, |out| request_key(out, request));
    }
    put::message(out, 14, |out| progress(out, &living.progress));
    put::uint(out, 15, living.payload_bytes);
    put::uint(out, 16, living.id.shard);
}

/// The fields of a `Policy`.
pub(crate) fn policy(out: &mut Vec<u8>, policy: &Policy) {
    put::uint(out, 1, policy.timeout_ms);
    put::uint(out, 2, policy.max_worker_losses);
    if let Some(rule) = &policy.retry {
        put::message(out, 3, |out| retry(out, rule));
    }
}

fn retry(out: &mut Vec<u8>, retry: &Retry) {
    put::uint(out, 1, retry.max_attempts);
    put::uint(out, 2, retry.strategy as u32);
    put::uint(out, 3, retry.initial_delay_ms);
    put::fixed64(out, 4, retry.backoff_multiplier.to_bits());
    put::uint(out, 5, retry.max_delay_ms);
    put::uint(out, 6, retry.jitter);
    put::uint(out, 7, retry.retry_on);
}

/// The fields of a `Progress`.
pub(crate) fn progress(out: &mut Vec<u8>, progress: &Progress) {
    put::uint(out, 1, progress.phase as u32);
    put::uint(out, 2, progress.attempt);
    put::uint(out, 3, progress.spent);
    put::uint(out, 4, progress.losses);
    put::uint(out, 5, progress.undelivered);
    put::uint(out, 6, progress.version);
    put::uint(out, 7, progress.updated_at_ms);
    put::some_uint(out, 8, progress.started_at_ms);
    put::some_uint(out, 9, progress.next_attempt_at_ms);
    if let Some(live) = &progress.holding {
        put::message(out, 10, |out| holding(out, live));
    }
    put::some_text(out, 11, progress.last_worker.as_deref());
    if let Some(cancel) = &progress.cancel {
        put::message(out, 12, |out| cancel_asked(out, cancel));
    }
    if let Some(newest) = &progress.outcome {
        put::message(out, 13, |out| outcome(out, *newest));
    }
}

fn outcome(out: &mut Vec<u8>, outcome: Outcome) {
    put::uint(out, 1, outcome.token.epoch);
    put::uint(out, 2, outcome.token.counter);
    put::uint(out, 3, outcome.kind as u32);
}

fn holding(out: &mut Vec<u8>, holding: &Holding) {
    put::uint(out, 1, holding.token.epoch);
    put::uint(out, 2, holding.token.counter);
    put::text(out, 3, &holding.worker);
    put::uint(out, 4, holding.duration_ms);
}

fn cancel_asked(out: &mut Vec<u8>, cancel: &CancelAsked) {
    put::uint(out, 1, cancel.at_ms);
    put::uint(out, 2, cancel.reason as u32);
    put_actor(out, 3, &cancel.actor);
}

/// An `Actor`, whose numbers are also the API's.
pub(crate) fn put_actor(out: &mut Vec<u8>, tag: u32, actor: &Actor) {
    put::message(out, tag, |out| {
        put::uint(out, 1, actor.kind as u32);
        put::text(out, 2, &actor.id);
    });
}

fn requeued(
    out: &mut Vec<u8>,
    birth: Birth,
    cause: RequeueCause,
    next_attempt_at_ms: Option<u64>,
    error: Option<&ErrorRecord>,
) {
    put::uint(out, 1, birth);
    put::uint(out, 2, cause as u32);
    put::some_uint(out, 3, next_attempt_at_ms);
    if let Some(error) = error {
        put::message(out, 4, |out| error_fields(out, error));
    }
}

fn ended(out: &mut Vec<u8>, ended: &Ended) {
    put::uint(out, 1, ended.birth);
    put::uint(out, 2, ended.status as u32);
    put::uint(out, 3, ended.reason as u32);
    put_actor(out, 4, &ended.actor);
    if let Some(output) = &ended.output {
        put::bytes(out, 5, output);
    }
    if let Some(error) = &ended.error {
        put::message(out, 6, |out| error_fields(out, error));
    }
    put::uint(out, 7, ended.outcome.map_or(0, |kind| kind as u32));
}

/// The fields of an `ErrorRecord`.
pub(crate) fn error_fields(out: &mut Vec<u8>, error: &ErrorRecord) {
    put::uint(out, 1, error.category as u32);
    put::text(out, 2, &error.message);
    put::some_text(out, 3, error.code.as_deref());
    put::uint(out, 4, error.attempt);
    put::uint(out, 5, error.occurred_at_ms);
    put::filled(out, 6, &error.extra);
}

fn request_key(out: &mut Vec<u8>, request: &RequestKey) {
    put::bytes(out, 1, &request.key);
    put::bytes(out, 2, &request.body);
}

fn births(out: &mut Vec<u8>, births: &Births) {
    match births {
        Births::Run { first, count } => {
            put::uint(out, 2, *first);
            put::uint(out, 3, *count);
        }
        Births::List(listed) => put::message(out, 4, |out| {
            listed.iter().for_each(|birth| put::varint(out, *birth));
        }),
    }
}
