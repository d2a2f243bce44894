//! The view: an execution as the API would show it, field by field, in the words of scenarios.
//!
//! Owns the words of the fields. Refuses to know the messages of the API: it reads the engine's
//! data.

use backlane_engine::command::ProgressReport;
use backlane_engine::fact::{Actor, Living};
use backlane_engine::row::{Bytes, EndingRow};
use backlane_engine::rules::id::Birth;
use backlane_engine::rules::retry::Category;
use backlane_engine::rules::status::{ActorKind, EndReason, Status, TaskState, duration_ms};
use backlane_engine::task::TaskRecord;

use crate::world::World;

const NONE: &str = "none";

struct View {
    last: Living,
    ended: Option<EndingRow>,
}

/// The value of a field, `none` where it is absent.
pub(crate) fn show(world: &World, birth: Birth, key: &str) -> String {
    let view = view(world, birth);
    let relative = |at_ms: Option<u64>| at_ms.map(|at_ms| relative(at_ms, world.now.wall_ms));
    let (living, progress) = (&view.last, &view.last.progress);
    let ended_at_ms = view.ended.as_ref().map(|ended| ended.ended_at_ms);
    let shown = match key {
        "tenant" => Some(living.tenant.to_string()),
        "callable" => Some(living.callable.to_string()),
        "priority" => Some(living.priority.to_string()),
        "attempt" => Some(progress.attempt.to_string()),
        "version" => Some(progress.version.to_string()),
        "cancel_requested" => Some(progress.cancel.is_some().to_string()),
        "paused" => Some((progress.is_paused && view.ended.is_none()).to_string()),
        "worker" => worker(living),
        "queued" => relative(Some(living.queued_at_ms)),
        "updated" => relative(Some(progress.updated_at_ms)),
        "started" => relative(progress.started_at_ms),
        "next_attempt" => relative(progress.backoff.map(|backoff| backoff.until_ms)),
        "completed" => relative(ended_at_ms),
        "duration" => {
            duration_ms(progress.started_at_ms, ended_at_ms).map(|duration| format!("{duration}ms"))
        }
        "progress.fraction" => progress_of(world, birth)
            .and_then(|report| report.fraction)
            .map(|fraction| fraction.to_string()),
        "progress.message" => progress_of(world, birth)
            .map(|report| report.message.to_string())
            .filter(|message| !message.is_empty()),
        "engine.spent" => Some(progress.spent.to_string()),
        "engine.losses" => Some(progress.losses.to_string()),
        "engine.task" => Some(task_name(task(&view)).to_owned()),
        _ => show_end(&view, key),
    };
    shown.unwrap_or_else(|| NONE.to_owned())
}

fn progress_of(world: &World, birth: Birth) -> Option<&ProgressReport> {
    world.engine.progress(birth, world.now)
}

/// The value of a field of the task record, `none` where it is absent.
pub(crate) fn show_task(world: &World, birth: Birth, key: &str) -> String {
    let record = task_record(world, birth);
    let relative = |at_ms: u64| relative(at_ms, world.now.wall_ms);
    let text = |bytes: Bytes| String::from_utf8_lossy(&bytes).into_owned();
    let shown = match key {
        "state" => Some(task_name(record.state).to_owned()),
        "attempts" => Some(record.attempts.to_string()),
        "created" => Some(relative(record.created_at_ms)),
        "updated" => Some(relative(record.updated_at_ms)),
        "started" => record.started_at_ms.map(relative),
        "finished" => record.finished_at_ms.map(relative),
        "output" => record.output.map(text),
        "error" => record.error.map(String::from),
        _ => panic!("no field of a task is called {key}"),
    };
    shown.unwrap_or_else(|| NONE.to_owned())
}

fn task_record(world: &World, birth: Birth) -> TaskRecord {
    let View { last, ended } = view(world, birth);
    let failed = last.progress.last_failed.map(|ordinal| (birth, ordinal));
    let attempt = failed.and_then(|key| world.audit.attempts.get(&key));
    let error = attempt.and_then(|attempt| attempt.error.as_deref());
    let message = error.map(|error| &*error.message);
    match ended {
        Some(ended) => TaskRecord::of_ending(&ended, last.queued_at_ms, message),
        None => TaskRecord::of_living(&last, message),
    }
}

fn show_end(view: &View, key: &str) -> Option<String> {
    let ended = view.ended.as_ref();
    let error = ended.and_then(|ended| ended.error.as_deref());
    match key {
        "status" => Some(status(view).name().to_owned()),
        "reason" => Some(reason_name(ended?.reason).to_owned()),
        "actor" => Some(actor_name(&ended?.actor)),
        "output" => Some(String::from_utf8_lossy(ended?.output.as_ref()?).into_owned()),
        "error.category" => Some(category_name(error?.category).to_owned()),
        "error.message" => Some(error?.message.to_string()),
        "error.code" => Some(error?.code.as_ref()?.to_string()),
        "error.attempt" => Some(error?.attempt.to_string()),
        _ => panic!("no field is called {key}"),
    }
}

fn view(world: &World, birth: Birth) -> View {
    let living = world.engine.state().living(birth);
    View {
        last: living.unwrap_or_else(|| world.audit.lasts[&birth].clone()),
        ended: world.audit.ends.get(&birth).cloned(),
    }
}

fn status(view: &View) -> Status {
    let ended = view.ended.as_ref().map(|ended| ended.status);
    ended.unwrap_or(view.last.progress.phase.status())
}

fn task(view: &View) -> TaskState {
    let ended = view
        .ended
        .as_ref()
        .map(|ended| TaskState::of_end(ended.status, ended.reason));
    ended.unwrap_or(view.last.progress.phase.task_state())
}

fn worker(living: &Living) -> Option<String> {
    let holding = living.progress.holding.as_ref();
    let holder = holding.map(|holding| &holding.worker);
    holder
        .or(living.progress.last_worker.as_ref())
        .map(ToString::to_string)
}

/// A time relative to another time.
pub(crate) fn relative(at_ms: u64, from_ms: u64) -> String {
    let sign = if at_ms < from_ms { '-' } else { '+' };
    format!("{sign}{}ms", at_ms.abs_diff(from_ms))
}

pub(crate) fn actor_name(actor: &Actor) -> String {
    let kind = match actor.kind {
        ActorKind::Client => "client",
        ActorKind::Worker => "worker",
        ActorKind::Clock => "clock",
        ActorKind::Engine => "engine",
        ActorKind::Operator => "operator",
    };
    if actor.id.is_empty() {
        kind.to_owned()
    } else {
        format!("{kind}:{}", actor.id)
    }
}

fn reason_name(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Completed => "completed",
        EndReason::Failed => "failed",
        EndReason::AttemptTimeout => "attempt_timeout",
        EndReason::WorkerLost => "worker_lost",
        EndReason::StartDeadline => "start_deadline",
        EndReason::Deadline => "deadline",
        EndReason::CancelRequested => "cancel_requested",
        EndReason::Cascade => "cascade",
        EndReason::Replaced => "replaced",
        EndReason::DependencyFailed => "dependency_failed",
        EndReason::DataDamaged => "data_damaged",
    }
}

fn task_name(task: TaskState) -> &'static str {
    match task {
        TaskState::Pending => "pending",
        TaskState::Ready => "ready",
        TaskState::Running => "running",
        TaskState::Retrying => "retrying",
        TaskState::Completed => "completed",
        TaskState::Failed => "failed",
        TaskState::Cancelled => "cancelled",
        TaskState::Skipped => "skipped",
        TaskState::DeadLettered => "dead_lettered",
    }
}

fn category_name(category: Category) -> &'static str {
    match category {
        Category::Llm => "llm_error",
        Category::Tool => "tool_error",
        Category::Network => "network_error",
        Category::Timeout => "timeout",
        Category::PolicyViolation => "policy_violation",
        Category::QuotaExceeded => "quota_exceeded",
        Category::KernelInternal => "kernel_internal",
        Category::Validation => "validation_error",
    }
}

/// The category with this name.
pub(crate) fn category(name: &str) -> Category {
    let mut named = Category::ALL
        .iter()
        .copied()
        .filter(|one| category_name(*one) == name);
    named
        .next()
        .unwrap_or_else(|| panic!("no category is called {name}"))
}
