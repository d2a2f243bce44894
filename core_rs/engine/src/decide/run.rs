//! What decisions about runs share: their form, their size limit, and their refusals.
//!
//! Owns these. Refuses to know any command.

use crate::engine::{Contents, Decision};
use crate::error::{Invalid, Refusal};
use crate::fact::{Actor, FactKind, Run, RunChange, WakeCause};
use crate::row::ActionContents;
use crate::rules::id::{Birth, ExecutionId};
use crate::rules::limits::{MAX_RUN_ACTIONS, MAX_RUN_BYTES};
use crate::rules::run::{Illegal, MAX_STEPS, RunState};
use crate::rules::step::StepId;

pub(super) fn woken(over: Vec<StepId>, by: WakeCause, bytes: u32) -> RunChange {
    let over = over.into();
    RunChange::Woken { over, by, bytes }
}

pub(super) fn run_changes(
    actor: Actor,
    birth: Birth,
    change: RunChange,
    actions: Vec<ActionContents>,
) -> Decision {
    Decision::of(actor, FactKind::run(birth, change)).with(Contents {
        actions,
        ..Contents::default()
    })
}

pub(super) fn room_for(run: &Run, more: u32, field: &str) -> Result<(), Refusal> {
    if run.bytes.saturating_add(more) > MAX_RUN_BYTES {
        return Err(Refusal::RunTooLarge {
            field: field.to_owned(),
            limit: MAX_RUN_BYTES.into(),
            unit: "bytes",
        });
    }
    Ok(())
}

/// Refuses more actions than a run may record. Clocks and resumes are never refused.
pub(super) fn may_record(run: &Run, more: usize, field: &str) -> Result<(), Refusal> {
    let more = u32::try_from(more).unwrap_or(u32::MAX);
    if run.actions.saturating_add(more) > MAX_RUN_ACTIONS {
        return Err(Refusal::RunTooLarge {
            field: field.to_owned(),
            limit: MAX_RUN_ACTIONS.into(),
            unit: "actions",
        });
    }
    Ok(())
}

pub(super) fn illegal(id: &ExecutionId, field: &str, why: Illegal) -> Refusal {
    match why {
        Illegal::State { state, event } => not_allowed(id, state, event),
        Illegal::TooManySteps => Refusal::RunTooLarge {
            field: field.to_owned(),
            limit: MAX_STEPS as u64,
            unit: "steps",
        },
        Illegal::UnknownStep | Illegal::StepState(_) => Invalid::new(field, why.to_string()).into(),
    }
}

pub(super) fn end_decided(id: &ExecutionId, event: &'static str) -> Refusal {
    Refusal::EndDecided {
        execution_id: id.to_string(),
        event,
    }
}

pub(super) fn not_allowed(id: &ExecutionId, state: RunState, event: &'static str) -> Refusal {
    Refusal::RunTransitionNotAllowed {
        execution_id: id.to_string(),
        state,
        event,
    }
}
