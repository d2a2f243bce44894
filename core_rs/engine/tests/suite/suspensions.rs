//! Suspensions: executions that wait without a worker, and the inputs and times that end waits.
//!
//! Owns the rules that no scenario can express: clocks, restarts, request ids, rows.

use backlane_engine::command::{NewWaitEnd, Request};
use backlane_engine::error::Refusal;
use backlane_engine::fact::{RequestKey, RequeueCause};
use backlane_engine::rules::limits::Limits;
use backlane_engine::rules::run::{Action, RunState};
use backlane_engine::rules::status::{Phase, Status};
use backlane_engine::rules::step::{StepState, WaitReason};

use crate::life::{A, B, HOUR_MS, for_input, life, suspension, wait};
use crate::world::{World, completed, held, new_execution, offer};

#[test]
fn an_input_ends_a_suspension_and_the_same_attempt_goes_on_with_its_time() {
    let mut life = life();
    life.world.advance(20_000);
    let settled = life.suspend(vec![for_input(A)]).unwrap();
    assert_eq!(Status::Running, settled.status);
    assert_eq!(
        (Some(Phase::Suspended), RunState::Waiting),
        (life.phase(), life.run_state())
    );
    assert_eq!(None, life.world.lease("w2", offer(&["*"])));
    life.world.advance(24 * HOUR_MS);
    life.world.restart(HOUR_MS);
    assert_eq!(Ok(false), life.input("approve"));
    assert_eq!(
        (Some(Phase::Ready), RunState::Running),
        (life.phase(), life.run_state())
    );
    let granted = life.lease_again();
    assert_eq!((1, 280_000), (granted.attempt, granted.timeout_ms));
    assert_eq!(Some(StepState::Completed), life.step(A));
    let attempt = &life.world.audit.attempts[&(life.birth, 1)];
    assert_eq!(RequeueCause::Suspended, attempt.cause);
    let expected = [
        Action::WaitStarted(A),
        Action::Wait(WaitReason::Approval),
        Action::StepCompleted(A),
        Action::InputReceived,
    ];
    assert_eq!(expected.to_vec(), life.kinds());
    let lease = life.lease.clone();
    life.world.report(&lease, &completed()).unwrap();
    assert_eq!(
        2,
        life.world.audit.ends[&life.birth].progress.lease_ordinal()
    );
}

#[test]
fn the_rest_of_the_attempt_times_out_like_an_attempt() {
    let mut life = life();
    life.world.advance(20_000);
    life.suspend(vec![for_input(A)]).unwrap();
    life.input("approve").unwrap();
    let granted = life.world.lease_for("w2", offer(&["*"]), HOUR_MS).unwrap();
    life.lease = held(&life.world, &granted);
    life.world.advance(279_999);
    assert_eq!(Some(Phase::Running), life.phase());
    life.world.advance(1);
    assert_eq!(Status::Timeout, life.world.audit.ends[&life.birth].status);
}

#[test]
fn a_sleep_counts_on_the_monotonic_clock_and_over_a_restart() {
    let mut life = life();
    life.suspend(vec![wait(A, None, NewWaitEnd::After(HOUR_MS))])
        .unwrap();
    life.world.advance(HOUR_MS / 2);
    life.world.now.wall_ms -= 10 * HOUR_MS;
    life.world.restart(10 * HOUR_MS);
    life.world.advance(HOUR_MS / 2 - 1);
    assert_eq!(Some(Phase::Suspended), life.phase());
    life.world.advance(1);
    assert_eq!(Some(Phase::Ready), life.phase());
}

#[test]
fn a_sleep_until_an_instant_counts_on_the_wall_clock() {
    let mut life = life();
    let until = life.world.now.wall_ms + HOUR_MS;
    life.suspend(vec![wait(A, None, NewWaitEnd::At(until))])
        .unwrap();
    life.world.restart(HOUR_MS - 1);
    assert_eq!(Some(Phase::Suspended), life.phase());
    life.world.advance(1);
    assert_eq!(Some(Phase::Ready), life.phase());
}

#[test]
fn the_first_of_several_waits_wakes_and_the_others_stay_open() {
    let mut life = life();
    let waits = vec![for_input(A), wait(B, None, NewWaitEnd::After(HOUR_MS))];
    life.suspend(waits).unwrap();
    life.world.advance(HOUR_MS / 2);
    life.input("approve").unwrap();
    life.lease_again();
    assert_eq!(Some(StepState::Running), life.step(B));
    // The worker waits again for the same step: its time went on.
    life.suspend(vec![wait(B, None, NewWaitEnd::After(HOUR_MS))])
        .unwrap();
    life.world.advance(HOUR_MS / 2 - 1);
    assert_eq!(Some(Phase::Suspended), life.phase());
    life.world.advance(1);
    assert_eq!(
        (Some(Phase::Ready), Some(StepState::Completed)),
        (life.phase(), life.step(B))
    );
}

#[test]
fn an_input_that_comes_early_is_kept_for_its_wait() {
    let mut life = life();
    assert_eq!(Ok(false), life.input("approve"));
    let again = life.input("approve");
    assert!(
        matches!(again, Err(Refusal::InputExists { .. })),
        "{again:?}"
    );
    life.world.restart(0);
    let settled = life.suspend(vec![for_input(A)]).unwrap();
    assert_eq!(Status::Queued, settled.status);
    assert_eq!(
        (Some(Phase::Ready), Some(StepState::Completed)),
        (life.phase(), life.step(A))
    );
    let rows = &life.world.audit.actions;
    assert_eq!(Some(1), rows[&(life.birth, 4)].contents.body_of);
    life.lease_again();
    assert_eq!(Ok(false), life.input("approve"));
}

#[test]
fn sixty_four_inputs_are_kept() {
    let mut life = life();
    for number in 0..64 {
        life.input(&number.to_string()).unwrap();
    }
    let refused = life.input("64");
    assert!(
        matches!(refused, Err(Refusal::RunTooLarge { .. })),
        "{refused:?}"
    );
}

#[test]
fn an_input_is_idempotent_by_its_request_id() {
    let mut life = life();
    let id = life.id();
    let request = |body| Request {
        id: "r1".into(),
        key: RequestKey {
            key: [1; 16],
            body: [body; 16],
        },
    };
    let mut give = |body| {
        let request = Some(request(body));
        let made = life
            .world
            .provide_input("acme", id, "approve", "1", request);
        made.map(|made| made.existing)
    };
    assert_eq!([Ok(false), Ok(true)], [give(1), give(1)]);
    let other = give(2);
    assert!(
        matches!(other, Err(Refusal::RequestIdReused { .. })),
        "{other:?}"
    );
}

#[test]
fn a_suspension_is_refused_while_a_step_runs_and_without_waits() {
    let mut life = life();
    life.report(&[Action::StepStarted(B)]).unwrap();
    let refused = life.suspend(vec![for_input(A)]);
    let state = RunState::Running;
    assert!(
        matches!(refused, Err(Refusal::RunTransitionNotAllowed { state: now, .. }) if now == state),
        "{refused:?}"
    );
    life.report(&[Action::StepCompleted(B)]).unwrap();
    let refused = life.suspend(vec![]);
    let Err(Refusal::Invalid(invalid)) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!("suspensions[0].waits", invalid.field);
    assert_eq!(Some(Phase::Running), life.phase());
}

#[test]
fn a_repeated_suspension_is_answered_as_the_first() {
    let mut life = life();
    life.suspend(vec![for_input(A)]).unwrap();
    let again = life.suspend(vec![for_input(A)]).unwrap();
    assert_eq!(Status::Running, again.status);
}

#[test]
fn a_cancel_ends_a_suspended_execution_at_once() {
    let mut life = life();
    life.suspend(vec![for_input(A)]).unwrap();
    let id = life.id();
    life.world.cancel("acme", id).unwrap();
    assert_eq!(Status::Cancelled, life.world.audit.ends[&life.birth].status);
    let late = life.input("approve");
    assert!(
        matches!(late, Err(Refusal::TransitionNotAllowed { .. })),
        "{late:?}"
    );
}

#[test]
fn a_suspension_after_a_cancel_was_asked_ends_the_execution() {
    let mut life = life();
    let id = life.id();
    life.world.cancel("acme", id).unwrap();
    let settled = life.suspend(vec![for_input(A)]).unwrap();
    assert_eq!(Status::Cancelled, settled.status);
}

#[test]
fn a_deadline_ends_a_suspended_execution() {
    let mut world = World::new(Limits::default());
    let mut new = new_execution("acme", "agent");
    new.deadline_ms = Some(world.now.wall_ms + HOUR_MS);
    let birth = world.make(&new);
    let granted = world.lease("w1", offer(&["*"])).unwrap();
    let lease = held(&world, &granted);
    world
        .suspend(&lease, &suspension(vec![for_input(A)]))
        .unwrap();
    world.advance(HOUR_MS);
    assert_eq!(Status::Timeout, world.audit.ends[&birth].status);
}

#[test]
fn a_full_disk_refuses_an_input_that_would_be_kept_and_takes_one_that_ends_a_wait() {
    let mut life = life();
    life.world.engine.set_store_is_full(true);
    assert_eq!(Err(Refusal::DiskFull), life.input("approve"));
    life.suspend(vec![for_input(A)]).unwrap();
    assert_eq!(Ok(false), life.input("approve"));
    assert_eq!(Some(Phase::Ready), life.phase());
}

#[test]
fn a_worker_may_end_an_open_wait_and_the_wait_is_forgotten() {
    let mut life = life();
    let waits = vec![for_input(A), wait(B, None, NewWaitEnd::After(HOUR_MS))];
    life.suspend(waits).unwrap();
    life.input("approve").unwrap();
    life.lease_again();
    let again = life.report(&[Action::StepStarted(B)]);
    assert!(matches!(again, Err(Refusal::Invalid(_))), "{again:?}");
    life.report(&[Action::StepCompleted(B)]).unwrap();
    assert_eq!(Some(StepState::Completed), life.step(B));
    let run = life.world.engine.state().run_of(life.birth);
    assert!(run.waits.is_empty(), "{:?}", run.waits);
    life.world.restart(0);
    let run = life.world.engine.state().run_of(life.birth);
    assert!(run.waits.is_empty(), "{:?}", run.waits);
}

#[test]
fn a_lease_that_no_worker_got_leaves_a_suspended_attempt_its_rest() {
    let mut life = life();
    life.world.advance(20_000);
    life.suspend(vec![for_input(A)]).unwrap();
    life.input("approve").unwrap();
    let first = life
        .world
        .lease_unacknowledged("w2", offer(&["*"]), HOUR_MS)
        .unwrap();
    let lease = held(&life.world, &first);
    life.world.engine.undeliver(&lease, life.world.now);
    life.world.settle();
    let second = life.lease_again();
    assert_eq!((1, 280_000), (first.attempt, first.timeout_ms));
    assert_eq!((1, 280_000), (second.attempt, second.timeout_ms));
    assert_ne!(first.holding.token, second.holding.token);
}
