//! Work streams: hello, credits, notices and reconnects.

use backlane_runtime::{CompletionKind, Input, Method};
use backlane_sim::api::v1;

use crate::desk::{Desk, input_of, lease_ref, outcome, request, result};
use crate::work::{Down, Up, credit, down, greeted, hello, leases, up};

fn cancel(id: &str) -> v1::CancelRequest {
    v1::CancelRequest {
        tenant_id: "acme".into(),
        execution_id: id.into(),
    }
}

fn acknowledge(leases: &[v1::Lease]) -> Up {
    let leases = leases.iter().map(lease_ref).collect();
    Up::Acknowledge(v1::WorkAcknowledge { leases })
}

#[test]
fn hello_comes_first_and_once() {
    let mut desk = Desk::new();
    let rude = desk.open(Method::Work);
    up(&mut desk, rude, credit(1, 0));
    assert_eq!("INVALID_ARGUMENT", desk.refusal(rude));
    let chatty = greeted(&mut desk, 0);
    up(&mut desk, chatty, hello(&[]));
    assert_eq!("INVALID_ARGUMENT", desk.refusal(chatty));
}

#[test]
fn the_server_sends_no_more_leases_than_the_credit_allows() {
    let mut desk = Desk::new();
    (0..5).for_each(|one| drop(desk.make(&request(&one.to_string()))));
    let stream = greeted(&mut desk, 2);
    assert_eq!(2, leases(&mut desk, stream).len());
    assert!(!desk.is_answered(stream));
    up(&mut desk, stream, credit(1, 0));
    desk.settle();
    assert_eq!(1, leases(&mut desk, stream).len());
}

#[test]
fn leases_on_a_stream_leave_after_their_commit() {
    let mut desk = Desk::new();
    desk.make(&request("a"));
    let stream = greeted(&mut desk, 0);
    up(&mut desk, stream, credit(1, 0));
    assert!(!desk.is_answered(stream));
    desk.commit();
    assert_eq!("a", input_of(&leases(&mut desk, stream)[0]));
}

#[test]
fn the_best_execution_is_sent_even_if_it_exceeds_the_credit_in_bytes() {
    let mut desk = Desk::new();
    let large = "x".repeat(10_000);
    let urgent = v1::EnqueueRequest {
        config: Some(v1::BackgroundExecutionConfig {
            priority: Some(200),
            ..Default::default()
        }),
        ..request(&large)
    };
    desk.make(&request("small"));
    desk.make(&urgent);
    let stream = greeted(&mut desk, 0);
    up(&mut desk, stream, credit(10, 100));
    desk.settle();
    let came = leases(&mut desk, stream);
    assert_eq!(vec![&*large], came.iter().map(input_of).collect::<Vec<_>>());
    assert!(!desk.is_answered(stream));
    up(&mut desk, stream, credit(0, 100));
    desk.settle();
    assert_eq!("small", input_of(&leases(&mut desk, stream)[0]));
}

#[test]
fn reports_are_answered_in_order_after_their_commit() {
    let mut desk = Desk::new();
    desk.make(&request("a"));
    let stream = greeted(&mut desk, 1);
    let held = leases(&mut desk, stream);
    let results = vec![result(&held[0])];
    up(
        &mut desk,
        stream,
        Up::Complete(v1::CompleteRequest { results }),
    );
    assert!(!desk.is_answered(stream));
    desk.settle();
    let Down::Outcomes(outcomes) = down(&mut desk, stream) else {
        panic!("no outcomes");
    };
    assert_eq!("completed", outcome(&outcomes.outcomes[0]));
}

#[test]
fn the_worker_is_told_of_a_cancel_at_once() {
    let mut desk = Desk::new();
    let id = desk.make(&request("a"));
    let stream = greeted(&mut desk, 1);
    let held = leases(&mut desk, stream);
    desk.call(Method::Cancel, &cancel(&id));
    assert!(!desk.is_answered(stream));
    desk.commit();
    let Down::Cancels(cancels) = down(&mut desk, stream) else {
        panic!("no cancel");
    };
    assert_eq!(vec![lease_ref(&held[0])], cancels.leases);
}

#[test]
fn a_silent_worker_is_told_which_leases_it_lost() {
    let mut desk = Desk::new();
    desk.make(&request("a"));
    let stream = greeted(&mut desk, 1);
    let held = leases(&mut desk, stream);
    up(&mut desk, stream, acknowledge(&held));
    desk.advance(30_000);
    desk.settle();
    let Down::Lost(lost) = down(&mut desk, stream) else {
        panic!("nothing lost");
    };
    assert_eq!(vec![lease_ref(&held[0])], lost.leases);
}

#[test]
fn any_message_keeps_all_leases_of_a_stream() {
    let mut desk = Desk::new();
    desk.make(&request("a"));
    let stream = greeted(&mut desk, 1);
    let held = leases(&mut desk, stream);
    for _ in 0..4 {
        desk.advance(20_000);
        up(&mut desk, stream, Up::Heartbeat(v1::WorkHeartbeat {}));
    }
    desk.settle();
    assert_eq!("completed", outcome(&desk.complete(&held[0])));
}

#[test]
fn a_worker_that_comes_back_in_time_keeps_its_leases() {
    let mut desk = Desk::new();
    let id = desk.make(&request("a"));
    let first = greeted(&mut desk, 1);
    let held: Vec<_> = leases(&mut desk, first).iter().map(lease_ref).collect();
    desk.send(Input::Close(first));
    desk.advance(4_999);
    let second = desk.open(Method::Work);
    up(&mut desk, second, hello(&held));
    let Down::Welcome(welcome) = down(&mut desk, second) else {
        panic!("no welcome");
    };
    assert_eq!(held, welcome.held);
    desk.advance(20_000);
    desk.settle();
    assert_eq!(
        v1::BackgroundExecutionStatus::Running,
        desk.get(&id).status()
    );
}

#[test]
fn a_worker_takes_over_no_lease_of_a_tenant_that_it_does_not_serve() {
    let mut desk = Desk::new();
    let id = desk.make(&request("a"));
    let first = greeted(&mut desk, 1);
    let held: Vec<_> = leases(&mut desk, first).iter().map(lease_ref).collect();
    for (tenant, kept) in [("another", vec![]), ("acme", held.clone())] {
        let stream = desk.open(Method::Work);
        let hello = v1::WorkHello {
            worker_id: "w2".into(),
            callables: vec!["*".into()],
            tenant_ids: vec![tenant.into()],
            held: held.clone(),
            ..Default::default()
        };
        up(&mut desk, stream, Up::Hello(hello));
        let Down::Welcome(welcome) = down(&mut desk, stream) else {
            panic!("no welcome");
        };
        assert_eq!(kept, welcome.held);
    }
    assert_eq!(
        v1::BackgroundExecutionStatus::Running,
        desk.get(&id).status()
    );
}

#[test]
fn a_cancel_while_the_worker_was_away_is_told_when_it_reconnects() {
    let mut desk = Desk::new();
    let id = desk.make(&request("a"));
    let first = greeted(&mut desk, 1);
    let held: Vec<_> = leases(&mut desk, first).iter().map(lease_ref).collect();
    desk.send(Input::Close(first));
    desk.call(Method::Cancel, &cancel(&id));
    desk.settle();
    let second = desk.open(Method::Work);
    up(&mut desk, second, hello(&held));
    assert!(matches!(down(&mut desk, second), Down::Welcome(_)));
    assert!(matches!(down(&mut desk, second), Down::Cancels(_)));
}

#[test]
fn stale_leases_are_not_confirmed_by_the_welcome() {
    let mut desk = Desk::new();
    desk.make(&request("a"));
    let lease = desk.lease("w", 1).remove(0);
    desk.complete(&lease);
    let stream = desk.open(Method::Work);
    up(&mut desk, stream, hello(&[lease_ref(&lease)]));
    let Down::Welcome(welcome) = down(&mut desk, stream) else {
        panic!("no welcome");
    };
    assert!(welcome.held.is_empty());
}

#[test]
fn an_unacknowledged_lease_of_a_dead_stream_expires_without_counting() {
    let mut desk = Desk::new();
    let once = v1::EnqueueRequest {
        max_worker_losses: Some(2),
        ..request("a")
    };
    let id = desk.make(&once);
    for attempt in 1..=4 {
        let stream = greeted(&mut desk, 1);
        assert_eq!(attempt, leases(&mut desk, stream)[0].attempt);
        desk.send(Input::Close(stream));
        desk.advance(5_000);
        desk.settle();
    }
    assert_eq!(
        v1::BackgroundExecutionStatus::Queued,
        desk.get(&id).status()
    );
}

#[test]
fn acknowledged_leases_of_dead_streams_count_as_losses() {
    let mut desk = Desk::new();
    let id = desk.make(&request("a"));
    for _ in 0..3 {
        let stream = greeted(&mut desk, 1);
        let held = leases(&mut desk, stream);
        up(&mut desk, stream, acknowledge(&held));
        desk.send(Input::Close(stream));
        desk.advance(5_000);
        desk.settle();
    }
    let record = desk.get(&id);
    assert_eq!(v1::BackgroundExecutionStatus::Failed, record.status());
    assert_eq!(
        Some("WORKER_LOST".to_owned()),
        record.error.and_then(|error| error.code)
    );
}

#[test]
fn a_half_closed_stream_answers_all_messages_and_ends() {
    let mut desk = Desk::new();
    desk.make(&request("a"));
    let stream = greeted(&mut desk, 1);
    let results = vec![result(&leases(&mut desk, stream)[0])];
    up(
        &mut desk,
        stream,
        Up::Complete(v1::CompleteRequest { results }),
    );
    desk.send(Input::HalfClose(stream));
    desk.settle();
    assert!(matches!(down(&mut desk, stream), Down::Outcomes(_)));
    assert_eq!(Some(CompletionKind::End), desk.next(stream));
}

#[test]
fn decided_leases_are_sent_before_a_half_closed_stream_ends() {
    let mut desk = Desk::new();
    let id = desk.make(&request("a"));
    desk.restart();
    let stream = greeted(&mut desk, 0);
    up(&mut desk, stream, credit(1, 0));
    up(&mut desk, stream, Up::Drain(v1::WorkDrain {}));
    desk.send(Input::HalfClose(stream));
    desk.make(&request("b"));
    let leased = leases(&mut desk, stream);
    let ids = leased.iter().map(|lease| lease_ref(lease).execution_id);
    assert_eq!(vec![id], ids.collect::<Vec<_>>());
    assert_eq!(Some(CompletionKind::End), desk.next(stream));
}

#[test]
fn a_draining_worker_gets_no_more_leases() {
    let mut desk = Desk::new();
    let stream = greeted(&mut desk, 3);
    up(&mut desk, stream, Up::Drain(v1::WorkDrain {}));
    desk.make(&request("a"));
    assert!(!desk.is_answered(stream));
}

#[test]
fn a_stream_whose_client_does_not_read_gets_no_more_leases_until_it_reads() {
    let mut desk = Desk::new();
    let large = "x".repeat(1_000_000);
    (0..9).for_each(|_| drop(desk.make(&request(&large))));
    let stream = greeted(&mut desk, 100);
    let mut unread = 0;
    while desk.is_answered(stream) {
        unread += leases(&mut desk, stream).len();
    }
    assert!(
        (4..9).contains(&unread),
        "{unread} leases were not read yet"
    );
    desk.send(Input::Written(stream, unread * 1_000_100));
    desk.settle();
    assert_eq!(9 - unread, leases(&mut desk, stream).len());
}

#[test]
fn a_worker_that_lost_a_lease_by_silence_gets_nothing_until_it_sends_a_message() {
    let mut desk = Desk::new();
    desk.make(&request("first"));
    let stream = greeted(&mut desk, 5);
    assert_eq!(1, leases(&mut desk, stream).len());
    desk.advance(30_000);
    desk.settle();
    let lost = matches!(down(&mut desk, stream), Down::Lost(_));
    assert!(lost, "the worker is frozen, and its lease is lost");
    desk.make(&request("second"));
    desk.settle();
    assert!(!desk.is_answered(stream), "a frozen worker is not fed");
    up(&mut desk, stream, Up::Heartbeat(v1::WorkHeartbeat {}));
    desk.settle();
    let came = leases(&mut desk, stream);
    assert_eq!(
        vec!["first", "second"],
        came.iter().map(input_of).collect::<Vec<_>>()
    );
}

#[test]
fn a_worker_without_leases_may_be_silent_for_long() {
    let mut desk = Desk::new();
    let stream = greeted(&mut desk, 1);
    desk.advance(3_600_000);
    desk.make(&request("late"));
    desk.settle();
    assert_eq!("late", input_of(&leases(&mut desk, stream)[0]));
}

#[test]
fn a_worker_hears_of_the_loss_of_a_lease_before_it_gets_the_execution_again() {
    let mut desk = Desk::new();
    let at_once = v1::RetryConfig {
        initial_delay_ms: Some(0),
        strategy: v1::RetryStrategy::Fixed as i32,
        ..Default::default()
    };
    desk.make(&v1::EnqueueRequest {
        config: Some(v1::BackgroundExecutionConfig {
            timeout_ms: Some(5_000),
            retry: Some(at_once),
            ..Default::default()
        }),
        ..request("a")
    });
    let stream = greeted(&mut desk, 2);
    assert_eq!(1, leases(&mut desk, stream).len());
    desk.advance(5_000);
    desk.settle();
    assert!(matches!(down(&mut desk, stream), Down::Lost(_)));
    assert_eq!(2, leases(&mut desk, stream)[0].attempt);
}
