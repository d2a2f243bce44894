//! Moves: which fact may lead from which state to which.
//!
//! Owns the check of one fact against what was before and after it. Refuses to fold.

use backlane_engine::fact::{Ended, FactKind, Living};
use backlane_engine::rules::id::Birth;
use backlane_engine::rules::status::{Phase, Status, TaskState};

use super::{Checked, must};

const LEGAL: &str = "only legal transitions happen";

pub(super) fn birth_of(kind: &FactKind) -> Option<Birth> {
    match kind {
        FactKind::Enqueued(living) | FactKind::Carried(living) => Some(living.id.birth),
        FactKind::Ended(ended) => Some(ended.birth),
        FactKind::Due(birth)
        | FactKind::Leased { birth, .. }
        | FactKind::Requeued { birth, .. }
        | FactKind::CancelRequested { birth, .. } => Some(*birth),
        _ => None,
    }
}

pub(super) fn check_move(
    kind: &FactKind,
    before: Option<&Living>,
    after: Option<&Living>,
) -> Checked {
    let wrong = || format!("{kind:?} led from {before:?} to {after:?}");
    let holds = match (kind, before, after) {
        (FactKind::Enqueued(_), None, Some(after)) => after.progress.version == 1,
        (FactKind::Carried(_), Some(before), Some(after)) => before == after,
        (FactKind::CancelRequested { .. }, Some(before), Some(after)) => {
            before.progress.phase == Phase::Running && is_change(before, after)
        }
        (FactKind::Ended(ended), Some(before), None) => may_end(
            before.progress.phase.task_state(),
            TaskState::of_end(ended.status),
        ),
        (_, Some(before), Some(after)) => {
            let moved = [before, after].map(|one| one.progress.phase.task_state());
            moved[0].can_transition_to(moved[1]) && is_change(before, after)
        }
        _ => false,
    };
    must(holds, LEGAL, wrong)
}

/// A failure passes through `Failed` on its way to the dead letters.
fn may_end(from: TaskState, end: TaskState) -> bool {
    let by_failure = from.can_transition_to(TaskState::Failed) && end == TaskState::DeadLettered;
    by_failure || from.can_transition_to(end)
}

fn is_change(before: &Living, after: &Living) -> bool {
    let (before, after) = (&before.progress, &after.progress);
    before.version + 1 == after.version
        && after.attempt >= before.attempt
        && (after.phase == Phase::Running) == after.holding.is_some()
        && (after.phase == Phase::Retrying) == after.next_attempt_at_ms.is_some()
}

pub(super) fn check_end(ended: &Ended, last: &Living, at_ms: u64) -> Checked {
    let failed = matches!(ended.status, Status::Failed | Status::Timeout);
    let holds = ended.status.is_finished()
        && (ended.status == Status::Completed) == ended.output.is_some()
        && failed == ended.error.is_some()
        && last
            .progress
            .started_at_ms
            .is_none_or(|started| started <= at_ms);
    must(holds, "an end has exactly its output or error", || {
        format!("{ended:?} of {last:?}")
    })
}
