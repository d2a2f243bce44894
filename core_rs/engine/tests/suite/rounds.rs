//! Rounds: unfinished executions are written again, and the log before the round can be trimmed.

use backlane_engine::fact::{ExecutionChange, FactKind};
use backlane_engine::fold;
use backlane_engine::rules::limits::Limits;
use backlane_engine::state::{Impossible, State};

use crate::audit::{SHARD, assert_same, refold};
use crate::world::{World, completed, held, new_execution, offer};

/// A round with many other facts in between. Returns where in the log the round begins.
fn busy_round(world: &mut World) -> usize {
    let mut last = 0;
    for number in 0..6 {
        let mut new = new_execution("acme", ["mail", "img"][number % 2]);
        new.dedup_key = Some(format!("k{number}").into());
        last = world.make(&new);
    }
    world.set_limit("acme", Some("img"), Some(1));
    world.set_limit("idle", None, Some(7));
    let before = world.lease("w1", offer(&["*"])).expect("some are ready");
    let from = world.audit.log.len();
    world.engine.begin_round(world.now);
    world.settle();
    // The round has not carried these executions yet.
    let lease = held(world, &before);
    world.report(&lease, &completed()).expect("its own lease");
    world.lease("w1", offer(&["mail"])).expect("some are left");
    world.cancel("acme", world.id(last)).expect("it is queued");
    world.make(&new_execution("acme", "mail"));
    while !world.engine.carry(2, world.now) {
        world.settle();
        world.advance(100);
    }
    world.settle();
    from
}

#[test]
fn a_log_that_begins_with_a_round_leads_to_the_same_state() {
    let mut world = World::new(Limits::default());
    let from = busy_round(&mut world);
    let log = world.audit.log.clone();
    assert_same(world.engine.state(), &refold(&log[from..]));
    // A frame holds many facts, so a few facts from before the round may still be in the log.
    for first in 0..from {
        assert_same(world.engine.state(), &refold(&log[first..]));
    }
}

#[test]
fn a_dedup_key_is_still_held_after_the_log_was_trimmed() {
    let mut world = World::new(Limits::default());
    let from = busy_round(&mut world);
    let state = refold(&world.audit.log[from..]);
    let acme = state.tenants().by_name("acme").expect("a tenant");
    assert_eq!(Some(4), state.dedup(acme, "k3"));
    assert_eq!(None, state.dedup(acme, "k0"), "its holder ended");
}

#[test]
fn a_round_that_a_restart_interrupted_needs_the_log_before_it() {
    let mut world = World::new(Limits::default());
    let whole = busy_round(&mut world);
    world.engine.begin_round(world.now);
    world.engine.carry(1, world.now);
    world.restart(0);
    assert_same(world.engine.state(), &refold(&world.audit.log[whole..]));
    let again = busy_round(&mut world);
    for from in [whole, usize::midpoint(whole, again), again] {
        assert_same(world.engine.state(), &refold(&world.audit.log[from..]));
    }
}

#[test]
fn a_round_of_an_empty_shard_ends_at_once() {
    let mut world = World::new(Limits::default());
    world.engine.begin_round(world.now);
    assert!(world.engine.carry(10, world.now));
    world.settle();
    assert_eq!(1, world.engine.state().next_birth());
}

#[test]
fn birth_numbers_continue_even_if_every_execution_has_ended() {
    let mut world = World::new(Limits::default());
    let birth = world.make(&new_execution("acme", "mail"));
    world.cancel("acme", world.id(birth)).expect("it is queued");
    let from = world.audit.log.len();
    world.engine.begin_round(world.now);
    assert!(world.engine.carry(10, world.now));
    world.settle();
    assert_eq!(birth + 1, refold(&world.audit.log[from..]).next_birth());
}

#[test]
fn a_fact_about_an_execution_that_a_complete_log_never_made_is_damage() {
    let mut world = World::new(Limits::default());
    world.make(&new_execution("acme", "mail"));
    world.make(&new_execution("acme", "mail"));
    world.cancel("acme", world.id(2)).expect("it is queued");
    let mut log = world.audit.log.clone();
    log.remove(1);
    let mut state = State::new(SHARD);
    let folded: Result<(), _> = log.iter().try_for_each(|fact| fold(&mut state, fact));
    assert_eq!(Err(Impossible::Unknown { birth: 2 }), folded);
}

#[test]
fn an_execution_carried_with_another_state_is_damage() {
    let mut world = World::new(Limits::default());
    world.make(&new_execution("acme", "mail"));
    world.engine.begin_round(world.now);
    world.engine.carry(10, world.now);
    world.settle();
    let mut log = world.audit.log.clone();
    if let Some(FactKind::Execution(fact)) = log.last_mut().map(|fact| &mut fact.kind)
        && let ExecutionChange::Carried(living) = &mut fact.change
    {
        living.priority += 1;
    }
    let mut state = State::new(SHARD);
    let folded: Result<(), _> = log.iter().try_for_each(|fact| fold(&mut state, fact));
    assert_eq!(Err(Impossible::CarriedDiffers { birth: 1 }), folded);
}
