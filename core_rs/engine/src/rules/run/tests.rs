//! The table of runs, pair by pair, and what each action changes.

use proptest::prelude::*;

use super::*;

const A: StepId = StepId([1; 20]);
const B: StepId = StepId([2; 20]);

/// Every action that is about no particular step.
const PLAIN: [Action; 11] = [
    Action::Start,
    Action::Plan,
    Action::AttemptEnded,
    Action::Pause,
    Action::Resume,
    Action::Wait(WaitReason::Approval),
    Action::InputKept,
    Action::InputReceived,
    Action::Complete,
    Action::Fail,
    Action::Cancel,
];

fn course(state: RunState, steps: &[(StepId, StepState)]) -> Course {
    let mark = |(id, state): &(StepId, StepState)| Mark {
        id: *id,
        state: *state,
        is_wait: false,
    };
    Course {
        state,
        steps: steps.iter().map(mark).collect(),
    }
}

fn states_that_allow(action: Action, steps: &[(StepId, StepState)]) -> String {
    let legal = |state: &&RunState| course(**state, steps).take(action).is_ok();
    let names: Vec<_> = RunState::ALL
        .iter()
        .filter(legal)
        .map(|s| s.name())
        .collect();
    names.join(" ")
}

#[test]
fn what_a_redrive_took_over_has_ended_and_outlives_the_attempts() {
    let mut run = Course::default();
    run.take(Action::StepCarried(A)).unwrap();
    run.take(Action::PlaceCarried(B)).unwrap();
    assert_eq!(
        Err(Illegal::StepState(StepState::Completed)),
        run.take(Action::StepCarried(A))
    );
    for action in [Action::Start, Action::AttemptEnded] {
        run.take(action).unwrap();
        let states = run.steps.iter().map(|mark| mark.state);
        let expected = vec![StepState::Completed, StepState::Failed];
        assert_eq!(expected, states.collect::<Vec<_>>());
    }
    let again = run.take(Action::StepStarted(A));
    assert_eq!(Err(Illegal::StepState(StepState::Completed)), again);
    assert!(run.take(Action::Plan).is_err(), "a step is done already");
}

#[test]
fn each_action_is_legal_in_the_states_of_the_table_and_in_no_other() {
    let unfinished = "Created Planning Running Paused Waiting";
    let expected = [
        "Created Planning",
        "Created Planning Running",
        "Planning Running Paused",
        "Planning Running",
        "Paused Waiting",
        "Running",
        unfinished,
        "Waiting",
        unfinished,
        unfinished,
        unfinished,
    ];
    assert_eq!(expected, PLAIN.map(|action| states_that_allow(action, &[])));
    let running = [(A, StepState::Running)];
    let pending = [(A, StepState::Pending)];
    let table = [
        ("Planning", Action::StepAdded(B), &running),
        ("Planning Running Paused", Action::StepStarted(B), &running),
        ("Planning Running Paused", Action::StepStarted(A), &pending),
        ("Planning Running", Action::WaitStarted(B), &running),
        ("Running Paused Waiting", Action::StepCompleted(A), &running),
        ("Running Paused Waiting", Action::StepFailed(A), &running),
        ("Planning Running", Action::StepSkipped(A), &pending),
        ("Created", Action::StepCarried(B), &running),
        ("Created", Action::PlaceCarried(B), &running),
    ];
    for (expected, action, steps) in table {
        assert_eq!(expected, states_that_allow(action, steps), "{action:?}");
    }
}

#[test]
fn each_action_on_a_step_is_legal_in_one_state_of_the_step() {
    let actions = [
        (Action::StepStarted(A), Some(StepState::Pending)),
        (Action::StepCompleted(A), Some(StepState::Running)),
        (Action::StepFailed(A), Some(StepState::Running)),
        (Action::StepSkipped(A), Some(StepState::Pending)),
        (Action::WaitStarted(A), None),
    ];
    for (action, needed) in actions {
        for state in StepState::ALL {
            let taken = course(RunState::Running, &[(A, *state)]).take(action);
            let expected = match needed {
                Some(needed) if needed == *state => Ok(()),
                _ => Err(Illegal::StepState(*state)),
            };
            assert_eq!(expected, taken, "{action:?} {state:?}");
        }
    }
    let unknown = course(RunState::Running, &[]).take(Action::StepCompleted(A));
    assert_eq!(Err(Illegal::UnknownStep), unknown);
}

#[test]
fn a_run_is_planned_only_before_its_first_step() {
    let mut run = course(RunState::Running, &[]);
    run.take(Action::Plan).unwrap();
    run.take(Action::StepAdded(A)).unwrap();
    run.take(Action::Plan).unwrap();
    assert_eq!(RunState::Planning, run.state);
    run.take(Action::StepStarted(A)).unwrap();
    assert_eq!(RunState::Running, run.state);
    assert!(run.take(Action::Plan).is_err());
}

#[test]
fn the_end_of_an_attempt_fails_what_runs_except_waits() {
    let mut run = course(RunState::Running, &[]);
    run.take(Action::StepStarted(A)).unwrap();
    run.take(Action::WaitStarted(B)).unwrap();
    run.take(Action::AttemptEnded).unwrap();
    assert_eq!(Some(StepState::Failed), run.step(A).map(|mark| mark.state));
    assert_eq!(Some(StepState::Running), run.step(B).map(|mark| mark.state));
    run.take(Action::Complete).unwrap();
    assert_eq!(Some(StepState::Failed), run.step(B).map(|mark| mark.state));
}

#[test]
fn the_end_of_a_run_skips_planned_steps() {
    for (action, state) in [
        (Action::Complete, RunState::Completed),
        (Action::Fail, RunState::Failed),
        (Action::Cancel, RunState::Cancelled),
    ] {
        let mut run = course(RunState::Planning, &[(A, StepState::Pending)]);
        run.take(action).unwrap();
        assert_eq!(course(state, &[(A, StepState::Skipped)]), run);
    }
}

#[test]
fn a_run_has_a_hundred_steps_at_most() {
    let mut run = course(RunState::Running, &[]);
    for number in 0..100 {
        run.take(Action::StepStarted(StepId([number; 20]))).unwrap();
    }
    let more = run.take(Action::StepStarted(StepId([100; 20])));
    assert_eq!(Err(Illegal::TooManySteps), more);
}

fn action() -> impl Strategy<Value = Action> {
    let of_step = (0..7_usize, 0..4_u8).prop_map(|(kind, step)| {
        let id = StepId([step; 20]);
        [
            Action::StepAdded(id),
            Action::StepStarted(id),
            Action::WaitStarted(id),
            Action::StepCompleted(id),
            Action::StepFailed(id),
            Action::StepSkipped(id),
            Action::StepStarted(id),
        ][kind]
    });
    prop_oneof![of_step, proptest::sample::select(PLAIN.to_vec())]
}

proptest! {
    #[test]
    fn an_illegal_action_changes_nothing_and_a_terminal_run_stays(
        actions in prop::collection::vec(action(), 0..60),
    ) {
        let mut run = Course::default();
        for action in actions {
            let before = run.clone();
            let taken = run.take(action);
            if taken.is_err() || before.state.is_terminal() {
                prop_assert_eq!(&before, &run);
            }
            if run.state.is_terminal() {
                prop_assert!(run.steps.iter().all(|mark| mark.state.is_ended()));
            }
            prop_assert!(before.steps.len() <= run.steps.len());
        }
    }
}
