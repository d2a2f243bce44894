//! No reply leaves before the facts that it depends on are durable.

use backlane_runtime::Method;
use backlane_sim::api::v1;

use crate::desk::{Desk, get, lease_request, request};

#[test]
fn a_reply_leaves_after_its_commit() {
    let mut desk = Desk::new();
    let ticket = desk.call(Method::Enqueue, &request("a"));
    assert_eq!(1, desk.appends.len());
    assert!(!desk.is_answered(ticket));
    desk.commit();
    assert!(desk.is_answered(ticket));
}

#[test]
fn errors_and_reads_leave_after_the_commit_that_they_may_depend_on() {
    let mut desk = Desk::new();
    let made = desk.call(Method::Enqueue, &request("a"));
    let refused = desk.call(Method::Enqueue, &v1::EnqueueRequest::default());
    let looked = desk.call(
        Method::GetQueueStats,
        &v1::GetQueueStatsRequest {
            tenant_id: "acme".into(),
        },
    );
    let answered = [made, refused, looked].map(|ticket| desk.is_answered(ticket));
    assert_eq!([false; 3], answered);
    desk.commit();
    assert_eq!("INVALID_ARGUMENT", desk.refusal(refused));
    let stats: v1::GetQueueStatsResponse = desk.reply(looked);
    assert_eq!(1, stats.ready);
}

#[test]
fn an_error_with_nothing_before_it_leaves_at_once() {
    let mut desk = Desk::new();
    let ticket = desk.call(Method::Enqueue, &v1::EnqueueRequest::default());
    assert_eq!("INVALID_ARGUMENT", desk.refusal(ticket));
}

#[test]
fn one_commit_is_in_progress_and_later_facts_form_the_next() {
    let mut desk = Desk::new();
    let tickets: Vec<_> = (0..4)
        .map(|one| desk.call(Method::Enqueue, &request(&one.to_string())))
        .collect();
    assert_eq!(1, desk.appends.len());
    assert_eq!(1, desk.appends[0].count);
    desk.commit();
    let answered = tickets.iter().map(|ticket| desk.is_answered(*ticket));
    assert_eq!(
        vec![true, false, false, false],
        answered.collect::<Vec<_>>()
    );
    assert_eq!(3, desk.appends[0].count);
    desk.commit();
    assert!(tickets.iter().all(|ticket| desk.is_answered(*ticket)));
    assert!(desk.appends.is_empty());
}

#[test]
fn leases_leave_after_their_commit() {
    let mut desk = Desk::new();
    desk.make(&request("a"));
    let ticket = desk.call(Method::Lease, &lease_request("w", 1));
    assert!(!desk.is_answered(ticket));
    desk.commit();
    let reply: v1::LeaseResponse = desk.reply(ticket);
    assert_eq!(1, reply.leases.len());
}

#[test]
fn acknowledged_executions_survive_a_crash() {
    let mut desk = Desk::new();
    let id = desk.make(&request("kept"));
    desk.call(Method::Enqueue, &request("lost"));
    desk.restart();
    assert_eq!(Some("kept".to_owned()), desk.get(&id).input);
    let stats: v1::GetQueueStatsResponse = desk.ask(
        Method::GetQueueStats,
        &v1::GetQueueStatsRequest {
            tenant_id: "acme".into(),
        },
    );
    assert_eq!(1, stats.ready);
}

#[test]
fn another_tenants_execution_is_not_found() {
    let mut desk = Desk::new();
    let id = desk.make(&request("a"));
    let asked = v1::GetRequest {
        tenant_id: "globex".into(),
        ..get(&id)
    };
    let ticket = desk.call(Method::Get, &asked);
    desk.settle();
    assert_eq!("EXECUTION_NOT_FOUND", desk.refusal(ticket));
}
