//! Runs: what a worker records about steps, and what outlives its lease.
//!
//! Owns the rules that no scenario can express: step ids, sizes, numbers of reports, restarts.

use backlane_engine::error::Refusal;
use backlane_engine::fact::RequeueCause;
use backlane_engine::rules::run::Action;
use backlane_engine::rules::status::Phase;
use backlane_engine::rules::step::StepState;

use crate::audit::{assert_same, refold};
use crate::life::{A, B, for_input, life, report};

#[test]
fn steps_are_recorded_and_outlive_the_lease_and_the_process() {
    let mut life = life();
    life.report(&[Action::StepStarted(A), Action::StepCompleted(A)])
        .unwrap();
    life.report(&[Action::StepStarted(B)]).unwrap();
    life.world.restart(1_000);
    life.world.advance(60_000);
    assert_eq!(Some(Phase::Ready), life.phase());
    assert_eq!(Some(StepState::Completed), life.step(A));
    assert_eq!(Some(StepState::Failed), life.step(B));
    let granted = life.lease_again();
    assert_eq!(2, granted.attempt);
    let attempt = &life.world.audit.attempts[&(life.birth, 1)];
    assert_eq!(
        (RequeueCause::LeaseLost, 3),
        (attempt.cause, attempt.actions)
    );
}

#[test]
fn a_report_is_recorded_as_a_whole_or_not_at_all() {
    let mut life = life();
    let refused = life.report(&[Action::StepStarted(A), Action::StepCompleted(B)]);
    let Err(Refusal::Invalid(invalid)) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!("actions[1].step_id", invalid.field);
    assert_eq!(None, life.step(A));
    assert_eq!(Vec::<Action>::new(), life.kinds());
}

#[test]
fn a_report_that_is_repeated_changes_nothing() {
    let mut life = life();
    let lease = life.lease.clone();
    let first = report(&[Action::StepStarted(A)], 1);
    let second = report(&[Action::StepCompleted(A)], 2);
    life.world.report_steps(&lease, first.clone()).unwrap();
    life.world.report_steps(&lease, second.clone()).unwrap();
    let facts = life.world.audit.log.len();
    life.world.report_steps(&lease, first).unwrap();
    life.world.report_steps(&lease, second).unwrap();
    assert_eq!(facts, life.world.audit.log.len());
}

#[test]
fn only_the_live_lease_may_report() {
    let mut life = life();
    let stale = life.lease.clone();
    life.world.advance(60_000);
    life.lease_again();
    let refused = life
        .world
        .report_steps(&stale, report(&[Action::StepStarted(A)], 0));
    assert!(
        matches!(refused, Err(Refusal::LeaseLost { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_run_holds_one_mebibyte() {
    let mut life = life();
    let mut large = report(&[Action::StepStarted(A)], 0);
    large.actions[0].contents.details = vec![0; (1 << 20) + 1].into();
    let lease = life.lease.clone();
    let refused = life.world.report_steps(&lease, large.clone());
    assert!(
        matches!(refused, Err(Refusal::RunTooLarge { .. })),
        "{refused:?}"
    );
    large.actions[0].contents.details = vec![0; 1 << 20].into();
    life.world.report_steps(&lease, large).unwrap();
    let mut more = report(&[Action::StepCompleted(A)], 0);
    more.actions[0].contents.details = Box::from(*b"x");
    let refused = life.world.report_steps(&lease, more);
    assert!(
        matches!(refused, Err(Refusal::RunTooLarge { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_round_carries_runs_and_the_log_before_it_may_go() {
    let mut life = life();
    life.report(&[Action::StepStarted(B), Action::StepCompleted(B)])
        .unwrap();
    life.input("other").unwrap();
    life.suspend(vec![for_input(A)]).unwrap();
    let from = life.world.audit.log.len();
    life.world.engine.begin_round(life.world.now);
    while !life.world.engine.carry(1, life.world.now) {}
    life.world.settle();
    life.input("approve").unwrap();
    assert_same(
        life.world.engine.state(),
        &refold(&life.world.audit.log[from..]),
    );
}

#[test]
fn a_run_has_a_largest_number_of_actions_and_can_still_be_resumed() {
    let mut life = life();
    let id = life.id();
    let plans = vec![Action::Plan; 1_000];
    for _ in 0..9 {
        life.report(&plans).unwrap();
    }
    life.report(&plans[1..]).unwrap();
    life.world.pause("acme", id).unwrap();
    let too_many = |refused: Result<(), Refusal>| {
        matches!(
            refused,
            Err(Refusal::RunTooLarge {
                unit: "actions",
                ..
            })
        )
    };
    let more = life.report(&[Action::StepStarted(A)]).map(drop);
    assert!(too_many(more));
    assert!(too_many(life.input("key").map(drop)));
    life.world.resume("acme", id).unwrap();
    let again = life.world.pause("acme", id);
    assert!(too_many(again));
}
