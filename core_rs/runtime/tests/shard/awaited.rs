//! Children that are awaited: what leases show of them, and which waits are refused.
//!
//! Owns what scenarios cannot express: restarts between the steps, and foreign tenants. Refuses to
//! know when a wait is over.

use backlane_runtime::Method;
use backlane_sim::api::v1;

use crate::desk::{Desk, lease_ref, outcome, request};
use crate::runs::{run_of, step_id, suspend, suspension, wait_for};

/// Spawns a child as a step of the execution that is leased.
fn spawn_in(desk: &mut Desk, lease: &v1::Lease, number: u8) -> String {
    let v1::LeaseRef {
        execution_id,
        lease_token,
    } = lease_ref(lease);
    let child = v1::SpawnChild {
        background: true,
        ..Default::default()
    };
    let request = v1::SpawnRequest {
        enqueue: Some(request("child")),
        mode: Some(v1::SpawnMode {
            mode: Some(v1::spawn_mode::Mode::Child(child)),
        }),
        parent_execution_id: execution_id,
        lease_token,
        step: Some(v1::NewStep {
            step_id: step_id(number),
            name: "spawn".into(),
            ..Default::default()
        }),
        schema_version: "v7".into(),
        ..Default::default()
    };
    let reply: v1::SpawnResponse = desk.ask(Method::Spawn, &request);
    match reply.spawned {
        Some(v1::spawn_response::Spawned::Execution(record)) => record.execution_id,
        other => panic!("{other:?}"),
    }
}

fn wait_for_child(number: u8, child: &str) -> v1::WaitPoint {
    v1::WaitPoint {
        reason: v1::WaitReason::SubAgent as i32,
        child_execution_id: Some(child.into()),
        ..wait_for(number, "")
    }
}

#[test]
fn a_lease_shows_the_children_that_earlier_leases_spawned_and_waited_for() {
    let mut desk = Desk::new();
    let id = desk.make(&request("parent"));
    let lease = desk.lease("w", 1).remove(0);
    let child = spawn_in(&mut desk, &lease, 1);
    let run = run_of(&mut desk, &id);
    assert_eq!("v7", run.schema_version());
    assert_eq!(
        2,
        suspend(
            &mut desk,
            &suspension(&lease, vec![wait_for_child(2, &child)])
        )
    );
    assert_eq!(
        v1::WaitReason::SubAgent,
        run_of(&mut desk, &id).wait_reason()
    );
    let of_child = desk.lease("w", 1).remove(0);
    desk.restart();
    desk.complete(&of_child);
    let lease = desk.lease("w", 1).remove(0);
    assert_eq!(id, lease_ref(&lease).execution_id);
    let shown: Vec<_> = lease
        .steps
        .iter()
        .map(|step| (&*step.id, step.state(), step.child_execution_id()))
        .collect();
    let completed = v1::StepState::Completed;
    let (first, second) = (step_id(1), step_id(2));
    let expected = vec![
        (&*first, completed, &*child),
        (&*second, completed, &*child),
    ];
    assert_eq!(expected, shown);
}

#[test]
fn a_child_that_finished_long_ago_ends_its_wait_at_once_and_a_foreign_one_is_refused() {
    let mut desk = Desk::new();
    desk.make(&request("parent"));
    let lease = desk.lease("w", 1).remove(0);
    let child = spawn_in(&mut desk, &lease, 1);
    let of_child = desk.lease("w", 1).remove(0);
    desk.complete(&of_child);
    let foreign = v1::EnqueueRequest {
        tenant_id: "other".into(),
        ..request("foreign")
    };
    let foreign = desk.finish(&foreign);
    desk.restart();
    let mut refused = |child: &str| {
        let asked = suspension(&lease, vec![wait_for_child(2, child)]);
        let reply: v1::SuspendResponse = desk.ask(Method::Suspend, &asked);
        outcome(&reply.outcomes[0])
    };
    let unknown = "exec_2Rb6sVIu9XkD3s0mN0mN0mN0mN0";
    for wrong in [&*foreign, unknown] {
        let told = refused(wrong);
        assert_eq!("INVALID_ARGUMENT", told, "{wrong}");
    }
    let queued = v1::BackgroundExecutionStatus::Queued as i32;
    let asked = suspension(&lease, vec![wait_for_child(2, &child)]);
    assert_eq!(queued, suspend(&mut desk, &asked));
}
