//! Attempts: what each lease came to, as `ListAttempts` and the records show it.
//!
//! Owns an example of every outcome. Refuses to know how attempts are kept.

use backlane_runtime::{Method, Settings};
use backlane_sim::api::v1;

use crate::desk::{Desk, get, lease_ref, request};

fn retried(most: u32) -> v1::EnqueueRequest {
    let retry = v1::RetryConfig {
        max_attempts: Some(most),
        initial_delay_ms: Some(1),
        jitter: Some(false),
        strategy: v1::RetryStrategy::Fixed as i32,
        ..Default::default()
    };
    v1::EnqueueRequest {
        config: Some(v1::BackgroundExecutionConfig {
            retry: Some(retry),
            ..Default::default()
        }),
        ..request("a")
    }
}

fn asked(id: &str, page_size: u32, page_token: &str) -> v1::ListAttemptsRequest {
    v1::ListAttemptsRequest {
        tenant_id: "acme".into(),
        execution_id: id.into(),
        page_size,
        page_token: page_token.into(),
    }
}

pub(crate) fn attempts(desk: &mut Desk, id: &str) -> Vec<v1::Attempt> {
    let reply: v1::ListAttemptsResponse = desk.ask(Method::ListAttempts, &asked(id, 0, ""));
    assert_eq!("", reply.next_page_token);
    reply.attempts
}

/// Ordinal, worker, outcome and error of each attempt.
pub(crate) fn told(desk: &mut Desk, id: &str) -> Vec<(u32, String, &'static str, String)> {
    let attempts = attempts(desk, id).into_iter();
    let told = attempts.map(|attempt| {
        let outcome = &attempt.outcome().as_str_name()["ATTEMPT_OUTCOME_".len()..];
        let error = attempt.error.map(|error| error.message);
        let error = error.unwrap_or_default();
        (attempt.ordinal, attempt.worker_id, outcome, error)
    });
    told.collect()
}

fn lease(desk: &mut Desk, worker: &str) -> v1::Lease {
    desk.lease(worker, 1).remove(0)
}

pub(crate) fn failure(lease: &v1::Lease, message: &str) -> v1::FailRequest {
    let v1::LeaseRef {
        execution_id,
        lease_token,
    } = lease_ref(lease);
    let failure = v1::Failure {
        execution_id,
        lease_token,
        error: Some(v1::ExecutionError {
            category: v1::ErrorCategory::NetworkError as i32,
            message: message.into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let failures = vec![failure];
    v1::FailRequest { failures }
}

fn fail(desk: &mut Desk, lease: &v1::Lease, message: &str) {
    let _: v1::FailResponse = desk.ask(Method::Fail, &failure(lease, message));
}

fn release(desk: &mut Desk, lease: &v1::Lease) {
    let releases = vec![lease_ref(lease)];
    let _: v1::ReleaseResponse = desk.ask(Method::Release, &v1::ReleaseRequest { releases });
}

#[test]
fn each_lease_is_an_attempt_with_its_worker_its_outcome_and_its_error() {
    let mut desk = Desk::new();
    let id = desk.make(&retried(3));
    assert_eq!(Vec::<v1::Attempt>::new(), attempts(&mut desk, &id));
    let first = lease(&mut desk, "w1");
    fail(&mut desk, &first, "down");
    desk.advance(10);
    let second = lease(&mut desk, "w2");
    release(&mut desk, &second);
    lease(&mut desk, "w3");
    let running = (3, "w3".to_owned(), "RUNNING", String::new());
    let before = vec![
        (1, "w1".to_owned(), "FAILED", "down".to_owned()),
        (2, "w2".to_owned(), "RELEASED", String::new()),
    ];
    let expected: Vec<_> = before.iter().cloned().chain([running]).collect();
    assert_eq!(expected, told(&mut desk, &id));
    // The holder falls silent, and another worker completes the execution.
    desk.advance(31_000);
    let taken = lease(&mut desk, "w4");
    desk.complete(&taken);
    let lost = (3, "w3".to_owned(), "LEASE_LOST", String::new());
    let completed = (4, "w4".to_owned(), "COMPLETED", String::new());
    let expected: Vec<_> = before.into_iter().chain([lost, completed]).collect();
    assert_eq!(expected, told(&mut desk, &id));
    let record = desk.get(&id);
    assert_eq!((1, 1), (record.worker_losses, record.spent_attempts));
    let last_error = record
        .last_error
        .expect("the error of the attempt that failed");
    assert_eq!(("down", 1), (&*last_error.message, last_error.attempt));
    assert_eq!(None, record.error);
}

#[test]
fn an_attempt_says_when_its_lease_began_and_ended() {
    let mut desk = Desk::new();
    let id = desk.make(&retried(3));
    let began_ms = desk.now.wall_ms;
    let held = lease(&mut desk, "w1");
    desk.advance(2_000);
    fail(&mut desk, &held, "down");
    let [attempt] = &attempts(&mut desk, &id)[..] else {
        panic!("one attempt")
    };
    let millis = |at: &Option<prost_types::Timestamp>| {
        at.as_ref()
            .map(backlane_sim::api::millis)
            .unwrap_or_default()
    };
    assert_eq!(began_ms, millis(&attempt.started_at));
    assert_eq!(began_ms + 2_000, millis(&attempt.ended_at));
}

#[test]
fn an_execution_that_backs_off_shows_its_newest_error_and_so_does_the_next_lease() {
    let mut desk = Desk::with(Settings {
        cache_bytes: 0,
        ..Settings::default()
    });
    let id = desk.make(&retried(5));
    for message in ["first", "second"] {
        let held = lease(&mut desk, "w1");
        fail(&mut desk, &held, message);
        let error = desk.get(&id).last_error.map(|error| error.message);
        assert_eq!(Some(message.to_owned()), error);
        desk.advance(10);
    }
    let held = lease(&mut desk, "w1");
    let error = held.execution.and_then(|record| record.last_error);
    assert_eq!(Some("second".to_owned()), error.map(|error| error.message));
    desk.restart();
    let error = desk.get(&id).last_error.map(|error| error.message);
    assert_eq!(Some("second".to_owned()), error);
}

#[test]
fn the_end_of_an_execution_is_the_outcome_of_its_last_attempt() {
    let mut desk = Desk::new();
    let cancelled = desk.make(&request("a"));
    let held = lease(&mut desk, "w1");
    let ask = v1::CancelRequest {
        tenant_id: "acme".into(),
        execution_id: cancelled.clone(),
    };
    let _: v1::CancelResponse = desk.ask(Method::Cancel, &ask);
    release(&mut desk, &held);
    let expected = vec![(1, "w1".to_owned(), "CANCELLED", String::new())];
    assert_eq!(expected, told(&mut desk, &cancelled));
    let failed = desk.make(&request("b"));
    let held = lease(&mut desk, "w1");
    fail(&mut desk, &held, "no");
    let expected = vec![(1, "w1".to_owned(), "FAILED", "no".to_owned())];
    assert_eq!(expected, told(&mut desk, &failed));
    let last_error = desk.get(&failed).last_error.map(|error| error.message);
    assert_eq!(Some("no".to_owned()), last_error);
    // Nobody held this one: its end was no attempt's.
    let queued = desk.make(&request("c"));
    let ask = v1::CancelRequest {
        tenant_id: "acme".into(),
        execution_id: queued.clone(),
    };
    let _: v1::CancelResponse = desk.ask(Method::Cancel, &ask);
    assert_eq!(Vec::<v1::Attempt>::new(), attempts(&mut desk, &queued));
}

#[test]
fn the_newest_hundred_attempts_are_kept_and_come_in_pages() {
    let mut desk = Desk::new();
    let id = desk.make(&request("a"));
    for number in 0..105 {
        let held = lease(&mut desk, &format!("w{number}"));
        release(&mut desk, &held);
    }
    let all = attempts_in_pages(&mut desk, &id, 30);
    assert_eq!((6..=105).collect::<Vec<_>>(), all);
    lease(&mut desk, "last");
    let all = attempts_in_pages(&mut desk, &id, 7);
    assert_eq!((6..=106).collect::<Vec<_>>(), all);
}

fn attempts_in_pages(desk: &mut Desk, id: &str, size: u32) -> Vec<u32> {
    let (mut ordinals, mut token) = (Vec::new(), String::new());
    loop {
        let reply: v1::ListAttemptsResponse =
            desk.ask(Method::ListAttempts, &asked(id, size, &token));
        assert!(reply.attempts.len() <= size as usize);
        ordinals.extend(reply.attempts.iter().map(|attempt| attempt.ordinal));
        token = reply.next_page_token;
        if token.is_empty() {
            return ordinals;
        }
    }
}

/// An execution that completed at its second attempt, on a desk that keeps nothing in memory and
/// finished executions for a minute.
fn completed_at_the_second_attempt() -> (Desk, String) {
    let mut desk = Desk::with(Settings {
        retention_ms: 60_000,
        cache_bytes: 0,
        ..Settings::default()
    });
    let id = desk.make(&retried(3));
    let held = lease(&mut desk, "w1");
    fail(&mut desk, &held, "down");
    desk.advance(10);
    let held = lease(&mut desk, "w1");
    desk.complete(&held);
    (desk, id)
}

#[test]
fn attempts_go_with_their_execution() {
    let (mut desk, id) = completed_at_the_second_attempt();
    assert_eq!(2, attempts(&mut desk, &id).len());
    desk.advance(80_000);
    desk.settle();
    desk.forget();
    let ticket = desk.call(Method::ListAttempts, &asked(&id, 0, ""));
    desk.settle();
    assert_eq!("EXECUTION_NOT_FOUND", desk.refusal(ticket));
    let mut reader = desk.store.reader().expect("a reader");
    let birth = 1;
    let left = reader.of_number(&backlane_store::ATTEMPT, birth, 0, 10);
    assert_eq!(0, left.expect("rows").len());
}

#[test]
fn a_record_whose_attempts_retention_removes_between_the_reads_is_not_shown_without_its_error() {
    let (mut desk, id) = completed_at_the_second_attempt();
    desk.advance(80_000);
    desk.settle();
    let ticket = desk.call(Method::Get, &get(&id));
    while desk.reads.len() == 1 && !desk.is_answered(ticket) {
        desk.read();
        desk.forget();
    }
    assert_eq!("EXECUTION_NOT_FOUND", desk.refusal(ticket));
}

#[test]
fn what_is_asked_wrongly_is_refused_by_field() {
    let mut desk = Desk::new();
    let id = desk.make(&request("a"));
    let other = desk.make(&request("b"));
    let held = lease(&mut desk, "w1");
    release(&mut desk, &held);
    let reasons = [
        (asked("exec_x", 0, ""), "INVALID_ARGUMENT"),
        (asked(&id, 1_001, ""), "INVALID_ARGUMENT"),
        (asked(&id, 0, "nonsense"), "INVALID_ARGUMENT"),
        (
            v1::ListAttemptsRequest {
                tenant_id: "blue".into(),
                ..asked(&id, 0, "")
            },
            "EXECUTION_NOT_FOUND",
        ),
    ];
    for (request, expected) in reasons {
        let ticket = desk.call(Method::ListAttempts, &request);
        desk.settle();
        assert_eq!(expected, desk.refusal(ticket), "{request:?}");
    }
    // A token of another execution's list is none of this one's.
    let first: v1::ListAttemptsResponse = desk.ask(Method::ListAttempts, &asked(&id, 1, ""));
    let token = first.next_page_token;
    assert_ne!("", token);
    let ticket = desk.call(Method::ListAttempts, &asked(&other, 1, &token));
    desk.settle();
    assert_eq!("INVALID_ARGUMENT", desk.refusal(ticket));
    assert_eq!(
        id,
        desk.ask::<v1::GetResponse>(Method::Get, &get(&id))
            .execution
            .expect("it")
            .execution_id
    );
}
