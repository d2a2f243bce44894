//! Facts about executions: encoding and decoding.
//!
//! Owns the encoding of `ExecutionFact`. Refuses to know the enclosing `Fact`.

use backlane_engine::fact::{
    Ended, ExecutionChange, ExecutionFact, Living, OutcomeKind, RequeueCause, Verdict,
};
use backlane_engine::rules::id::Birth;
use backlane_engine::rules::status::{EndReason, Status};

use super::parts;
use crate::generated::backlane::log::v1;
use crate::{DecodeError, put};

/// Writes the fields of an `ExecutionFact`.
pub(super) fn put_fact(out: &mut Vec<u8>, fact: &ExecutionFact) {
    put::uint(out, 1, fact.birth);
    match &fact.change {
        ExecutionChange::Enqueued(living) => put::message(out, 2, |out| put_living(out, living)),
        ExecutionChange::Carried(living) => put::message(out, 3, |out| put_living(out, living)),
        ExecutionChange::Due => put::message(out, 4, |_| ()),
        ExecutionChange::Leased { holding, attempt } => put::message(out, 5, |out| {
            parts::put_holding(out, 1, holding);
            put::uint(out, 2, *attempt);
        }),
        ExecutionChange::Requeued {
            cause,
            backoff,
            is_unbegun,
        } => put::message(out, 6, |out| {
            put::uint(out, 1, *cause as u32);
            parts::put_backoff(out, (2, 3), *backoff);
            put::uint(out, 4, *is_unbegun);
        }),
        ExecutionChange::CancelRequested { reason } => {
            put::message(out, 7, |out| put::uint(out, 1, *reason as u32));
        }
        ExecutionChange::Ended(ended) => put::message(out, 8, |out| put_ended(out, *ended)),
        ExecutionChange::Concluded(verdict) => put_verdict(out, 18, verdict),
        ExecutionChange::Promoted { is_due } => {
            put::message(out, 15, |out| put::uint(out, 1, *is_due));
        }
        ExecutionChange::Discarded => put::message(out, 22, |_| ()),
        ExecutionChange::Deleted => put::message(out, 30, |_| ()),
    }
}

fn put_ended(out: &mut Vec<u8>, ended: Ended) {
    put::uint(out, 1, ended.status as u32);
    put::uint(out, 2, ended.reason as u32);
    put::uint(out, 3, ended.outcome.map_or(0, |kind| kind as u32));
}

fn put_verdict(out: &mut Vec<u8>, tag: u32, verdict: &Verdict) {
    put::message(out, tag, |out| {
        put::message(out, 1, |out| put_ended(out, verdict.ended));
        parts::put_actor(out, 2, &verdict.actor);
        put::uint(out, 3, verdict.ended_lease);
        if let Some(error) = &verdict.error {
            parts::put_error(out, 4, error);
        }
    });
}

fn put_living(out: &mut Vec<u8>, living: &Living) {
    parts::put_id(out, &living.id);
    put::text(out, 4, &living.tenant);
    put::text(out, 5, &living.callable);
    put::uint(out, 6, living.priority);
    put::uint(out, 7, living.queued_at_ms);
    put::message(out, 8, |out| parts::put_policy(out, &living.policy));
    put::some_uint(out, 9, living.not_before_ms);
    put::some_uint(out, 10, living.start_deadline_ms);
    put::some_uint(out, 11, living.deadline_ms);
    put::some_text(out, 12, living.dedup_key.as_deref());
    if let Some(request) = &living.request {
        parts::put_request(out, 13, request);
    }
    put::message(out, 14, |out| parts::put_progress(out, &living.progress));
    put::uint(out, 15, living.payload_bytes);
    parts::put_numbers(out, 20, &living.waits_for);
    parts::put_numbers(out, 21, &living.stands_for);
    put::some_uint(out, 29, living.retried_from);
    parts::put_numbers(out, 24, &living.ancestors);
    if let Some(verdict) = &living.verdict {
        put_verdict(out, 25, verdict);
    }
}

/// The engine's fact for a decoded message.
pub(super) fn fact(from: v1::ExecutionFact) -> Result<ExecutionFact, DecodeError> {
    use v1::execution_fact::Change;
    let birth = from.birth;
    let change = match parts::change("ExecutionFact", from.change)? {
        Change::Enqueued(from) => ExecutionChange::Enqueued(Box::new(living(birth, from)?)),
        Change::Carried(from) => ExecutionChange::Carried(Box::new(living(birth, from)?)),
        Change::Due(_) => ExecutionChange::Due,
        Change::Leased(from) => ExecutionChange::Leased {
            holding: parts::holding(parts::present("Leased.holding", from.holding)?)?,
            attempt: from.attempt,
        },
        Change::Requeued(from) => ExecutionChange::Requeued {
            cause: parts::known("Requeued.cause", from.cause, RequeueCause::from_number)?,
            backoff: parts::backoff(from.next_attempt_at_ms, from.backoff_ms),
            is_unbegun: from.is_unbegun,
        },
        Change::CancelRequested(from) => ExecutionChange::CancelRequested {
            reason: reason("CancelRequested.reason", from.reason)?,
        },
        Change::Ended(from) => ExecutionChange::Ended(ended(&from)?),
        Change::Concluded(from) => ExecutionChange::Concluded(Box::new(verdict(from)?)),
        Change::Promoted(from) => ExecutionChange::Promoted {
            is_due: from.is_due,
        },
        Change::Discarded(_) => ExecutionChange::Discarded,
        Change::Deleted(_) => ExecutionChange::Deleted,
    };
    Ok(ExecutionFact { birth, change })
}

fn reason(what: &'static str, number: u32) -> Result<EndReason, DecodeError> {
    parts::known(what, number, EndReason::from_number)
}

fn ended(from: &v1::Ended) -> Result<Ended, DecodeError> {
    let outcome = match from.outcome_kind {
        0 => None,
        kind => Some(parts::known(
            "Ended.outcome_kind",
            kind,
            OutcomeKind::from_number,
        )?),
    };
    Ok(Ended {
        status: parts::known("Ended.status", from.status, Status::from_number)?,
        reason: reason("Ended.reason", from.reason)?,
        outcome,
    })
}

fn verdict(from: v1::Verdict) -> Result<Verdict, DecodeError> {
    Ok(Verdict {
        ended: ended(&parts::present("Verdict.ended", from.ended)?)?,
        actor: parts::actor(parts::present("Verdict.actor", from.actor)?)?,
        ended_lease: from.ended_lease,
        error: from.error.map(parts::error).transpose()?,
    })
}

fn living(birth: Birth, from: v1::Living) -> Result<Living, DecodeError> {
    Ok(Living {
        id: parts::id(birth, from.seconds, from.random, from.salt)?,
        tenant: from.tenant.into(),
        callable: from.callable.into(),
        priority: parts::narrow("Living.priority", from.priority)?,
        queued_at_ms: from.queued_at_ms,
        policy: parts::policy(parts::present("Living.policy", from.policy)?)?,
        not_before_ms: from.not_before_ms,
        start_deadline_ms: from.start_deadline_ms,
        deadline_ms: from.deadline_ms,
        dedup_key: from.dedup_key.map(String::into_boxed_str),
        waits_for: from.waits_for.into(),
        stands_for: from.stands_for.into(),
        ancestors: from.ancestors.into(),
        verdict: from.verdict.map(verdict).transpose()?.map(Box::new),
        request: from.request.as_ref().map(parts::request).transpose()?,
        payload_bytes: from.payload_bytes,
        retried_from: from.retried_from,
        progress: parts::progress(parts::present("Living.progress", from.progress)?)?,
    })
}
