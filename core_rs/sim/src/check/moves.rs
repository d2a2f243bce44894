//! Moves: the changes of an execution that a fact may make.
//!
//! Owns the check of one fact against the execution before and after it. Refuses to apply facts.

use backlane_engine::fact::{ExecutionChange, Living, RunChange};
use backlane_engine::rules::status::{Phase, TaskState};

use super::{Checked, must};

const LEGAL: &str = "only legal transitions happen";

pub(super) fn check_move(
    change: &ExecutionChange,
    before: Option<&Living>,
    after: Option<&Living>,
) -> Checked {
    let wrong = || format!("{change:?} led from {before:?} to {after:?}");
    let holds = match (change, before, after) {
        (ExecutionChange::Enqueued(_), None, Some(after)) => after.progress.version == 1,
        (ExecutionChange::Carried(_), Some(before), Some(after)) => before == after,
        (ExecutionChange::CancelRequested { .. }, Some(before), Some(after)) => {
            before.progress.phase == Phase::Running && is_change(before, after)
        }
        (ExecutionChange::Ended(ended), Some(before), None) => may_end(
            before.progress.phase.task_state(),
            TaskState::of_end(ended.status, ended.reason),
        ),
        (ExecutionChange::Promoted { .. }, Some(before), Some(after)) => {
            let free = match after.progress.phase {
                Phase::Ready | Phase::Pending => true,
                phase => phase == Phase::Held && after.progress.is_paused,
            };
            before.progress.phase == Phase::Blocked && free && is_change(before, after)
        }
        (ExecutionChange::Discarded | ExecutionChange::Deleted, None, None) => true,
        (ExecutionChange::Concluded(_), Some(before), Some(after)) => {
            before.progress.phase != Phase::Ending
                && after.progress.phase == Phase::Ending
                && is_change(before, after)
        }
        (
            ExecutionChange::Due
            | ExecutionChange::Leased { .. }
            | ExecutionChange::Requeued { .. },
            Some(before),
            Some(after),
        ) => {
            let moved = [before, after].map(|one| one.progress.phase.task_state());
            moved[0].can_transition_to(moved[1]) && is_change(before, after)
        }
        _ => false,
    };
    must(holds, LEGAL, wrong)
}

pub(super) fn check_run(
    change: &RunChange,
    before: Option<&Living>,
    after: Option<&Living>,
) -> Checked {
    let wrong = || format!("{change:?} led from {before:?} to {after:?}");
    let (Some(before), Some(after)) = (before, after) else {
        return must(false, LEGAL, wrong);
    };
    if let RunChange::TakenOver { .. } = change {
        // Steps that are taken over belong to the birth.
        let is_born = before.progress.attempt == 0 && before.progress.version == 1;
        return must(is_born && before == after, LEGAL, wrong);
    }
    let phases = (before.progress.phase, after.progress.phase);
    let moved = match change {
        RunChange::Carried(_) | RunChange::TakenOver { .. } => return Ok(()),
        RunChange::Reported { .. } => phases == (Phase::Running, Phase::Running),
        RunChange::Suspended { .. } => phases == (Phase::Running, Phase::Suspended),
        RunChange::Woken { .. } => {
            phases.0 == Phase::Suspended && matches!(phases.1, Phase::Ready | Phase::Held)
        }
        RunChange::InputKept { .. } => phases.0 == phases.1,
        RunChange::Paused { .. } => phases.1 != Phase::Ready,
        RunChange::Unpaused { .. } => phases.1 != Phase::Held,
    };
    must(moved && is_change(before, after), LEGAL, wrong)
}

/// Whether an execution in `from` may end in `end`. A failure passes through `Failed` to the dead
/// letters.
fn may_end(from: TaskState, end: TaskState) -> bool {
    let by_failure = from.can_transition_to(TaskState::Failed) && end == TaskState::DeadLettered;
    by_failure || from.can_transition_to(end)
}

fn is_change(before: &Living, after: &Living) -> bool {
    let (before, after) = (&before.progress, &after.progress);
    before.version + 1 == after.version
        && after.attempt >= before.attempt
        && (after.phase == Phase::Running) == after.holding.is_some()
        && (after.phase == Phase::Retrying) == after.backoff.is_some()
}
