//! Request ids: in memory, in the store, and forgotten.

use backlane_runtime::{Input, Method, Settings};
use backlane_sim::api::v1;

use crate::desk::{Desk, request};

fn named(id: &str, input: &str) -> v1::EnqueueRequest {
    v1::EnqueueRequest {
        request_id: id.into(),
        ..request(input)
    }
}

fn again(desk: &mut Desk, id: &str) -> (String, bool) {
    let reply: v1::EnqueueResponse = desk.ask(Method::Enqueue, &named(id, "a"));
    (
        reply.execution.expect("its record").execution_id,
        reply.existing,
    )
}

#[test]
fn a_repeated_request_is_answered_with_the_same_execution() {
    let mut desk = Desk::new();
    let first = desk.make(&named("one", "a"));
    assert_eq!((first, true), again(&mut desk, "one"));
}

#[test]
fn another_body_is_refused() {
    let mut desk = Desk::new();
    desk.make(&named("one", "a"));
    let ticket = desk.call(Method::Enqueue, &named("one", "b"));
    assert_eq!("REQUEST_ID_REUSED", desk.refusal(ticket));
}

#[test]
fn after_a_restart_the_request_id_is_known_from_the_log() {
    let mut desk = Desk::new();
    let first = desk.make(&named("one", "a"));
    desk.restart();
    desk.learn_requests();
    assert_eq!((first, true), again(&mut desk, "one"));
}

/// A desk whose log was trimmed: only the rows in the store hold the request id.
fn trimmed() -> (Desk, String) {
    let mut desk = Desk::with(Settings {
        round_after_facts: 20,
        ..Settings::default()
    });
    let first = desk.make(&named("one", "a"));
    let lease = desk.lease("w", 1).remove(0);
    desk.complete(&lease);
    for one in 0..200 {
        desk.finish(&request(&one.to_string()));
        desk.forget();
    }
    desk.restart();
    (desk, first)
}

#[test]
fn a_request_id_that_left_the_log_is_found_in_the_store() {
    let (mut desk, first) = trimmed();
    desk.learn_requests();
    let ticket = desk.call(Method::Enqueue, &named("one", "a"));
    assert_eq!(
        vec![1],
        desk.reads
            .iter()
            .map(|(_, query)| query.requests.len())
            .collect::<Vec<_>>()
    );
    desk.settle();
    let reply: v1::EnqueueResponse = desk.reply(ticket);
    assert_eq!(first, reply.execution.expect("its record").execution_id);
}

#[test]
fn every_request_id_is_looked_up_while_hours_are_unread() {
    let (mut desk, first) = trimmed();
    let unknown = desk.call(Method::Enqueue, &named("two", "a"));
    assert_eq!(1, desk.reads.len());
    desk.settle();
    let reply: v1::EnqueueResponse = desk.reply(unknown);
    assert!(!reply.existing);
    assert_eq!((first, true), again(&mut desk, "one"));
}

#[test]
fn unknown_ids_need_no_look_up_once_all_hours_are_read() {
    let (mut desk, _) = trimmed();
    desk.learn_requests();
    desk.call(Method::Enqueue, &named("two", "a"));
    assert!(desk.reads.is_empty());
}

#[test]
fn ids_of_an_hour_that_the_clock_was_set_back_from_are_learned() {
    let (mut desk, first) = trimmed();
    desk.now.wall_ms -= 2 * 3_600_000;
    desk.restart();
    desk.learn_requests();
    assert_eq!((first, true), again(&mut desk, "one"));
}

#[test]
fn a_day_later_the_id_is_new_again() {
    let mut desk = Desk::new();
    let first = desk.make(&named("one", "a"));
    desk.advance(24 * 3_600_000);
    desk.settle();
    let (second, existing) = again(&mut desk, "one");
    assert!(!existing);
    assert_ne!(first, second);
}

#[test]
fn a_request_id_whose_execution_was_removed_is_refused_as_deleted() {
    let mut desk = Desk::with(Settings {
        retention_ms: 60_000,
        ..Settings::default()
    });
    desk.finish(&named("one", "a"));
    desk.advance(120_000);
    desk.settle();
    desk.forget();
    desk.restart();
    desk.learn_requests();
    let ticket = desk.call(Method::Enqueue, &named("one", "a"));
    desk.settle();
    assert_eq!("EXECUTION_DELETED", desk.refusal(ticket));
}

#[test]
fn a_repeated_batch_gets_the_same_reply_even_if_it_found_existing_executions() {
    let mut desk = Desk::new();
    let keyed = v1::EnqueueRequest {
        dedup_key: "key".into(),
        ..request("a")
    };
    let met = desk.make(&keyed);
    let batch = v1::EnqueueBatchRequest {
        tenant_id: "acme".into(),
        items: vec![request("b"), keyed, request("c")],
        request_id: "batch".into(),
    };
    let first: v1::EnqueueBatchResponse = desk.ask(Method::EnqueueBatch, &batch);
    let existing: Vec<_> = first.results.iter().map(|result| result.existing).collect();
    assert_eq!(vec![false, true, false], existing);
    assert_eq!(met, ids(&first)[1]);
    desk.restart();
    desk.learn_requests();
    let second: v1::EnqueueBatchResponse = desk.ask(Method::EnqueueBatch, &batch);
    assert!(second.existing);
    assert_eq!(ids(&first), ids(&second));
}

fn ids(reply: &v1::EnqueueBatchResponse) -> Vec<&str> {
    let records = reply
        .results
        .iter()
        .filter_map(|result| result.execution.as_ref());
    records.map(|record| &*record.execution_id).collect()
}

#[test]
fn a_full_store_refuses_new_executions_and_accepts_completions() {
    let mut desk = Desk::new();
    desk.make(&request("a"));
    let lease = desk.lease("w", 1).remove(0);
    desk.send(Input::Room(0));
    let ticket = desk.call(Method::Enqueue, &request("b"));
    assert_eq!("DISK_FULL", desk.refusal(ticket));
    assert_eq!("completed", crate::desk::outcome(&desk.complete(&lease)));
}

#[test]
fn a_call_counts_as_undecided_while_it_waits_for_a_read() {
    let (mut desk, _) = trimmed();
    let before = desk.calls_decided;
    let call = named("one", "a");
    let ticket = desk.call(Method::Enqueue, &call);
    assert!(!desk.is_answered(ticket));
    assert_eq!(before, desk.calls_decided, "its request id is being read");
    desk.settle();
    let size = prost::Message::encoded_len(&call);
    assert_eq!(before + size, desk.calls_decided);
}

#[test]
fn what_is_decided_and_not_written_counts_against_the_room() {
    let mut desk = Desk::new();
    desk.send(Input::Room(100_000));
    let large = "x".repeat(50_000);
    let inputs = ["a", &large, "b"];
    let tickets = inputs.map(|input| desk.call(Method::Enqueue, &request(input)));
    desk.settle();
    desk.reply::<v1::EnqueueResponse>(tickets[0]);
    desk.reply::<v1::EnqueueResponse>(tickets[1]);
    assert_eq!("DISK_FULL", desk.refusal(tickets[2]));
    desk.make(&request("c"));
}
