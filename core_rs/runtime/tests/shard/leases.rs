//! Unary leases: calls that wait, and replies that were never sent.

use backlane_runtime::{Input, Method};
use backlane_sim::api::v1;

use crate::desk::{Desk, input_of, lease_request, outcome, request};

fn poll(wait_ms: u64) -> v1::LeaseRequest {
    v1::LeaseRequest {
        wait_ms,
        ..lease_request("w", 2)
    }
}

#[test]
fn a_lease_call_that_finds_nothing_replies_with_an_empty_list() {
    let mut desk = Desk::new();
    let ticket = desk.call(Method::Lease, &poll(5_000));
    desk.advance(4_999);
    assert!(!desk.is_answered(ticket));
    desk.advance(1);
    assert_eq!(v1::LeaseResponse::default(), desk.reply(ticket));
}

#[test]
fn a_waiting_lease_call_gets_an_execution_that_is_enqueued_meanwhile() {
    let mut desk = Desk::new();
    let ticket = desk.call(Method::Lease, &poll(5_000));
    desk.make(&request("late"));
    let reply: v1::LeaseResponse = desk.reply(ticket);
    assert_eq!("late", input_of(&reply.leases[0]));
}

#[test]
fn a_lease_call_without_waiting_time_replies_at_once() {
    let mut desk = Desk::new();
    let reply: v1::LeaseResponse = desk.ask(Method::Lease, &poll(0));
    assert!(reply.leases.is_empty());
}

#[test]
fn an_abandoned_lease_call_gets_no_execution() {
    let mut desk = Desk::new();
    let gone = desk.call(Method::Lease, &poll(5_000));
    desk.send(Input::Abandon(gone));
    desk.make(&request("a"));
    assert_eq!(1, desk.lease("other", 1).len());
    assert!(!desk.is_answered(gone));
}

#[test]
fn a_lease_whose_reply_was_never_sent_is_taken_back_and_not_counted() {
    let mut desk = Desk::new();
    let id = desk.make(&request("a"));
    let ticket = desk.call(Method::Lease, &poll(0));
    desk.settle();
    let lost: v1::LeaseResponse = desk.reply(ticket);
    desk.send(Input::Abandon(ticket));
    desk.settle();
    assert_eq!(
        v1::BackgroundExecutionStatus::Queued,
        desk.get(&id).status()
    );
    assert_eq!("LEASE_LOST", outcome(&desk.complete(&lost.leases[0])));
    let again = desk.lease("w", 1);
    assert_eq!(2, again[0].attempt);
}

#[test]
fn a_lease_abandoned_before_its_commit_is_taken_back_as_well() {
    let mut desk = Desk::new();
    let id = desk.make(&request("a"));
    let ticket = desk.call(Method::Lease, &poll(0));
    desk.send(Input::Abandon(ticket));
    desk.settle();
    assert_eq!(
        v1::BackgroundExecutionStatus::Queued,
        desk.get(&id).status()
    );
}

#[test]
fn a_lease_whose_reply_was_sent_is_kept() {
    let mut desk = Desk::new();
    let id = desk.make(&request("a"));
    let ticket = desk.call(Method::Lease, &poll(0));
    desk.settle();
    desk.send(Input::Written(ticket, 100));
    desk.send(Input::Abandon(ticket));
    desk.settle();
    assert_eq!(
        v1::BackgroundExecutionStatus::Running,
        desk.get(&id).status()
    );
}

#[test]
fn a_repeated_report_gets_the_same_reply_and_a_different_report_is_refused() {
    let mut desk = Desk::new();
    desk.make(&request("a"));
    let lease = desk.lease("w", 1).remove(0);
    let outcomes = [(); 2].map(|()| outcome(&desk.complete(&lease)));
    assert_eq!(
        ["completed", "completed"],
        outcomes.each_ref().map(String::as_str)
    );
    desk.restart();
    assert_eq!("completed", outcome(&desk.complete(&lease)));
    let releases = vec![crate::desk::lease_ref(&lease)];
    let reply: v1::ReleaseResponse = desk.ask(Method::Release, &v1::ReleaseRequest { releases });
    assert_eq!("LEASE_LOST", outcome(&reply.outcomes[0]));
}

#[test]
fn a_lease_outlives_a_restart_by_one_period() {
    let mut desk = Desk::new();
    desk.make(&request("a"));
    let lease = desk.lease("w", 1).remove(0);
    desk.restart();
    desk.advance(29_999);
    assert_eq!("completed", outcome(&desk.complete(&lease)));
}

#[test]
fn a_slow_disk_costs_no_worker_its_only_lease() {
    let mut desk = Desk::new();
    let once = v1::EnqueueRequest {
        max_worker_losses: Some(1),
        ..request("once")
    };
    let id = desk.make(&once);
    let ticket = desk.call(Method::Lease, &poll(0));
    // The commit of the lease takes longer than the lease period.
    desk.advance(60_000);
    assert!(!desk.is_answered(ticket));
    desk.settle();
    let reply: v1::LeaseResponse = desk.reply(ticket);
    assert_eq!("once", input_of(&reply.leases[0]));
    desk.advance(29_999);
    desk.settle();
    assert_eq!(
        v1::BackgroundExecutionStatus::Running,
        desk.get(&id).status()
    );
}

#[test]
fn a_lease_has_its_whole_time_when_it_leaves() {
    let mut desk = Desk::new();
    desk.make(&request("a"));
    let ticket = desk.call(Method::Lease, &poll(0));
    // The disk is slow, and the wall clock is set back meanwhile.
    desk.now.wall_ms -= 360_000;
    desk.advance(700);
    assert!(!desk.is_answered(ticket));
    desk.settle();
    let reply: v1::LeaseResponse = desk.reply(ticket);
    let lease = &reply.leases[0];
    assert_eq!(
        (Some(30_000), Some(300_000)),
        (lease.lease_remaining_ms, lease.attempt_remaining_ms)
    );
}

#[test]
fn a_renewal_says_how_much_is_left_when_its_reply_leaves() {
    let mut desk = Desk::new();
    desk.make(&request("a"));
    let lease = desk.lease("w", 1).remove(0);
    // The reply waits for the commit of another call.
    desk.call(Method::Enqueue, &request("b"));
    let renew = v1::RenewLeasesRequest {
        leases: vec![crate::desk::lease_ref(&lease)],
        lease_duration_ms: 0,
    };
    let ticket = desk.call(Method::RenewLeases, &renew);
    desk.now.wall_ms -= 360_000;
    desk.advance(700);
    assert!(!desk.is_answered(ticket));
    desk.settle();
    let reply: v1::RenewLeasesResponse = desk.reply(ticket);
    let Some(v1::lease_outcome::Outcome::Result(result)) = &reply.outcomes[0].outcome else {
        panic!("refused");
    };
    assert_eq!(
        (Some(29_300), Some(299_300)),
        (result.lease_remaining_ms, result.attempt_remaining_ms)
    );
}
