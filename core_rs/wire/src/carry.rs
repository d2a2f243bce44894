//! The steps of an execution that its redrive carries over.
//!
//! Owns which steps are carried over, and in which form. Refuses to know which executions may be
//! redriven, and what workers make of their steps.

use std::collections::BTreeSet;

use backlane_engine::command::TakenStep;
use backlane_engine::rules::retry::Category;
use backlane_engine::rules::step::StepId;

use crate::generated::backlane::v1;
use crate::row::action::{carried_contents, with_version};
use crate::run::Story;

/// The code of the error of a step of which only the place was carried over, if it had no error.
const NOT_CARRIED: &str = "NOT_CARRIED";

/// Whether a redrive carries this step over as it is, so that it is not taken again.
fn is_carried(step: &v1::Step) -> bool {
    step.state() == v1::StepState::Completed
}

/// Whether nothing that began later is carried over. The child of a step belongs to the execution
/// that is over, and may have ended with it, so the redrive spawns another one. What began after
/// that may rest on the child that is given up.
fn gives_up_a_child(step: &v1::Step) -> bool {
    step.child_execution_id.is_some()
}

/// The steps that the redrive of an execution with this run begins with, in the order in which
/// they were recorded. None if no step is carried over.
///
/// Workers find a step by its place: by its name and key, by the step around it, and by how many
/// steps with all of these came before it. So a step that is not carried over leaves its place
/// where a step that is carried over stands on it.
#[must_use]
pub fn taken_over(story: &Story) -> Vec<TakenStep> {
    let mut places = Places::default();
    let mut taken = Vec::new();
    let steps = story.course().steps.iter().zip(story.steps());
    let before = steps.take_while(|(_, step)| !gives_up_a_child(step));
    let steps: Vec<_> = before.collect();
    for (mark, step) in steps.into_iter().rev() {
        let is_carried = is_carried(step);
        if is_carried || places.rest_on(step) {
            places.note(step);
            taken.push(take(mark.id, step, is_carried));
        }
    }
    taken.reverse();
    let version = story.schema_version();
    if let Some(first) = taken.first_mut().filter(|_| !version.is_empty()) {
        first.contents.details = with_version(&first.contents.details, version);
    }
    taken
}

/// What the steps stand on that are carried over.
#[derive(Default)]
struct Places<'a> {
    names: BTreeSet<(&'a str, &'a str)>,
    parents: BTreeSet<&'a str>,
}

impl<'a> Places<'a> {
    fn note(&mut self, step: &'a v1::Step) {
        self.names.insert((&step.name, &step.key));
        self.parents.extend(step.parent_step_id.as_deref());
    }

    /// Whether a later step stands on the place of this one. Steps that never began have none.
    fn rest_on(&self, step: &v1::Step) -> bool {
        use v1::StepState as S;
        let has_begun = matches!(step.state(), S::Running | S::Completed | S::Failed);
        let is_counted = self.names.contains(&(&*step.name, &*step.key));
        has_begun && (is_counted || self.parents.contains(&*step.id))
    }
}

fn take(id: StepId, step: &v1::Step, is_completed: bool) -> TakenStep {
    let mut shown = v1::Step {
        id: String::new(),
        state: 0,
        // No attempt of the new execution began the step.
        attempt: 0,
        ..step.clone()
    };
    if !is_completed {
        (shown.input, shown.output, shown.child_execution_id) = (None, None, None);
        shown.error.get_or_insert_with(not_carried);
    }
    TakenStep {
        step: id,
        is_completed,
        contents: carried_contents(shown),
    }
}

fn not_carried() -> v1::ExecutionError {
    v1::ExecutionError {
        category: Category::KernelInternal as i32,
        message: "the redrive did not carry the step over".into(),
        code: Some(NOT_CARRIED.into()),
        ..v1::ExecutionError::default()
    }
}

#[cfg(test)]
mod tests;
