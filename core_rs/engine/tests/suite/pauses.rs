//! Pauses: executions that a client holds back.
//!
//! Owns what pausing and resuming change in each phase.

use backlane_engine::command::Report;
use backlane_engine::error::Refusal;
use backlane_engine::rules::limits::Limits;
use backlane_engine::rules::retry::Strategy;
use backlane_engine::rules::run::{Action, RunState};
use backlane_engine::rules::status::Phase;
use backlane_engine::rules::step::StepState;

use crate::life::{A, B, for_input, life};
use crate::world::{World, completed, failed, held, new_execution, offer, retries};

#[test]
fn a_paused_execution_is_held_back_until_it_is_resumed() {
    let mut world = World::new(Limits::default());
    let birth = world.make(&new_execution("acme", "agent"));
    let id = world.id(birth);
    world.pause("acme", id).unwrap();
    world.pause("acme", id).unwrap();
    assert_eq!(None, world.lease("w1", offer(&["*"])));
    world.restart(0);
    assert_eq!(None, world.lease("w1", offer(&["*"])));
    world.resume("acme", id).unwrap();
    assert!(world.lease("w1", offer(&["*"])).is_some());
    assert!(
        world.engine.state().run(birth).is_none(),
        "nothing was recorded"
    );
}

#[test]
fn a_worker_yields_to_a_pause_and_the_attempt_goes_on_after_it() {
    let mut life = life();
    let id = life.id();
    life.world.pause("acme", id).unwrap();
    assert_eq!(RunState::Paused, life.run_state());
    // A step that began before the worker heard of the pause is recorded.
    life.report(&[Action::StepStarted(B), Action::StepCompleted(B)])
        .unwrap();
    life.suspend(vec![for_input(A)]).unwrap();
    assert_eq!(
        (Some(Phase::Suspended), RunState::Paused),
        (life.phase(), life.run_state())
    );
    assert_eq!(None, life.step(A));
    life.world.resume("acme", id).unwrap();
    assert_eq!(
        (Some(Phase::Ready), RunState::Running),
        (life.phase(), life.run_state())
    );
    assert_eq!(1, life.lease_again().attempt);
}

#[test]
fn a_failure_of_a_paused_execution_backs_off_and_is_then_held() {
    let mut world = World::new(Limits::default());
    let mut new = new_execution("acme", "agent");
    new.policy.retry = Some(retries(Strategy::Fixed));
    let birth = world.make(&new);
    let granted = world.lease("w1", offer(&["*"])).unwrap();
    let lease = held(&world, &granted);
    let id = world.id(birth);
    world.pause("acme", id).unwrap();
    world
        .report(&lease, &Report::Failed(Box::new(failed())))
        .unwrap();
    let phase = |world: &World| world.engine.state().slot(birth).map(|slot| slot.phase);
    assert_eq!(Some(Phase::Retrying), phase(&world));
    world.advance(1_000);
    assert_eq!(Some(Phase::Held), phase(&world));
    world.resume("acme", id).unwrap();
    assert_eq!(Some(Phase::Ready), phase(&world));
}

#[test]
fn pausing_and_resuming_are_refused_in_other_states() {
    let mut life = life();
    let id = life.id();
    let refused = life.world.resume("acme", id);
    assert!(
        matches!(refused, Err(Refusal::RunTransitionNotAllowed { .. })),
        "{refused:?}"
    );
    life.suspend(vec![for_input(A)]).unwrap();
    let refused = life.world.pause("acme", id);
    assert!(
        matches!(refused, Err(Refusal::RunTransitionNotAllowed { .. })),
        "{refused:?}"
    );
    life.world.resume("acme", id).unwrap();
    assert_eq!(
        (Some(Phase::Ready), Some(StepState::Completed)),
        (life.phase(), life.step(A))
    );
    let lease = life.lease_again();
    let lease = held(&life.world, &lease);
    life.world.report(&lease, &completed()).unwrap();
    let refused = life.world.pause("acme", id);
    assert!(
        matches!(refused, Err(Refusal::TransitionNotAllowed { .. })),
        "{refused:?}"
    );
}
