//! Lists: unfinished and finished executions in one order, page by page.

use backlane_runtime::Method;
use backlane_sim::api::v1;

use crate::desk::{Desk, request};

fn page(token: &str, status: v1::BackgroundExecutionStatus) -> v1::ListRequest {
    v1::ListRequest {
        tenant_id: "acme".into(),
        status: status as i32,
        page_size: 3,
        page_token: token.into(),
        view: v1::View::Full as i32,
        ..Default::default()
    }
}

fn walk(desk: &mut Desk, status: v1::BackgroundExecutionStatus) -> Vec<String> {
    let (mut inputs, mut token) = (Vec::new(), String::new());
    loop {
        let reply: v1::ListResponse = desk.ask(Method::List, &page(&token, status));
        assert!(reply.executions.len() <= 3);
        inputs.extend(
            reply
                .executions
                .into_iter()
                .filter_map(|record| record.input),
        );
        token = reply.next_page_token;
        if token.is_empty() {
            return inputs;
        }
    }
}

/// Seven executions, of which those with even numbers are finished.
fn seven() -> Desk {
    let mut desk = Desk::new();
    for one in 0..7 {
        let id = desk.make(&request(&one.to_string()));
        if one % 2 == 0 {
            let asked = v1::CancelRequest {
                tenant_id: "acme".into(),
                execution_id: id,
            };
            let _: v1::CancelResponse = desk.ask(Method::Cancel, &asked);
        }
    }
    desk
}

#[test]
fn pages_merge_unfinished_and_finished_newest_first() {
    let mut desk = seven();
    for _ in 0..2 {
        let all = walk(&mut desk, v1::BackgroundExecutionStatus::Unspecified);
        assert_eq!(vec!["6", "5", "4", "3", "2", "1", "0"], all);
        desk.restart();
    }
}

#[test]
fn a_list_of_one_status_shows_no_other_status() {
    let mut desk = seven();
    let queued = walk(&mut desk, v1::BackgroundExecutionStatus::Queued);
    assert_eq!(vec!["5", "3", "1"], queued);
    let cancelled = walk(&mut desk, v1::BackgroundExecutionStatus::Cancelled);
    assert_eq!(vec!["6", "4", "2", "0"], cancelled);
    assert!(walk(&mut desk, v1::BackgroundExecutionStatus::Failed).is_empty());
}

#[test]
fn a_token_is_bound_to_its_tenant_and_status() {
    let mut desk = seven();
    let all = v1::BackgroundExecutionStatus::Unspecified;
    let reply: v1::ListResponse = desk.ask(Method::List, &page("", all));
    let queued = page(
        &reply.next_page_token,
        v1::BackgroundExecutionStatus::Queued,
    );
    let ticket = desk.call(Method::List, &queued);
    desk.settle();
    assert_eq!("INVALID_ARGUMENT", desk.refusal(ticket));
}

#[test]
fn an_execution_that_just_ended_is_listed_once() {
    let mut desk = seven();
    let stats = v1::BackgroundExecutionStatus::Unspecified;
    let lease = desk.lease("w", 1).remove(0);
    let results = vec![crate::desk::result(&lease)];
    desk.call(Method::Complete, &v1::CompleteRequest { results });
    let listed = desk.call(
        Method::List,
        &v1::ListRequest {
            page_size: 10,
            ..page("", stats)
        },
    );
    desk.settle();
    let reply: v1::ListResponse = desk.reply(listed);
    assert_eq!(7, reply.executions.len());
}

#[test]
fn a_list_of_finished_executions_does_not_look_through_the_unfinished_ones() {
    let mut desk = Desk::new();
    let id = desk.finish(&request("done"));
    // A page looks at 100 000 unfinished executions at most.
    let items = vec![request("x"); 10_000];
    let batch = v1::EnqueueBatchRequest {
        tenant_id: "acme".into(),
        items,
        ..Default::default()
    };
    for _ in 0..11 {
        let _: v1::EnqueueBatchResponse = desk.ask(Method::EnqueueBatch, &batch);
    }
    let completed = v1::BackgroundExecutionStatus::Completed;
    let reply: v1::ListResponse = desk.ask(Method::List, &page("", completed));
    let found: Vec<_> = reply
        .executions
        .iter()
        .map(|record| &*record.execution_id)
        .collect();
    assert_eq!(vec![&*id], found);
}

#[test]
fn a_page_of_large_records_reads_no_more_than_the_reply_can_hold() {
    let mut desk = Desk::new();
    for _ in 0..12 {
        desk.make(&request(&"x".repeat(1 << 20)));
    }
    desk.restart();
    let all = v1::ListRequest {
        page_size: 1_000,
        ..page("", v1::BackgroundExecutionStatus::Queued)
    };
    let ticket = desk.call(Method::List, &all);
    let rows: usize = desk.reads.iter().map(|(_, query)| query.rows.len()).sum();
    assert!((1..=4).contains(&rows), "{rows} payloads");
    desk.settle();
    let _: v1::ListResponse = desk.reply(ticket);
    let walked = walk(&mut desk, v1::BackgroundExecutionStatus::Unspecified);
    assert_eq!(12, walked.len());
}
