//! Drain: no more leases, and no call is left waiting.

use backlane_runtime::{Input, Method};
use backlane_sim::api::{span, v1};

use crate::desk::{Desk, lease_request, outcome, request};
use crate::work::{credit, down, hello, up};

#[test]
fn waiting_calls_are_answered_and_workers_are_told() {
    let mut desk = Desk::new();
    let id = desk.make(&request("a"));
    let wait = v1::WaitRequest {
        tenant_id: "acme".into(),
        execution_ids: vec![id],
        timeout: Some(span(60_000)),
        ..Default::default()
    };
    let waits = desk.call(Method::Wait, &wait);
    let request = v1::LeaseRequest {
        callables: vec!["other".into()],
        wait_ms: 60_000,
        ..lease_request("w", 1)
    };
    let polls = desk.call(Method::Lease, &request);
    let stream = desk.open(Method::Work);
    up(&mut desk, stream, hello(&[]));
    down(&mut desk, stream);
    desk.send(Input::Drain);
    let waited: v1::WaitResponse = desk.reply(waits);
    assert!(!waited.satisfied);
    assert_eq!(v1::LeaseResponse::default(), desk.reply(polls));
    assert!(matches!(
        down(&mut desk, stream),
        crate::work::Down::Drain(_)
    ));
}

#[test]
fn calls_that_create_executions_are_refused() {
    let mut desk = Desk::new();
    desk.send(Input::Drain);
    let run = v1::RunRequest {
        enqueue: Some(request("a")),
        timeout: None,
    };
    let batch = v1::EnqueueBatchRequest {
        tenant_id: "acme".into(),
        items: vec![request("a")],
        request_id: String::new(),
    };
    let tickets = [
        desk.call(Method::Enqueue, &request("a")),
        desk.call(Method::Run, &run),
        desk.call(Method::EnqueueBatch, &batch),
    ];
    assert_eq!(
        ["DRAINING"; 3],
        tickets
            .map(|ticket| desk.refusal(ticket))
            .each_ref()
            .map(|s| &**s)
    );
}

#[test]
fn nothing_is_leased_but_running_executions_can_complete() {
    let mut desk = Desk::new();
    desk.make(&request("a"));
    desk.make(&request("b"));
    let lease = desk.lease("w", 1).remove(0);
    let stream = desk.open(Method::Work);
    up(&mut desk, stream, hello(&[]));
    desk.send(Input::Drain);
    up(&mut desk, stream, credit(5, 0));
    desk.settle();
    assert_eq!(Vec::<v1::Lease>::new(), desk.lease("w", 5));
    assert_eq!("completed", outcome(&desk.complete(&lease)));
    assert!(matches!(
        down(&mut desk, stream),
        crate::work::Down::Welcome(_)
    ));
    assert!(matches!(
        down(&mut desk, stream),
        crate::work::Down::Drain(_)
    ));
    assert!(!desk.is_answered(stream));
}

#[test]
fn a_worker_that_connects_to_a_draining_server_is_told() {
    let mut desk = Desk::new();
    desk.send(Input::Drain);
    let stream = desk.open(Method::Work);
    up(&mut desk, stream, hello(&[]));
    assert!(matches!(
        down(&mut desk, stream),
        crate::work::Down::Welcome(_)
    ));
    assert!(matches!(
        down(&mut desk, stream),
        crate::work::Down::Drain(_)
    ));
}
