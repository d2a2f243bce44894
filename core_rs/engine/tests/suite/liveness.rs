//! Liveness: leases on streams, leases that never arrive, and notices to streams.
//!
//! Owns the tests that no scenario can express, because they need streams.

use backlane_engine::command::{Held, Known, StreamKey, Taker};
use backlane_engine::decide::Speaker;
use backlane_engine::fact::{ExecutionChange, RequeueCause};
use backlane_engine::reply::{Granted, Notice};
use backlane_engine::rules::access::Principal;
use backlane_engine::rules::limits::Limits;
use backlane_engine::rules::status::Phase;
use backlane_engine::soft::Told;

use crate::world::{World, held, new_execution, offer};

const STREAM: StreamKey = 9;

fn phase(world: &World, birth: u64) -> Option<Phase> {
    world.engine.state().slot(birth).map(|slot| slot.phase)
}

fn lease_on_stream(world: &mut World, period_ms: u64) -> Granted {
    let key = world.engine.acquire_offer(offer(&["*"]));
    world.engine.stream_frame(STREAM, world.now);
    let (worker, stream) = ("w1".into(), Some(STREAM));
    let taker = Taker {
        worker,
        offer: key,
        duration_ms: period_ms,
        principal: "".into(),
        stream,
        prefetches: false,
    };
    let granted = world
        .engine
        .lease(&taker, world.now.mono_ms, world.now)
        .expect("something is ready");
    world.settle();
    let lease = held(world, &granted);
    world.engine.acknowledge(&lease, world.now);
    granted
}

fn world_with_one() -> World {
    let mut world = World::new(Limits::default());
    world.make(&new_execution("acme", "mail"));
    world
}

fn causes(world: &World) -> Vec<RequeueCause> {
    let changes = world
        .audit
        .log
        .iter()
        .filter_map(|fact| fact.kind.as_execution());
    let causes = changes.filter_map(|fact| match &fact.change {
        ExecutionChange::Requeued { cause, .. } => Some(*cause),
        _ => None,
    });
    causes.collect()
}

#[test]
fn any_message_on_a_stream_keeps_all_its_leases() {
    let mut world = world_with_one();
    world.make(&new_execution("acme", "mail"));
    let leases = [
        lease_on_stream(&mut world, 10_000),
        lease_on_stream(&mut world, 10_000),
    ];
    for _ in 0..5 {
        world.advance(9_000);
        world.engine.stream_frame(STREAM, world.now);
    }
    world.advance(9_999);
    assert_eq!(
        [Some(Phase::Running); 2],
        leases.each_ref().map(|one| phase(&world, one.birth))
    );
    world.advance(1);
    assert_eq!(
        [Some(Phase::Ready); 2],
        leases.each_ref().map(|one| phase(&world, one.birth))
    );
    assert_eq!(vec![RequeueCause::LeaseLost; 2], causes(&world));
}

#[test]
fn leases_of_a_broken_stream_wait_five_seconds_for_their_worker() {
    let mut world = world_with_one();
    let granted = lease_on_stream(&mut world, 60_000);
    world.engine.stream_ended(STREAM, world.now);
    world.advance(4_999);
    assert_eq!(Some(Phase::Running), phase(&world, granted.birth));
    world.advance(1);
    assert_eq!(Some(Phase::Ready), phase(&world, granted.birth));
}

#[test]
fn a_worker_that_reconnects_in_time_keeps_its_leases() {
    let mut world = world_with_one();
    let granted = lease_on_stream(&mut world, 60_000);
    world.engine.stream_ended(STREAM, world.now);
    world.advance(4_000);
    let (known, principal) = (Known::default(), Principal::default());
    let speaker = Speaker {
        principal: &principal,
        known: &known,
    };
    let lease = held(&world, &granted);
    let again = world
        .engine
        .renew(&lease, Some(60_000), Some(STREAM + 1), speaker, world.now);
    assert!(again.is_ok(), "{again:?}");
    world.advance(59_999);
    assert_eq!(Some(Phase::Running), phase(&world, granted.birth));
    world.engine.stream_frame(STREAM + 1, world.now);
    world.advance(59_999);
    assert_eq!(Some(Phase::Running), phase(&world, granted.birth));
}

#[test]
fn leases_that_never_arrived_count_as_losses_only_after_the_tenth() {
    let mut world = world_with_one();
    for _ in 0..10 {
        world
            .lease_unacknowledged("w1", offer(&["*"]), 1_000)
            .expect("it is ready again");
        world.advance(1_000);
    }
    assert_eq!(vec![RequeueCause::Undelivered; 10], causes(&world));
    world
        .lease_unacknowledged("w1", offer(&["*"]), 1_000)
        .expect("it is ready again");
    world.advance(1_000);
    assert_eq!(Some(&RequeueCause::LeaseLost), causes(&world).last());
}

#[test]
fn an_execution_that_may_run_once_counts_even_an_unacknowledged_lease() {
    let mut world = World::new(Limits::default());
    let mut new = new_execution("acme", "mail");
    new.policy.max_worker_losses = 1;
    let birth = world.make(&new);
    world
        .lease_unacknowledged("w1", offer(&["*"]), 1_000)
        .expect("it is ready");
    world.advance(1_000);
    assert!(world.audit.ends.contains_key(&birth));
}

#[test]
fn a_lease_ages_only_once_it_has_left_the_server() {
    let mut world = World::new(Limits::default());
    let mut new = new_execution("acme", "mail");
    new.policy.max_worker_losses = 1;
    new.policy.timeout_ms = 20_000;
    let birth = world.make(&new);
    let offer = world.engine.acquire_offer(offer(&["*"]));
    let taker = Taker {
        worker: "w1".into(),
        offer,
        duration_ms: 10_000,
        principal: "".into(),
        stream: None,
        prefetches: false,
    };
    let granted = world.engine.lease(&taker, 7, world.now);
    let lease = held(&world, &granted.expect("it is ready"));
    // The disk takes a minute for the commit.
    world.now.mono_ms += 60_000;
    world.now.wall_ms += 60_000;
    assert!(!world.engine.tick(16, world.now));
    world.settle();
    world.engine.sent(&lease, world.now);
    world.advance(9_999);
    assert_eq!(Some(Phase::Running), phase(&world, birth));
    world.advance(1);
    assert!(world.audit.ends.contains_key(&birth));
}

#[test]
fn a_lease_whose_stream_ends_before_it_leaves_waits_for_the_grace_period_only() {
    let mut world = world_with_one();
    let key = world.engine.acquire_offer(offer(&["*"]));
    world.engine.stream_frame(STREAM, world.now);
    let taker = Taker {
        worker: "w1".into(),
        offer: key,
        duration_ms: 60_000,
        principal: "".into(),
        stream: Some(STREAM),
        prefetches: false,
    };
    let granted = world.engine.lease(&taker, 7, world.now);
    let granted = granted.expect("it is ready");
    world.engine.stream_ended(STREAM, world.now);
    world.settle();
    world.advance(4_999);
    assert_eq!(Some(Phase::Running), phase(&world, granted.birth));
    world.advance(1);
    assert_eq!(Some(Phase::Ready), phase(&world, granted.birth));
}

#[test]
fn a_lease_whose_reply_was_never_sent_is_taken_back_at_once() {
    let mut world = world_with_one();
    let granted = world
        .lease_unacknowledged("w1", offer(&["*"]), 30_000)
        .expect("it is ready");
    let lease = held(&world, &granted);
    world.engine.undeliver(&lease, world.now);
    // A second call changes nothing: the lease token is no longer live.
    world.engine.undeliver(&lease, world.now);
    world.settle();
    assert_eq!(vec![RequeueCause::Undelivered], causes(&world));
    let again = world
        .lease("w1", offer(&["*"]))
        .expect("no pause follows, since it was not released");
    assert_eq!((granted.birth, 2), (again.birth, again.attempt));
}

#[test]
fn a_stream_is_told_of_cancels_and_lost_leases() {
    let mut world = world_with_one();
    let granted = lease_on_stream(&mut world, 60_000);
    let Held { id, token } = held(&world, &granted);
    let told = |notice| Told {
        stream: STREAM,
        id,
        token: token.expect("a token"),
        notice,
    };
    world.cancel("acme", id).expect("it runs");
    assert_eq!(vec![told(Notice::Cancel)], world.engine.take_told());
    world.cancel("acme", id).expect("it still runs");
    assert_eq!(Vec::<Told>::new(), world.engine.take_told());
    world.advance(10_000);
    assert_eq!(vec![told(Notice::Lost)], world.engine.take_told());
}

#[test]
fn a_worker_that_ends_its_lease_gets_no_notice() {
    let mut world = world_with_one();
    let granted = lease_on_stream(&mut world, 60_000);
    let lease = held(&world, &granted);
    world
        .report(&lease, &crate::world::completed())
        .expect("its own lease");
    assert_eq!(Vec::<Told>::new(), world.engine.take_told());
}

#[test]
fn a_stall_of_the_whole_server_extends_leases_by_its_length() {
    let mut world = world_with_one();
    let granted = world
        .lease_for("w1", offer(&["*"]), 10_000)
        .expect("it is ready");
    // Only the wall clock advanced.
    world.now.wall_ms += 3_600_000;
    world.tick();
    assert_eq!(Some(Phase::Running), phase(&world, granted.birth));
    world.advance(10_000);
    assert_eq!(Some(Phase::Ready), phase(&world, granted.birth));
}

#[test]
fn the_longest_possible_timeout_survives_a_restart() {
    let mut world = World::new(Limits::default());
    let mut new = new_execution("acme", "mail");
    new.policy.timeout_ms = u64::MAX;
    let birth = world.make(&new);
    world.lease("w1", offer(&["*"])).expect("it is ready");
    world.restart(1_000);
    world.advance(29_999);
    assert_eq!(Some(Phase::Running), phase(&world, birth));
}

#[test]
fn logged_time_never_decreases_even_if_the_wall_clock_does() {
    let mut world = world_with_one();
    let before_ms = world.now.wall_ms;
    world.now.wall_ms -= 3_600_000;
    let second = world.make(&new_execution("acme", "mail"));
    let queued = world
        .engine
        .state()
        .living(second)
        .map(|living| living.queued_at_ms);
    assert_eq!(Some(before_ms), queued);
}
