//! Wait and Run: calls that wait for executions to end.

use backlane_runtime::Method;
use backlane_sim::api::{reason_of, span, v1};

use crate::desk::{Desk, request};

fn wait(ids: &[&str], wait_for: v1::WaitFor, count: u32, ms: u64) -> v1::WaitRequest {
    v1::WaitRequest {
        tenant_id: "acme".into(),
        execution_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        wait_for: wait_for as i32,
        count,
        timeout: Some(span(ms)),
    }
}

fn statuses(reply: &v1::WaitResponse) -> Vec<String> {
    let words = reply.outcomes.iter().map(|outcome| match &outcome.outcome {
        Some(v1::wait_outcome::Outcome::Execution(record)) => {
            let name = record.status().as_str_name();
            name["BACKGROUND_EXECUTION_STATUS_".len()..].to_lowercase()
        }
        Some(v1::wait_outcome::Outcome::Status(status)) => reason_of(status),
        None => "nothing".into(),
    });
    words.collect()
}

fn finish_next(desk: &mut Desk) {
    let lease = desk.lease("w", 1).remove(0);
    desk.complete(&lease);
}

#[test]
fn a_wait_for_all_any_or_a_count_ends_when_enough_executions_have_ended() {
    let mut desk = Desk::new();
    let ids: Vec<_> = (0..3)
        .map(|one| desk.make(&request(&one.to_string())))
        .collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let asks = [
        (v1::WaitFor::Any, 0),
        (v1::WaitFor::Count, 2),
        (v1::WaitFor::All, 0),
    ];
    let tickets =
        asks.map(|(kind, count)| desk.call(Method::Wait, &wait(&ids, kind, count, 60_000)));
    for satisfied in [
        [true, false, false],
        [true, true, false],
        [true, true, true],
    ] {
        finish_next(&mut desk);
        assert_eq!(satisfied, tickets.map(|ticket| desk.is_answered(ticket)));
    }
    let first: v1::WaitResponse = desk.reply(tickets[0]);
    assert!(first.satisfied);
    assert_eq!(vec!["completed", "queued", "queued"], statuses(&first));
}

#[test]
fn a_wait_is_answered_after_the_commit_of_the_end() {
    let mut desk = Desk::new();
    let id = desk.make(&request("a"));
    let ticket = desk.call(Method::Wait, &wait(&[&id], v1::WaitFor::All, 0, 60_000));
    let asked = v1::CancelRequest {
        tenant_id: "acme".into(),
        execution_id: id,
    };
    desk.call(Method::Cancel, &asked);
    assert!(!desk.is_answered(ticket));
    desk.commit();
    let reply: v1::WaitResponse = desk.reply(ticket);
    assert_eq!(vec!["cancelled"], statuses(&reply));
}

#[test]
fn unknown_ids_count_as_ended() {
    let mut desk = Desk::new();
    let id = desk.make(&request("a"));
    let nobody = "exec_0000000000000000000000000Zz";
    let asked = wait(&[nobody, &id], v1::WaitFor::Any, 0, 60_000);
    let reply: v1::WaitResponse = desk.ask(Method::Wait, &asked);
    assert!(reply.satisfied);
    assert_eq!(vec!["EXECUTION_NOT_FOUND", "queued"], statuses(&reply));
}

#[test]
fn a_wait_that_runs_out_replies_with_the_current_records() {
    let mut desk = Desk::new();
    let id = desk.make(&request("a"));
    let ticket = desk.call(Method::Wait, &wait(&[&id], v1::WaitFor::All, 0, 5_000));
    desk.advance(4_999);
    assert!(!desk.is_answered(ticket));
    assert_eq!(Some(1), desk.shard.wake_in_ms(desk.now));
    desk.advance(1);
    let reply: v1::WaitResponse = desk.reply(ticket);
    assert!(!reply.satisfied);
    assert_eq!(vec!["queued"], statuses(&reply));
}

#[test]
fn the_deadline_of_the_call_ends_a_wait_sooner() {
    let mut desk = Desk::new();
    let id = desk.make(&request("a"));
    let asked = wait(&[&id], v1::WaitFor::All, 0, 60_000);
    let ticket = desk.call_within(Method::Wait, &asked, Some(700));
    desk.advance(700);
    assert!(desk.is_answered(ticket));
}

#[test]
fn a_wait_without_waiting_time_replies_at_once() {
    let mut desk = Desk::new();
    let id = desk.make(&request("a"));
    let asked = wait(&[&id], v1::WaitFor::All, 0, 0);
    let reply: v1::WaitResponse = desk.ask(Method::Wait, &asked);
    assert!(!reply.satisfied);
}

#[test]
fn earlier_ends_satisfy_a_wait_at_once_even_after_a_restart() {
    let mut desk = Desk::new();
    let id = desk.finish(&request("a"));
    let asked = wait(&[&id], v1::WaitFor::All, 0, 60_000);
    for _ in 0..2 {
        let reply: v1::WaitResponse = desk.ask(Method::Wait, &asked);
        assert!(reply.satisfied);
        assert_eq!(vec!["completed"], statuses(&reply));
        desk.restart();
    }
}

fn run(input: &str, ms: u64) -> v1::RunRequest {
    let enqueue = v1::EnqueueRequest {
        request_id: "once".into(),
        ..request(input)
    };
    v1::RunRequest {
        enqueue: Some(enqueue),
        timeout: Some(span(ms)),
    }
}

#[test]
fn run_replies_with_the_finished_execution() {
    let mut desk = Desk::new();
    let ticket = desk.call(Method::Run, &run("a", 60_000));
    desk.settle();
    assert!(!desk.is_answered(ticket));
    finish_next(&mut desk);
    let reply: v1::RunResponse = desk.reply(ticket);
    let record = reply.execution.expect("its record");
    assert!(!reply.existing);
    assert_eq!(v1::BackgroundExecutionStatus::Completed, record.status());
    let config = record.config.unwrap_or_default();
    assert_eq!(v1::BackgroundExecutionMode::Silent, config.mode());
}

#[test]
fn a_repeated_run_continues_to_wait() {
    let mut desk = Desk::new();
    let first = desk.call(Method::Run, &run("a", 1_000));
    desk.settle();
    desk.advance(1_000);
    let unfinished: v1::RunResponse = desk.reply(first);
    let again = desk.call(Method::Run, &run("a", 60_000));
    finish_next(&mut desk);
    let finished: v1::RunResponse = desk.reply(again);
    assert!(finished.existing);
    let ids = [unfinished, finished].map(|reply| reply.execution.expect("a record").execution_id);
    assert_eq!(ids[0], ids[1]);
}
