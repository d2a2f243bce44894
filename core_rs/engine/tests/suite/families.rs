//! Families: a cascade over many descendants, and executions that wait for theirs.

use backlane_engine::Engine;
use backlane_engine::command::{
    DedupPolicy, Dependency, Held, NewAction, NewExecution, Report, StepReport,
};
use backlane_engine::error::Refusal;
use backlane_engine::row::ActionContents;
use backlane_engine::rules::id::Birth;
use backlane_engine::rules::limits::{Limits, MAX_ANCESTORS, SETTLED_AT_ONCE};
use backlane_engine::rules::run::Action;
use backlane_engine::rules::status::{Cancellation, EndReason, Phase, Status};
use backlane_engine::rules::step::{StepId, StepState};

use crate::audit::{assert_same, refold};
use crate::life::{A, B, for_child, for_input, suspension};
use crate::world::{World, completed, failed, held, new_execution, offer};

pub(crate) fn with(cancellation: Cancellation, callable: &str) -> NewExecution {
    let mut new = new_execution("acme", callable);
    new.policy.cancellation = cancellation;
    new
}

fn lease(world: &mut World, callable: &str) -> (Birth, Held) {
    let granted = world.lease("w1", offer(&[callable])).expect("one is ready");
    (granted.birth, held(world, &granted))
}

pub(crate) fn fail(world: &mut World, held: &Held) -> Status {
    let report = Report::Failed(Box::new(failed()));
    world.report(held, &report).expect("its own lease").status
}

/// An execution with this policy that runs, and children of it that wait for a worker.
pub(crate) fn family(
    world: &mut World,
    policy: Cancellation,
    children: usize,
) -> (Held, Vec<Birth>) {
    world.make(&with(policy, "parent"));
    let (_, parent) = lease(world, "parent");
    let child = with(Cancellation::Cascade, "child");
    let children = (0..children).map(|_| world.spawn(&child, &parent).expect("it may").birth);
    let children = children.collect();
    (parent, children)
}

#[test]
fn a_cascade_over_many_is_worked_off_in_chunks_and_survives_a_restart() {
    let mut world = World::new(Limits::default());
    let (parent, children) = family(&mut world, Cancellation::Cascade, 200);
    let (runs, running) = lease(&mut world, "child");
    assert_eq!(Status::Failed, fail(&mut world, &parent));
    let cancelled = |world: &World| {
        let ends = children
            .iter()
            .filter_map(|birth| world.audit.ends.get(birth));
        ends.filter(|end| end.reason == EndReason::Cascade).count()
    };
    assert!(world.engine.state().is_cancel_requested(runs));
    assert_eq!(SETTLED_AT_ONCE - 1, cancelled(&world));
    // A descendant that the cascade has not reached yet may not spawn any more.
    world.engine.step_agenda(30, world.now);
    world.settle();
    assert_eq!(SETTLED_AT_ONCE - 1 + 30, cancelled(&world));
    assert_same(&refold(&world.audit.log), world.engine.state());
    world.restart(0);
    assert_eq!(children.len() - 1, cancelled(&world));
    assert!(world.engine.state().agenda().is_empty());
    assert_eq!(Status::Cancelled, fail(&mut world, &running));
    assert!(world.engine.state().slots().is_empty());
}

#[test]
fn a_cascade_cannot_be_outrun() {
    let mut world = World::new(Limits::default());
    let (parent, children) = family(&mut world, Cancellation::Cascade, 100);
    // The last one runs: the cascade comes to it last.
    let last = *children.last().expect("it is not empty");
    let child = with(Cancellation::Cascade, "late");
    let granted = loop {
        let granted = world.lease("w2", offer(&["child"])).expect("ready");
        if granted.birth == last {
            break granted;
        }
        let other = held(&world, &granted);
        world.report(&other, &completed()).expect("its own lease");
        let again = world.spawn(&with(Cancellation::Cascade, "filler"), &parent);
        again.expect("it may");
    };
    let late = held(&world, &granted);
    assert_eq!(Status::Failed, fail(&mut world, &parent));
    let known = backlane_engine::command::Known::default();
    let principal = backlane_engine::rules::access::Principal::default();
    let speaker = backlane_engine::decide::Speaker {
        principal: &principal,
        known: &known,
    };
    let refused = world
        .engine
        .spawn(child.clone(), &late, None, speaker, world.now);
    assert_eq!(Some(IN_CASCADE), refused.as_ref().err().and_then(event));
    world.tick();
    assert!(world.engine.state().is_cancel_requested(last));
    let refused = world.spawn(&child, &late);
    assert_eq!(Some(IN_CASCADE), refused.as_ref().err().and_then(event));
}

const IN_CASCADE: &str = "spawned from: an ancestor ended, and its end cancels its descendants";

pub(crate) fn event(refusal: &Refusal) -> Option<&str> {
    match refusal {
        Refusal::TransitionNotAllowed { event, .. } => Some(event),
        _ => None,
    }
}

#[test]
fn one_that_waits_ends_with_the_outcome_that_was_decided() {
    let mut world = World::new(Limits::default());
    let (parent, children) = family(&mut world, Cancellation::WaitForChildren, 2);
    assert_eq!(Status::Running, fail(&mut world, &parent));
    let slot = world.engine.state().slot(parent.id.birth);
    assert_eq!(Some(Phase::Ending), slot.map(|slot| slot.phase));
    assert!(world.engine.state().holdings().is_empty());
    world.restart(1_000);
    for child in &children {
        assert!(world.engine.state().slot(parent.id.birth).is_some());
        let (birth, held) = lease(&mut world, "child");
        assert_eq!(*child, birth);
        world.report(&held, &completed()).expect("its own lease");
    }
    let end = &world.audit.ends[&parent.id.birth];
    assert_eq!(
        (Status::Failed, EndReason::Failed),
        (end.status, end.reason)
    );
    assert_eq!("boom", &*end.error.as_ref().expect("its error").message);
    assert!(end.ended_lease);
    assert!(world.engine.state().extras(parent.id.birth).is_none());
}

#[test]
fn a_cancelled_one_in_a_cascade_waits_for_those_that_the_cascade_asked_to_stop() {
    let mut world = World::new(Limits::default());
    world.make(&with(Cancellation::Cascade, "top"));
    let (_, top) = lease(&mut world, "top");
    let middle = with(Cancellation::WaitForChildren, "middle");
    let middle = world.spawn(&middle, &top).expect("it may").birth;
    let (_, held) = lease(&mut world, "middle");
    let leaf = with(Cancellation::Cascade, "leaf");
    let leaf = world.spawn(&leaf, &held).expect("it may").birth;
    let (_, leaf_lease) = lease(&mut world, "leaf");
    fail(&mut world, &top);
    assert!(world.engine.state().is_cancel_requested(leaf));
    assert_eq!(Status::Running, fail(&mut world, &held));
    assert!(world.engine.state().slot(middle).is_some());
    fail(&mut world, &leaf_lease);
    let end = &world.audit.ends[&middle];
    assert_eq!(
        (Status::Cancelled, EndReason::Cascade),
        (end.status, end.reason)
    );
    assert!(world.engine.state().slots().is_empty());
}

#[test]
fn a_family_is_not_deeper_than_its_limit_but_goes_on_for_ever() {
    let mut world = World::new(Limits::default());
    let new = with(Cancellation::Cascade, "deep");
    world.make(&new);
    let mut leases = vec![lease(&mut world, "deep").1];
    for _ in 0..MAX_ANCESTORS {
        let parent = leases.last().expect("it is not empty").clone();
        world.spawn(&new, &parent).expect("it may");
        leases.push(lease(&mut world, "deep").1);
    }
    let deepest = leases.last().expect("it is not empty").clone();
    let refused = world.spawn(&new, &deepest);
    assert!(matches!(refused, Err(Refusal::Invalid(_))), "{refused:?}");
    // Ancestors that have ended do not count.
    world
        .report(&leases[0], &completed())
        .expect("its own lease");
    world.spawn(&new, &deepest).expect("it may");
}

#[test]
fn rounds_carry_families_and_verdicts() {
    let mut world = World::new(Limits::default());
    let (parent, children) = family(&mut world, Cancellation::WaitForChildren, 3);
    fail(&mut world, &parent);
    let from = world.audit.log.len();
    world.engine.begin_round(world.now);
    while !world.engine.carry(2, world.now) {
        world.settle();
    }
    world.settle();
    assert_same(world.engine.state(), &refold(&world.audit.log[from..]));
    for child in children {
        world.cancel("acme", world.id(child)).expect("it is queued");
    }
    assert!(world.engine.state().slots().is_empty());
}

#[test]
fn what_waits_for_a_parent_and_its_last_child_is_skipped_when_the_parent_failed() {
    let mut world = World::new(Limits::default());
    let (parent, children) = family(&mut world, Cancellation::WaitForChildren, 1);
    fail(&mut world, &parent);
    let on = [children[0], parent.id.birth].map(|birth| Dependency::Execution(world.id(birth)));
    let both = world.make(&NewExecution {
        depends_on: on.into(),
        ..new_execution("acme", "after")
    });
    // The end of the child is the end of the parent, too.
    let (_, child) = lease(&mut world, "child");
    world.report(&child, &completed()).expect("its own lease");
    assert_eq!(EndReason::DependencyFailed, world.audit.ends[&both].reason);
}

#[test]
fn the_steps_of_one_that_waits_for_its_children_have_ended_with_its_attempt() {
    let mut world = World::new(Limits::default());
    let (parent, _) = family(&mut world, Cancellation::WaitForChildren, 1);
    let step = StepId([7; 20]);
    let report = StepReport {
        actions: vec![NewAction {
            action: Action::StepStarted(step),
            contents: ActionContents::default(),
            field: "step_id".into(),
        }],
        sequence: 0,
    };
    world.report_steps(&parent, report).expect("its own lease");
    assert_eq!(Status::Running, fail(&mut world, &parent));
    let run = world.engine.state().run_of(parent.id.birth);
    assert_eq!(
        Some(StepState::Failed),
        run.course.step(step).map(|it| it.state)
    );
}

#[test]
fn one_that_waits_for_its_children_takes_no_input_for_a_wait_of_before() {
    let mut world = World::new(Limits::default());
    let (parent, children) = family(&mut world, Cancellation::WaitForChildren, 1);
    let waits = vec![for_input(StepId([7; 20]))];
    world.suspend(&parent, &suspension(waits)).expect("it may");
    world.cancel("acme", parent.id).expect("it waits");
    let slot = world.engine.state().slot(parent.id.birth);
    assert_eq!(Some(Phase::Ending), slot.map(|slot| slot.phase));
    let refused = world.provide_input("acme", parent.id, "approve", "1", None);
    let event = "given an input";
    let execution_id = parent.id.to_string();
    let expected = Refusal::EndDecided {
        execution_id,
        event,
    };
    assert_eq!(Some(expected), refused.err());
    world.cancel("acme", world.id(children[0])).expect("queued");
    let end = &world.audit.ends[&parent.id.birth];
    assert_eq!(Status::Cancelled, end.status);
}

#[test]
fn the_child_of_a_step_is_recorded_with_the_child() {
    let mut world = World::new(Limits::default());
    let (parent, _) = family(&mut world, Cancellation::Cascade, 0);
    let child = with(Cancellation::Cascade, "child");
    let made = world.spawn_in(Some(A), &child, &parent).expect("it may");
    let rows: Vec<_> = world.audit.actions.values().collect();
    let actions: Vec<_> = rows.iter().map(|row| row.action).collect();
    assert_eq!(
        vec![Action::StepStarted(A), Action::StepCompleted(A)],
        actions
    );
    assert_eq!(Some(world.id(made.birth)), rows[1].contents.child);
    // The id of a step is used once, and nothing is spawned without it.
    let facts = world.audit.log.len();
    let again = world.spawn_in(Some(A), &child, &parent);
    assert!(matches!(again, Err(Refusal::Invalid(_))), "{again:?}");
    assert_eq!(facts, world.audit.log.len());
}

#[test]
fn a_child_that_ended_before_it_began_is_recorded_as_well() {
    let mut world = World::new(Limits::default());
    let (parent, _) = family(&mut world, Cancellation::Cascade, 0);
    let failing = world.make(&with(Cancellation::Cascade, "failing"));
    let (_, held) = lease(&mut world, "failing");
    fail(&mut world, &held);
    let mut child = with(Cancellation::Cascade, "child");
    child.depends_on = vec![Dependency::Execution(world.id(failing))];
    let made = world.spawn_in(Some(A), &child, &parent).expect("it may");
    assert!(world.audit.ends.contains_key(&made.birth));
    let last = world.audit.actions.values().last().expect("it is recorded");
    assert_eq!(Some(world.id(made.birth)), last.contents.child);
}

#[test]
fn a_parent_that_could_not_be_woken_goes_on_after_the_next_start() {
    let mut world = World::new(Limits::default());
    let (parent, children) = family(&mut world, Cancellation::Cascade, 1);
    let child = world.id(children[0]);
    let waits = suspension(vec![for_child(B, child)]);
    world.suspend(&parent, &waits).expect("it may");
    let birth = parent.id.birth;
    let (_, held) = lease(&mut world, "child");
    world.report(&held, &completed()).expect("its own lease");
    // As if the parent had been set aside then: the log has no fact about the end of its wait.
    let log = &world.audit.log;
    let state = refold(&log[..log.len() - 1]);
    let phase = |engine: &Engine| engine.state().slot(birth).map(|slot| slot.phase);
    let mut engine = Engine::start(state, 2, Limits::default(), world.now);
    assert_eq!(Some(Phase::Suspended), phase(&engine));
    engine.tick(10, world.now);
    assert_eq!(Some(Phase::Ready), phase(&engine));
}

#[test]
fn a_child_does_not_replace_its_ancestor() {
    let mut world = World::new(Limits::default());
    let mut top = with(Cancellation::Detach, "top");
    top.dedup_key = Some("key".into());
    world.make(&top);
    let (_, held_top) = lease(&mut world, "top");
    let middle = with(Cancellation::Cascade, "middle");
    world.spawn(&middle, &held_top).expect("it may");
    let (_, held_middle) = lease(&mut world, "middle");
    world
        .report(&held_top, &Report::Released)
        .expect("its own lease");
    let mut child = with(Cancellation::Cascade, "child");
    child.dedup_key = Some("key".into());
    child.dedup_policy = DedupPolicy::ReplaceQueued;
    let facts = world.audit.log.len();
    let refused = world.spawn(&child, &held_middle);
    assert!(matches!(refused, Err(Refusal::Invalid(_))), "{refused:?}");
    assert_eq!(facts, world.audit.log.len());
}

#[test]
fn a_tick_ends_soon_after_it_has_decided_as_much_as_it_may() {
    const MOST: usize = 10;
    const PARENTS: usize = 8;
    let mut world = World::new(Limits::default());
    let deadline_ms = world.now.wall_ms + 60_000;
    for _ in 0..PARENTS {
        let (parent, _) = family(&mut world, Cancellation::Cascade, 0);
        let mut child = with(Cancellation::Cascade, "child");
        child.deadline_ms = Some(deadline_ms);
        let child = world.spawn(&child, &parent).expect("it may");
        let (_, held) = lease(&mut world, "child");
        assert_eq!(held.id.birth, child.birth);
        for _ in 0..SETTLED_AT_ONCE {
            let grandchild = with(Cancellation::Cascade, "grandchild");
            world.spawn(&grandchild, &held).expect("it may");
        }
    }
    world.now.wall_ms = deadline_ms;
    let (mut decided, mut ticks) = (0, 0);
    loop {
        let more = world.engine.tick(MOST, world.now);
        let facts = world.engine.take_decided().len();
        assert!(facts <= MOST + SETTLED_AT_ONCE + 1, "{facts} facts at once");
        (decided, ticks) = (decided + facts, ticks + 1);
        if !more {
            break;
        }
    }
    assert_eq!(PARENTS * (SETTLED_AT_ONCE + 1), decided);
    assert_eq!(PARENTS, ticks);
}
