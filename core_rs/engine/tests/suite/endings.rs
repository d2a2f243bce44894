//! Endings that are decided and wait for descendants: what is refused, and the attempts before.

use backlane_engine::command::Report;
use backlane_engine::fact::{Actor, ExecutionChange, Fact, FactKind, RequeueCause};
use backlane_engine::fold;
use backlane_engine::row::AttemptRow;
use backlane_engine::rules::limits::Limits;
use backlane_engine::rules::status::{Cancellation, Status};

use crate::audit::refold;
use crate::families::{event, fail, family, with};
use crate::world::World;

#[test]
fn one_that_was_asked_to_stop_itself_is_told_so_when_it_spawns() {
    let mut world = World::new(Limits::default());
    let (parent, _) = family(&mut world, Cancellation::Cascade, 0);
    world.cancel("acme", parent.id).expect("it runs");
    let refused = world.spawn(&with(Cancellation::Cascade, "child"), &parent);
    assert_eq!(
        Some("spawned from: its cancellation was requested"),
        refused.as_ref().err().and_then(event)
    );
}

/// The newest attempt of the execution that has a row.
fn attempt(world: &World, birth: u64) -> Option<&AttemptRow> {
    let rows = world.audit.attempts.range((birth, 0)..=(birth, u32::MAX));
    rows.map(|(_, row)| row).next_back()
}

#[test]
fn an_attempt_that_decides_the_end_of_one_that_waits_has_a_row_at_once() {
    let mut world = World::new(Limits::default());
    let (parent, children) = family(&mut world, Cancellation::WaitForChildren, 1);
    let birth = parent.id.birth;
    world.advance(1_000);
    let decided_at_ms = world.now.wall_ms;
    assert_eq!(Status::Running, fail(&mut world, &parent));
    let row = attempt(&world, birth).expect("its row").clone();
    assert_eq!(
        (1, RequeueCause::Failed, decided_at_ms),
        (row.ordinal, row.cause, row.ended_at_ms)
    );
    assert_eq!("boom", &*row.error.as_ref().expect("its error").message);
    world.advance(1_000);
    world.cancel("acme", world.id(children[0])).expect("queued");
    assert!(world.audit.ends.contains_key(&birth));
    assert_eq!(Some(&row), attempt(&world, birth));

    let (parent, _) = family(&mut world, Cancellation::WaitForChildren, 1);
    world.cancel("acme", parent.id).expect("it runs");
    let released = world.report(&parent, &Report::Released).expect("its lease");
    assert_eq!(Status::Running, released.status);
    let row = attempt(&world, parent.id.birth).expect("its row");
    assert_eq!(
        (RequeueCause::Cancelled, None),
        (row.cause, row.error.as_ref())
    );
}

#[test]
fn no_fact_queues_an_execution_again_for_a_cause_of_rows() {
    let mut world = World::new(Limits::default());
    let (parent, _) = family(&mut world, Cancellation::Cascade, 0);
    for cause in RequeueCause::ALL.iter().copied() {
        let mut state = refold(&world.audit.log);
        let change = ExecutionChange::Requeued {
            cause,
            backoff: None,
            is_unbegun: false,
        };
        let fact = Fact {
            at_ms: world.now.wall_ms,
            actor: Actor::engine(),
            cause: None,
            kind: FactKind::execution(parent.id.birth, change),
        };
        assert_eq!(cause.is_of_rows(), fold(&mut state, &fact).is_err());
    }
}
