//! Executions that are over: pages of dead letters, redrives that have to read, and progress.
//!
//! Owns what scenarios cannot express: pages, sizes, damage, calls at the same time, retention.

use backlane_engine::rules::limits::Limits;
use backlane_runtime::{Input, Method, Settings};
use backlane_sim::api::{self, v1};
use backlane_store::{Key, PAYLOAD};

use crate::desk::{Desk, lease_ref, request};
use crate::work::{Down, Up, greeted, leases, up};

fn of(callable: &str, input: &str) -> v1::EnqueueRequest {
    v1::EnqueueRequest {
        callable_name: callable.into(),
        ..request(input)
    }
}

/// Enqueues an execution and lets it fail for good. Returns its id.
fn fail(desk: &mut Desk, made: &v1::EnqueueRequest) -> String {
    let id = desk.make(made);
    let lease = desk.lease("failer", 1).remove(0);
    fail_lease(desk, &lease);
    id
}

/// Reports that a leased execution has failed for good.
pub(crate) fn fail_lease(desk: &mut Desk, lease: &v1::Lease) {
    let lease = lease_ref(lease);
    let failure = v1::Failure {
        execution_id: lease.execution_id,
        lease_token: lease.lease_token,
        error: Some(v1::ExecutionError {
            category: v1::ErrorCategory::ToolError as i32,
            message: "boom".into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let failures = vec![failure];
    let _: v1::FailResponse = desk.ask(Method::Fail, &v1::FailRequest { failures });
}

fn list(callable: &str, page_size: u32) -> v1::ListDeadLettersRequest {
    v1::ListDeadLettersRequest {
        tenant_id: "acme".into(),
        callable_name: callable.into(),
        page_size,
        view: v1::View::Full as i32,
        ..Default::default()
    }
}

/// The inputs of all dead letters, and the number of pages.
fn walk(desk: &mut Desk, first: &v1::ListDeadLettersRequest) -> (Vec<String>, usize) {
    let (mut inputs, mut pages, mut request) = (Vec::new(), 0, first.clone());
    loop {
        let reply: v1::ListDeadLettersResponse = desk.ask(Method::ListDeadLetters, &request);
        let size = usize::try_from(first.page_size).expect("small");
        assert!(size == 0 || reply.executions.len() <= size);
        pages += 1;
        for record in reply.executions {
            assert_eq!("boom", record.error.expect("why it failed").message);
            inputs.push(record.input.expect("its input").chars().take(1).collect());
        }
        request.page_token = reply.next_page_token;
        if request.page_token.is_empty() {
            return (inputs, pages);
        }
    }
}

pub(crate) fn redrive(id: &str) -> v1::RedriveRequest {
    v1::RedriveRequest {
        tenant_id: "acme".into(),
        execution_id: id.into(),
        ..Default::default()
    }
}

#[test]
fn dead_letters_come_page_by_page_newest_first_also_after_a_restart() {
    let mut desk = Desk::new();
    for one in 0..5 {
        fail(&mut desk, &request(&one.to_string()));
        desk.finish(&request("done"));
    }
    for _ in 0..2 {
        let (inputs, pages) = walk(&mut desk, &list("", 2));
        assert_eq!((vec!["4", "3", "2", "1", "0"], 3), (texts(&inputs), pages));
        desk.restart();
    }
}

fn texts(inputs: &[String]) -> Vec<&str> {
    inputs.iter().map(AsRef::as_ref).collect()
}

#[test]
fn a_list_of_one_callable_looks_over_the_others_in_bounded_steps() {
    let limits = Limits {
        max_page: 4,
        ..Limits::default()
    };
    let mut desk = Desk::with(Settings {
        limits,
        ..Settings::default()
    });
    for one in 0..9 {
        let callable = if one % 4 == 0 { "rare" } else { "often" };
        fail(&mut desk, &of(callable, &one.to_string()));
    }
    let (inputs, _) = walk(&mut desk, &list("rare", 2));
    assert_eq!(vec!["8", "4", "0"], texts(&inputs));
    let (inputs, _) = walk(&mut desk, &list("often", 1));
    assert_eq!(vec!["7", "6", "5", "3", "2", "1"], texts(&inputs));
    let (inputs, pages) = walk(&mut desk, &list("never", 4));
    assert_eq!((Vec::new(), 3), (texts(&inputs), pages));
}

#[test]
fn large_dead_letters_are_cut_into_replies_that_clients_accept() {
    let mut desk = Desk::with(Settings {
        cache_bytes: 0,
        ..Settings::default()
    });
    let long = "x".repeat((1 << 20) - 1);
    for one in 0..40 {
        let callable = if one % 20 == 0 { "rare" } else { "often" };
        fail(&mut desk, &of(callable, &format!("{}{long}", one % 10)));
    }
    let (inputs, pages) = walk(&mut desk, &list("", 0));
    assert_eq!(40, inputs.len());
    assert!(pages > 10, "{pages} pages of 40 MiB");
    // Rows that are read for other callables do not end the list early.
    assert_eq!(2, walk(&mut desk, &list("rare", 0)).0.len());
}

#[test]
fn retention_removes_a_dead_letter_with_its_execution() {
    let mut desk = Desk::with(Settings {
        retention_ms: 60_000,
        cache_bytes: 0,
        ..Settings::default()
    });
    let old = fail(&mut desk, &request("old"));
    desk.advance(50_000);
    fail(&mut desk, &request("new"));
    desk.advance(20_000);
    desk.settle();
    desk.forget();
    assert_eq!(vec!["n"], texts(&walk(&mut desk, &list("", 0)).0));
    let ticket = desk.call(Method::Redrive, &redrive(&old));
    desk.settle();
    assert_eq!("EXECUTION_NOT_FOUND", desk.refusal(ticket));
}

#[test]
fn an_end_and_a_discard_are_listed_once_they_are_durable() {
    let mut desk = Desk::new();
    let id = fail(&mut desk, &request("a"));
    let discard = v1::DiscardDeadLettersRequest {
        tenant_id: "acme".into(),
        execution_ids: vec![id],
    };
    let discarded = desk.call(Method::DiscardDeadLetters, &discard);
    let listed = desk.call(Method::ListDeadLetters, &list("", 0));
    assert!(!desk.is_answered(discarded) && !desk.is_answered(listed));
    desk.settle();
    let _: v1::DiscardDeadLettersResponse = desk.reply(discarded);
    let reply: v1::ListDeadLettersResponse = desk.reply(listed);
    assert_eq!(v1::ListDeadLettersResponse::default(), reply);
}

/// An execution with everything that a redrive takes over, which is only in the store.
fn stored() -> (Desk, v1::BackgroundExecution) {
    let mut desk = Desk::new();
    let rich = v1::EnqueueRequest {
        context: [("trace".into(), "t1".into())].into(),
        metadata: [("user".into(), api::json_text("ada"))].into(),
        dedup_key: "k".into(),
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
        max_worker_losses: Some(7),
        config: Some(v1::BackgroundExecutionConfig {
            priority: Some(9),
            retry: Some(v1::RetryConfig {
                max_attempts: Some(1),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..request("a")
    };
    let id = fail(&mut desk, &rich);
    desk.restart();
    let old = desk.get(&id);
    (desk, old)
}

#[test]
fn a_redrive_reads_the_old_payload_and_takes_over_all_but_the_times() {
    let (mut desk, old) = stored();
    desk.restart();
    let reply: v1::RedriveResponse = desk.ask(Method::Redrive, &redrive(&old.execution_id));
    assert!(!reply.existing);
    let new = reply.execution.expect("its record");
    assert_eq!(Some(&old.execution_id), new.retried_from.as_ref());
    let expected = v1::BackgroundExecution {
        retried_from: new.retried_from.clone(),
        execution_id: new.execution_id.clone(),
        ..of_request(&old)
    };
    assert_eq!(expected, of_request(&new));
    assert_eq!(old, desk.get(&old.execution_id));
    let lease = desk.lease("w", 1).remove(0);
    assert_eq!(
        Some("a"),
        lease.execution.expect("a record").input.as_deref()
    );
}

/// The fields of a record that come from the request.
fn of_request(record: &v1::BackgroundExecution) -> v1::BackgroundExecution {
    v1::BackgroundExecution {
        execution_id: record.execution_id.clone(),
        tenant_id: record.tenant_id.clone(),
        callable_name: record.callable_name.clone(),
        input: record.input.clone(),
        context: record.context.clone(),
        config: record.config.clone(),
        metadata: record.metadata.clone(),
        max_worker_losses: record.max_worker_losses,
        dedup_key: record.dedup_key.clone(),
        traceparent: record.traceparent.clone(),
        retried_from: record.retried_from.clone(),
        ..Default::default()
    }
}

#[test]
fn of_two_redrives_that_read_at_the_same_time_one_makes_an_execution() {
    let (mut desk, old) = stored();
    desk.restart();
    let first = desk.call(Method::Redrive, &redrive(&old.execution_id));
    let second = desk.call(Method::Redrive, &redrive(&old.execution_id));
    desk.settle();
    let first: v1::RedriveResponse = desk.reply(first);
    let second: v1::RedriveResponse = desk.reply(second);
    assert_eq!((false, true), (first.existing, second.existing));
    let ids = [first, second].map(|it| it.execution.expect("a record").execution_id);
    assert_eq!(ids[0], ids[1]);
}

#[test]
fn a_repeated_request_id_leads_to_the_same_redrive_over_a_restart() {
    let (mut desk, old) = stored();
    let asked = v1::RedriveRequest {
        request_id: "r1".into(),
        ..redrive(&old.execution_id)
    };
    let first: v1::RedriveResponse = desk.ask(Method::Redrive, &asked);
    let lease = desk.lease("w", 1).remove(0);
    desk.complete(&lease);
    desk.restart();
    desk.learn_requests();
    let again: v1::RedriveResponse = desk.ask(Method::Redrive, &asked);
    assert!(again.existing);
    let ids = [first, again].map(|it| it.execution.expect("a record").execution_id);
    assert_eq!(ids[0], ids[1]);
}

#[test]
fn a_damaged_payload_is_named_and_nothing_is_enqueued() {
    let (mut desk, old) = stored();
    desk.restart();
    let id = backlane_engine::rules::id::ExecutionId::parse("id", &old.execution_id);
    let birth = id.expect("an id").birth;
    desk.disk.spoil(&PAYLOAD, &Key::Number(birth));
    let ticket = desk.call(Method::Redrive, &redrive(&old.execution_id));
    desk.settle();
    assert_eq!("DATA_DAMAGED", desk.refusal(ticket));
    assert!(desk.lease("w", 1).is_empty());
}

#[test]
fn a_server_that_is_about_to_stop_refuses_redrives() {
    let (mut desk, old) = stored();
    desk.send(Input::Drain);
    let ticket = desk.call(Method::Redrive, &redrive(&old.execution_id));
    desk.settle();
    assert_eq!("DRAINING", desk.refusal(ticket));
}

fn progress(lease: &v1::LeaseRef, fraction: f64) -> Up {
    let report = v1::ProgressReport {
        execution_id: lease.execution_id.clone(),
        lease_token: lease.lease_token.clone(),
        fraction: Some(fraction),
        message: "text".into(),
    };
    let reports = vec![report];
    Up::Progress(v1::ReportProgressRequest { reports })
}

#[test]
fn progress_on_a_stream_gets_no_reply_and_is_shown_in_every_view() {
    let mut desk = Desk::new();
    let id = desk.make(&request("a"));
    let stream = greeted(&mut desk, 1);
    let lease = lease_ref(&leases(&mut desk, stream)[0]);
    let stale = v1::LeaseRef {
        lease_token: "lt_0_1_1_1".into(),
        ..lease.clone()
    };
    up(&mut desk, stream, progress(&lease, 0.5));
    up(&mut desk, stream, progress(&stale, 1.0));
    desk.settle();
    assert!(!desk.is_answered(stream), "nothing is said about progress");
    let shown = desk.get(&id).progress.expect("a progress");
    assert!(format!("{shown:?}").contains("0.5"), "{shown:?}");
    let all: v1::ListResponse = desk.ask(
        Method::List,
        &v1::ListRequest {
            tenant_id: "acme".into(),
            ..Default::default()
        },
    );
    assert_eq!(Some(shown), all.executions[0].progress);
}

#[test]
fn a_progress_that_breaks_a_rule_ends_the_stream_and_keeps_the_lease() {
    let mut desk = Desk::new();
    desk.make(&request("a"));
    let stream = greeted(&mut desk, 1);
    let lease = leases(&mut desk, stream).remove(0);
    up(&mut desk, stream, progress(&lease_ref(&lease), 1.5));
    assert_eq!("INVALID_ARGUMENT", desk.refusal(stream));
    let outcome = desk.complete(&lease);
    assert_eq!("completed", crate::desk::outcome(&outcome));
}

#[test]
fn progress_begins_the_attempt_of_a_prefetched_lease() {
    let mut desk = Desk::new();
    let id = desk.make(&request("a"));
    let stream = greeted(&mut desk, 0);
    up(&mut desk, stream, crate::work::prefetch(1));
    desk.settle();
    let lease = lease_ref(&leases(&mut desk, stream)[0]);
    up(&mut desk, stream, progress(&lease, 0.5));
    // Without an acknowledgement the lease would be taken back.
    for _ in 0..6 {
        desk.advance(1_000);
        up(&mut desk, stream, Up::Heartbeat(v1::WorkHeartbeat {}));
        desk.settle();
    }
    let record = desk.get(&id);
    assert_eq!(v1::BackgroundExecutionStatus::Running, record.status());
    assert!(!matches!(desk.next(stream), Some(message) if lost(&message)));
}

fn lost(message: &backlane_runtime::CompletionKind) -> bool {
    use prost::Message as _;
    let backlane_runtime::CompletionKind::Message(bytes) = message else {
        return false;
    };
    let message = v1::WorkResponse::decode(&**bytes).expect("a message");
    matches!(message.message, Some(Down::Lost(_)))
}
