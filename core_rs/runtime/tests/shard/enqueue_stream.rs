//! Enqueue streams: one outcome per item, in the order of the items.

use backlane_runtime::{CompletionKind, Input, Method, Ticket};
use backlane_sim::api::{reason_of, v1};
use v1::enqueue_outcome::Outcome;

use crate::desk::{Desk, request};

fn named(id: &str, input: &str) -> v1::EnqueueRequest {
    v1::EnqueueRequest {
        request_id: id.into(),
        ..request(input)
    }
}

fn send(desk: &mut Desk, stream: Ticket, items: Vec<v1::EnqueueRequest>) {
    desk.frame(stream, &v1::EnqueueStreamRequest { items });
}

fn outcomes(desk: &mut Desk, stream: Ticket) -> Vec<String> {
    let reply: v1::EnqueueStreamResponse = desk.message(stream);
    let words = reply.outcomes.iter().map(|one| match &one.outcome {
        Some(Outcome::Result(result)) if result.existing => "existing".into(),
        Some(Outcome::Result(_)) => "new".into(),
        Some(Outcome::Status(status)) => reason_of(status),
        None => "nothing".into(),
    });
    words.collect()
}

#[test]
fn each_item_has_its_own_outcome() {
    let mut desk = Desk::new();
    let stream = desk.open(Method::EnqueueStream);
    let items = vec![
        named("one", "a"),
        v1::EnqueueRequest::default(),
        named("one", "a"),
        named("one", "b"),
    ];
    send(&mut desk, stream, items);
    assert!(!desk.is_answered(stream));
    desk.settle();
    let expected = vec!["new", "INVALID_ARGUMENT", "existing", "REQUEST_ID_REUSED"];
    assert_eq!(expected, outcomes(&mut desk, stream));
}

#[test]
fn a_repeat_of_an_execution_that_an_earlier_item_replaced_is_answered_with_it() {
    let mut desk = Desk::new();
    let keyed = |id: &str| v1::EnqueueRequest {
        dedup_key: "k".into(),
        dedup_policy: v1::DedupPolicy::ReplaceQueued as i32,
        ..named(id, "a")
    };
    let stream = desk.open(Method::EnqueueStream);
    send(&mut desk, stream, vec![keyed("one")]);
    desk.settle();
    assert_eq!(vec!["new"], outcomes(&mut desk, stream));
    let items = vec![keyed("two"), keyed("one")];
    send(&mut desk, stream, items);
    desk.settle();
    assert_eq!(vec!["new", "existing"], outcomes(&mut desk, stream));
}

#[test]
fn a_message_that_waits_for_a_read_holds_back_later_messages() {
    let mut desk = Desk::new();
    // The shard has not read the earlier request ids: only the store can tell.
    desk.restart();
    let stream = desk.open(Method::EnqueueStream);
    send(
        &mut desk,
        stream,
        vec![named("one", "a"), named("one", "b")],
    );
    send(&mut desk, stream, vec![request("b")]);
    assert_eq!(1, desk.reads.len());
    assert!(desk.appends.is_empty());
    desk.settle();
    assert_eq!(
        vec!["new", "REQUEST_ID_REUSED"],
        outcomes(&mut desk, stream)
    );
    assert_eq!(vec!["new"], outcomes(&mut desk, stream));
}

#[test]
fn outcomes_are_sent_once_they_are_durable() {
    let mut desk = Desk::new();
    let stream = desk.open(Method::EnqueueStream);
    send(&mut desk, stream, vec![request("a")]);
    assert_eq!(None, desk.decided.get(&stream));
    desk.commit();
    assert!(desk.decided[&stream] > 0);
}

#[test]
fn a_half_closed_stream_ends_after_its_outcomes() {
    let mut desk = Desk::new();
    let stream = desk.open(Method::EnqueueStream);
    send(&mut desk, stream, vec![request("a")]);
    desk.send(Input::HalfClose(stream));
    assert!(!desk.is_answered(stream));
    desk.settle();
    assert_eq!(vec!["new"], outcomes(&mut desk, stream));
    assert_eq!(Some(CompletionKind::End), desk.next(stream));
}

#[test]
fn a_draining_server_refuses_each_item() {
    let mut desk = Desk::new();
    let stream = desk.open(Method::EnqueueStream);
    desk.send(Input::Drain);
    send(&mut desk, stream, vec![request("a"), request("b")]);
    desk.settle();
    assert_eq!(vec!["DRAINING", "DRAINING"], outcomes(&mut desk, stream));
}

#[test]
fn bytes_that_are_no_message_end_the_stream() {
    let mut desk = Desk::new();
    let stream = desk.open(Method::EnqueueStream);
    desk.send(Input::Frame(stream, vec![0xFF]));
    assert_eq!("INVALID_ARGUMENT", desk.refusal(stream));
}
