//! Dependencies: what is refused, what follows an end, and how a large number of consequences is
//! worked off.

use backlane_engine::command::{DedupPolicy, Dependency, Known, NewExecution, Read, Report};
use backlane_engine::error::Refusal;
use backlane_engine::fact::{ExecutionChange, FactKind};
use backlane_engine::rules::id::{Birth, ExecutionId};
use backlane_engine::rules::limits::{Limits, MAX_DEPENDENCIES, SETTLED_AT_ONCE};
use backlane_engine::rules::status::{EndReason, Phase, Status};

use crate::audit::{assert_same, refold};
use crate::world::{World, completed, held, new_execution, offer, visible};

fn after(world: &World, births: &[Birth]) -> NewExecution {
    let ids = births
        .iter()
        .map(|birth| Dependency::Execution(world.id(*birth)));
    NewExecution {
        depends_on: ids.collect(),
        ..new_execution("acme", "mail")
    }
}

fn phase(world: &World, birth: Birth) -> Option<Phase> {
    world.engine.state().slot(birth).map(|slot| slot.phase)
}

fn ended(world: &World, birth: Birth) -> (Status, EndReason) {
    let end = &world.audit.ends[&birth];
    (end.status, end.reason)
}

const SKIPPED: (Status, EndReason) = (Status::Cancelled, EndReason::DependencyFailed);

/// Leases the next execution and reports.
fn end_next(world: &mut World, report: &Report) -> Birth {
    let granted = world.lease("w1", offer(&["*"])).expect("one is ready");
    let held = held(world, &granted);
    world.report(&held, report).expect("its own lease");
    granted.birth
}

fn refused_field(refusal: &Refusal) -> &str {
    match refusal {
        Refusal::Invalid(invalid) => &invalid.field,
        Refusal::DependencyNotFound { field, .. } => field,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_execution_waits_until_the_last_of_its_dependencies_completed() {
    let mut world = World::new(Limits::default());
    let (a, b) = (
        world.make(&new_execution("acme", "mail")),
        world.make(&new_execution("acme", "mail")),
    );
    let c = world.make(&after(&world, &[a, b, a]));
    assert_eq!(Some(Phase::Blocked), phase(&world, c));
    assert_eq!(a, end_next(&mut world, &completed()));
    assert_eq!(Some(Phase::Blocked), phase(&world, c));
    assert_eq!(b, end_next(&mut world, &completed()));
    assert_eq!(Some(Phase::Ready), phase(&world, c));
    assert!(world.engine.state().edges().is_empty());
    assert_eq!(c, end_next(&mut world, &completed()));
}

#[test]
fn dependencies_that_have_ended_are_judged_at_once() {
    let mut world = World::new(Limits::default());
    let a = world.make(&new_execution("acme", "mail"));
    end_next(&mut world, &completed());
    let b = world.make(&new_execution("acme", "mail"));
    end_next(
        &mut world,
        &Report::Failed(Box::new(crate::world::failed())),
    );
    let on_completed = world.make(&after(&world, &[a]));
    assert_eq!(Some(Phase::Ready), phase(&world, on_completed));
    let on_failed = world.make(&after(&world, &[a, b]));
    assert_eq!(SKIPPED, ended(&world, on_failed));
    assert_eq!(
        SKIPPED,
        ended(&world, world.engine.state().next_birth() - 1)
    );
}

#[test]
fn a_refused_dependency_is_named_and_nothing_is_enqueued() {
    let mut world = World::new(Limits::default());
    let foreign = world.make(&new_execution("blue", "mail"));
    let own = world.make(&new_execution("acme", "mail"));
    let mut forged = world.id(own);
    forged.random += 1;
    let unknown = ExecutionId {
        birth: 1_000,
        ..forged
    };
    let facts = world.audit.log.len();
    for id in [world.id(foreign), forged, unknown] {
        let new = NewExecution {
            depends_on: vec![
                Dependency::Execution(world.id(own)),
                Dependency::Execution(id),
            ],
            ..new_execution("acme", "mail")
        };
        let refusal = world.enqueue(&new).unwrap_err();
        assert_eq!("depends_on[1]", refused_field(&refusal));
        let plain = new_execution("acme", "mail");
        let refusal = world.enqueue_batch(&[plain, new], None).unwrap_err();
        assert_eq!("items[1].depends_on[1]", refused_field(&refusal));
    }
    for position in [1, 2, u32::MAX] {
        let new = NewExecution {
            depends_on: vec![Dependency::Item(position)],
            ..new_execution("acme", "mail")
        };
        let plain = new_execution("acme", "mail");
        let refusal = world.enqueue_batch(&[plain, new], None).unwrap_err();
        assert_eq!("items[1].depends_on_items[0]", refused_field(&refusal));
    }
    let many = NewExecution {
        depends_on: vec![Dependency::Execution(world.id(own)); MAX_DEPENDENCIES + 1],
        ..new_execution("acme", "mail")
    };
    let refusal = world.enqueue(&many).unwrap_err();
    assert_eq!("depends_on", refused_field(&refusal));
    assert_eq!(facts, world.audit.log.len());
}

#[test]
fn a_damaged_dependency_is_refused_and_an_unread_one_is_asked_for() {
    let mut world = World::new(Limits::default());
    let a = world.make(&new_execution("acme", "mail"));
    end_next(&mut world, &completed());
    let new = after(&world, &[a]);
    let needs = world.engine.needs_for_new([&new], None, &Known::default());
    assert_eq!(vec![a], needs.finished);
    let known = Known {
        finished: [(a, Read::Damaged("its head".into()))].into(),
        ..Known::default()
    };
    let refusal = world.engine.enqueue(new, &known, world.now).unwrap_err();
    assert!(
        matches!(refusal, Refusal::DataDamaged { .. }),
        "{refusal:?}"
    );
}

#[test]
fn a_whole_graph_goes_in_at_once_by_position() {
    let mut world = World::new(Limits::default());
    let on = |items: &[u32]| NewExecution {
        depends_on: items.iter().map(|item| Dependency::Item(*item)).collect(),
        ..new_execution("acme", "mail")
    };
    let graph = [on(&[]), on(&[0]), on(&[0]), on(&[1, 2])];
    let (made, _) = world.enqueue_batch(&graph, None).expect("it is taken");
    let births: Vec<_> = made.iter().map(|made| made.birth).collect();
    let order: Vec<_> = births
        .iter()
        .map(|_| end_next(&mut world, &completed()))
        .collect();
    assert_eq!(births, order);
}

#[test]
fn a_skip_cascades_through_a_chain_and_over_its_dependents() {
    let mut world = World::new(Limits::default());
    let first = world.make(&new_execution("acme", "mail"));
    let mut chain = vec![first];
    for _ in 0..5 {
        let last = *chain.last().expect("it is not empty");
        chain.push(world.make(&after(&world, &[last])));
    }
    world
        .cancel("acme", world.id(first))
        .expect("it is unfinished");
    for birth in &chain[1..] {
        assert_eq!(SKIPPED, ended(&world, *birth));
    }
    assert!(world.engine.state().agenda().is_empty());
}

#[test]
fn what_does_not_fit_a_commit_is_on_the_agenda_and_survives_a_restart() {
    let mut world = World::new(Limits::default());
    let (good, bad) = (
        world.make(&new_execution("acme", "a")),
        world.make(&new_execution("acme", "b")),
    );
    let dependents: Vec<_> = (0..200)
        .map(|_| world.make(&after(&world, &[good, bad])))
        .collect();
    let leaves: Vec<_> = dependents
        .iter()
        .map(|birth| world.make(&after(&world, &[*birth])))
        .collect();
    let granted = world.lease("w1", offer(&["a"])).expect("it is ready");
    let lease = held(&world, &granted);
    world.report(&lease, &completed()).expect("its own lease");
    let granted = world.lease("w1", offer(&["b"])).expect("it is ready");
    let lease = held(&world, &granted);
    let failed = Report::Failed(Box::new(crate::world::failed()));
    world.report(&lease, &failed).expect("its own lease");
    let done = |world: &World| world.audit.ends.len() - 2;
    assert_eq!(SETTLED_AT_ONCE, done(&world));
    assert!(world.engine.has_agenda());

    world.engine.step_agenda(50, world.now);
    world.settle();
    assert_eq!(SETTLED_AT_ONCE + 50, done(&world));
    assert_same(&refold(&world.audit.log), world.engine.state());
    let late = world.engine.state().next_birth();
    world.restart(0);
    for birth in dependents.iter().chain(&leaves) {
        assert_eq!(SKIPPED, ended(&world, *birth));
    }
    assert!(world.engine.state().agenda().is_empty());
    assert_eq!(late, world.engine.state().next_birth());
}

#[test]
fn an_execution_that_another_dependency_failed_is_never_promoted() {
    let mut world = World::new(Limits::default());
    let (good, bad) = (
        world.make(&new_execution("acme", "a")),
        world.make(&new_execution("acme", "b")),
    );
    let dependents: Vec<_> = (0..200)
        .map(|_| world.make(&after(&world, &[good, bad])))
        .collect();
    world
        .cancel("acme", world.id(bad))
        .expect("it is unfinished");
    // The rest of the skips is still on the agenda when the other dependency completes.
    let last = *dependents.last().expect("it is not empty");
    assert_eq!(Some(Phase::Blocked), phase(&world, last));
    let key = world.engine.acquire_offer(offer(&["a"]));
    let taker = backlane_engine::command::Taker {
        worker: "w1".into(),
        offer: key,
        duration_ms: 30_000,
        principal: "".into(),
        stream: None,
        prefetches: false,
    };
    let granted = world.engine.lease(&taker, 1, world.now).expect("ready");
    world.settle();
    let principal = backlane_engine::rules::access::Principal::default();
    let known = Known::default();
    let speaker = backlane_engine::decide::Speaker {
        principal: &principal,
        known: &known,
    };
    let lease = held(&world, &granted);
    let settled = world
        .engine
        .report(&lease, &completed(), speaker, world.now);
    assert!(settled.is_ok());
    world.settle();
    assert_eq!(Some(Phase::Blocked), phase(&world, last));
    world.tick();
    for birth in &dependents {
        assert_eq!(SKIPPED, ended(&world, *birth));
    }
}

#[test]
fn the_dependents_of_a_replaced_execution_follow_the_new_one() {
    let mut world = World::new(Limits::default());
    let keyed = NewExecution {
        dedup_key: Some("k".into()),
        dedup_policy: DedupPolicy::ReplaceQueued,
        ..new_execution("acme", "mail")
    };
    let first = world.make(&keyed);
    let early = world.make(&after(&world, &[first]));
    let second = world.make(&keyed);
    let late = world.make(&after(&world, &[second]));
    let third = world.make(&keyed);
    assert_eq!(
        (Status::Cancelled, EndReason::Replaced),
        ended(&world, second)
    );
    assert_eq!(Some(Phase::Blocked), phase(&world, early));
    world.restart(0);
    assert_eq!(third, end_next(&mut world, &completed()));
    assert_eq!(Some(Phase::Ready), phase(&world, early));
    assert_eq!(Some(Phase::Ready), phase(&world, late));
    assert!(world.engine.state().edges().is_empty());
}

#[test]
fn a_replacement_never_waits_for_itself() {
    let mut world = World::new(Limits::default());
    let keyed = NewExecution {
        dedup_key: Some("k".into()),
        dedup_policy: DedupPolicy::ReplaceQueued,
        ..new_execution("acme", "mail")
    };
    let first = world.make(&keyed);
    let direct = NewExecution {
        depends_on: vec![Dependency::Execution(world.id(first))],
        ..keyed.clone()
    };
    let refusal = world.enqueue(&direct).unwrap_err();
    assert_eq!("depends_on[0]", refused_field(&refusal));
    let between = world.make(&after(&world, &[first]));
    let circular = NewExecution {
        depends_on: vec![Dependency::Execution(world.id(between))],
        ..keyed
    };
    let second = world.make(&circular);
    assert_eq!(SKIPPED, ended(&world, between));
    assert_eq!(SKIPPED, ended(&world, second));
}

#[test]
fn what_is_due_for_a_dependency_is_applied_before_the_enqueue() {
    let mut world = World::new(Limits::default());
    let mut new = new_execution("acme", "mail");
    new.deadline_ms = Some(world.now.wall_ms + 1_000);
    let a = world.make(&new);
    let dependent = after(&world, &[a]);
    world.now.wall_ms += 2_000;
    let made = world
        .engine
        .enqueue(dependent, &Known::default(), world.now)
        .expect("it is taken");
    world.settle();
    assert_eq!(Status::Timeout, world.audit.ends[&a].status);
    assert_eq!(SKIPPED, ended(&world, made.birth));
}

#[test]
fn a_skip_names_the_execution_that_caused_it() {
    let mut world = World::new(Limits::default());
    let a = world.make(&new_execution("acme", "mail"));
    let b = world.make(&after(&world, &[a]));
    world.cancel("acme", world.id(a)).expect("it is unfinished");
    let fact = world.audit.log.last().expect("a skip");
    assert_eq!(
        Some(backlane_engine::fact::Entity::Execution(a)),
        fact.cause
    );
    let FactKind::Execution(change) = &fact.kind else {
        panic!("{fact:?}")
    };
    assert_eq!(b, change.birth);
    assert!(matches!(change.change, ExecutionChange::Ended(_)));
}

#[test]
fn only_a_visible_execution_of_the_same_tenant_can_be_cancelled_while_blocked() {
    let mut world = World::new(Limits::default());
    let a = world.make(&new_execution("acme", "mail"));
    let b = world.make(&after(&world, &[a]));
    assert_eq!("acme", &*visible("acme"));
    world.cancel("acme", world.id(b)).expect("it is unfinished");
    assert_eq!(
        (Status::Cancelled, EndReason::CancelRequested),
        ended(&world, b)
    );
    assert!(world.engine.state().edges().is_empty());
    assert_eq!(a, end_next(&mut world, &completed()));
}

#[test]
fn a_share_of_the_agenda_counts_what_its_own_skips_lead_to() {
    let mut world = World::new(Limits::default());
    let first = world.make(&new_execution("acme", "mail"));
    for _ in 0..100 {
        let next = world.make(&after(&world, &[first]));
        for _ in 0..3 {
            world.make(&after(&world, &[next]));
        }
    }
    end_next(
        &mut world,
        &Report::Failed(Box::new(crate::world::failed())),
    );
    while world.engine.has_agenda() {
        let before = world.audit.ends.len();
        world.engine.step_agenda(100, world.now);
        world.settle();
        let ended = world.audit.ends.len() - before;
        assert!(ended <= 100, "{ended} at once");
    }
    assert_eq!(401, world.audit.ends.len());
}
