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
        ..Default::default()
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
    assert_eq!(Some(true), record.inherit_inbox);
    assert_eq!(
        v1::CancellationPolicy::CascadeCancel,
        record.cancellation_policy()
    );
    desk.restart();
    assert_eq!(Some(link), desk.get(&record.execution_id).parent);
}

pub(crate) fn spawned(desk: &mut Desk, lease: &v1::Lease) -> String {
    let reply: v1::SpawnResponse = desk.ask(Method::Spawn, &spawn(lease, child(true)));
    match reply.spawned {
        Some(v1::spawn_response::Spawned::Execution(record)) => record.execution_id,
        other => panic!("{other:?}"),
    }
}

/// The children of an execution, over all pages of this size.
fn children(desk: &mut Desk, parent: &str, status: i32, page_size: u32) -> Vec<String> {
    let mut ids = Vec::new();
    let mut request = v1::ListRequest {
        tenant_id: "acme".into(),
        status,
        page_size,
        parent_execution_id: parent.into(),
        ..Default::default()
    };
    loop {
        let page: v1::ListResponse = desk.ask(Method::List, &request);
        assert!(page.executions.len() <= page_size as usize);
        ids.extend(page.executions.into_iter().map(|one| one.execution_id));
        if page.next_page_token.is_empty() {
            return ids;
        }
        request.page_token = page.next_page_token;
    }
}

#[test]
fn the_children_of_an_execution_are_listed_finished_or_not() {
    let mut desk = Desk::new();
    let other = desk.make(&request("other"));
    let parent = desk.make(&request("parent"));
    let leases = desk.lease("w", 2);
    let mut own = Vec::new();
    for one in 0..12 {
        let id = spawned(&mut desk, &leases[1]);
        let foreign = spawned(&mut desk, &leases[0]);
        if one % 3 == 0 {
            let ended = if one % 2 == 0 { &id } else { &foreign };
            let cancel = v1::CancelRequest {
                tenant_id: "acme".into(),
                execution_id: ended.clone(),
            };
            let _: v1::CancelResponse = desk.ask(Method::Cancel, &cancel);
        }
        own.push(id);
    }
    own.reverse();
    for page_size in [1, 2, 3, 5, 100] {
        assert_eq!(own, children(&mut desk, &parent, 0, page_size));
    }
    let cancelled = v1::BackgroundExecutionStatus::Cancelled as i32;
    let queued = v1::BackgroundExecutionStatus::Queued as i32;
    assert_eq!(2, children(&mut desk, &parent, cancelled, 2).len());
    assert_eq!(10, children(&mut desk, &parent, queued, 3).len());
    assert_eq!(12, children(&mut desk, &other, 0, 7).len());
    assert_eq!(Vec::<String>::new(), children(&mut desk, &own[0], 0, 7));
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

#[test]
fn children_are_found_behind_a_page_that_large_executions_have_cut() {
    let mut desk = Desk::new();
    let parent = desk.make(&request("parent"));
    let lease = desk.lease("w", 1).remove(0);
    let cancel = |desk: &mut Desk, execution_id: &str| {
        let cancel = v1::CancelRequest {
            tenant_id: "acme".into(),
            execution_id: execution_id.into(),
        };
        let _: v1::CancelResponse = desk.ask(Method::Cancel, &cancel);
    };
    let own = spawned(&mut desk, &lease);
    cancel(&mut desk, &own);
    for _ in 0..40 {
        let large = desk.make(&request(&"x".repeat(200 << 10)));
        cancel(&mut desk, &large);
    }
    let mut request = v1::ListRequest {
        tenant_id: "acme".into(),
        view: v1::View::Full as i32,
        page_size: 100,
        parent_execution_id: parent,
        ..Default::default()
    };
    let mut found = Vec::new();
    loop {
        let page: v1::ListResponse = desk.ask(Method::List, &request);
        found.extend(page.executions.into_iter().map(|one| one.execution_id));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(vec![own], found);
}
