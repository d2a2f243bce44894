//! Deletions: what is left of an execution, for whom, and when.

use backlane_runtime::{Input, Method};
use backlane_sim::api::v1;

use crate::desk::{Desk, get, request};

fn delete(id: &str) -> v1::DeleteRequest {
    v1::DeleteRequest {
        tenant_id: "acme".into(),
        execution_id: id.into(),
    }
}

fn reason(desk: &mut Desk, method: Method, request: &impl prost::Message) -> String {
    let ticket = desk.call(method, request);
    desk.settle();
    desk.refusal(ticket)
}

fn ids(desk: &mut Desk) -> Vec<String> {
    let asked = v1::ListRequest {
        tenant_id: "acme".into(),
        ..Default::default()
    };
    let reply: v1::ListResponse = desk.ask(Method::List, &asked);
    reply
        .executions
        .into_iter()
        .map(|one| one.execution_id)
        .collect()
}

#[test]
fn nothing_shows_a_deleted_execution_any_more() {
    let mut desk = Desk::new();
    let (gone, stays) = (desk.finish(&request("a")), desk.finish(&request("b")));
    let _: v1::DeleteResponse = desk.ask(Method::Delete, &delete(&gone));
    for _ in 0..2 {
        let not_found = "EXECUTION_NOT_FOUND";
        assert_eq!(not_found, reason(&mut desk, Method::Get, &get(&gone)));
        assert_eq!(not_found, reason(&mut desk, Method::Delete, &delete(&gone)));
        let run = v1::GetExecutionRunRequest {
            tenant_id: "acme".into(),
            execution_id: gone.clone(),
        };
        assert_eq!(not_found, reason(&mut desk, Method::GetExecutionRun, &run));
        let attempts = v1::ListAttemptsRequest {
            tenant_id: "acme".into(),
            execution_id: gone.clone(),
            ..Default::default()
        };
        assert_eq!(
            not_found,
            reason(&mut desk, Method::ListAttempts, &attempts)
        );
        assert_eq!(vec![stays.clone()], ids(&mut desk));
        desk.restart();
    }
}

#[test]
fn an_execution_is_gone_before_its_deletion_is_durable() {
    let mut desk = Desk::new();
    let id = desk.finish(&request("a"));
    desk.restart();
    // Nothing is in memory now. The deletion waits for a read, and then for its commit.
    let deleted = desk.call(Method::Delete, &delete(&id));
    desk.read();
    let asked = desk.call(Method::Get, &get(&id));
    assert!(desk.reads.is_empty(), "it needs no read to know");
    assert!(!desk.is_answered(deleted) && !desk.is_answered(asked));
    desk.settle();
    assert_eq!("EXECUTION_NOT_FOUND", desk.refusal(asked));
    let _: v1::DeleteResponse = desk.reply(deleted);
}

#[test]
fn a_read_that_began_before_the_deletion_shows_nothing_after_it() {
    let mut desk = Desk::new();
    let id = desk.finish(&request("a"));
    desk.restart();
    let first = desk.call(Method::Delete, &delete(&id));
    let second = desk.call(Method::Delete, &delete(&id));
    desk.read();
    desk.read();
    desk.settle();
    let _: v1::DeleteResponse = desk.reply(first);
    assert_eq!("EXECUTION_NOT_FOUND", desk.refusal(second));
}

#[test]
fn a_deletion_outlives_the_process_only_once_it_is_durable() {
    let mut desk = Desk::new();
    let id = desk.finish(&request("a"));
    desk.call(Method::Delete, &delete(&id));
    desk.restart();
    assert_eq!(id, desk.get(&id).execution_id);
    let _: v1::DeleteResponse = desk.ask(Method::Delete, &delete(&id));
    desk.restart();
    assert_eq!(
        "EXECUTION_NOT_FOUND",
        reason(&mut desk, Method::Get, &get(&id))
    );
}

#[test]
fn an_unfinished_execution_cannot_be_deleted() {
    let mut desk = Desk::new();
    let id = desk.make(&request("a"));
    let refused = reason(&mut desk, Method::Delete, &delete(&id));
    assert_eq!("TRANSITION_NOT_ALLOWED", refused);
    desk.lease("w", 1);
    let refused = reason(&mut desk, Method::Delete, &delete(&id));
    assert_eq!("TRANSITION_NOT_ALLOWED", refused);
    let other = v1::DeleteRequest {
        tenant_id: "other".into(),
        ..delete(&id)
    };
    let refused = reason(&mut desk, Method::Delete, &other);
    assert_eq!("EXECUTION_NOT_FOUND", refused);
}

#[test]
fn a_request_id_tells_that_its_execution_was_deleted() {
    let mut desk = Desk::new();
    let named = v1::EnqueueRequest {
        request_id: "r".into(),
        ..request("a")
    };
    let id = desk.finish(&named);
    let _: v1::DeleteResponse = desk.ask(Method::Delete, &delete(&id));
    for _ in 0..2 {
        let refused = reason(&mut desk, Method::Enqueue, &named);
        assert_eq!("EXECUTION_DELETED", refused);
        desk.restart();
        desk.learn_requests();
    }
}

#[test]
fn what_is_deleted_leaves_the_dead_letters_and_cannot_be_redriven_or_depended_on() {
    let mut desk = Desk::new();
    let late = v1::EnqueueRequest {
        start_deadline: Some(prost_types::Timestamp {
            seconds: i64::try_from(crate::desk::START_MS / 1_000).expect("a time") + 1,
            nanos: 0,
        }),
        ..request("a")
    };
    let id = desk.make(&late);
    desk.advance(2_000);
    desk.settle();
    let _: v1::DeleteResponse = desk.ask(Method::Delete, &delete(&id));
    let dead = v1::ListDeadLettersRequest {
        tenant_id: "acme".into(),
        ..Default::default()
    };
    let dead: v1::ListDeadLettersResponse = desk.ask(Method::ListDeadLetters, &dead);
    assert!(dead.executions.is_empty());
    let redrive = v1::RedriveRequest {
        tenant_id: "acme".into(),
        execution_id: id.clone(),
        ..Default::default()
    };
    let refused = reason(&mut desk, Method::Redrive, &redrive);
    assert_eq!("EXECUTION_NOT_FOUND", refused);
    let dependent = v1::EnqueueRequest {
        depends_on: vec![id],
        ..request("b")
    };
    let refused = reason(&mut desk, Method::Enqueue, &dependent);
    assert_eq!("EXECUTION_NOT_FOUND", refused);
}

#[test]
fn the_audit_and_a_stop_do_not_bring_it_back() {
    let mut desk = Desk::new();
    let id = desk.finish(&request("a"));
    let _: v1::DeleteResponse = desk.ask(Method::Delete, &delete(&id));
    desk.send(Input::Drain);
    desk.advance(20_000);
    desk.settle();
    desk.forget();
    desk.restart();
    assert_eq!(
        "EXECUTION_NOT_FOUND",
        reason(&mut desk, Method::Get, &get(&id))
    );
}
