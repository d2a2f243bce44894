//! Dependencies: what records show, what is refused, and that a large number of consequences delays
//! nobody.

use backlane_runtime::Method;
use backlane_sim::api::{reason_of, v1};

use crate::desk::{Desk, get, request};

fn after(ids: &[&String]) -> v1::EnqueueRequest {
    v1::EnqueueRequest {
        depends_on: ids.iter().map(|id| (*id).clone()).collect(),
        ..request("dependent")
    }
}

fn batch(items: Vec<v1::EnqueueRequest>) -> v1::EnqueueBatchRequest {
    v1::EnqueueBatchRequest {
        tenant_id: "acme".into(),
        items,
        request_id: String::new(),
    }
}

/// Enqueues executions that depend on one, and returns their ids.
fn fan(desk: &mut Desk, on: &String, many: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..many / 500 {
        let items = batch(vec![after(&[on]); 500]);
        let made: v1::EnqueueBatchResponse = desk.ask(Method::EnqueueBatch, &items);
        let records = made.results.into_iter().filter_map(|made| made.execution);
        ids.extend(records.map(|record| record.execution_id));
    }
    ids
}

fn cancel(id: &str) -> v1::CancelRequest {
    v1::CancelRequest {
        tenant_id: "acme".into(),
        execution_id: id.into(),
    }
}

#[test]
fn a_record_shows_its_dependencies_as_long_as_it_exists() {
    let mut desk = Desk::new();
    let (a, b) = (desk.make(&request("a")), desk.make(&request("b")));
    let c = desk.make(&after(&[&b, &a]));
    assert_eq!(vec![b.clone(), a.clone()], desk.get(&c).depends_on);
    let by_position = v1::EnqueueRequest {
        depends_on: vec![a.clone()],
        depends_on_items: vec![0],
        ..request("dependent")
    };
    let items = batch(vec![request("first"), by_position]);
    let made: v1::EnqueueBatchResponse = desk.ask(Method::EnqueueBatch, &items);
    let ids: Vec<_> = made
        .results
        .into_iter()
        .map(|made| made.execution.unwrap())
        .collect();
    let named = vec![a.clone(), ids[0].execution_id.clone()];
    assert_eq!(named, ids[1].depends_on);
    let _: v1::CancelResponse = desk.ask(Method::Cancel, &cancel(&a));
    desk.restart();
    let skipped = desk.get(&ids[1].execution_id);
    assert_eq!(named, skipped.depends_on);
    assert_eq!(v1::EndReason::DependencyFailed, skipped.reason());
    assert_eq!(vec![b, a], desk.get(&c).depends_on);
}

#[test]
fn every_door_names_the_dependency_that_it_refuses() {
    let mut desk = Desk::new();
    let other = v1::EnqueueRequest {
        tenant_id: "other".into(),
        ..request("a")
    };
    let foreign = desk.make(&other);
    let refused = |desk: &mut Desk, method, message: &dyn Fn(&mut Desk) -> u64| {
        let ticket = message(desk);
        desk.settle();
        match desk.next(ticket) {
            Some(backlane_runtime::CompletionKind::Error {
                message, status, ..
            }) => {
                assert_eq!("EXECUTION_NOT_FOUND", backlane_sim::api::reason(&status));
                message
            }
            other => panic!("{method} answered {other:?}"),
        }
    };
    let new = after(&[&foreign]);
    let text = refused(&mut desk, "Enqueue", &|desk| {
        desk.call(Method::Enqueue, &new)
    });
    assert!(text.starts_with("depends_on[0]: "), "{text}");
    let items = batch(vec![request("a"), new.clone()]);
    let text = refused(&mut desk, "EnqueueBatch", &|desk| {
        desk.call(Method::EnqueueBatch, &items)
    });
    assert!(text.starts_with("items[1].depends_on[0]: "), "{text}");
    let run = v1::RunRequest {
        enqueue: Some(new.clone()),
        timeout: None,
    };
    let text = refused(&mut desk, "Run", &|desk| desk.call(Method::Run, &run));
    assert!(text.starts_with("enqueue.depends_on[0]: "), "{text}");
    let stream = desk.open(Method::EnqueueStream);
    let items = vec![request("a"), new];
    desk.frame(stream, &v1::EnqueueStreamRequest { items });
    desk.settle();
    let reply: v1::EnqueueStreamResponse = desk.message(stream);
    let Some(v1::enqueue_outcome::Outcome::Status(status)) = &reply.outcomes[1].outcome else {
        panic!("{reply:?}")
    };
    assert_eq!("EXECUTION_NOT_FOUND", reason_of(status));
    assert!(status.message.starts_with("items[1].depends_on[0]: "));
}

#[test]
fn a_dependency_that_only_the_store_has_is_read_first() {
    let mut desk = Desk::with(backlane_runtime::Settings {
        cache_bytes: 0,
        ..Default::default()
    });
    let done = desk.finish(&request("a"));
    let ticket = desk.call(Method::Enqueue, &after(&[&done]));
    assert!(!desk.is_answered(ticket));
    assert_eq!(1, desk.reads.len());
    desk.settle();
    let made: v1::EnqueueResponse = desk.reply(ticket);
    assert!(made.execution.is_some());
    assert_eq!(1, desk.lease("w", 5).len());
}

#[test]
fn ten_thousand_skips_are_done_in_small_commits_while_others_are_served() {
    let mut desk = Desk::new();
    let first = desk.make(&request("a"));
    let dependents = fan(&mut desk, &first, 10_000);
    let cancelled = desk.call(Method::Cancel, &cancel(&first));
    let (mut commits, mut asked, mut served) = (0, 0, 0);
    while !desk.appends.is_empty() {
        let count = desk.appends.front().map_or(0, |commit| commit.count);
        assert!(count < 1_100, "{count} facts in one commit");
        commits += 1;
        desk.commit();
        let other = v1::EnqueueRequest {
            tenant_id: "other".into(),
            ..request("b")
        };
        if commits < 20 {
            let ticket = desk.call(Method::Enqueue, &other);
            // The commit that holds it is the next or the one after that.
            desk.commit();
            if !desk.is_answered(ticket) {
                desk.commit();
            }
            asked += 1;
            served += usize::from(desk.is_answered(ticket));
        }
    }
    assert!(desk.is_answered(cancelled));
    assert_eq!(asked, served);
    assert!(commits > 10, "{commits} commits");
    for id in dependents.iter().step_by(997) {
        let record = desk.get(id);
        assert_eq!(v1::EndReason::DependencyFailed, record.reason());
    }
    assert!(desk.shard.engine().state().slots().len() <= served);
}

#[test]
fn a_crash_in_the_middle_of_a_cascade_loses_none_of_it() {
    let mut desk = Desk::new();
    let first = desk.make(&request("a"));
    let dependents = fan(&mut desk, &first, 1_000);
    desk.call(Method::Cancel, &cancel(&first));
    desk.commit();
    desk.restart();
    assert!(desk.shard.engine().has_agenda());
    assert_eq!(Some(0), desk.shard.wake_in_ms(desk.now));
    desk.settle();
    for id in &dependents {
        assert_eq!(v1::EndReason::DependencyFailed, desk.get(id).reason());
    }
    let ticket = desk.call(Method::Get, &get(&first));
    desk.settle();
    assert!(desk.is_answered(ticket));
}
