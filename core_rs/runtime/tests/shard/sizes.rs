//! Replies stay below the size that every client accepts.

use backlane_runtime::Method;
use backlane_sim::api::v1;

use crate::desk::{Desk, lease_ref, request};

#[test]
fn a_reply_to_a_batch_of_ten_thousand_shows_every_item() {
    let mut desk = Desk::new();
    let long = "c".repeat(256);
    let item = v1::EnqueueRequest {
        callable_name: long,
        dedup_key: String::new(),
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
        ..request("a")
    };
    let batch = v1::EnqueueBatchRequest {
        tenant_id: "acme".into(),
        items: vec![item; 10_000],
        request_id: "batch".into(),
    };
    for _ in 0..2 {
        let reply: v1::EnqueueBatchResponse = desk.ask(Method::EnqueueBatch, &batch);
        let ids: std::collections::BTreeSet<_> = reply
            .results
            .iter()
            .filter_map(|result| Some(&result.execution.as_ref()?.execution_id))
            .collect();
        assert_eq!(10_000, ids.len());
    }
}

#[test]
fn a_reply_to_a_wait_for_a_thousand_large_errors_shows_every_execution() {
    let mut desk = Desk::new();
    let batch = v1::EnqueueBatchRequest {
        tenant_id: "acme".into(),
        items: vec![request("a"); 1_000],
        request_id: String::new(),
    };
    let _: v1::EnqueueBatchResponse = desk.ask(Method::EnqueueBatch, &batch);
    let leases = desk.lease("w", 1_000);
    assert_eq!(1_000, leases.len());
    let failures = leases.iter().map(|lease| {
        let v1::LeaseRef {
            execution_id,
            lease_token,
        } = lease_ref(lease);
        v1::Failure {
            execution_id,
            lease_token,
            error: Some(v1::ExecutionError {
                category: v1::ErrorCategory::ToolError as i32,
                message: "m".repeat(8_000),
                ..Default::default()
            }),
            ..Default::default()
        }
    });
    let failures = failures.collect();
    let _: v1::FailResponse = desk.ask(Method::Fail, &v1::FailRequest { failures });
    let execution_ids = leases
        .iter()
        .map(|lease| lease_ref(lease).execution_id)
        .collect();
    let asked = v1::WaitRequest {
        tenant_id: "acme".into(),
        execution_ids,
        ..Default::default()
    };
    let reply: v1::WaitResponse = desk.ask(Method::Wait, &asked);
    assert!(reply.satisfied);
    let of = |outcome: &v1::WaitOutcome| {
        matches!(
            outcome.outcome,
            Some(v1::wait_outcome::Outcome::Execution(_))
        )
    };
    assert_eq!(
        1_000,
        reply.outcomes.iter().filter(|outcome| of(outcome)).count()
    );
}

#[test]
fn large_leases_come_in_several_messages() {
    let mut desk = Desk::new();
    let large = "x".repeat(1_000_000);
    (0..5).for_each(|_| drop(desk.make(&request(&large))));
    let first = desk.lease("w", 5);
    let second = desk.lease("w", 5);
    assert_eq!(5, first.len() + second.len());
    assert!(!second.is_empty());
}

#[test]
fn a_page_of_large_records_ends_early_and_has_a_next_page() {
    let mut desk = Desk::new();
    let large = "x".repeat(1_000_000);
    (0..6).for_each(|_| drop(desk.make(&request(&large))));
    let mut asked = v1::ListRequest {
        tenant_id: "acme".into(),
        view: v1::View::Full as i32,
        ..Default::default()
    };
    let mut seen = Vec::new();
    loop {
        let reply: v1::ListResponse = desk.ask(Method::List, &asked);
        seen.push(reply.executions.len());
        asked.page_token = reply.next_page_token;
        if asked.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(6, seen.iter().sum::<usize>());
    assert!(seen.len() > 1);
}
