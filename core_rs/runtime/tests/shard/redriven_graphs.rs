//! Redrives with the dependents that were skipped.
//!
//! Owns what scenarios cannot express: pages, bounds, rows that are removed or damaged, repeats.

use backlane_engine::rules::id::ExecutionId;
use backlane_engine::rules::limits::Limits;
use backlane_runtime::{Method, Settings};
use backlane_sim::api::v1;
use backlane_store::{ENDING, Key, PAYLOAD};

use crate::desk::{Desk, request};
use crate::over::{fail_lease, redrive};

fn after(input: &str, on: &[&str]) -> v1::EnqueueRequest {
    v1::EnqueueRequest {
        depends_on: on.iter().map(ToString::to_string).collect(),
        ..request(input)
    }
}

/// Leases the only execution that is ready, and lets it fail for good.
fn fail(desk: &mut Desk) {
    let mut leases = desk.lease("w", 2);
    assert_eq!(1, leases.len());
    fail_lease(desk, &leases.remove(0));
}

fn whole(id: &str) -> v1::RedriveRequest {
    v1::RedriveRequest {
        with_dependents: true,
        ..redrive(id)
    }
}

fn redriven(desk: &mut Desk, asked: &v1::RedriveRequest) -> (String, Vec<String>) {
    let reply: v1::RedriveResponse = desk.ask(Method::Redrive, asked);
    let id = reply.execution.expect("its record").execution_id;
    (id, reply.dependent_ids)
}

fn refusal(desk: &mut Desk, asked: &v1::RedriveRequest) -> String {
    let before = desk.get_stats();
    let ticket = desk.call(Method::Redrive, asked);
    desk.settle();
    let refused = desk.refusal(ticket);
    assert_eq!(before, desk.get_stats(), "a refusal changed something");
    refused
}

impl Desk {
    fn get_stats(&mut self) -> v1::GetQueueStatsResponse {
        let asked = v1::GetQueueStatsRequest {
            tenant_id: "acme".into(),
        };
        self.ask(Method::GetQueueStats, &asked)
    }

    /// The input and the dependencies of an execution, and the execution that it redrives.
    fn seen(&mut self, id: &str) -> (String, Vec<String>, String) {
        let record = self.get(id);
        let from = record.retried_from.clone().unwrap_or_default();
        (record.input().to_owned(), record.depends_on, from)
    }
}

fn key(id: &str) -> Key {
    Key::Number(ExecutionId::parse("id", id).expect("an id").birth)
}

fn small(most: usize) -> Desk {
    let limits = Limits {
        max_batch_items: most,
        ..Limits::default()
    };
    Desk::with(Settings {
        limits,
        cache_bytes: 0,
        ..Settings::default()
    })
}

#[test]
fn the_whole_graph_is_made_anew_with_its_edges_and_runs_in_order() {
    for restarts in [false, true] {
        let mut desk = Desk::new();
        let passed = desk.finish(&request("passed"));
        let a = desk.make(&request("a"));
        let b = desk.make(&after("b", &[&a, &passed]));
        let c = desk.make(&after("c", &[&a]));
        let d = desk.make(&after("d", &[&c, &b]));
        fail(&mut desk);
        if restarts {
            desk.restart();
        }
        let (a2, dependents) = redriven(&mut desk, &whole(&a));
        let [b2, c2, d2] = &dependents[..] else {
            panic!("{dependents:?}")
        };
        if restarts {
            desk.restart();
        }
        let expected = ("b".into(), vec![a2.clone(), passed], b);
        assert_eq!(expected, desk.seen(b2));
        assert_eq!(("c".into(), vec![a2.clone()], c), desk.seen(c2));
        let expected = ("d".into(), vec![c2.clone(), b2.clone()], d);
        assert_eq!(expected, desk.seen(d2));
        for (ready, blocked) in [(1, 3), (2, 1), (1, 1), (1, 0)] {
            let stats = desk.get_stats();
            assert_eq!((ready, blocked), (stats.ready, stats.pending));
            let lease = desk.lease("w", 1).remove(0);
            desk.complete(&lease);
        }
    }
}

#[test]
fn a_dependent_with_another_dependency_that_failed_is_skipped_again() {
    let mut desk = Desk::new();
    let a = desk.make(&request("a"));
    let other = desk.make(&v1::EnqueueRequest {
        callable_name: "other".into(),
        ..request("other")
    });
    let b = desk.make(&after("b", &[&a, &other]));
    let cancel = v1::CancelRequest {
        tenant_id: "acme".into(),
        execution_id: other,
    };
    let _: v1::CancelResponse = desk.ask(Method::Cancel, &cancel);
    fail(&mut desk);
    let (_, dependents) = redriven(&mut desk, &whole(&a));
    assert_eq!(1, dependents.len());
    let skipped = desk.get(&dependents[0]);
    assert_eq!(v1::EndReason::DependencyFailed, skipped.reason());
    assert_eq!(Some(b), skipped.retried_from);
}

#[test]
fn what_is_being_redriven_already_is_used_as_it_is() {
    let mut desk = Desk::new();
    let a = desk.make(&request("a"));
    let b = desk.make(&after("b", &[&a]));
    desk.make(&after("c", &[&b]));
    fail(&mut desk);
    let (b2, none) = redriven(&mut desk, &redrive(&b));
    assert!(none.is_empty());
    let (a2, dependents) = redriven(&mut desk, &whole(&a));
    let [c2] = &dependents[..] else {
        panic!("{dependents:?}")
    };
    assert_eq!(vec![b2], desk.seen(c2).1);
    // Nothing is missing any more.
    let reply: v1::RedriveResponse = desk.ask(Method::Redrive, &whole(&a));
    assert_eq!((true, 0), (reply.existing, reply.dependent_ids.len()));
    assert_eq!(a2, reply.execution.expect("its record").execution_id);
}

#[test]
fn dependents_follow_a_redrive_that_was_made_without_them() {
    let mut desk = Desk::new();
    let a = desk.make(&request("a"));
    desk.make(&after("b", &[&a]));
    fail(&mut desk);
    let (a2, _) = redriven(&mut desk, &redrive(&a));
    let (again, dependents) = redriven(&mut desk, &whole(&a));
    assert_eq!(a2, again);
    assert_eq!(vec![a2], desk.seen(&dependents[0]).1);
}

#[test]
fn a_repeated_request_gets_the_same_ids_and_makes_nothing() {
    let mut desk = Desk::new();
    let a = desk.make(&request("a"));
    desk.make(&after("b", &[&a]));
    fail(&mut desk);
    let asked = v1::RedriveRequest {
        request_id: "r1".into(),
        ..whole(&a)
    };
    let first = redriven(&mut desk, &asked);
    for _ in 0..2 {
        let lease = desk.lease("w", 1).remove(0);
        desk.complete(&lease);
    }
    desk.restart();
    desk.learn_requests();
    assert_eq!(first, redriven(&mut desk, &asked));
    let without = v1::RedriveRequest {
        with_dependents: false,
        ..asked
    };
    assert_eq!("REQUEST_ID_REUSED", refusal(&mut desk, &without));
}

#[test]
fn dependents_are_found_over_many_pages_and_among_others() {
    let mut desk = small(10_000);
    let a = desk.make(&request("a"));
    let b = desk.make(&after("b", &[&a]));
    for one in 0..300 {
        let id = desk.make(&v1::EnqueueRequest {
            not_before: Some(backlane_sim::api::timestamp(desk.now.wall_ms + 1_000_000)),
            ..request(&one.to_string())
        });
        let cancel = v1::CancelRequest {
            tenant_id: "acme".into(),
            execution_id: id,
        };
        let _: v1::CancelResponse = desk.ask(Method::Cancel, &cancel);
    }
    let c = desk.make(&after("c", &[&b]));
    fail(&mut desk);
    // More than one consequence on the agenda, in several chunks.
    let (_, dependents) = redriven(&mut desk, &whole(&a));
    let from: Vec<_> = dependents.iter().map(|id| desk.seen(id).2).collect();
    assert_eq!(vec![b, c], from);
}

#[test]
fn dependents_that_are_still_to_be_skipped_are_waited_for() {
    let mut desk = Desk::new();
    let a = desk.make(&request("a"));
    let many = (0..3_000).map(|one| after(&one.to_string(), &[&a]));
    let many: Vec<_> = many.collect();
    let batch = v1::EnqueueBatchRequest {
        tenant_id: "acme".into(),
        items: many,
        ..Default::default()
    };
    let _: v1::EnqueueBatchResponse = desk.ask(Method::EnqueueBatch, &batch);
    let cancel = v1::CancelRequest {
        tenant_id: "acme".into(),
        execution_id: a.clone(),
    };
    let cancelled = desk.call(Method::Cancel, &cancel);
    let asked = desk.call(Method::Redrive, &whole(&a));
    while !desk.is_answered(asked) {
        // Readers are quicker than the agenda.
        if desk.reads.is_empty() {
            desk.commit();
        } else {
            desk.read();
        }
    }
    let _: v1::CancelResponse = desk.reply(cancelled);
    let reply: v1::RedriveResponse = desk.reply(asked);
    assert_eq!(3_000, reply.dependent_ids.len());
    let stats = desk.get_stats();
    assert_eq!((1, 3_000), (stats.ready, stats.pending));
}

#[test]
fn too_many_dependents_are_refused_and_nothing_is_enqueued() {
    let mut desk = small(3);
    let a = desk.make(&request("a"));
    for one in ["b", "c", "d"] {
        desk.make(&after(one, &[&a]));
    }
    fail(&mut desk);
    assert_eq!("INVALID_ARGUMENT", refusal(&mut desk, &whole(&a)));
    redriven(&mut desk, &redrive(&a));
}

#[test]
fn dependents_with_too_many_bytes_are_refused_and_nothing_is_enqueued() {
    let limits = Limits {
        max_batch_bytes: 1_000_000,
        ..Limits::default()
    };
    let mut desk = Desk::with(Settings {
        limits,
        ..Settings::default()
    });
    let a = desk.make(&request("a"));
    for _ in 0..2 {
        desk.make(&after(&"x".repeat(600_000), &[&a]));
    }
    fail(&mut desk);
    assert_eq!("INVALID_ARGUMENT", refusal(&mut desk, &whole(&a)));
}

#[test]
fn a_damaged_dependent_is_named_and_nothing_is_enqueued() {
    for family in [&ENDING, &PAYLOAD] {
        let mut desk = Desk::new();
        let a = desk.make(&request("a"));
        let b = desk.make(&after("b", &[&a]));
        fail(&mut desk);
        desk.restart();
        desk.disk.spoil(family, &key(&b));
        assert_eq!("DATA_DAMAGED", refusal(&mut desk, &whole(&a)));
        redriven(&mut desk, &redrive(&a));
    }
}

#[test]
fn a_dependency_that_completed_and_was_removed_is_passed() {
    let mut desk = Desk::with(Settings {
        retention_ms: 60_000,
        cache_bytes: 0,
        ..Settings::default()
    });
    let passed = desk.finish(&request("passed"));
    let a = desk.make(&request("a"));
    desk.make(&after("b", &[&passed, &a]));
    desk.advance(50_000);
    fail(&mut desk);
    desk.advance(20_000);
    desk.settle();
    desk.forget();
    let (a2, dependents) = redriven(&mut desk, &whole(&a));
    assert_eq!(vec![a2], desk.seen(&dependents[0]).1);
}

#[test]
fn a_graph_of_which_one_dedup_key_is_taken_is_refused_as_a_whole() {
    let mut desk = Desk::new();
    let a = desk.make(&request("a"));
    desk.make(&v1::EnqueueRequest {
        dedup_key: "k".into(),
        ..after("b", &[&a])
    });
    fail(&mut desk);
    desk.make(&v1::EnqueueRequest {
        dedup_key: "k".into(),
        ..request("other")
    });
    assert_eq!("ALREADY_EXISTS", refusal(&mut desk, &whole(&a)));
}
