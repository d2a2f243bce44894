//! `Explain`: the request, and the reasons in the reply.
//!
//! Owns the form of an explanation. Refuses to know which reasons hold: the engine does. The words
//! of the reasons are in `words`.

mod words;

use backlane_engine::fact::{Ended, ErrorRecord};
use backlane_engine::reason::{Bounded, Explanation, LimitReached, Reason, Running};
use backlane_engine::row::EndingRow;
use backlane_engine::rules::id::ExecutionId;

use crate::context::Context;
use crate::error::ApiError;
use crate::fields;
use crate::generated::backlane::v1;
use crate::log::parts::put_actor;
use crate::put;
use crate::query::{Named, visible};
use crate::record::put_error;

/// Reads and checks an `ExplainRequest`.
///
/// # Errors
/// [`ApiError`] naming the broken field, or saying that the caller can see no such execution.
pub fn decode_explain(bytes: &[u8], context: &mut Context<'_>) -> Result<Named, ApiError> {
    let message: v1::ExplainRequest = fields::message(bytes, context.limits)?;
    let (tenant, id) = (&message.tenant_id, &message.execution_id);
    Ok(visible(tenant, id, context.principal)?)
}

/// Encodes an `ExplainResponse` about an unfinished execution. `error` is that of its newest failed
/// attempt, and `now_ms` the time of the answer.
#[must_use]
pub fn explain_response(told: &Explanation, error: Option<&ErrorRecord>, now_ms: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put::uint(&mut out, 1, told.status as u32);
    for reason in &told.reasons {
        put::message(&mut out, 2, |out| {
            put::text(out, 1, &words::of(told, reason, error, now_ms));
            put_reason(out, reason, error);
        });
    }
    if let Some(start) = told.start {
        put::message(&mut out, 3, |out| {
            put::uint(out, 1, start.earliest_ms);
            put::some_uint(out, 2, start.latest_ms);
        });
    }
    put::uint(&mut out, 4, told.version);
    out
}

/// Encodes an `ExplainResponse` about an execution that is over.
#[must_use]
pub fn finished_response(ending: &EndingRow, now_ms: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put::uint(&mut out, 1, ending.status as u32);
    put::message(&mut out, 2, |out| {
        put::text(out, 1, &words::finished(ending, now_ms));
        put::message(out, 2, |out| {
            put::uint(out, 1, ending.status as u32);
            put::uint(out, 2, ending.reason as u32);
            put_actor(out, 3, &ending.actor);
            put::timestamp(out, 4, ending.ended_at_ms);
            if let Some(error) = &ending.error {
                put_error(out, 5, error);
            }
        });
    });
    put::uint(&mut out, 4, ending.progress.version);
    out
}

fn put_reason(out: &mut Vec<u8>, reason: &Reason, error: Option<&ErrorRecord>) {
    put::message(out, number_of(reason), |out| match reason {
        Reason::SetAside { why } => put::text(out, 1, why),
        Reason::AwaitsDependencies { unmet, count } => {
            put::uint(out, 1, *count);
            for (id, status) in unmet {
                put::message(out, 2, |out| {
                    put::text(out, 1, &id.to_string());
                    put::uint(out, 2, *status as u32);
                });
            }
        }
        Reason::NotDue { until_at_ms } => put::timestamp(out, 1, *until_at_ms),
        Reason::BackingOff { until_at_ms, .. } => {
            put::timestamp(out, 1, *until_at_ms);
            if let Some(error) = error {
                put_error(out, 2, error);
            }
        }
        Reason::Paused { pause } => {
            if let Some(pause) = pause {
                put_actor(out, 1, &pause.actor);
                put::timestamp(out, 2, pause.at_ms);
            }
        }
        Reason::Suspended { waits } => {
            for wait in waits {
                put::message(out, 1, |out| {
                    put::some_text(out, 1, wait.key.as_deref());
                    put::some_timestamp(out, 2, wait.until_at_ms);
                    put::some_text(out, 3, wait.child.map(|id| id.to_string()).as_deref());
                });
            }
        }
        Reason::Running(running) => put_running(out, running),
        Reason::AwaitsChildren {
            ended,
            descendants,
            count,
        } => put_descendants(out, *ended, descendants, *count),
        Reason::TenantLimit(limit) | Reason::CallableLimit(limit) => put_limit(out, limit),
        Reason::NoWorker { last_at_ms } => put::some_timestamp(out, 1, *last_at_ms),
        Reason::Withheld {
            worker,
            until_at_ms,
        } => {
            put::text(out, 1, worker);
            put::some_timestamp(out, 2, *until_at_ms);
        }
        Reason::SlotsTaken { workers, held } => {
            put::uint(out, 1, *workers);
            put::uint(out, 2, *held);
        }
        Reason::Ahead(count) | Reason::Turn(count) => {
            put::uint(out, 1, count.count);
            put::uint(out, 2, count.more);
        }
    });
}

/// The number of the field of the API that a kind of reason is in.
const fn number_of(reason: &Reason) -> u32 {
    match reason {
        Reason::SetAside { .. } => 3,
        Reason::AwaitsDependencies { .. } => 4,
        Reason::NotDue { .. } => 5,
        Reason::BackingOff { .. } => 6,
        Reason::Paused { .. } => 7,
        Reason::Suspended { .. } => 8,
        Reason::Running(_) => 9,
        Reason::AwaitsChildren { .. } => 10,
        Reason::TenantLimit(_) => 11,
        Reason::CallableLimit(_) => 12,
        Reason::NoWorker { .. } => 13,
        Reason::Withheld { .. } => 14,
        Reason::SlotsTaken { .. } => 15,
        Reason::Ahead(_) => 16,
        Reason::Turn(_) => 17,
    }
}

fn put_running(out: &mut Vec<u8>, running: &Running) {
    put::text(out, 1, &running.worker);
    put::uint(out, 2, running.attempt);
    put::timestamp(out, 3, running.since_at_ms);
    put::uint(out, 4, running.cancel.is_some());
    put::uint(out, 5, running.pause_requested);
    put::uint(out, 6, running.waits_at_worker);
}

fn put_descendants(out: &mut Vec<u8>, ended: Ended, named: &[ExecutionId], count: Bounded) {
    put::uint(out, 1, ended.status as u32);
    put::uint(out, 2, ended.reason as u32);
    put::uint(out, 3, count.count);
    put::uint(out, 4, count.more);
    for id in named {
        put::text(out, 5, &id.to_string());
    }
}

fn put_limit(out: &mut Vec<u8>, limit: &LimitReached) {
    put::uint(out, 1, limit.limit);
    put::uint(out, 2, limit.running);
    for id in &limit.holders {
        put::text(out, 3, &id.to_string());
    }
}

#[cfg(test)]
mod tests;
