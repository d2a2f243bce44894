//! Fairness between tenants: a simulated fleet of workers, and the worker time that each tenant
//! got.
//!
//! Owns the simulation. Refuses to look inside the engine: shares are measured at the workers.

use std::collections::BTreeMap;

use backlane_engine::Engine;
use backlane_engine::command::{Held, Known, NewExecution, OfferKey, Taker};
use backlane_engine::decide::Speaker;
use backlane_engine::fact::Actor;
use backlane_engine::reply::Granted;
use backlane_engine::rules::access::Principal;
use backlane_engine::rules::limits::Limits;
use backlane_engine::state::{State, TenantKey};
use backlane_engine::time::Now;

use crate::world::{START_MS, World, completed, held, new_execution, offer};

struct Busy {
    granted: Granted,
    tenant: String,
    until_ms: u64,
}

/// Workers that run each tenant's executions for that tenant's run time.
struct Fleet {
    engine: Engine,
    offer: OfferKey,
    now: Now,
    run_ms: BTreeMap<&'static str, u64>,
    busy: Vec<Option<Busy>>,
    shares: BTreeMap<String, u64>,
}

impl Fleet {
    fn new(workers: usize, run_ms: &[(&'static str, u64)]) -> Self {
        let now = Now {
            wall_ms: START_MS,
            mono_ms: 1,
        };
        let mut engine = Engine::start(State::new(0), 1, Limits::default(), now);
        let offer = engine.acquire_offer(offer(&["*"]));
        let busy = (0..workers).map(|_| None).collect();
        let (run_ms, shares) = (run_ms.iter().copied().collect(), BTreeMap::new());
        Self {
            engine,
            offer,
            now,
            run_ms,
            busy,
            shares,
        }
    }

    fn enqueue(&mut self, tenant: &str, many: usize) {
        let new: NewExecution = new_execution(tenant, "work");
        for _ in 0..many {
            self.engine
                .enqueue(new.clone(), &Known::default(), self.now)
                .expect("it is taken");
        }
        self.engine.take_decided();
    }

    /// Runs the fleet for `ms` milliseconds. Returns the worker time of each tenant.
    fn run(&mut self, ms: u64) -> BTreeMap<String, u64> {
        self.shares.clear();
        let until_ms = self.now.mono_ms + ms;
        while self.now.mono_ms < until_ms {
            self.fill();
            let ends = self.busy.iter().flatten().map(|busy| busy.until_ms);
            let next = ends.min().unwrap_or(until_ms).min(until_ms);
            self.pass(next - self.now.mono_ms);
            self.finish();
        }
        self.shares.clone()
    }

    fn fill(&mut self) {
        for at in 0..self.busy.len() {
            if self.busy[at].is_none() {
                self.busy[at] = self.lease(at);
            }
        }
    }

    fn lease(&mut self, at: usize) -> Option<Busy> {
        let worker = format!("w{at}").as_str().into();
        let taker = Taker {
            worker,
            offer: self.offer,
            duration_ms: 3_600_000,
            principal: "".into(),
            stream: None,
            prefetches: false,
        };
        let granted = self.engine.lease(&taker, 7, self.now)?;
        let living = self.engine.state().living(granted.birth)?;
        let tenant = living.tenant.to_string();
        let until_ms = self.now.mono_ms + self.run_ms[&*tenant];
        Some(Busy {
            granted,
            tenant,
            until_ms,
        })
    }

    fn pass_of(&self, tenant: TenantKey) -> u64 {
        let shares = self.engine.soft().offers.shares(self.offer);
        shares.expect("the offer is in use").pass(tenant)
    }

    fn pass(&mut self, ms: u64) {
        for busy in self.busy.iter().flatten() {
            *self.shares.entry(busy.tenant.clone()).or_default() += ms;
        }
        self.now.mono_ms += ms;
        self.now.wall_ms += ms;
    }

    fn finish(&mut self) {
        let now_ms = self.now.mono_ms;
        for at in 0..self.busy.len() {
            if let Some(busy) = self.busy[at].take_if(|busy| busy.until_ms <= now_ms) {
                let id = self
                    .engine
                    .state()
                    .id(busy.granted.birth)
                    .expect("it lives");
                let held = Held {
                    id,
                    token: Some(busy.granted.holding.token),
                };
                let (known, principal) = (Known::default(), Principal::default());
                let speaker = Speaker {
                    principal: &principal,
                    known: &known,
                };
                let settled = self.engine.report(&held, &completed(), speaker, self.now);
                settled.expect("its own lease");
            }
        }
        self.engine.take_decided();
    }
}

fn percent(shares: &BTreeMap<String, u64>, tenant: &str) -> u64 {
    let all: u64 = shares.values().sum();
    shares.get(tenant).copied().unwrap_or(0) * 100 / all
}

fn assert_near(expected: u64, actual: u64, slack: u64) {
    assert!(
        expected.abs_diff(actual) <= slack,
        "{actual} % is not {expected} %"
    );
}

#[test]
fn equal_tenants_share_the_workers_equally() {
    let mut fleet = Fleet::new(4, &[("a", 100), ("b", 100)]);
    fleet.enqueue("a", 3_000);
    fleet.enqueue("b", 3_000);
    assert_near(50, percent(&fleet.run(60_000), "a"), 2);
}

#[test]
fn a_larger_backlog_gets_no_larger_share() {
    let mut fleet = Fleet::new(2, &[("a", 100), ("b", 100), ("c", 100)]);
    fleet.enqueue("a", 5_000);
    fleet.enqueue("b", 400);
    fleet.enqueue("c", 400);
    let shares = fleet.run(30_000);
    for tenant in ["a", "b", "c"] {
        assert_near(33, percent(&shares, tenant), 2);
    }
}

#[test]
fn long_and_short_executions_share_worker_seconds_not_turns() {
    let mut fleet = Fleet::new(4, &[("long", 1_000), ("short", 100)]);
    fleet.enqueue("long", 1_000);
    fleet.enqueue("short", 10_000);
    // The estimates have to adapt first.
    fleet.run(20_000);
    assert_near(50, percent(&fleet.run(100_000), "long"), 3);
}

#[test]
fn a_tenant_that_was_idle_gets_no_credit_for_it() {
    let mut fleet = Fleet::new(2, &[("busy", 100), ("back", 100)]);
    fleet.enqueue("busy", 5_000);
    fleet.enqueue("back", 1);
    fleet.run(60_000);
    fleet.enqueue("back", 1_000);
    assert_near(50, percent(&fleet.run(10_000), "back"), 3);
}

#[test]
fn no_worker_idles_while_any_tenant_has_work() {
    let mut fleet = Fleet::new(3, &[("a", 100), ("limited", 100)]);
    fleet
        .engine
        .set_limit(Actor::engine(), "limited".into(), None, Some(1), fleet.now)
        .expect("a limit can be set");
    fleet.enqueue("a", 1_000);
    fleet.enqueue("limited", 1_000);
    let shares = fleet.run(10_000);
    assert_eq!(30_000, shares.values().sum::<u64>());
    assert_near(33, percent(&shares, "limited"), 1);
}

#[test]
fn a_long_run_is_charged_while_it_lasts() {
    let mut fleet = Fleet::new(2, &[("endless", 3_000_000), ("other", 100)]);
    fleet.enqueue("endless", 2);
    fleet.run(1);
    // The first lease of both tenants was estimated as short, and no execution of "endless" has
    // ended yet, which would correct the estimate.
    fleet.enqueue("other", 10);
    fleet.now.mono_ms += 250_000;
    fleet.now.wall_ms += 250_000;
    while fleet.engine.tick(16, fleet.now) {}
    let tenants = fleet.engine.state().tenants();
    let key = tenants.by_name("endless").expect("a tenant");
    let worker_us = 250_000 * 1_000;
    assert!(fleet.pass_of(key) < worker_us, "the wake has not come yet");
    for busy in fleet.busy.iter().flatten() {
        let id = fleet
            .engine
            .state()
            .id(busy.granted.birth)
            .expect("it lives");
        let held = Held {
            id,
            token: Some(busy.granted.holding.token),
        };
        let (known, principal) = (Known::default(), Principal::default());
        let speaker = Speaker {
            principal: &principal,
            known: &known,
        };
        fleet
            .engine
            .renew(&held, None, None, speaker, fleet.now)
            .expect("its own lease");
    }
    assert!(fleet.pass_of(key) >= 2 * worker_us);
}

#[test]
fn a_single_tenant_is_served_in_the_order_of_enqueue() {
    let mut fleet = Fleet::new(1, &[("a", 10)]);
    fleet.enqueue("a", 50);
    let births: Vec<_> = (0..50).map_while(|at| fleet.lease(at)).collect();
    let births: Vec<_> = births.iter().map(|busy| busy.granted.birth).collect();
    assert_eq!((1..=50).collect::<Vec<_>>(), births);
}

#[test]
fn a_newcomer_does_not_wait_for_the_work_that_another_kind_of_worker_did() {
    let mut world = World::new(Limits::default());
    let fast = world.engine.acquire_offer(offer(&["fast"]));
    let slow = world.engine.acquire_offer(offer(&["slow"]));
    let run = |world: &mut World, offer: OfferKey, ms: u64| {
        let taker = Taker {
            worker: "w".into(),
            offer,
            duration_ms: 3_600_000,
            principal: "".into(),
            stream: None,
            prefetches: false,
        };
        let granted = world.engine.lease(&taker, world.now.mono_ms, world.now)?;
        let tenant = world.engine.state().living(granted.birth)?.tenant;
        world.settle();
        world.now.mono_ms += ms;
        world.now.wall_ms += ms;
        let lease = held(world, &granted);
        world.report(&lease, &completed()).expect("its own lease");
        Some(tenant)
    };
    for _ in 0..100 {
        world.make(&new_execution("busy", "fast"));
        world.make(&new_execution("old", "slow"));
    }
    for _ in 0..50 {
        run(&mut world, fast, 100_000);
        run(&mut world, slow, 1_000);
    }
    world.make(&new_execution("newcomer", "slow"));
    let next: Vec<_> = (0..2).map_while(|_| run(&mut world, slow, 1_000)).collect();
    assert!(
        next.iter().any(|tenant| &**tenant == "newcomer"),
        "{next:?}"
    );
}
