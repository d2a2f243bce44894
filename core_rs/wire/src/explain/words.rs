//! The words of reasons: one line of plain English for each, with its values.
//!
//! Owns the wording, for clients in every language. Refuses to look anything up.

use backlane_engine::fact::{Actor, ErrorRecord, PauseAsked};
use backlane_engine::reason::{
    Awaited, Bounded, Explanation, LimitReached, MOST_COUNTED, Reason, Running,
};
use backlane_engine::row::EndingRow;
use backlane_engine::rules::id::ExecutionId;
use backlane_engine::rules::status::{ActorKind, EndReason, Status};
use prost_types::Timestamp;

/// Most ids that a line names.
const MOST_IDS: usize = 3;
/// Most characters of an error that a line shows.
const MOST_OF_ERROR: usize = 200;

/// The words of a reason.
pub(super) fn of(
    told: &Explanation,
    reason: &Reason,
    error: Option<&ErrorRecord>,
    now_ms: u64,
) -> String {
    let Explanation {
        tenant, callable, ..
    } = told;
    match reason {
        Reason::SetAside { why } => format!(
            "the server decides nothing about it before its next start, because its state \
             contradicts itself: {why}"
        ),
        Reason::AwaitsDependencies { unmet, count } => dependencies(unmet, *count),
        Reason::NotDue { until_at_ms } => {
            let left = left(*until_at_ms, now_ms);
            format!("it is scheduled for {}, in {left}", instant(*until_at_ms))
        }
        Reason::BackingOff { until_at_ms, .. } => backing_off(*until_at_ms, error, now_ms),
        Reason::Paused { pause } => paused(pause.as_ref(), now_ms),
        Reason::Suspended { waits } => suspended(waits, now_ms),
        Reason::Running(one) => running(one, now_ms),
        Reason::AwaitsChildren {
            ended,
            descendants,
            count,
        } => {
            let many = many(*count, "descendant", "has ended", "have ended");
            let ids = ids(descendants, *count);
            let status = ended.status.name();
            format!("it ends as {status} once {many}: {ids}")
        }
        Reason::TenantLimit(limit) => reached(&format!("tenant {tenant}"), limit),
        Reason::CallableLimit(limit) => {
            reached(&format!("callable {callable} of tenant {tenant}"), limit)
        }
        Reason::NoWorker { last_at_ms } => no_worker(told, *last_at_ms, now_ms),
        Reason::Withheld {
            worker,
            until_at_ms,
        } => withheld(worker, *until_at_ms, now_ms),
        Reason::SlotsTaken { workers, held } => slots_taken(callable, *workers, *held),
        Reason::Ahead(count) => {
            let what = many(*count, "execution", "is", "are");
            format!("{what} ahead of it")
        }
        Reason::Turn(count) => {
            let what = many(*count, "other tenant", "is", "are");
            format!("{what} served before tenant {tenant}, because of less worker time so far")
        }
    }
}

/// The words about an execution that is over.
pub(super) fn finished(ending: &EndingRow, now_ms: u64) -> String {
    let ago = span(now_ms.saturating_sub(ending.ended_at_ms));
    let how = match ending.status {
        Status::Completed => "completed",
        Status::Failed => "failed",
        Status::Cancelled => "was cancelled",
        Status::Timeout => "timed out",
        Status::Queued | Status::Running => "ended",
    };
    let why = match &ending.error {
        Some(error) => format!(": {}", error_line(error)),
        None => end_reason(ending.reason).map_or_else(String::new, |why| format!(": {why}")),
    };
    format!("it {how} {ago} ago{why}")
}

/// Why an execution ended, where the status does not say so.
const fn end_reason(reason: EndReason) -> Option<&'static str> {
    match reason {
        EndReason::Completed | EndReason::Failed => None,
        EndReason::AttemptTimeout => Some("an attempt ran too long"),
        EndReason::WorkerLost => Some("its workers fell silent"),
        EndReason::StartDeadline => Some("no worker began it in time"),
        EndReason::Deadline => Some("its deadline passed"),
        EndReason::CancelRequested => Some("a client asked for it"),
        EndReason::Cascade => Some("an ancestor ended"),
        EndReason::Replaced => Some("another execution with its dedup key took its place"),
        EndReason::DependencyFailed => Some("a dependency did not complete"),
        EndReason::DataDamaged => Some("its data is damaged on the disk"),
    }
}

fn dependencies(unmet: &[(ExecutionId, Status)], count: u64) -> String {
    if count == 0 {
        return "the last of its dependencies has just completed".to_owned();
    }
    let named = unmet.iter().take(MOST_IDS);
    let named = named.map(|(id, status)| format!("{id} ({})", status.name()));
    let named: Vec<_> = named.collect();
    let rest = count.saturating_sub(named.len() as u64);
    let noun = plural(count, "execution", "executions");
    format!(
        "it waits for {count} {noun}: {}{}",
        named.join(", "),
        and_more(rest)
    )
}

fn backing_off(until_at_ms: u64, error: Option<&ErrorRecord>, now_ms: u64) -> String {
    let left = left(until_at_ms, now_ms);
    match error {
        Some(error) => format!(
            "it is tried again in {left}, after attempt {} failed: {}",
            error.attempt,
            error_line(error)
        ),
        None => format!("it is tried again in {left}"),
    }
}

fn paused(pause: Option<&PauseAsked>, now_ms: u64) -> String {
    match pause {
        Some(PauseAsked { at_ms, actor }) => {
            let ago = span(now_ms.saturating_sub(*at_ms));
            format!("{} paused it {ago} ago", who(actor))
        }
        None => "it is paused".to_owned(),
    }
}

fn who(actor: &Actor) -> String {
    if !actor.id.is_empty() {
        return actor.id.to_string();
    }
    let kind = match actor.kind {
        ActorKind::Client => "a client",
        ActorKind::Worker => "a worker",
        ActorKind::Clock => "the clock",
        ActorKind::Engine => "the server",
        ActorKind::Operator => "an operator",
    };
    kind.to_owned()
}

fn suspended(waits: &[Awaited], now_ms: u64) -> String {
    let ends: Vec<_> = waits
        .iter()
        .flat_map(|wait| ends_of(wait, now_ms))
        .collect();
    if ends.is_empty() {
        return "it is suspended".to_owned();
    }
    format!("it is suspended until {}", ends.join(", or "))
}

fn ends_of(wait: &Awaited, now_ms: u64) -> Vec<String> {
    let key = wait.key.as_ref();
    let key = key.map(|key| format!("somebody provides the input {key:?}"));
    let until = wait.until_at_ms;
    let until = until.map(|at_ms| format!("{}, in {}", instant(at_ms), left(at_ms, now_ms)));
    let child = wait.child.map(|child| format!("the child {child} ends"));
    [key, child, until].into_iter().flatten().collect()
}

fn running(one: &Running, now_ms: u64) -> String {
    let Running {
        worker, attempt, ..
    } = one;
    let runs = if one.waits_at_worker {
        format!("worker {worker} has it, and begins attempt {attempt} when it has a free slot")
    } else {
        let time = span(now_ms.saturating_sub(one.since_at_ms));
        format!("worker {worker} has run attempt {attempt} for {time}")
    };
    let stop = one.cancel.as_ref().map(|cancel| {
        let ago = span(now_ms.saturating_sub(cancel.at_ms));
        format!("it was asked to stop {ago} ago")
    });
    let pause = one
        .pause_requested
        .then(|| "it was asked to yield to a pause".to_owned());
    let parts: Vec<_> = [Some(runs), stop, pause].into_iter().flatten().collect();
    parts.join("; ")
}

fn reached(whose: &str, limit: &LimitReached) -> String {
    let LimitReached {
        limit,
        running,
        holders,
    } = limit;
    if holders.is_empty() {
        return format!("{whose} may run {limit} executions at once");
    }
    let count = Bounded {
        count: *running,
        more: false,
    };
    let are = plural(*running, "is", "are");
    let ids = ids(holders, count);
    format!("{whose} is at its limit: {running} of {limit} executions {are} running: {ids}")
}

fn no_worker(told: &Explanation, last_at_ms: Option<u64>, now_ms: u64) -> String {
    let Explanation {
        tenant, callable, ..
    } = told;
    let last = match last_at_ms {
        Some(at_ms) => format!("one did {} ago", span(now_ms.saturating_sub(at_ms))),
        None => "none is known to have done so since the server started".to_owned(),
    };
    format!("no live worker offers callable {callable} for tenant {tenant}; {last}")
}

fn withheld(worker: &str, until_at_ms: Option<u64>, now_ms: u64) -> String {
    match until_at_ms {
        Some(at_ms) => {
            let left = left(at_ms, now_ms);
            format!("worker {worker} released it, and does not get it again for {left}")
        }
        None => format!("worker {worker} released many executions, and gets none for a moment"),
    }
}

fn slots_taken(callable: &str, workers: u64, held: u64) -> String {
    let offer = plural(workers, "worker offers", "workers offer");
    let none = plural(workers, "it has", "they have");
    let held = match held {
        0 => "no execution".to_owned(),
        held => format!("{held} {}", plural(held, "execution", "executions")),
    };
    let holds = plural(workers, "holds", "hold");
    format!("{workers} {offer} callable {callable}; {none} no free slot, and {holds} {held}")
}

fn error_line(error: &ErrorRecord) -> String {
    let first = error.message.lines().next().unwrap_or_default();
    let mut message: String = first.chars().take(MOST_OF_ERROR).collect();
    if message.len() < error.message.len() {
        message += "…";
    }
    match &error.code {
        Some(code) => format!("{code}: {message}"),
        None => message,
    }
}

/// A number with its noun and verb.
fn many(count: Bounded, noun: &str, one: &str, other: &str) -> String {
    match (count.count, count.more) {
        (1, false) => format!("1 {noun} {one}"),
        (count, false) => format!("{count} {noun}s {other}"),
        (_, true) => format!("more than {MOST_COUNTED} {noun}s {other}"),
    }
}

const fn plural(count: u64, one: &'static str, other: &'static str) -> &'static str {
    if count == 1 { one } else { other }
}

fn ids(all: &[ExecutionId], count: Bounded) -> String {
    let named: Vec<_> = all.iter().take(MOST_IDS).map(ToString::to_string).collect();
    let rest = count.count.saturating_sub(named.len() as u64);
    format!("{}{}", named.join(", "), and_more(rest))
}

fn and_more(rest: u64) -> String {
    match rest {
        0 => String::new(),
        rest => format!(" and {rest} more"),
    }
}

/// The time until an instant.
fn left(until_at_ms: u64, now_ms: u64) -> String {
    span(until_at_ms.saturating_sub(now_ms))
}

/// A length of time in its largest unit, rounded down.
fn span(ms: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (86_400_000, "day"),
        (3_600_000, "hour"),
        (60_000, "minute"),
        (1_000, "second"),
    ];
    let unit = UNITS.into_iter().find(|(length, _)| ms >= *length);
    match unit {
        None => format!("{ms} ms"),
        Some((length, name)) => {
            let count = ms / length;
            format!("{count} {name}{}", plural(count, "", "s"))
        }
    }
}

/// An instant in RFC 3339.
fn instant(at_ms: u64) -> String {
    let seconds = i64::try_from(at_ms / 1_000).unwrap_or(i64::MAX);
    Timestamp { seconds, nanos: 0 }.to_string()
}
