//! The fold of recorded actions.
//!
//! Owns what a run shows for given rows. Refuses to know how the rows came about.

use std::sync::Arc;

use backlane_engine::fact::{Actor, Progress};
use backlane_engine::row::ActionContents;
use backlane_engine::rules::status::{EndReason, Phase};

use super::*;
use crate::fixtures::ID;
use crate::row::action::{step_details, with_version};

use v1::{ExecutionState as E, StepState as S};

fn step(number: u8) -> StepId {
    StepId([number; 20])
}

fn named(name: &str) -> Box<[u8]> {
    step_details(&v1::Step {
        name: name.into(),
        ..v1::Step::default()
    })
}

/// A recorded action: its attempt, its name or nothing, and its text or nothing.
fn row(ordinal: u32, attempt: u32, action: Action, name: &str, text: &str) -> ActionRow {
    let body = (!text.is_empty()).then(|| Bytes::from(text.as_bytes()));
    ActionRow {
        birth: 1,
        ordinal,
        at_ms: 1_000 + u64::from(ordinal),
        attempt,
        action,
        contents: ActionContents {
            details: named(name),
            body,
            ..ActionContents::default()
        },
    }
}

fn attempt(attempt: u32, cause: RequeueCause, actions: u32) -> AttemptRow {
    AttemptRow {
        birth: 1,
        ordinal: attempt,
        attempt,
        worker: "w".into(),
        started_at_ms: 900,
        ended_at_ms: 5_000,
        cause,
        error: None,
        actions,
    }
}

fn shown<'a>(id: &'a str, ending: Option<&'a EndingRow>) -> RunShown<'a> {
    RunShown {
        id,
        tenant: "acme",
        is_paused: false,
        awaits_children: false,
        started_at_ms: Some(900),
        ending,
        most_bytes: 1 << 20,
    }
}

fn read(story: &Story, shown: &RunShown<'_>) -> v1::Execution {
    let bytes = story.response(shown);
    let reply = v1::GetExecutionRunResponse::decode(&bytes[..]).unwrap();
    reply.execution.unwrap()
}

fn states(run: &v1::Execution) -> Vec<v1::StepState> {
    let order = run.step_order.iter();
    order.map(|id| run.steps[id].state()).collect()
}

#[test]
fn an_execution_without_actions_is_created_until_it_is_leased() {
    let of = |attempt| fold(&[], &[], attempt).unwrap().course().state;
    assert_eq!((RunState::Created, RunState::Running), (of(0), of(1)));
}

#[test]
fn a_step_has_the_contents_of_its_actions() {
    let mut actions = vec![
        row(1, 1, Action::Plan, "", ""),
        row(2, 1, Action::StepAdded(step(1)), "fetch", "planned"),
        row(3, 1, Action::StepStarted(step(1)), "fetch", ""),
        row(4, 1, Action::StepCompleted(step(1)), "", "42"),
    ];
    actions[0].contents.details = with_version(&[], "unused");
    actions[1].contents.details = with_version(&named("fetch"), "v1");
    let story = fold(&actions, &[], 1).unwrap();
    let run = read(&story, &shown("exec_1", None));
    let expected = v1::Step {
        id: step(1).to_string(),
        name: "fetch".into(),
        state: v1::StepState::Completed.into(),
        input: Some("planned".into()),
        output: Some("42".into()),
        duration_ms: Some(1),
        started_at: Some(1_003),
        ended_at: Some(1_004),
        attempt: 1,
        ..v1::Step::default()
    };
    assert_eq!(vec![&expected], run.steps.values().collect::<Vec<_>>());
    assert_eq!(v1::ExecutionState::Running, run.state());
    assert_eq!(("v1", Some(900)), (run.schema_version(), run.started_at));
    let known: Vec<_> = story.known_steps().collect();
    assert_eq!(vec![expected.encode_to_vec()], known);
}

#[test]
fn a_step_that_spawned_shows_its_child() {
    let mut actions = [
        row(1, 1, Action::StepStarted(step(1)), "spawn", "input"),
        row(2, 1, Action::StepCompleted(step(1)), "", ""),
    ];
    actions[1].contents.child = Some(ID);
    let story = fold(&actions, &[], 1).unwrap();
    let run = read(&story, &shown("exec_1", None));
    let step = &run.steps[&step(1).to_string()];
    let child = ID.to_string();
    assert_eq!(
        (v1::StepState::Completed, child, None),
        (
            step.state(),
            step.child_execution_id().to_owned(),
            step.output.clone()
        )
    );
}

#[test]
fn steps_that_run_fail_with_their_attempt() {
    let actions = [
        row(1, 1, Action::StepStarted(step(1)), "a", ""),
        row(2, 2, Action::StepStarted(step(2)), "b", ""),
    ];
    let error_at = |ends: &[AttemptRow]| {
        let story = fold(&actions, ends, 2).unwrap();
        let run = read(&story, &shown("exec_1", None));
        assert_eq!(vec![S::Failed, S::Running], states(&run));
        let failed = &run.steps[&step(1).to_string()];
        let error = failed.error.clone().unwrap();
        assert_eq!((ATTEMPT_ENDED, 1), (error.code(), error.attempt));
        assert_eq!(failed.ended_at, Some(error.occurred_at_ms));
        error.occurred_at_ms
    };
    assert_eq!(5_000, error_at(&[attempt(1, RequeueCause::LeaseLost, 1)]));
    // The row of the attempt may have been dropped.
    assert_eq!(1_002, error_at(&[]));
}

#[test]
fn a_wait_outlives_its_lease_and_ends_with_its_input() {
    let suspended = attempt(1, RequeueCause::Suspended, 2);
    let mut actions = vec![
        row(1, 1, Action::WaitStarted(step(1)), "ok", ""),
        row(2, 1, Action::Wait(WaitReason::Approval), "", ""),
    ];
    let story = fold(&actions, std::slice::from_ref(&suspended), 1).unwrap();
    let run = read(&story, &shown("exec_1", None));
    assert_eq!(v1::ExecutionState::Waiting, run.state());
    assert_eq!(v1::WaitReason::Approval, run.wait_reason());
    assert_eq!(1, story.known_steps().count());
    actions.push(row(3, 1, Action::StepCompleted(step(1)), "", "yes"));
    actions.push(row(4, 1, Action::InputReceived, "", ""));
    let story = fold(&actions, &[suspended], 1).unwrap();
    let run = read(&story, &shown("exec_1", None));
    assert_eq!(v1::ExecutionState::Running, run.state());
    assert_eq!(v1::WaitReason::Unspecified, run.wait_reason());
    assert_eq!("yes", run.steps[&step(1).to_string()].output());
}

#[test]
fn an_output_may_be_the_body_of_another_action() {
    let mut end = row(4, 1, Action::StepCompleted(step(1)), "", "");
    end.contents.body_of = Some(1);
    let actions = [
        row(1, 0, Action::InputKept, "", "early"),
        row(2, 1, Action::WaitStarted(step(1)), "ok", ""),
        row(3, 1, Action::Wait(WaitReason::External), "", ""),
        end,
        row(5, 1, Action::InputReceived, "", ""),
    ];
    let story = fold(&actions, &[], 1).unwrap();
    let run = read(&story, &shown("exec_1", None));
    assert_eq!("early", run.steps[&step(1).to_string()].output());
}

#[test]
fn actions_that_make_no_run_are_named() {
    let illegal = [row(1, 1, Action::StepCompleted(step(1)), "", "")];
    let ordinal = 1;
    let why = Illegal::UnknownStep;
    assert_eq!(
        Some(Broken::Illegal { ordinal, why }),
        fold(&illegal, &[], 1).err()
    );
    let gap = [row(2, 1, Action::Pause, "", "")];
    assert_eq!(Some(Broken::Missing { ordinal }), fold(&gap, &[], 1).err());
    let mut broken = row(1, 1, Action::StepStarted(step(1)), "a", "");
    broken.contents.details = Box::new([0xFF]);
    let broken = fold(&[broken], &[], 1).err();
    assert!(matches!(
        broken,
        Some(Broken::Undecodable { ordinal: 1, .. })
    ));
}

fn ending(status: Status, output: Option<Bytes>) -> EndingRow {
    EndingRow {
        id: ID,
        tenant: Arc::from("acme"),
        status,
        reason: EndReason::Completed,
        actor: Actor::engine(),
        ended_at_ms: 9_000,
        ended_lease: true,
        output,
        error: None,
        progress: Progress {
            attempt: 1,
            ..Progress::newborn(Phase::Running, 0)
        },
    }
}

#[test]
fn the_end_of_an_execution_ends_its_steps() {
    let actions = [
        row(1, 1, Action::Plan, "", ""),
        row(2, 1, Action::StepAdded(step(1)), "a", ""),
        row(3, 1, Action::StepAdded(step(2)), "b", ""),
        row(4, 1, Action::StepStarted(step(2)), "b", ""),
    ];
    for (status, state) in [
        (Status::Completed, E::Completed),
        (Status::Failed, E::Failed),
        (Status::Timeout, E::Failed),
        (Status::Cancelled, E::Cancelled),
    ] {
        let mut story = fold(&actions, &[], 1).unwrap();
        let ending = ending(status, None);
        story.ended(&ending);
        let run = read(&story, &shown("exec_1", Some(&ending)));
        assert_eq!(state, run.state());
        assert_eq!(vec![S::Skipped, S::Failed], states(&run));
        assert_eq!(Some(9_000), run.ended_at);
    }
}

#[test]
fn an_output_is_text_and_left_out_where_it_does_not_fit() {
    let value = prost_types::Value {
        kind: Some(prost_types::value::Kind::StringValue("bare".into())),
    };
    let ending = ending(Status::Completed, Some(value.encode_to_vec().into()));
    let mut story = fold(&[], &[], 1).unwrap();
    story.ended(&ending);
    let mut shown = shown("exec_1", Some(&ending));
    assert_eq!(Some("bare"), read(&story, &shown).output.as_deref());
    shown.most_bytes = 3;
    assert_eq!(None, read(&story, &shown).output);
}

#[test]
fn a_pause_shows_unless_the_execution_has_ended() {
    let story = fold(&[], &[], 0).unwrap();
    let paused = RunShown {
        is_paused: true,
        ..shown("exec_1", None)
    };
    assert_eq!(v1::ExecutionState::Paused, read(&story, &paused).state());
}
