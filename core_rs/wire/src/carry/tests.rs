//! The steps that a redrive takes over.
//!
//! Owns which steps these are, that they keep their places, and that nothing of them is lost.

use backlane_engine::row::{ActionContents, ActionRow};
use backlane_engine::rules::run::Action;

use super::*;
use crate::row::action::step_details;
use crate::run::fold;

use v1::StepState as S;

fn id(number: u8) -> StepId {
    StepId([number; 20])
}

/// Recorded actions, each with what it says of its step and its text.
#[derive(Default)]
struct Recorded(Vec<ActionRow>);

impl Recorded {
    fn add(&mut self, action: Action, step: &v1::Step, text: Option<&str>) -> &mut Self {
        let ordinal = u32::try_from(self.0.len()).unwrap() + 1;
        self.0.push(ActionRow {
            birth: 1,
            ordinal,
            at_ms: 1_000 + u64::from(ordinal),
            attempt: 1,
            action,
            contents: ActionContents {
                details: step_details(step),
                body: text.map(|text| text.as_bytes().into()),
                ..ActionContents::default()
            },
        });
        self
    }

    fn started(&mut self, number: u8, step: &v1::Step) -> &mut Self {
        self.add(Action::StepStarted(id(number)), step, Some("in"))
    }

    fn completed(&mut self, number: u8) -> &mut Self {
        let nothing = v1::Step::default();
        self.add(Action::StepCompleted(id(number)), &nothing, Some("out"))
    }

    fn failed(&mut self, number: u8) -> &mut Self {
        self.add(Action::StepFailed(id(number)), &v1::Step::default(), None)
    }

    fn version(&mut self, version: &str) -> &mut Self {
        let first = &mut self.0[0].contents;
        first.details = with_version(&first.details, version);
        self
    }

    fn story(&self) -> Story {
        fold(&self.0, &[], 0).unwrap()
    }

    /// The run of the redrive, before its first lease.
    fn redriven(&self) -> Story {
        let taken = taken_over(&self.story()).into_iter();
        let rows = taken.zip(1..).map(|(step, ordinal)| ActionRow {
            birth: 2,
            ordinal,
            at_ms: 9_000,
            attempt: 0,
            action: step.action(),
            contents: step.contents,
        });
        let rows: Vec<_> = rows.collect();
        fold(&rows, &[], 0).unwrap()
    }
}

fn named(name: &str) -> v1::Step {
    v1::Step {
        name: name.into(),
        ..v1::Step::default()
    }
}

fn shown(story: &Story) -> Vec<(u8, S)> {
    let steps = story.course().steps.iter().zip(story.steps());
    steps
        .map(|(mark, step)| {
            assert_eq!(mark.state as i32, step.state);
            assert_eq!(mark.id.to_string(), step.id);
            (mark.id.0[0], step.state())
        })
        .collect()
}

#[test]
fn a_completed_step_is_the_same_step_but_for_its_attempt() {
    let rich = v1::Step {
        parent_step_id: Some(id(9).to_string()),
        step_type: v1::StepType::Tool.into(),
        source: Some(v1::StepSource {
            spawn_mode: Some("inline".into()),
            ..v1::StepSource::default()
        }),
        callable_id: Some("c".into()),
        key: "k".into(),
        arguments_hash: vec![7; 16],
        ..named("fetch")
    };
    let mut old = Recorded::default();
    old.started(1, &rich).completed(1).version("v7");
    let story = old.redriven();
    let expected = v1::Step {
        attempt: 0,
        ..old.story().steps()[0].clone()
    };
    assert_eq!(
        (Some("in"), Some("out")),
        (expected.input.as_deref(), expected.output.as_deref())
    );
    assert_eq!(vec![expected], story.steps());
    assert_eq!("v7", story.schema_version());
}

#[test]
fn a_step_is_carried_over_from_redrive_to_redrive() {
    let mut old = Recorded::default();
    old.started(1, &named("a")).completed(1).version("v7");
    let second = taken_over(&old.redriven());
    assert_eq!(taken_over(&old.story()), second);
}

#[test]
fn a_wait_that_is_over_is_carried_over() {
    let mut old = Recorded::default();
    let wait = v1::Step {
        step_type: v1::StepType::Wait.into(),
        ..named("approval")
    };
    old.add(Action::WaitStarted(id(1)), &wait, None)
        .completed(1);
    old.add(Action::WaitStarted(id(2)), &wait, None);
    assert_eq!(vec![(1, S::Completed)], shown(&old.redriven()));
}

#[test]
fn what_did_not_complete_is_left_out_where_nothing_stands_on_it() {
    let mut old = Recorded::default();
    old.started(1, &named("a")).completed(1);
    old.started(2, &named("b")).failed(2);
    old.started(3, &named("a"));
    assert_eq!(vec![(1, S::Completed)], shown(&old.redriven()));
    let mut none = Recorded::default();
    none.started(1, &named("a")).failed(1);
    assert!(taken_over(&none.story()).is_empty());
}

#[test]
fn a_step_keeps_its_place_behind_one_of_its_name_that_failed() {
    let mut old = Recorded::default();
    old.started(1, &named("a")).failed(1);
    old.started(2, &named("a")).completed(2);
    let story = old.redriven();
    assert_eq!(vec![(1, S::Failed), (2, S::Completed)], shown(&story));
    let place = &story.steps()[0];
    assert_eq!((None, None), (place.input.as_ref(), place.output.as_ref()));
    let error = place.error.as_ref().expect("an error");
    assert_eq!(Some("NOT_CARRIED"), error.code.as_deref());
}

#[test]
fn a_step_inside_of_one_that_did_not_end_keeps_its_place_within_it() {
    let inside = |outer: u8| v1::Step {
        parent_step_id: Some(id(outer).to_string()),
        ..named("inner")
    };
    let mut old = Recorded::default();
    old.started(1, &named("outermost")).started(
        2,
        &v1::Step {
            parent_step_id: Some(id(1).to_string()),
            ..named("outer")
        },
    );
    old.started(3, &inside(2)).completed(3);
    let expected = vec![(1, S::Failed), (2, S::Failed), (3, S::Completed)];
    assert_eq!(expected, shown(&old.redriven()));
}

#[test]
fn nothing_that_began_after_a_child_was_spawned_is_carried_over() {
    let spawned = v1::Step {
        child_execution_id: Some("exec_1".into()),
        ..named("spawn")
    };
    let mut old = Recorded::default();
    old.started(1, &named("before")).started(2, &spawned);
    old.completed(2).completed(1);
    old.started(3, &named("rests on the child")).completed(3);
    assert_eq!(vec![(1, S::Completed)], shown(&old.redriven()));
}
