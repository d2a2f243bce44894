//! Wall clocks that are wrong: times compare with the clock as it is, and durations do not depend
//! on it.
//!
//! Owns the tests in which the wall clock jumps. Refuses to test what happens at right times.

use backlane_engine::command::{Known, Report, Request};
use backlane_engine::fact::RequestKey;
use backlane_engine::rules::limits::Limits;
use backlane_engine::rules::retry::Strategy;
use backlane_engine::rules::status::Phase;

use crate::world::{World, failed, held, new_execution, offer, retries};

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

fn phase(world: &World, birth: u64) -> Option<Phase> {
    world.engine.state().slot(birth).map(|slot| slot.phase)
}

/// Lets the wall clock be a day ahead for a moment, while something is logged.
fn glitch(world: &mut World) {
    world.now.wall_ms += DAY_MS;
    world.make(&new_execution("other", "glitch"));
    world.tick();
    world.now.wall_ms -= DAY_MS;
    world.tick();
}

/// An execution that backs off for a second.
fn backing_off(world: &mut World) -> u64 {
    let mut new = new_execution("acme", "mail");
    new.policy.retry = Some(retries(Strategy::Fixed));
    let birth = world.make(&new);
    let granted = world.lease("w1", offer(&["mail"])).expect("it is ready");
    let lease = held(world, &granted);
    let failed = Report::Failed(Box::new(failed()));
    world.report(&lease, &failed).expect("its own lease");
    assert_eq!(Some(Phase::Retrying), phase(world, birth));
    birth
}

#[test]
fn a_backoff_lasts_its_length_after_the_wall_clock_was_set_back() {
    let mut world = World::new(Limits::default());
    glitch(&mut world);
    let birth = backing_off(&mut world);
    world.now.wall_ms -= HOUR_MS;
    world.advance(2_000);
    assert_eq!(Some(Phase::Ready), phase(&world, birth));
}

#[test]
fn a_restart_after_the_wall_clock_was_set_back_makes_no_backoff_longer() {
    let mut world = World::new(Limits::default());
    let birth = backing_off(&mut world);
    world.now.wall_ms -= HOUR_MS;
    world.restart(0);
    world.advance(2_000);
    assert_eq!(Some(Phase::Ready), phase(&world, birth));
}

#[test]
fn a_restart_after_the_wall_clock_was_set_back_makes_no_attempt_longer() {
    let mut world = World::new(Limits::default());
    let mut new = new_execution("acme", "mail");
    new.policy.timeout_ms = 5_000;
    let birth = world.make(&new);
    world
        .lease_for("w1", offer(&["mail"]), HOUR_MS)
        .expect("it is ready");
    world.now.wall_ms -= HOUR_MS;
    world.restart(0);
    world.advance(5_000);
    assert!(world.audit.ends.contains_key(&birth), "it timed out");
}

#[test]
fn after_a_moment_in_the_future_times_of_callers_are_not_early() {
    let mut world = World::new(Limits::default());
    glitch(&mut world);
    let mut later = new_execution("acme", "mail");
    later.not_before_ms = Some(world.now.wall_ms + HOUR_MS);
    let later = world.make(&later);
    let mut ending = new_execution("acme", "mail");
    ending.deadline_ms = Some(world.now.wall_ms + HOUR_MS);
    let ending = world.make(&ending);
    world.tick();
    assert_eq!(Some(Phase::Pending), phase(&world, later));
    assert_eq!(Some(Phase::Ready), phase(&world, ending));
    world.advance(HOUR_MS);
    assert_eq!(Some(Phase::Ready), phase(&world, later));
    assert_eq!(None, phase(&world, ending));
}

#[test]
fn a_request_id_outlives_a_moment_in_the_future() {
    let mut world = World::new(Limits::default());
    let mut new = new_execution("acme", "mail");
    new.request = Some(Request {
        id: "r1".into(),
        key: RequestKey {
            key: [1; 16],
            body: [2; 16],
        },
    });
    let first = world.make(&new);
    world.now.wall_ms += 2 * DAY_MS;
    world.tick();
    let made = world.engine.enqueue(new, &Known::default(), world.now);
    assert_eq!(
        Ok((first, true)),
        made.map(|made| (made.birth, made.existing))
    );
}
