//! Lists with a filter, and counts: what they find, in slices, while the shard does other work.

use backlane_engine::rules::id::ExecutionId;
use backlane_runtime::{CompletionKind, Input, Method};
use backlane_sim::api::v1;
use backlane_store::{Key, PAYLOAD};
use prost_types::Value;
use prost_types::value::Kind;

use crate::desk::{Desk, request};

fn text(text: &str) -> Value {
    Value {
        kind: Some(Kind::StringValue(text.into())),
    }
}

fn of(callable: &str, team: &str) -> v1::EnqueueRequest {
    v1::EnqueueRequest {
        callable_name: callable.into(),
        metadata: [("team".to_owned(), text(team))].into(),
        ..request(callable)
    }
}

fn cancel(desk: &mut Desk, id: &str) {
    let asked = v1::CancelRequest {
        tenant_id: "acme".into(),
        execution_id: id.into(),
    };
    let _: v1::CancelResponse = desk.ask(Method::Cancel, &asked);
}

fn filtered(filter: &str) -> v1::ListRequest {
    v1::ListRequest {
        tenant_id: "acme".into(),
        filter: filter.into(),
        ..Default::default()
    }
}

fn counted(filter: &str) -> v1::CountRequest {
    v1::CountRequest {
        tenant_id: "acme".into(),
        filter: filter.into(),
    }
}

fn count(desk: &mut Desk, filter: &str) -> u64 {
    let reply: v1::CountResponse = desk.ask(Method::Count, &counted(filter));
    reply.count
}

/// The ids of all pages, of two executions at most.
fn walk(desk: &mut Desk, filter: &str) -> Vec<String> {
    let mut asked = v1::ListRequest {
        page_size: 2,
        ..filtered(filter)
    };
    let mut ids = Vec::new();
    loop {
        let reply: v1::ListResponse = desk.ask(Method::List, &asked);
        assert!(reply.executions.len() <= 2);
        ids.extend(reply.executions.into_iter().map(|one| one.execution_id));
        asked.page_token = reply.next_page_token;
        if asked.page_token.is_empty() {
            return ids;
        }
    }
}

/// Eight executions of two callables and two teams. Every third one is cancelled.
fn eight() -> (Desk, Vec<String>) {
    let mut desk = Desk::new();
    let mut ids = Vec::new();
    for one in 0..8 {
        let callable = ["mail.send", "charge"][one % 2];
        let id = desk.make(&of(callable, ["ops", "sales"][one / 4]));
        if one % 3 == 0 {
            cancel(&mut desk, &id);
        }
        ids.push(id);
    }
    (desk, ids)
}

#[test]
fn a_filter_finds_finished_and_unfinished_executions_newest_first() {
    let (mut desk, ids) = eight();
    let cases: [(&str, &[usize]); 11] = [
        ("", &[7, 6, 5, 4, 3, 2, 1, 0]),
        ("callable = charge", &[7, 5, 3, 1]),
        ("callable = \"mail.*\" AND status = cancelled", &[6, 0]),
        ("metadata.team = ops", &[3, 2, 1, 0]),
        ("metadata.team = sales AND NOT status = queued", &[6]),
        (
            "status = queued OR metadata.team = ops",
            &[7, 5, 4, 3, 2, 1, 0],
        ),
        ("reason = cancel_requested", &[6, 3, 0]),
        ("reason != cancel_requested", &[7, 5, 4, 2, 1]),
        ("completed_at >= -1h", &[6, 3, 0]),
        ("queued_at < -1h", &[]),
        ("worker = w", &[]),
    ];
    for _ in 0..2 {
        for (filter, expected) in cases {
            let expected: Vec<_> = expected.iter().map(|one| ids[*one].clone()).collect();
            assert_eq!(expected, walk(&mut desk, filter), "{filter}");
            assert_eq!(expected.len() as u64, count(&mut desk, filter), "{filter}");
        }
        // The second time, nothing is in memory.
        desk.restart();
    }
}

#[test]
fn the_status_and_the_parent_of_the_request_are_part_of_the_filter() {
    let (mut desk, ids) = eight();
    let mut asked = v1::ListRequest {
        status: v1::BackgroundExecutionStatus::Cancelled as i32,
        ..filtered("callable = charge")
    };
    let reply: v1::ListResponse = desk.ask(Method::List, &asked);
    assert_eq!(ids[3], reply.executions[0].execution_id);
    assert_eq!(1, reply.executions.len());
    asked.parent_execution_id = ids[1].clone();
    let reply: v1::ListResponse = desk.ask(Method::List, &asked);
    assert!(reply.executions.is_empty());
}

#[test]
fn a_change_is_found_before_it_is_durable() {
    let (mut desk, ids) = eight();
    let asked = v1::CancelRequest {
        tenant_id: "acme".into(),
        execution_id: ids[1].clone(),
    };
    desk.call(Method::Cancel, &asked);
    let listed = desk.call(Method::List, &filtered("status = cancelled"));
    let counted = desk.call(Method::Count, &counted("status = cancelled"));
    assert!(
        desk.reads.is_empty(),
        "the store has the end once it is durable"
    );
    desk.settle();
    let reply: v1::ListResponse = desk.reply(listed);
    assert!(
        reply
            .executions
            .iter()
            .any(|one| one.execution_id == ids[1])
    );
    assert_eq!(4, desk.reply::<v1::CountResponse>(counted).count);
}

#[test]
fn a_full_view_has_inputs_in_pages_below_the_limit_of_a_reply() {
    let mut desk = Desk::new();
    for one in 0..8 {
        let large = v1::EnqueueRequest {
            input: Some("x".repeat(1 << 20)),
            ..of("mail", "ops")
        };
        let id = desk.make(&large);
        if one % 2 == 0 {
            cancel(&mut desk, &id);
        }
    }
    desk.restart();
    let mut asked = v1::ListRequest {
        view: v1::View::Full as i32,
        ..filtered("metadata.team = ops")
    };
    let (mut found, mut pages) = (0, 0);
    loop {
        let reply: v1::ListResponse = desk.ask(Method::List, &asked);
        let inputs = reply.executions.iter().filter_map(|one| one.input.as_ref());
        found += inputs.filter(|input| input.len() == 1 << 20).count();
        pages += 1;
        asked.page_token = reply.next_page_token;
        if asked.page_token.is_empty() {
            break;
        }
    }
    assert_eq!((8, 3), (found, pages));
}

#[test]
fn a_token_is_bound_to_its_filter() {
    let (mut desk, _) = eight();
    let asked = v1::ListRequest {
        page_size: 1,
        ..filtered("callable = charge")
    };
    let reply: v1::ListResponse = desk.ask(Method::List, &asked);
    let other = v1::ListRequest {
        page_token: reply.next_page_token,
        ..filtered("callable = mail")
    };
    let ticket = desk.call(Method::List, &other);
    desk.settle();
    assert_eq!("INVALID_ARGUMENT", desk.refusal(ticket));
}

/// Six thousand executions, of which the older half is finished.
fn many() -> Desk {
    let mut desk = Desk::new();
    let batch = v1::EnqueueBatchRequest {
        tenant_id: "acme".into(),
        items: vec![of("mail", "ops"); 3_000],
        ..Default::default()
    };
    let made: v1::EnqueueBatchResponse = desk.ask(Method::EnqueueBatch, &batch);
    for one in made.results {
        let id = one.execution.expect("its record").execution_id;
        let asked = v1::CancelRequest {
            tenant_id: "acme".into(),
            execution_id: id,
        };
        desk.call(Method::Cancel, &asked);
    }
    desk.settle();
    let _: v1::EnqueueBatchResponse = desk.ask(Method::EnqueueBatch, &batch);
    desk
}

#[test]
fn a_count_leaves_the_shard_free_between_its_slices() {
    let mut desk = many();
    let ticket = desk.call(Method::Count, &counted("metadata.team = ops"));
    let mut slices = 0;
    while !desk.is_answered(ticket) {
        // Each slice waits for a read, and meanwhile a call is decided and made durable.
        assert_eq!(1, desk.reads.len());
        let made = desk.call(Method::Enqueue, &of("mail", "ops"));
        desk.commit();
        assert!(desk.is_answered(made));
        desk.read();
        slices += 1;
    }
    assert!(slices >= 3, "{slices} slices");
    // What came after the call is not counted.
    assert_eq!(6_000, desk.reply::<v1::CountResponse>(ticket).count);
}

#[test]
fn what_ends_during_a_count_is_counted_once() {
    let mut desk = many();
    let queued: Vec<_> = walk_ids(&mut desk, "status = queued");
    let ticket = desk.call(Method::Count, &counted("metadata.team = ops"));
    for id in queued.iter().step_by(500) {
        let asked = v1::CancelRequest {
            tenant_id: "acme".into(),
            execution_id: id.clone(),
        };
        desk.call(Method::Cancel, &asked);
        desk.commit();
        if !desk.reads.is_empty() {
            desk.read();
        }
    }
    desk.settle();
    assert_eq!(6_000, desk.reply::<v1::CountResponse>(ticket).count);
}

fn walk_ids(desk: &mut Desk, filter: &str) -> Vec<String> {
    let mut asked = v1::ListRequest {
        page_size: 1_000,
        ..filtered(filter)
    };
    let mut ids = Vec::new();
    loop {
        let reply: v1::ListResponse = desk.ask(Method::List, &asked);
        ids.extend(reply.executions.into_iter().map(|one| one.execution_id));
        asked.page_token = reply.next_page_token;
        if asked.page_token.is_empty() {
            return ids;
        }
    }
}

#[test]
fn a_count_ends_with_its_caller() {
    let mut desk = many();
    let ticket = desk.call(Method::Count, &counted(""));
    desk.send(Input::Abandon(ticket));
    desk.read();
    assert!(desk.reads.is_empty() && !desk.is_answered(ticket));
}

#[test]
fn a_server_that_is_about_to_stop_ends_a_count() {
    let mut desk = many();
    let ticket = desk.call(Method::Count, &counted(""));
    desk.send(Input::Drain);
    desk.read();
    assert_eq!("DRAINING", desk.refusal(ticket));
}

#[test]
fn a_damaged_payload_is_left_out_of_a_list_and_ends_a_count() {
    let (mut desk, ids) = eight();
    desk.restart();
    for id in &ids[..2] {
        let birth = ExecutionId::parse("id", id).expect("an id").birth;
        desk.disk.spoil(&PAYLOAD, &Key::Number(birth));
    }
    let listed = walk(&mut desk, "metadata.team = ops");
    assert_eq!(vec![ids[3].clone(), ids[2].clone()], listed);
    let notice = desk.next(0);
    assert!(
        matches!(notice, Some(CompletionKind::Notice(_))),
        "{notice:?}"
    );
    let ticket = desk.call(Method::Count, &counted("metadata.team = ops"));
    desk.settle();
    assert_eq!("DATA_DAMAGED", desk.refusal(ticket));
    // Where the other rows tell, nothing is missing.
    assert_eq!(8, count(&mut desk, ""));
    assert_eq!(3, count(&mut desk, "status = cancelled"));
}

#[test]
fn a_filter_that_does_not_parse_is_refused() {
    let mut desk = Desk::new();
    let listed = desk.call(Method::List, &filtered("status = faild"));
    let counted = desk.call(Method::Count, &counted("status"));
    desk.settle();
    for ticket in [listed, counted] {
        assert_eq!("INVALID_ARGUMENT", desk.refusal(ticket));
    }
}
