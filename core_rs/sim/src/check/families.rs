//! Families: who may spawn, whom a cascade cancels, and who waits for whom.
//!
//! Owns the checks of facts about families. Refuses to share code with the engine's own families:
//! descendants are found among all living executions.

use backlane_engine::fact::{Ended, Entity, Living};
use backlane_engine::rules::id::Birth;
use backlane_engine::rules::status::{Cancellation, EndReason, Phase, Status};
use backlane_engine::state::State;

use super::{Checked, must};

const SPAWNS: &str = "only a held execution that nobody asked to stop has children";
const CASCADE: &str = "a cascade begins with an end that is not completed";
const WAITS: &str = "an execution that waits for its children ends when the last has ended";

fn has_descendants(state: &State, ancestor: Birth) -> bool {
    let living = state.slots().births_from(ancestor + 1);
    let mut families = living.filter_map(|birth| state.living(birth));
    families.any(|one| one.ancestors.contains(&ancestor))
}

/// Checks that the parent of a new execution may spawn.
pub(super) fn may_be_spawned(state: &State, living: &Living) -> Checked {
    let Some(parent) = living.ancestors.first() else {
        return Ok(());
    };
    let held = state.holding(*parent).is_some() && !state.is_cancel_requested(*parent);
    must(held, SPAWNS, || format!("{parent} has {:?}", living.id))
}

/// Checks that a cascade has a cause. `end_of` knows how executions ended.
pub(super) fn may_cascade(
    birth: Birth,
    reason: EndReason,
    cause: Option<Entity>,
    is_flagged: bool,
    end_of: impl Fn(Birth) -> Option<Status>,
) -> Checked {
    let cause = cause.and_then(|cause| match cause {
        Entity::Execution(cause) => end_of(cause),
        Entity::Agenda(_) => None,
    });
    let begins = cause.is_some_and(|status| !status.is_success());
    must(
        reason != EndReason::Cascade || is_flagged || begins,
        CASCADE,
        || format!("{birth} because of {cause:?}"),
    )
}

/// Checks that an execution ends at once, or waits for its descendants, as its policy says.
pub(super) fn may_wait(state: &State, birth: Birth, ended: Ended, concludes: bool) -> Checked {
    let Some(slot) = state.slot(birth) else {
        return Ok(());
    };
    let policy = state.policy(slot).cancellation;
    let is_final = matches!(ended.reason, EndReason::Deadline | EndReason::Replaced);
    let waits = policy == Cancellation::WaitForChildren && !ended.status.is_success() && !is_final;
    if !waits && slot.phase != Phase::Ending {
        return must(!concludes, WAITS, || format!("{birth} waits: {ended:?}"));
    }
    let open = !is_final && has_descendants(state, birth);
    must(open == concludes, WAITS, || {
        format!("{birth} with unfinished descendants: {open}, {ended:?}")
    })
}
