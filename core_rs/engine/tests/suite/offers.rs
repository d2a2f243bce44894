//! Offers: which worker could lease which execution, after every change that matters.
//!
//! Owns the tests that the heads kept for offers are never stale. Refuses to look at the heads: it
//! takes leases.

use backlane_engine::command::{Held, OfferSpec, Report, Taker};
use backlane_engine::rules::access::TenantScope;
use backlane_engine::rules::limits::{Limits, MAX_PAUSES, RELEASE_PAUSE_MS};

use crate::world::{World, completed, held, new_execution, offer};

fn world() -> World {
    World::new(Limits::default())
}

fn leased(world: &mut World, offer: u32) -> Option<u64> {
    let taker = Taker {
        worker: "w1".into(),
        offer,
        duration_ms: 30_000,
        principal: "".into(),
        stream: None,
        prefetches: false,
    };
    let granted = world.engine.lease(&taker, world.now.mono_ms, world.now);
    world.settle();
    granted.map(|granted| granted.birth)
}

#[test]
fn a_wildcard_covers_a_callable_that_appears_later() {
    let mut world = world();
    let family = world.engine.acquire_offer(offer(&["img.*"]));
    let all = world.engine.acquire_offer(offer(&["*"]));
    assert!(!world.engine.has_work(family));
    let small = world.make(&new_execution("acme", "img.small"));
    let other = world.make(&new_execution("acme", "image"));
    assert!(world.engine.has_work(family));
    assert_eq!(Some(small), leased(&mut world, family));
    assert!(!world.engine.has_work(family));
    assert_eq!(Some(other), leased(&mut world, all));
}

#[test]
fn a_star_within_a_name_is_no_wildcard() {
    let spec = offer(&["img*", "*.small"]);
    assert!(!spec.matches("acme", "img.small"));
    assert!(!spec.matches("acme", "imgs"));
}

#[test]
fn a_new_offer_covers_executions_that_are_already_queued() {
    let mut world = world();
    let first = world.make(&new_execution("acme", "mail"));
    let held_back = world.make(&new_execution("acme", "slow"));
    world.set_limit("acme", Some("slow"), Some(0));
    let key = world.engine.acquire_offer(offer(&["*"]));
    assert_eq!(Some(first), leased(&mut world, key));
    assert_eq!(None, leased(&mut world, key));
    world.set_limit("acme", Some("slow"), None);
    assert_eq!(Some(held_back), leased(&mut world, key));
}

#[test]
fn equal_offers_share_a_key_and_unused_offers_can_be_used_again() {
    let mut world = world();
    let key = world.engine.acquire_offer(offer(&["mail"]));
    assert_eq!(key, world.engine.acquire_offer(offer(&["mail"])));
    world.engine.release_offer(key, world.now);
    world.engine.release_offer(key, world.now);
    let birth = world.make(&new_execution("acme", "mail"));
    let again = world.engine.acquire_offer(offer(&["mail"]));
    assert_eq!(Some(birth), leased(&mut world, again));
}

#[test]
fn unused_offers_are_forgotten_and_built_again() {
    let mut world = world();
    let kept = world.engine.acquire_offer(offer(&["mail"]));
    for number in 0..1_000 {
        let key = world
            .engine
            .acquire_offer(offer(&["mail", &format!("other{number}")]));
        world.engine.release_offer(key, world.now);
    }
    let first = world.make(&new_execution("acme", "mail"));
    let second = world.make(&new_execution("acme", "mail"));
    let again = world.engine.acquire_offer(offer(&["mail", "other0"]));
    assert_eq!(Some(first), leased(&mut world, again));
    assert_eq!(Some(second), leased(&mut world, kept));
    assert!(!world.engine.has_work(again));
}

#[test]
fn an_offer_in_use_is_never_forgotten() {
    let mut world = world();
    let kept = world.engine.acquire_offer(offer(&["mail"]));
    // This offer was unused for a moment, between its release and its next use.
    world.engine.release_offer(kept, world.now);
    let kept = world.engine.acquire_offer(offer(&["mail"]));
    for number in 0..200 {
        let key = world
            .engine
            .acquire_offer(offer(&[&format!("other{number}")]));
        world.engine.release_offer(key, world.now);
    }
    let birth = world.make(&new_execution("acme", "mail"));
    assert_eq!(Some(birth), leased(&mut world, kept));
}

#[test]
fn a_tenant_at_its_limit_is_parked_and_comes_back() {
    let mut world = world();
    world.set_limit("acme", None, Some(1));
    let key = world.engine.acquire_offer(offer(&["*"]));
    let first = world.make(&new_execution("acme", "mail"));
    let second = world.make(&new_execution("acme", "other"));
    let granted = world.lease("w1", offer(&["*"])).expect("the first");
    assert_eq!(first, granted.birth);
    assert!(!world.engine.has_work(key));
    let token = held(&world, &granted);
    world.report(&token, &completed()).expect("its own lease");
    assert!(world.engine.has_work(key));
    assert_eq!(Some(second), leased(&mut world, key));
}

#[test]
fn a_callable_at_its_limit_is_parked_and_comes_back() {
    let mut world = world();
    world.set_limit("acme", Some("slow"), Some(1));
    let key = world.engine.acquire_offer(offer(&["slow"]));
    world.make(&new_execution("acme", "slow"));
    let second = world.make(&new_execution("acme", "slow"));
    let granted = world.lease("w1", offer(&["*"])).expect("the first");
    assert!(!world.engine.has_work(key));
    let token = held(&world, &granted);
    world.report(&token, &completed()).expect("its own lease");
    assert_eq!(Some(second), leased(&mut world, key));
}

#[test]
fn an_offer_for_some_tenants_covers_no_other_tenant() {
    let mut world = world();
    let tenants = TenantScope::Only(["blue".into()].into());
    let spec = OfferSpec {
        tenants,
        ..offer(&["*"])
    };
    let key = world.engine.acquire_offer(spec);
    world.make(&new_execution("acme", "mail"));
    assert!(!world.engine.has_work(key));
    let own = world.make(&new_execution("blue", "mail"));
    assert_eq!(Some(own), leased(&mut world, key));
}

#[test]
fn a_worker_that_released_the_best_execution_gets_the_next_of_another_callable() {
    let mut world = world();
    let best = world.make(&new_execution("acme", "one"));
    let second = world.make(&new_execution("acme", "two"));
    let third = world.make(&new_execution("acme", "one"));
    let granted = world.lease("w1", offer(&["*"])).expect("the best");
    assert_eq!(best, granted.birth);
    let token = held(&world, &granted);
    let released = Report::Released;
    world.report(&token, &released).expect("its own lease");
    let next: Vec<_> = (0..3).map(|_| world.lease("w1", offer(&["*"]))).collect();
    let next: Vec<_> = next
        .into_iter()
        .flatten()
        .map(|granted| granted.birth)
        .collect();
    assert_eq!(vec![second, third], next);
    assert_eq!(
        Some(best),
        world
            .lease("w2", offer(&["*"]))
            .map(|granted| granted.birth)
    );
}

#[test]
fn a_worker_that_releases_everything_gets_nothing_until_the_first_pause_is_over() {
    let mut world = world();
    for _ in 0..MAX_PAUSES + 10 {
        world.make(&new_execution("acme", "mail"));
    }
    let mut released = 0;
    while let Some(granted) = world.lease("w1", offer(&["*"])) {
        let lease = held(&world, &granted);
        world
            .report(&lease, &Report::Released)
            .expect("its own lease");
        released += 1;
    }
    assert_eq!(MAX_PAUSES, released);
    assert_eq!(MAX_PAUSES, world.engine.take_most_examined());
    assert!(world.lease("w2", offer(&["*"])).is_some(), "others do");
    world.advance(RELEASE_PAUSE_MS);
    assert!(world.lease("w1", offer(&["*"])).is_some());
}

fn complete(world: &mut World, birth: u64) {
    let id = world.engine.state().id(birth).expect("it lives");
    let token = world.engine.state().holding(birth).map(|own| own.token);
    let lease = Held { id, token };
    world.report(&lease, &completed()).expect("its own lease");
}

#[test]
fn passes_of_tenants_that_are_forgotten_are_forgotten() {
    let mut world = world();
    let all = world.engine.acquire_offer(offer(&["*"]));
    // This worker gave it back and is not given it again, so that its tenant stays behind the
    // others, whose passes are therefore kept.
    world.make(&new_execution("behind", "mail"));
    let granted = world.lease("w1", offer(&["*"])).expect("the only one");
    let lease = held(&world, &granted);
    world
        .report(&lease, &Report::Released)
        .expect("its own lease");
    for number in 0..1_300 {
        let birth = world.make(&new_execution(&format!("t{number}"), "mail"));
        assert_eq!(Some(birth), leased(&mut world, all));
        complete(&mut world, birth);
    }
    let soft = world.engine.soft();
    let shares = soft.offers.shares(all).expect("the offer is in use");
    assert!((1_000..1_100).contains(&shares.tenants().count()));
}

#[test]
fn names_without_executions_are_forgotten_and_come_back() {
    let mut world = world();
    let all = world.engine.acquire_offer(offer(&["*"]));
    for number in 0..3_000 {
        let tenant = format!("t{number}");
        let birth = world.make(&new_execution(&tenant, &tenant));
        assert_eq!(Some(birth), leased(&mut world, all));
        complete(&mut world, birth);
    }
    assert!(world.engine.state().tenants().all().count() < 1_100);
    let again = world.make(&new_execution("t0", "t0"));
    assert_eq!(Some(again), leased(&mut world, all));
}
