//! Runs: whether the recorded actions of each execution make a run.
//!
//! Owns the replay of every run of a directory, and the comparison with what the log says of living
//! executions. Refuses to keep more than the actions of one execution, without their texts.

use std::collections::BTreeMap;

use backlane_engine::row::ActionRow;
use backlane_engine::rules::id::Birth;
use backlane_engine::rules::status::Phase;
use backlane_engine::state::State;
use backlane_store::{ACTION, Change, Key, Row};
use backlane_wire::row;
use backlane_wire::run::{Broken, fold};

/// What the actions of a directory make. The store passes them in ascending order.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    current: Vec<ActionRow>,
    // The number of the last action of each living execution.
    last: BTreeMap<Birth, u32>,
    illegal: Vec<String>,
    missing: Vec<String>,
}

impl Runs {
    /// Follows a row. Rows of other families, and those that cannot be decoded, are passed over.
    pub(super) fn row(&mut self, row: &Row, state: &State) {
        let (&Key::Ordinal(birth, ordinal), Change::Put(put)) = (&row.key, &row.change) else {
            return;
        };
        if row.family != &ACTION {
            return;
        }
        if let Ok(action) = row::action::read(birth, ordinal, &put.head, None) {
            self.action(action, state);
        }
    }

    fn action(&mut self, action: ActionRow, state: &State) {
        if self
            .current
            .last()
            .is_some_and(|last| last.birth != action.birth)
        {
            self.end(state);
        }
        self.current.push(action);
    }

    /// Replays the run whose last action was passed.
    pub(super) fn end(&mut self, state: &State) {
        let actions = std::mem::take(&mut self.current);
        let Some((birth, last)) = actions.last().map(|last| (last.birth, last.ordinal)) else {
            return;
        };
        let slot = state.slot(birth);
        if slot.is_some() {
            self.last.insert(birth, last);
        }
        let mut story = match fold(&actions, &[], slot.map_or(0, |slot| slot.attempt)) {
            Ok(story) => story,
            Err(Broken::Missing { ordinal }) => {
                self.missing
                    .push(format!("action {birth}/{ordinal} is missing"));
                return;
            }
            Err(broken) => {
                self.illegal
                    .push(format!("the run of execution {birth}: {broken}"));
                return;
            }
        };
        if let (Some(slot), Some(run)) = (slot, state.run(birth)) {
            if !matches!(slot.phase, Phase::Running | Phase::Suspended) {
                story.lease_ended(slot.updated_at_ms);
            }
            if last == run.actions && *story.course() != run.course {
                let line = format!("the run of execution {birth} differs from what the log says");
                self.illegal.push(line);
            }
        }
    }

    /// The runs whose actions are not legal, one line each.
    pub(super) fn illegal(&self) -> &[String] {
        &self.illegal
    }

    /// The actions that must exist and do not, one line each.
    pub(super) fn missing(&self, state: &State) -> Vec<String> {
        let living = state.slots().births_from(0);
        let short = living.filter_map(|birth| {
            let (recorded, last) = (state.run(birth)?.actions, self.last_of(birth));
            let next = last + 1;
            (last < recorded).then(|| format!("action {birth}/{next} is missing"))
        });
        self.missing.iter().cloned().chain(short).collect()
    }

    /// Whether a living execution has actions that the log does not tell of: facts are lost.
    pub(crate) fn is_ahead(&self, birth: Birth, state: &State) -> bool {
        let recorded = state.run(birth).map_or(0, |run| run.actions);
        self.last_of(birth) > recorded
    }

    fn last_of(&self, birth: Birth) -> u32 {
        self.last.get(&birth).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use backlane_engine::row::ActionContents;
    use backlane_engine::rules::run::Action;
    use backlane_engine::rules::step::StepId;

    use super::*;

    fn row(birth: Birth, ordinal: u32, action: Action) -> Row {
        let row = ActionRow {
            birth,
            ordinal,
            at_ms: 1,
            attempt: 1,
            action,
            contents: ActionContents::default(),
        };
        let kept = backlane_engine::row::Row::Action(Box::new(row));
        crate::shard::rows::stored(kept)
    }

    #[test]
    fn every_run_of_a_directory_is_replayed() {
        let (state, mut runs) = (State::new(0), Runs::default());
        let step = StepId([1; 20]);
        for row in [
            row(1, 1, Action::StepStarted(step)),
            row(1, 2, Action::StepCompleted(step)),
            row(2, 1, Action::StepStarted(step)),
            row(2, 2, Action::StepStarted(step)),
            row(3, 2, Action::Pause),
        ] {
            runs.row(&row, &state);
        }
        runs.end(&state);
        let illegal =
            "the run of execution 2: action 2 cannot follow: names a step that is Running";
        assert_eq!(vec![illegal], runs.illegal());
        assert_eq!(vec!["action 3/1 is missing"], runs.missing(&state));
    }
}
