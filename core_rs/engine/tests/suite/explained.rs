//! Explanations against dispatch, after random histories.
//!
//! Owns two promises: where there is no reason, the next lease takes the execution; and whoever
//! removes the first reason, again and again, comes to that lease. Refuses to know admission.

use backlane_engine::command::{Dependency, OfferSpec, Report};
use backlane_engine::fact::{Fact, FactKind, PauseAsked, Run, RunChange};
use backlane_engine::reason::{Explanation, Offering, Reason};
use backlane_engine::rules::access::TenantScope;
use backlane_engine::rules::id::Birth;
use backlane_engine::rules::status::ActorKind;
use proptest::prelude::*;

use crate::audit::{births, refold};
use crate::model::Model;
use crate::steps::{WORKERS, a_spec, a_step};
use crate::world::{World, completed, held, new_execution, offer};

/// A worker that asks for executions, and how many it can take.
struct Probe {
    worker: &'static str,
    spec: OfferSpec,
    free: u64,
}

impl Probe {
    fn explain(&self, world: &mut World, birth: Birth) -> Option<Explanation> {
        world.tick();
        let key = world.engine.acquire_offer(self.spec.clone());
        let offering = Offering {
            worker: self.worker.into(),
            offer: key,
            free: self.free,
            stream: None,
        };
        let told = world.engine.explain(birth, &[offering], world.now);
        world.engine.release_offer(key, world.now);
        told
    }

    /// Whether the next lease of this worker is that of the execution.
    fn takes(&self, world: &mut World, birth: Birth) -> bool {
        let granted = world.lease(self.worker, self.spec.clone());
        granted.is_some_and(|granted| granted.birth == birth)
    }
}

/// Removes the cause of a reason.
fn remove(world: &mut World, probe: &mut Probe, birth: Birth, told: &Explanation, first: &Reason) {
    let id = world.id(birth);
    let advance = |world: &mut World, until_at_ms: u64| {
        let left = until_at_ms.saturating_sub(world.now.wall_ms);
        world.advance(left.max(1));
    };
    match first {
        Reason::NotDue { until_at_ms } | Reason::BackingOff { until_at_ms, .. } => {
            advance(world, *until_at_ms);
        }
        Reason::Withheld { until_at_ms, .. } => advance(world, until_at_ms.expect("one pause")),
        Reason::AwaitsDependencies { unmet, .. } => {
            let (upstream, _) = unmet[0];
            world
                .cancel(&told.tenant, upstream)
                .expect("it is unfinished");
            world.advance(10_000);
        }
        Reason::Paused { .. } | Reason::Suspended { .. } => {
            world.resume(&told.tenant, id).expect("it can go on");
        }
        Reason::Running(_) => {
            let token = world
                .engine
                .state()
                .holding(birth)
                .map(|holding| holding.token);
            let held = backlane_engine::command::Held { id, token };
            world
                .report(&held, &Report::Released)
                .expect("a live lease");
        }
        Reason::TenantLimit(_) => world.set_limit(&told.tenant, None, None),
        Reason::CallableLimit(_) => world.set_limit(&told.tenant, Some(&told.callable), None),
        Reason::NoWorker { .. } => probe.spec = offer(&[&*told.callable]),
        Reason::SlotsTaken { .. } => {
            probe.free = 1;
            if !probe.spec.matches(&told.tenant, &told.callable) {
                probe.spec = offer(&[&*told.callable]);
            }
        }
        Reason::Ahead(_) => {
            let mut spec = probe.spec.clone();
            spec.tenants = TenantScope::Only([(*told.tenant).into()].into());
            let granted = world.lease("helper", spec).expect("one is ahead");
            let held = held(world, &granted);
            world.report(&held, &completed()).expect("a live lease");
        }
        Reason::Turn(_) => {
            for tenant in crate::steps::TENANTS {
                if *tenant != *told.tenant {
                    world.set_limit(tenant, None, Some(0));
                }
            }
        }
        Reason::SetAside { .. } | Reason::AwaitsChildren { .. } => panic!("not in these histories"),
    }
}

proptest! {
    #[test]
    fn an_execution_without_a_reason_is_the_next_that_is_leased(
        steps in prop::collection::vec(a_step(), 1..60),
        (worker, kind, scope) in (0..WORKERS.len(), 0..4_usize, 0..3_usize),
    ) {
        let mut model = Model::new();
        for step in &steps {
            model.take(step);
        }
        let world = &mut model.world;
        let probe = Probe { worker: WORKERS[worker], spec: a_spec(kind, scope), free: 1 };
        for birth in births(world.engine.state()) {
            if let Some(told) = probe.explain(world, birth) {
                let takes = probe.takes(world, birth);
                prop_assert_eq!(told.reasons.is_empty(), takes, "{:?}", told);
            }
        }
    }

    #[test]
    fn whoever_removes_each_reason_comes_to_the_lease(
        steps in prop::collection::vec(a_step(), 1..60),
        (worker, kind, scope) in (0..WORKERS.len(), 0..4_usize, 0..3_usize),
        nth in any::<prop::sample::Index>(),
        depends: bool,
    ) {
        let mut model = Model::new();
        for step in &steps {
            model.take(step);
        }
        let world = &mut model.world;
        world.tick();
        let living = births(world.engine.state());
        prop_assume!(!living.is_empty());
        let mut birth = *nth.get(&living);
        if depends {
            let slot = world.engine.state().living(birth).expect("it lives");
            let mut new = new_execution(&slot.tenant, "mail");
            new.depends_on = vec![Dependency::Execution(slot.id)];
            birth = world.make(&new);
        }
        let mut probe = Probe { worker: WORKERS[worker], spec: a_spec(kind, scope), free: 0 };
        for round in 0.. {
            prop_assert!(round < 200, "the reasons never end");
            // An execution may end meanwhile: at its deadline, or when its holder lets go.
            let Some(told) = probe.explain(world, birth) else { break };
            let Some(first) = told.reasons.first() else {
                prop_assert!(probe.takes(world, birth));
                break;
            };
            remove(world, &mut probe, birth, &told, first);
            let next = probe.explain(world, birth);
            let stays = next.is_some_and(|next| next.reasons.first() == Some(first));
            prop_assert!(!stays, "{first:?} stays");
        }
    }
}

#[test]
fn a_log_of_an_earlier_version_does_not_tell_who_paused() {
    let mut world = World::new(backlane_engine::rules::limits::Limits::default());
    let birth = world.make(&new_execution("acme", "mail"));
    world.pause("acme", world.id(birth)).expect("it is queued");
    let pause_of = |world: &World| {
        let run = world.engine.state().run(birth).expect("a pause");
        run.pause.as_deref().cloned()
    };
    let known = pause_of(&world).expect("the fact names who");
    assert_eq!(ActorKind::Client, known.actor.kind);
    // The earlier version carries the run without that: the fact before it still tells.
    let run = Run {
        pause: None,
        ..world.engine.state().run_of(birth)
    };
    let carried = carried(birth, &run, &world);
    let mut state = world.audit.refold();
    backlane_engine::fold(&mut state, &carried).expect("the same run");
    let kept: Option<PauseAsked> = state
        .run(birth)
        .and_then(|run| run.pause.as_deref().cloned());
    assert_eq!(Some(&known), kept.as_ref());
    // A log that begins with that fact does not tell, and the carried run of a later round does.
    let run = Run {
        pause: kept.map(Box::new),
        ..run
    };
    let later = self::carried(birth, &run, &world);
    let is_of_run = |fact: &Fact| matches!(fact.kind, FactKind::Run(_));
    let mut log = world.audit.log.clone();
    log.retain(|fact| !is_of_run(fact));
    let mut state = refold(&log);
    backlane_engine::fold(&mut state, &carried).expect("the first that tells of the run");
    backlane_engine::fold(&mut state, &later).expect("the same run");
    let run = state.run(birth).expect("a pause");
    assert_eq!(Some(&known), run.pause.as_deref());
}

fn carried(birth: Birth, run: &Run, world: &World) -> Fact {
    let change = RunChange::Carried(Box::new(run.clone()));
    Fact {
        at_ms: world.now.wall_ms,
        actor: backlane_engine::fact::Actor::engine(),
        cause: None,
        kind: FactKind::run(birth, change),
    }
}
