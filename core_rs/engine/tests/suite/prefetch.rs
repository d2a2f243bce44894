//! Prefetch: leases that a worker takes ahead of a free slot.
//!
//! Owns the tests of when such an attempt begins, and of the executions that are not prefetched.

use backlane_engine::command::{NewExecution, Report, StreamKey, Taker};
use backlane_engine::fact::{Actor, ExecutionChange, RequeueCause};
use backlane_engine::reply::{Granted, Notice};
use backlane_engine::rules::limits::{Limits, PREFETCH_PAUSE_MS, RELEASE_PAUSE_MS};
use backlane_engine::rules::status::Phase;

use crate::life::{A, for_input, life};
use crate::world::{World, held, new_execution, offer};

const STREAM: StreamKey = 9;
const TIMEOUT_MS: u64 = 10_000;

fn timed() -> NewExecution {
    let mut new = new_execution("acme", "mail");
    new.policy.timeout_ms = TIMEOUT_MS;
    new
}

fn world_with(news: &[NewExecution]) -> World {
    let mut world = World::new(Limits::default());
    for new in news {
        world.make(new);
    }
    world
}

fn take(world: &mut World, prefetches: bool) -> Option<Granted> {
    let key = world.engine.acquire_offer(offer(&["*"]));
    world.engine.stream_frame(STREAM, world.now);
    let taker = Taker {
        worker: "w1".into(),
        offer: key,
        duration_ms: 60_000,
        principal: "".into(),
        stream: Some(STREAM),
        prefetches,
    };
    let random = world.now.mono_ms;
    let granted = world.engine.lease(&taker, random, world.now);
    world.settle();
    if let Some(granted) = &granted {
        let lease = held(world, granted);
        world.engine.sent(&lease, world.now);
    }
    granted
}

fn prefetch(world: &mut World) -> Granted {
    let granted = take(world, true).expect("something is ready");
    assert!(granted.is_prefetched);
    granted
}

fn phase(world: &World, birth: u64) -> Option<Phase> {
    world.engine.state().slot(birth).map(|slot| slot.phase)
}

fn causes(world: &World) -> Vec<RequeueCause> {
    let facts = world.audit.log.iter();
    let changes = facts.filter_map(|fact| match &fact.kind.as_execution()?.change {
        ExecutionChange::Requeued { cause, .. } => Some(*cause),
        _ => None,
    });
    changes.collect()
}

#[test]
fn the_time_of_an_attempt_counts_from_its_acknowledgement() {
    let mut world = world_with(&[timed()]);
    let granted = prefetch(&mut world);
    world.advance(900);
    world.engine.acknowledge(&held(&world, &granted), world.now);
    world.advance(TIMEOUT_MS - 1);
    assert_eq!(Some(Phase::Running), phase(&world, granted.birth));
    world.advance(1);
    // It may not be retried, so its end is that of the execution.
    assert_eq!(None, phase(&world, granted.birth));
}

#[test]
fn a_prefetched_lease_that_does_not_begin_is_taken_back_although_its_worker_speaks() {
    let mut world = world_with(&[timed()]);
    let granted = prefetch(&mut world);
    for _ in 0..4 {
        world.advance(1_000);
        world.engine.stream_frame(STREAM, world.now);
    }
    world.advance(999);
    assert_eq!(Some(Phase::Running), phase(&world, granted.birth));
    world.advance(1);
    // It counts neither as an attempt that failed nor as a lost worker, and its worker is told.
    assert_eq!(vec![RequeueCause::Undelivered], causes(&world));
    let slot = *world.engine.state().slot(granted.birth).expect("it waits");
    assert_eq!((0, 0), (slot.spent, slot.losses));
    let told = world.engine.take_told();
    assert_eq!(
        vec![Notice::Lost],
        told.iter().map(|told| told.notice).collect::<Vec<_>>()
    );
    // The worker speaks, so it may get other leases.
    assert!(!world.engine.soft().holds.is_mute(STREAM));
}

#[test]
fn a_short_timeout_does_not_run_while_a_prefetched_lease_waits() {
    let mut new = timed();
    new.policy.timeout_ms = 100;
    let mut world = world_with(&[new]);
    let granted = prefetch(&mut world);
    world.advance(1_000);
    assert_eq!(Some(Phase::Running), phase(&world, granted.birth));
    let lease = held(&world, &granted);
    assert!(
        world
            .report(&lease, &Report::Completed(Vec::new().into()))
            .is_ok()
    );
    assert_eq!(None, phase(&world, granted.birth));
}

#[test]
fn a_prefetched_execution_that_is_given_back_is_withheld_for_a_second() {
    let mut world = world_with(&[timed()]);
    let granted = prefetch(&mut world);
    let lease = held(&world, &granted);
    assert!(world.report(&lease, &Report::Released).is_ok());
    world.advance(999);
    assert_eq!(None, take(&mut world, false));
    world.advance(1);
    assert!(take(&mut world, false).is_some());
    // After an acknowledgement a release is one of an attempt that had begun.
    let again = held(&world, &take_again(&world));
    world.engine.acknowledge(&again, world.now);
    assert!(world.report(&again, &Report::Released).is_ok());
    world.advance(4_999);
    assert_eq!(None, take(&mut world, false));
    world.advance(1);
    assert!(take(&mut world, false).is_some());
}

/// The only live lease.
fn take_again(world: &World) -> Granted {
    let (birth, holding) = world
        .engine
        .state()
        .holdings()
        .iter()
        .next()
        .expect("a lease");
    Granted {
        birth: *birth,
        holding: holding.clone(),
        attempt: 2,
        expires_at_ms: 0,
        attempt_deadline_ms: 0,
        timeout_ms: 0,
        payload_bytes: 0,
        is_prefetched: false,
    }
}

#[test]
fn an_execution_that_may_be_lost_only_once_is_not_prefetched_nor_passed_over() {
    let mut once = timed();
    once.policy.max_worker_losses = 1;
    let mut world = world_with(&[once, timed()]);
    assert_eq!(None, take(&mut world, true));
    let first = take(&mut world, false).expect("something is ready");
    assert_eq!(1, first.birth);
    assert_eq!(2, prefetch(&mut world).birth);
}

#[test]
fn an_execution_under_a_limit_is_not_prefetched() {
    for callable in [None, Some("mail")] {
        let mut world = world_with(&[timed()]);
        let (actor, callable) = (Actor::engine(), callable.map(Into::into));
        world
            .engine
            .set_limit(actor, "acme".into(), callable, Some(5), world.now)
            .expect("a limit can be set");
        world.settle();
        assert_eq!(None, take(&mut world, true));
        assert!(take(&mut world, false).is_some());
    }
}

#[test]
fn the_tenant_is_charged_for_the_attempt_alone() {
    let mut world = world_with(&[timed()]);
    let granted = prefetch(&mut world);
    world.advance(900);
    let lease = held(&world, &granted);
    world.engine.acknowledge(&lease, world.now);
    world.advance(50);
    let hold = *world
        .engine
        .soft()
        .holds
        .get(granted.birth)
        .expect("a hold");
    assert_eq!(50_000, hold.used_us(world.now));
}

#[test]
fn a_suspended_attempt_keeps_its_rest_if_its_prefetched_lease_is_released() {
    let mut life = life();
    life.world.advance(20_000);
    life.suspend(vec![for_input(A)]).expect("it may");
    life.input("approve").expect("it waits");
    let first = prefetch(&mut life.world);
    let lease = held(&life.world, &first);
    life.world
        .report(&lease, &Report::Released)
        .expect("its own lease");
    life.world.advance(PREFETCH_PAUSE_MS);
    let second = prefetch(&mut life.world);
    assert_eq!((1, 280_000), (first.attempt, first.timeout_ms));
    assert_eq!((1, 280_000), (second.attempt, second.timeout_ms));
    // One that has begun is over when it is released.
    let lease = held(&life.world, &second);
    life.world.engine.acknowledge(&lease, life.world.now);
    life.world
        .report(&lease, &Report::Released)
        .expect("its own lease");
    life.world.advance(RELEASE_PAUSE_MS);
    let third = prefetch(&mut life.world);
    assert_eq!((2, 300_000), (third.attempt, third.timeout_ms));
    life.world.restart(0);
}
