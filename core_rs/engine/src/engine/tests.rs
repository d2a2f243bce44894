//! Tests of the engine: decisions, their facts, and what contradictory facts lead to.

use super::*;
use crate::command::{Cancel, DedupPolicy, Held, IdRandom, NewExecution, Taker};
use crate::decide::Blocker;
use crate::fact::{Actor, ExecutionChange, Policy, RequeueCause};
use crate::row::Payload;
use crate::rules::access::Principal;
use crate::rules::status::ActorKind;

const NOW: Now = Now {
    wall_ms: 1_800_000_000_000,
    mono_ms: 1_000,
};

fn engine() -> Engine {
    Engine::start(State::new(0), 1, Limits::default(), NOW)
}

fn new() -> NewExecution {
    NewExecution {
        tenant: Principal::default()
            .sees("acme")
            .expect("every tenant is in scope"),
        callable: "mail".into(),
        priority: 50,
        policy: Policy {
            timeout_ms: 300_000,
            max_worker_losses: 3,
            retry: None,
            cancellation: crate::rules::status::Cancellation::default(),
        },
        not_before_ms: None,
        start_deadline_ms: None,
        deadline_ms: Some(NOW.wall_ms + 60_000),
        request: None,
        dedup_key: None,
        dedup_policy: DedupPolicy::default(),
        depends_on: Vec::new(),
        parent: None,
        payload: Payload::default(),
        retried_from: None,
        actor: Actor::of(ActorKind::Client),
        random: IdRandom::default(),
    }
}

fn enqueue(engine: &mut Engine) -> Birth {
    let made = engine.enqueue(new(), &Known::default(), NOW);
    made.expect("there is room").birth
}

fn taker(engine: &mut Engine) -> Taker {
    let spec = OfferSpec {
        callables: ["*".into()].into(),
        ..OfferSpec::default()
    };
    Taker {
        worker: "w1".into(),
        offer: engine.acquire_offer(spec),
        duration_ms: 30_000,
        principal: "".into(),
        stream: None,
        prefetches: false,
    }
}

/// A decision that contradicts the state: a queued execution cannot lose a lease.
fn impossible(birth: Birth) -> Decision {
    let change = ExecutionChange::Requeued {
        cause: RequeueCause::LeaseLost,
        backoff: None,
        is_unbegun: false,
    };
    Decision::of(Actor::clock(), FactKind::execution(birth, change))
}

/// An engine with two executions, of which the first was set aside.
fn with_one_aside() -> (Engine, Birth, Birth) {
    let mut engine = engine();
    let (first, second) = (enqueue(&mut engine), enqueue(&mut engine));
    let before = engine.state().living(first);
    let decided = engine.decided.len();
    let refused = engine.commit(impossible(first), NOW);
    assert!(
        matches!(refused, Err(Refusal::SetAside { .. })),
        "{refused:?}"
    );
    assert_eq!(before, engine.state().living(first), "nothing changed");
    assert_eq!(decided, engine.decided.len(), "nothing is to be logged");
    (engine, first, second)
}

#[test]
fn an_execution_that_is_set_aside_is_skipped_and_the_others_go_on() {
    let (mut engine, first, second) = with_one_aside();
    let taker = taker(&mut engine);
    let granted = engine.lease(&taker, 7, NOW).map(|granted| granted.birth);
    assert_eq!(Some(second), granted);
    assert_eq!(None, engine.lease(&taker, 7, NOW));
    let why = crate::decide::blocker(&engine.state, &engine.soft, first, None, NOW);
    assert_eq!(Some(Blocker::SetAside), why);
}

#[test]
fn a_command_on_an_execution_that_is_set_aside_is_refused() {
    let (mut engine, first, _) = with_one_aside();
    let cancel = Cancel {
        tenant: new().tenant,
        id: engine.state().id(first).expect("it lives"),
        actor: Actor::of(ActorKind::Client),
    };
    let refused = engine.cancel(&cancel, &Known::default(), NOW);
    assert!(
        matches!(refused, Err(Refusal::SetAside { .. })),
        "{refused:?}"
    );
    let held = Held {
        id: cancel.id,
        token: None,
    };
    engine.undeliver(&held, NOW);
    assert!(engine.state().living(first).is_some());
}

#[test]
fn the_timers_of_an_execution_that_is_set_aside_never_come_due() {
    let (mut engine, first, second) = with_one_aside();
    let later = Now {
        wall_ms: NOW.wall_ms + 3_600_000,
        mono_ms: NOW.mono_ms + 3_600_000,
    };
    assert!(!engine.tick(100, later), "nothing more is due");
    assert_eq!((None, None), engine.next_tick());
    assert!(engine.state().slot(first).is_some());
    assert!(engine.state().slot(second).is_none(), "its deadline passed");
}

#[test]
fn an_execution_that_was_set_aside_continues_after_a_restart() {
    let (engine, first, _) = with_one_aside();
    let mut state = State::new(0);
    for decided in &engine.decided {
        fold(&mut state, &decided.fact).expect("the logged facts apply");
    }
    let again = Engine::start(state, 2, Limits::default(), NOW);
    assert_eq!(0, again.soft().all_set_aside().count());
    assert!(again.state().slot(first).is_some());
}
