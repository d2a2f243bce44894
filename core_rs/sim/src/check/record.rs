//! Records: the properties that every record in a reply must have, and must keep.

use backlane_engine::rules::id::ExecutionId;

use crate::api::{millis, v1};

use super::{Checked, LogCheck, Violation, broken, must};

const WHOLE: &str = "started ≤ completed; exactly one of output and error";
const DURABLE: &str = "a reply shows only durable data";

/// The state of an execution as a reply has shown it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stand {
    pub(super) status: i32,
    pub(super) attempt: u32,
    pub(super) cancel_requested: bool,
}

impl Stand {
    pub(super) const fn of(record: &v1::BackgroundExecution) -> Self {
        Self {
            status: record.status,
            attempt: record.attempt,
            cancel_requested: record.cancel_requested,
        }
    }

    pub(super) const fn is_finished(self) -> bool {
        self.status >= v1::BackgroundExecutionStatus::Completed as i32
    }
}

/// The execution id in a record or request.
pub(super) fn parsed(id: &str) -> Result<ExecutionId, Violation> {
    ExecutionId::parse("execution_id", id).map_err(|error| broken(WHOLE, error))
}

/// The birth number in an execution id.
pub(crate) fn birth_of(id: &str) -> Result<u64, Violation> {
    parsed(id).map(|id| id.birth)
}

/// Checks a record on its own. `full` says whether the record is a FULL view.
pub(super) fn check_whole(record: &v1::BackgroundExecution, full: bool) -> Checked {
    let stand = Stand::of(record);
    let wrong = || format!("{record:?}");
    must(record.version >= 1 && record.status >= 1, WHOLE, wrong)?;
    must(
        stand.is_finished() == record.completed_at.is_some(),
        WHOLE,
        wrong,
    )?;
    must(stand.is_finished() == (record.reason != 0), WHOLE, wrong)?;
    let completed = stand.status == v1::BackgroundExecutionStatus::Completed as i32;
    let failed = [
        v1::BackgroundExecutionStatus::Failed,
        v1::BackgroundExecutionStatus::Timeout,
    ]
    .contains(&record.status());
    must(completed == record.output.is_some() || !full, WHOLE, wrong)?;
    must(failed == record.error.is_some(), WHOLE, wrong)?;
    let started = record.started_at.as_ref().map(millis);
    must((record.attempt > 0) == started.is_some(), WHOLE, wrong)?;
    match (started, record.completed_at.as_ref().map(millis)) {
        (Some(started), Some(completed)) => must(started <= completed, WHOLE, wrong),
        _ => Ok(()),
    }
}

/// Checks that the data in a record is durable.
pub(super) fn check_durable(record: &v1::BackgroundExecution, log: &LogCheck) -> Checked {
    let id = parsed(&record.execution_id)?;
    let wrong = || format!("{record:?}");
    must(id.birth < log.durable().next_birth(), DURABLE, wrong)?;
    match log.durable().living(id.birth) {
        Some(living) => {
            let version = u64::from(living.progress.version);
            must(living.id == id && record.version <= version, DURABLE, wrong)
        }
        None => must(log.end_of(id.birth).is_some(), DURABLE, wrong),
    }
}

/// Checks that a record shows its request, byte for byte.
pub(super) fn check_identical(
    made_with: &v1::EnqueueRequest,
    record: &v1::BackgroundExecution,
) -> Checked {
    let identical = record.tenant_id == made_with.tenant_id
        && record.callable_name == made_with.callable_name
        && record.input == made_with.input
        && record.context == made_with.context
        && record.metadata == made_with.metadata
        && record.not_before == made_with.not_before
        && record.start_deadline == made_with.start_deadline
        && record.deadline == made_with.deadline
        && (record.depends_on == made_with.depends_on || !made_with.depends_on_items.is_empty())
        && record.dedup_key.as_deref().unwrap_or_default() == made_with.dedup_key;
    must(
        identical,
        "an acknowledged execution exists, byte for byte",
        || format!("asked {made_with:?}, shown {record:?}"),
    )
}
