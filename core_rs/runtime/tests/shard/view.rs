//! The view: a record of the API, field by field, in the words of scenarios.

use backlane_sim::api::{millis, v1};

use crate::json;

const NONE: &str = "none";

/// The value of a field, or `none` if it is absent. Times are relative to `now_ms`.
pub(crate) fn show(record: &v1::BackgroundExecution, key: &str, now_ms: u64) -> String {
    let at = |at: &Option<prost_types::Timestamp>| at.as_ref().map(|at| seen(millis(at), now_ms));
    let error = record.error.as_ref();
    let config = record.config.clone().unwrap_or_default();
    let shown = match key {
        "tenant" => Some(record.tenant_id.clone()),
        "callable" => Some(record.callable_name.clone()),
        "priority" => config.priority.map(|priority| priority.to_string()),
        "attempt" => Some(record.attempt.to_string()),
        "version" => Some(record.version.to_string()),
        "cancel_requested" => Some(record.cancel_requested.to_string()),
        "paused" => Some(record.paused.to_string()),
        "worker" => record.worker_id.clone(),
        "queued" => at(&record.queued_at),
        "updated" => at(&record.updated_at),
        "started" => at(&record.started_at),
        "next_attempt" => at(&record.next_attempt_at),
        "completed" => at(&record.completed_at),
        "duration" => duration(record),
        "status" => Some(status(record.status())),
        "reason" => Some(word(record.reason().as_str_name(), "END_REASON_")),
        "actor" => record.actor.as_ref().map(actor),
        "output" => record.output.as_ref().map(json::write),
        "retried_from" => record.retried_from.clone(),
        "progress.fraction" => progress(record, "fraction"),
        "progress.message" => progress(record, "message"),
        "error.category" => {
            error.map(|error| word(error.category().as_str_name(), "ERROR_CATEGORY_"))
        }
        "error.message" => error.map(|error| error.message.clone()),
        "error.code" => error.and_then(|error| error.code.clone()),
        "error.attempt" => error.map(|error| error.attempt.to_string()),
        _ => None,
    };
    shown
        .filter(|shown| shown != "unspecified")
        .unwrap_or_else(|| NONE.to_owned())
}

/// The value of a field of a task record, or `none` if it is absent.
pub(crate) fn show_task(record: &v1::TaskRecord, key: &str, now_ms: u64) -> String {
    let shown = match key {
        "state" => Some(word(record.state().as_str_name(), "TASK_STATE_")),
        "attempts" => Some(record.attempts.to_string()),
        "created" => Some(seen(record.created_at, now_ms)),
        "updated" => Some(seen(record.updated_at, now_ms)),
        "started" => record.started_at.map(|at_ms| seen(at_ms, now_ms)),
        "finished" => record.finished_at.map(|at_ms| seen(at_ms, now_ms)),
        "output" => record.output.as_ref().map(json::write),
        "error" => record.error.clone(),
        _ => panic!("no field of a task is called {key}"),
    };
    shown.unwrap_or_else(|| NONE.to_owned())
}

/// A part of the progress.
fn progress(record: &v1::BackgroundExecution, key: &str) -> Option<String> {
    use prost_types::value::Kind;
    let Some(Kind::StructValue(object)) = &record.progress.as_ref()?.kind else {
        panic!("a progress is an object: {record:?}")
    };
    match &object.fields.get(key)?.kind {
        Some(Kind::NumberValue(number)) => Some(number.to_string()),
        Some(Kind::StringValue(text)) => Some(text.clone()),
        other => panic!("{other:?}"),
    }
}

/// A time relative to another time.
pub(crate) fn seen(at_ms: u64, from_ms: u64) -> String {
    let sign = if at_ms < from_ms { '-' } else { '+' };
    format!("{sign}{}ms", at_ms.abs_diff(from_ms))
}

pub(crate) fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_lowercase()
}

pub(crate) fn status(status: v1::BackgroundExecutionStatus) -> String {
    word(status.as_str_name(), "BACKGROUND_EXECUTION_STATUS_")
}

fn duration(record: &v1::BackgroundExecution) -> Option<String> {
    let started = record.started_at.as_ref().map(millis)?;
    let completed = record.completed_at.as_ref().map(millis)?;
    Some(format!("{}ms", completed - started))
}

pub(crate) fn actor(actor: &v1::Actor) -> String {
    let kind = word(actor.kind().as_str_name(), "ACTOR_KIND_");
    if actor.id.is_empty() {
        kind
    } else {
        format!("{kind}:{}", actor.id)
    }
}
