//! Spawn: what the call answers, and what records of children show.

use backlane_runtime::Method;
use backlane_sim::api::v1;

use crate::desk::{Desk, lease_ref, request};

fn spawn(lease: &v1::Lease, mode: v1::spawn_mode::Mode) -> v1::SpawnRequest {
    let parent = lease_ref(lease);
    v1::SpawnRequest {
        enqueue: Some(request("child")),
        mode: Some(v1::SpawnMode { mode: Some(mode) }),
        parent_execution_id: parent.execution_id,
        lease_token: parent.lease_token,
        cancellation_policy: 0,
    }
}

fn child(background: bool) -> v1::spawn_mode::Mode {
    v1::spawn_mode::Mode::Child(v1::SpawnChild {
        background,
        inherit_inbox: true,
        ..Default::default()
    })
}

#[test]
fn only_a_background_child_becomes_an_execution() {
    let mut desk = Desk::new();
    let parent = desk.make(&request("parent"));
    let lease = desk.lease("w", 1).remove(0);
    let inline = v1::spawn_mode::Mode::Inline(v1::SpawnInline {});
    for mode in [inline, child(false)] {
        let reply: v1::SpawnResponse = desk.ask(Method::Spawn, &spawn(&lease, mode));
        let expected = v1::spawn_response::Spawned::Inline(v1::SpawnInline {});
        assert_eq!(Some(expected), reply.spawned);
        assert_eq!(1, desk.shard.engine().state().slots().len());
    }
    let reply: v1::SpawnResponse = desk.ask(Method::Spawn, &spawn(&lease, child(true)));
    let Some(v1::spawn_response::Spawned::Execution(record)) = reply.spawned else {
        panic!("{reply:?}")
    };
    let link = v1::ParentLink {
        parent_id: parent,
        parent_type: v1::ParentType::Execution as i32,
    };
    assert_eq!(Some(link.clone()), record.parent);
    assert!(record.inherit_inbox);
    assert_eq!(
        v1::CancellationPolicy::CascadeCancel,
        record.cancellation_policy()
    );
    desk.restart();
    assert_eq!(Some(link), desk.get(&record.execution_id).parent);
}

#[test]
fn a_child_of_a_finished_or_unknown_parent_is_refused() {
    let mut desk = Desk::new();
    desk.make(&request("parent"));
    let lease = desk.lease("w", 1).remove(0);
    desk.complete(&lease);
    let ticket = desk.call(Method::Spawn, &spawn(&lease, child(true)));
    desk.settle();
    assert_eq!("LEASE_LOST", desk.refusal(ticket));
    let unknown = v1::SpawnRequest {
        parent_execution_id: "exec_2Rb6sVIu9XkD3s0mN0mN0mN0mN0".into(),
        ..spawn(&lease, child(true))
    };
    let ticket = desk.call(Method::Spawn, &unknown);
    desk.settle();
    assert_eq!("EXECUTION_NOT_FOUND", desk.refusal(ticket));
}
