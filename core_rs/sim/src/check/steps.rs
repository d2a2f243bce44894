//! Steps: what was acknowledged of a run is in every later lease and in the view of the run, once.
//!
//! Owns the steps that clients know to be done. Refuses to know steps that were not acknowledged.

use std::collections::BTreeMap;

use crate::api::v1;

use super::{Checked, must};

const ONCE: &str = "an acknowledged step is in every later lease and in the run, once";

/// The steps of an execution that are done, with their outputs.
pub type Done = BTreeMap<String, Option<String>>;

/// The steps that are done, by execution.
#[derive(Debug, Default)]
pub struct Steps {
    done: BTreeMap<String, Done>,
}

impl Steps {
    /// Notes a report that was acknowledged.
    pub fn recorded(&mut self, report: &v1::StepReport) {
        let done = self.done.entry(report.execution_id.clone()).or_default();
        for action in &report.actions {
            if let Some(v1::step_action::Action::Completed(step)) = &action.action {
                done.insert(step.step_id.clone(), step.output.clone());
            }
        }
    }

    /// Notes a redrive that takes over the steps of another execution.
    pub fn taken_over(&mut self, from: &str, id: &str) {
        let done = self.of(from);
        self.done.entry(id.to_owned()).or_default().extend(done);
    }

    /// The steps of an execution that are done.
    #[must_use]
    pub fn of(&self, id: &str) -> Done {
        self.done.get(id).cloned().unwrap_or_default()
    }
}

/// Checks that these steps of an execution have all that are done.
///
/// # Errors
/// The first step that is missing, differs, or is there twice.
pub fn each_once<'a>(
    done: &Done,
    id: &str,
    shown: impl IntoIterator<Item = &'a v1::Step>,
) -> Checked {
    let shown: Vec<_> = shown.into_iter().collect();
    for (step, output) in done {
        let found: Vec<_> = shown.iter().filter(|one| one.id == *step).collect();
        let is_whole = matches!(&found[..], [one] if one.output == *output
            && one.state() == v1::StepState::Completed);
        must(is_whole, ONCE, || {
            format!("{step} of {id} with {output:?} is shown as {found:?}")
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(id: &str, output: &str, state: v1::StepState) -> v1::Step {
        v1::Step {
            id: id.into(),
            output: Some(output.into()),
            state: state.into(),
            ..v1::Step::default()
        }
    }

    #[test]
    fn a_step_that_is_missing_differs_or_comes_twice_is_a_violation() {
        let done = Done::from([("a".to_owned(), Some("1".to_owned()))]);
        let completed = v1::StepState::Completed;
        let check = |shown: &[v1::Step]| each_once(&done, "exec_1", shown).is_ok();
        let whole = step("a", "1", completed);
        assert!(check(&[step("b", "2", completed), whole.clone()]));
        assert!(!check(&[]));
        assert!(!check(&[step("a", "2", completed)]));
        assert!(!check(&[step("a", "1", v1::StepState::Running)]));
        assert!(!check(&[whole.clone(), whole]));
    }
}
