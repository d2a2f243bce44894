//! Refusals that are hard because of timing or secrecy: commands at the very deadline, calls that
//! name one execution twice, and guessed ids.

use backlane_engine::command::{Cancel, Held, Known, Report};
use backlane_engine::decide::Speaker;
use backlane_engine::error::Refusal;
use backlane_engine::fact::Actor;
use backlane_engine::rules::access::{Principal, TenantScope};
use backlane_engine::rules::id::ExecutionId;
use backlane_engine::rules::limits::Limits;
use backlane_engine::rules::status::{ActorKind, Status};

use crate::world::{START_MS, World, completed, failed, held, new_execution, offer, visible};

fn principal(tenant: &str) -> Principal {
    let tenants = TenantScope::Only([tenant.into()].into());
    Principal {
        name: "somebody".into(),
        tenants,
        ..Principal::default()
    }
}

fn lost(id: ExecutionId) -> Refusal {
    Refusal::LeaseLost {
        execution_id: id.to_string(),
    }
}

fn is_not_found<T>(answer: &Result<T, Refusal>) -> bool {
    matches!(answer, Err(Refusal::ExecutionNotFound { .. }))
}

/// A world with a leased execution whose deadline has passed without a tick.
fn overdue() -> (World, Held) {
    let mut world = World::new(Limits::default());
    let mut new = new_execution("acme", "mail");
    new.deadline_ms = Some(START_MS + 1_000);
    world.make(&new);
    let granted = world.lease("w1", offer(&["*"])).expect("it is ready");
    let lease = held(&world, &granted);
    world.now.wall_ms += 1_000;
    world.now.mono_ms += 1_000;
    (world, lease)
}

fn cancel(world: &mut World, tenant: &str, id: ExecutionId) -> Result<(), Refusal> {
    let actor = Actor::named(ActorKind::Client, "");
    let cancel = Cancel {
        tenant: visible(tenant),
        id,
        actor,
    };
    world.engine.cancel(&cancel, &Known::default(), world.now)
}

fn report(world: &mut World, lease: &Held, report: &Report) -> Result<Status, Refusal> {
    report_as(world, &Principal::default(), lease, report)
}

fn report_as(
    world: &mut World,
    principal: &Principal,
    lease: &Held,
    report: &Report,
) -> Result<Status, Refusal> {
    let known = Known::default();
    let speaker = Speaker {
        principal,
        known: &known,
    };
    let settled = world.engine.report(lease, report, speaker, world.now);
    settled.map(|settled| settled.status)
}

#[test]
fn a_cancel_at_the_deadline_finds_a_timed_out_execution() {
    let (mut world, lease) = overdue();
    let refused = Refusal::TransitionNotAllowed {
        execution_id: lease.id.to_string(),
        status: Status::Timeout,
        event: "cancelled",
    };
    assert_eq!(Err(refused), cancel(&mut world, "acme", lease.id));
}

#[test]
fn a_completion_at_the_deadline_is_too_late() {
    let (mut world, lease) = overdue();
    assert_eq!(
        Err(lost(lease.id)),
        report(&mut world, &lease, &completed())
    );
}

#[test]
fn a_caller_without_access_cannot_tell_that_an_execution_just_ended() {
    let (mut world, lease) = overdue();
    let blue = principal("blue");
    assert!(is_not_found(&report_as(
        &mut world,
        &blue,
        &lease,
        &completed()
    )));
    assert!(is_not_found(&cancel(&mut world, "blue", lease.id)));
    assert_eq!(
        0,
        world.engine.take_decided().len(),
        "the call decided nothing"
    );
}

#[test]
fn a_guessed_id_is_not_found() {
    let (mut world, lease) = overdue();
    let guessed = ExecutionId {
        random: lease.id.random + 1,
        ..lease.id
    };
    let guess = Held {
        id: guessed,
        ..lease
    };
    assert!(is_not_found(&report(&mut world, &guess, &completed())));
    assert!(is_not_found(&cancel(&mut world, "acme", guessed)));
    assert_eq!(0, world.engine.take_decided().len());
}

#[test]
fn a_call_that_names_an_execution_twice_gets_the_same_reply_twice() {
    let mut world = World::new(Limits::default());
    world.make(&new_execution("acme", "mail"));
    world.make(&new_execution("acme", "mail"));
    let leases = [0, 1].map(|_| {
        let granted = world.lease("w1", offer(&["*"])).expect("it is ready");
        held(&world, &granted)
    });
    assert_eq!(
        Ok(Status::Completed),
        report(&mut world, &leases[0], &completed())
    );
    assert_eq!(
        Ok(Status::Completed),
        report(&mut world, &leases[1], &completed())
    );
    assert_eq!(
        Ok(Status::Completed),
        report(&mut world, &leases[0], &completed())
    );
    let other = Report::Failed(Box::new(failed()));
    assert_eq!(
        Err(lost(leases[0].id)),
        report(&mut world, &leases[0], &other)
    );
}
