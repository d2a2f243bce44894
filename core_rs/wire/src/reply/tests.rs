//! Replies as clients read them.
//!
//! Owns the promise that every reply decodes as the message it is named after. Refuses to know when
//! a reply is sent.

use std::sync::Arc;

use backlane_engine::fact::Holding;
use backlane_engine::reply::{Counts, Granted, LeaseEnds, Settled};
use backlane_engine::rules::id::LeaseToken;
use backlane_engine::rules::status::Status;
use prost::Message;
use prost_types::Timestamp;

use super::*;
use crate::fixtures::ID;
use crate::generated::backlane::v1;
use crate::generated::backlane::v1::work_response::Message as Down;
use crate::{ApiError, page_token};

const TOKEN: LeaseToken = LeaseToken {
    shard: 0,
    random: 3,
    epoch: 1,
    counter: 0xAB,
};

const ENDS: LeaseEnds = LeaseEnds {
    lease_ms: 4_000,
    attempt_ms: 8_000,
};

fn execution(id: &str) -> v1::BackgroundExecution {
    v1::BackgroundExecution {
        execution_id: id.into(),
        ..Default::default()
    }
}

fn encoded(id: &str) -> Vec<u8> {
    execution(id).encode_to_vec()
}

fn read<M: Message + Default>(reply: &[u8]) -> M {
    M::decode(reply).unwrap()
}

fn down(reply: &[u8]) -> Down {
    read::<v1::WorkResponse>(reply).message.unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanos: 0 }
}

#[test]
fn replies_with_one_record_decode() {
    let record = encoded("a");
    let execution = Some(execution("a"));
    let expected = v1::EnqueueResponse {
        execution: execution.clone(),
        existing: true,
    };
    assert_eq!(expected, read(&enqueue_response(&record, true)));
    let expected = v1::RunResponse {
        execution: execution.clone(),
        existing: false,
    };
    assert_eq!(expected, read(&run_response(&record, false)));
    let expected = v1::GetResponse {
        execution: execution.clone(),
    };
    assert_eq!(expected, read(&get_response(&record)));
    assert_eq!(
        v1::CancelResponse { execution },
        read(&cancel_response(&record))
    );
}

#[test]
fn replies_with_many_records_decode() {
    let records = [encoded("a"), encoded("b")];
    let executions = vec![execution("a"), execution("b")];
    let token = page_token("acme", None, 7);
    let expected = v1::ListResponse {
        executions: executions.clone(),
        next_page_token: token.clone(),
    };
    assert_eq!(expected, read(&list_response(&records, Some(&token))));
    assert_eq!(v1::ListResponse::default(), read(&list_response(&[], None)));
    assert_eq!(
        v1::PeekResponse { executions },
        read(&peek_response(&records))
    );
}

#[test]
fn a_reply_to_a_batch_tells_new_executions_from_existing_ones() {
    let result = |id, existing| v1::EnqueueResponse {
        execution: Some(execution(id)),
        existing,
    };
    let expected = v1::EnqueueBatchResponse {
        results: vec![result("a", false), result("b", true)],
        existing: true,
    };
    let reply = enqueue_batch_response(&[(encoded("a"), false), (encoded("b"), true)], true);
    assert_eq!(expected, read(&reply));
}

#[test]
fn outcomes_that_are_too_large_for_one_message_are_split() {
    let outcomes = vec![Err(ApiError::unauthenticated()); 10];
    let count = |most| -> Vec<usize> {
        let messages = enqueue_stream_responses(&outcomes, most);
        let read = messages.iter().map(|message| {
            let message: v1::EnqueueStreamResponse = read(message);
            message.outcomes.len()
        });
        read.collect()
    };
    let all = enqueue_stream_responses(&outcomes, usize::MAX)[0].len();
    assert_eq!(vec![10], count(all));
    assert_eq!(vec![9, 1], count(all - 1));
    assert_eq!(vec![1; 10], count(1));
    assert_eq!(vec![Vec::<u8>::new()], enqueue_stream_responses(&[], 1));
}

#[test]
fn outcomes_of_a_stream_are_ids_or_statuses() {
    let outcomes = [Ok((ID, true)), Err(ApiError::unauthenticated())];
    let reply: v1::EnqueueStreamResponse = read(&enqueue_stream_responses(&outcomes, 1 << 20)[0]);
    let outcomes: Vec<_> = reply
        .outcomes
        .into_iter()
        .map(|it| it.outcome.unwrap())
        .collect();
    let result = v1::EnqueueResult {
        execution_id: ID.to_string(),
        existing: true,
    };
    let status = read(&ApiError::unauthenticated().to_status());
    let expected = vec![
        v1::enqueue_outcome::Outcome::Result(result),
        v1::enqueue_outcome::Outcome::Status(status),
    ];
    assert_eq!(expected, outcomes);
}

#[test]
fn outcomes_of_a_wait_are_records_or_statuses() {
    let outcomes = [Ok(encoded("a")), Err(ApiError::unauthenticated())];
    let reply: v1::WaitResponse = read(&wait_response(&outcomes, true));
    assert!(reply.satisfied);
    let outcomes: Vec<_> = reply
        .outcomes
        .into_iter()
        .map(|it| it.outcome.unwrap())
        .collect();
    let status = read(&ApiError::unauthenticated().to_status());
    let expected = vec![
        v1::wait_outcome::Outcome::Execution(execution("a")),
        v1::wait_outcome::Outcome::Status(status),
    ];
    assert_eq!(expected, outcomes);
}

#[test]
fn queue_stats_count_in_total_and_by_callable() {
    let counts = Counts {
        ready: 1,
        pending: 2,
        retrying: 3,
        running: 4,
        suspended: 5,
        held: 6,
        ending: 7,
    };
    let reply = queue_stats_response(counts, Some(5_000), &[(Arc::from("f"), counts)]);
    let callable = v1::CallableStats {
        callable_name: "f".into(),
        ready: 1,
        pending: 2,
        retrying: 3,
        running: 4,
        suspended: 5,
        held: 6,
        ending: 7,
    };
    let expected = v1::GetQueueStatsResponse {
        ready: 1,
        pending: 2,
        retrying: 3,
        running: 4,
        oldest_queued_at: Some(at(5)),
        callables: vec![callable],
        suspended: 5,
        held: 6,
        ending: 7,
    };
    assert_eq!(expected, read(&reply));
    let none = queue_stats_response(Counts::default(), None, &[]);
    assert_eq!(v1::GetQueueStatsResponse::default(), read(&none));
}

#[test]
fn a_lease_is_a_record_with_a_token_and_two_deadlines() {
    let granted = Granted {
        birth: 7,
        holding: Holding {
            principal: "".into(),
            token: TOKEN,
            worker: Arc::from("w"),
            duration_ms: 1_000,
        },
        attempt: 2,
        expires_at_ms: 5_000,
        attempt_deadline_ms: 9_000,
        timeout_ms: 8_000,
        payload_bytes: 0,
        is_prefetched: true,
    };
    let leases = [lease(&encoded("a"), &granted, 3, None, true)];
    let expected = v1::Lease {
        execution: Some(execution("a")),
        lease_token: "lt_0_1_ab_3".into(),
        attempt: 2,
        lease_expires_at: Some(at(5)),
        attempt_deadline: Some(at(9)),
        lease_remaining_ms: Some(1_000),
        attempt_remaining_ms: Some(8_000),
        prefetched: true,
        lane: 3,
        pause_requested: true,
        ..v1::Lease::default()
    };
    let expected = vec![expected];
    assert_eq!(
        v1::LeaseResponse {
            leases: expected.clone()
        },
        read(&lease_response(&leases))
    );
    assert_eq!(
        Down::Leases(v1::WorkLeases { leases: expected }),
        down(&work_leases(&leases))
    );
}

#[test]
fn outcomes_are_the_same_in_a_unary_reply_and_on_a_stream() {
    let settled = Settled {
        status: Status::Running,
        expires_at_ms: Some(5_000),
        ends: Some(ENDS),
        cancel_requested: true,
        pause_requested: true,
    };
    let outcomes = [
        Ok((ID, settled)),
        Ok((ID, Settled::at(Status::Completed))),
        Err(ApiError::unauthenticated()),
    ];
    let result = |status, lease_expires_at, cancel_requested| {
        let execution_id = ID.to_string();
        let result = v1::LeaseResult {
            execution_id,
            status,
            lease_expires_at,
            cancel_requested,
            lease_remaining_ms: lease_expires_at.map(|_| 4_000),
            attempt_remaining_ms: lease_expires_at.map(|_| 8_000),
            pause_requested: cancel_requested,
        };
        v1::LeaseOutcome {
            outcome: Some(v1::lease_outcome::Outcome::Result(result)),
        }
    };
    let status = read(&ApiError::unauthenticated().to_status());
    let status = v1::LeaseOutcome {
        outcome: Some(v1::lease_outcome::Outcome::Status(status)),
    };
    let expected = vec![result(2, Some(at(5)), true), result(3, None, false), status];
    let reply = outcomes_response(&outcomes, 0).bytes;
    assert_eq!(expected, read::<v1::RenewLeasesResponse>(&reply).outcomes);
    assert_eq!(expected, read::<v1::CompleteResponse>(&reply).outcomes);
    assert_eq!(expected, read::<v1::FailResponse>(&reply).outcomes);
    assert_eq!(expected, read::<v1::ReleaseResponse>(&reply).outcomes);
    assert_eq!(expected, read::<v1::ReportStepsResponse>(&reply).outcomes);
    assert_eq!(expected, read::<v1::SuspendResponse>(&reply).outcomes);
    let told = down(&work_outcomes(&outcomes, 0).bytes);
    assert_eq!(
        Down::Outcomes(v1::WorkOutcomes { outcomes: expected }),
        told
    );
}

#[test]
fn a_worker_is_told_its_leases_its_cancellations_and_its_losses() {
    let lease = v1::LeaseRef {
        execution_id: ID.to_string(),
        lease_token: "lt_0_1_ab_3".into(),
    };
    let leases = vec![lease];
    let welcome = v1::WorkWelcome {
        held: leases.clone(),
        lease_duration_ms: 30_000,
        server_version: "0.1.0".into(),
    };
    let held = [(ID, TOKEN)];
    assert_eq!(
        Down::Welcome(welcome),
        down(&work_welcome(&held, 30_000, "0.1.0"))
    );
    let cancels = v1::WorkCancels {
        leases: leases.clone(),
    };
    assert_eq!(Down::Cancels(cancels), down(&work_cancels(&held)));
    assert_eq!(Down::Lost(v1::WorkLost { leases }), down(&work_lost(&held)));
    assert_eq!(Down::Drain(v1::WorkServerDrain {}), down(&work_drain()));
}
