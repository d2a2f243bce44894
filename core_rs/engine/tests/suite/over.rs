//! Executions that are over: redrives and discards where timing and secrecy are hard.

use backlane_engine::command::{Delete, Discard, Known, NewExecution, Redrive};
use backlane_engine::error::Refusal;
use backlane_engine::fact::{Actor, ExecutionChange};
use backlane_engine::reply::Made;
use backlane_engine::rules::id::{Birth, ExecutionId};
use backlane_engine::rules::limits::Limits;
use backlane_engine::rules::status::{ActorKind, Status, TaskState};

use crate::audit::{assert_same, refold};
use crate::world::{START_MS, World, new_execution, visible};

fn new() -> NewExecution {
    new_execution("acme", "mail")
}

/// An execution that was cancelled.
fn over(world: &mut World) -> Birth {
    let birth = world.make(&new());
    world.cancel("acme", world.id(birth)).expect("it is queued");
    birth
}

/// A queued execution whose deadline has passed without a tick.
fn overdue() -> (World, Birth) {
    let mut world = World::new(Limits::default());
    let birth = world.make(&NewExecution {
        deadline_ms: Some(START_MS + 1_000),
        ..new()
    });
    world.now.wall_ms += 1_000;
    world.now.mono_ms += 1_000;
    (world, birth)
}

fn redrive(world: &mut World, id: ExecutionId, known: &Known) -> Result<Made, Refusal> {
    let command = Redrive {
        tenant: visible("acme"),
        id,
        request: None,
        actor: Actor::of(ActorKind::Client),
    };
    world
        .engine
        .redrive(&command, new(), Vec::new(), known, world.now)
}

fn discard(world: &mut World, tenant: &str, id: ExecutionId) -> Result<(), Refusal> {
    let discard = Discard {
        tenant: visible(tenant),
        id,
        actor: Actor::of(ActorKind::Client),
    };
    world.engine.discard(&discard, &Known::default(), world.now)
}

#[test]
fn what_timed_out_just_now_can_be_redriven_before_anybody_can_read_its_end() {
    let (mut world, birth) = overdue();
    let id = world.id(birth);
    let made = redrive(&mut world, id, &Known::default()).expect("it is over");
    assert!(!made.existing);
    assert_eq!(Some(made.birth), world.engine.state().redrive_of(birth));
    world.settle();
}

#[test]
fn what_timed_out_just_now_can_be_discarded() {
    let (mut world, birth) = overdue();
    let id = world.id(birth);
    assert_eq!(Ok(()), discard(&mut world, "acme", id));
    world.settle();
    assert!(world.audit.dead.is_empty());
    assert_eq!(Status::Timeout, world.audit.ends[&birth].status);
}

#[test]
fn what_timed_out_just_now_can_be_deleted_and_what_is_unfinished_cannot() {
    let (mut world, birth) = overdue();
    let delete = |world: &mut World, birth| {
        let delete = Delete {
            tenant: visible("acme"),
            id: world.id(birth),
            actor: Actor::of(ActorKind::Client),
        };
        world.engine.delete(&delete, &Known::default(), world.now)
    };
    assert_eq!(Ok(()), delete(&mut world, birth));
    let living = world.make(&new());
    let refused = delete(&mut world, living);
    assert!(matches!(
        refused,
        Err(Refusal::TransitionNotAllowed {
            event: "deleted",
            ..
        })
    ));
    world.settle();
}

#[test]
fn a_redrive_that_is_over_by_now_does_not_count_as_unfinished() {
    let mut world = World::new(Limits::default());
    let old = over(&mut world);
    let first = NewExecution {
        start_deadline_ms: Some(START_MS + 1_000),
        ..new()
    };
    let first = world.redrive(world.id(old), &first).expect("it is over");
    world.now.wall_ms += 1_000;
    world.now.mono_ms += 1_000;
    let id = world.id(old);
    let known = world.known();
    let second = redrive(&mut world, id, &known).expect("the first is over");
    assert!(!second.existing);
    assert_ne!(first.birth, second.birth);
    world.settle();
}

#[test]
fn limits_and_a_full_store_hold_for_redrives_and_not_for_discards() {
    let mut world = World::new(Limits {
        max_queue_per_tenant: 1,
        ..Limits::default()
    });
    let (mut overdue, late) = overdue();
    let old = over(&mut world);
    world.make(&new());
    let refused = world.redrive(world.id(old), &new());
    assert!(matches!(refused, Err(Refusal::QueueFull { .. })));
    overdue.engine.set_store_is_full(true);
    let id = overdue.id(late);
    let refused = redrive(&mut overdue, id, &Known::default());
    assert_eq!(Err(Refusal::DiskFull), refused);
    assert_eq!(Ok(()), discard(&mut overdue, "acme", id));
}

#[test]
fn a_guessed_id_finds_nothing() {
    let mut world = World::new(Limits::default());
    let old = over(&mut world);
    let guessed = ExecutionId {
        random: 1,
        ..world.id(old)
    };
    let unborn = ExecutionId {
        birth: 77,
        ..world.id(old)
    };
    for id in [guessed, unborn] {
        let known = world.known();
        let refused = redrive(&mut world, id, &known);
        assert!(matches!(refused, Err(Refusal::ExecutionNotFound { .. })));
        let refused = world.discard("acme", id);
        assert!(matches!(refused, Err(Refusal::ExecutionNotFound { .. })));
    }
}

#[test]
fn another_tenants_execution_is_not_found_whether_it_lives_or_not() {
    let (mut world, birth) = overdue();
    let living = world.make(&new());
    for birth in [birth, living] {
        let refused = world.discard("other", world.id(birth));
        assert!(matches!(refused, Err(Refusal::ExecutionNotFound { .. })));
        let refused = world.redrive(world.id(birth), &new_execution("other", "mail"));
        assert!(matches!(refused, Err(Refusal::ExecutionNotFound { .. })));
    }
}

#[test]
fn an_unfinished_redrive_is_found_after_the_log_was_trimmed() {
    let mut world = World::new(Limits::default());
    let old = over(&mut world);
    let made = world.redrive(world.id(old), &new()).expect("it is over");
    let from = world.audit.log.len();
    world.engine.begin_round(world.now);
    assert!(world.engine.carry(100, world.now));
    world.settle();
    let state = refold(&world.audit.log[from..]);
    assert_same(world.engine.state(), &state);
    assert_eq!(Some(made.birth), state.redrive_of(old));
}

#[test]
fn a_discard_is_skipped_in_a_log_that_begins_after_the_execution() {
    let (mut world, birth) = overdue();
    world.tick();
    world.discard("acme", world.id(birth)).expect("it is dead");
    world.make(&new());
    let log = &world.audit.log;
    let discards = |fact: &backlane_engine::fact::Fact| {
        let change = fact.kind.as_execution().map(|fact| &fact.change);
        change == Some(&ExecutionChange::Discarded)
    };
    let at = log.iter().position(discards).expect("a discard");
    let from = world.audit.log.len();
    world.engine.begin_round(world.now);
    world.engine.carry(100, world.now);
    world.settle();
    assert!(at < from);
    assert_same(world.engine.state(), &refold(&world.audit.log[at..]));
}

#[test]
fn a_dependency_that_failed_makes_a_skipped_task() {
    use backlane_engine::rules::status::EndReason;
    let state = TaskState::of_end(Status::Cancelled, EndReason::DependencyFailed);
    assert_eq!(TaskState::Skipped, state);
}
