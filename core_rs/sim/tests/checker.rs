//! Tests of the checker: facts that no shard should decide are reported.
//!
//! Owns broken logs, written by hand. Refuses to run a shard.

use std::sync::Arc;

use backlane_engine::command::OfferSpec;
use backlane_engine::fact::{
    Actor, Ended, ExecutionChange, Fact, FactKind, Holding, Living, Policy, Progress, RequeueCause,
    TenantFact,
};
use backlane_engine::rules::access::TenantScope;
use backlane_engine::rules::id::{ExecutionId, LeaseToken};
use backlane_engine::rules::status::{EndReason, Phase, Status};
use backlane_sim::check::LogCheck;
use backlane_store::{ATTEMPT, Bytes, Change, Commit, ENDING, Family, Key, PAYLOAD, Put, Row};
use backlane_wire::encode_fact;

fn born(birth: u64, priority: u8) -> FactKind {
    redriving(birth, priority, None)
}

fn redriving(birth: u64, priority: u8, retried_from: Option<u64>) -> FactKind {
    let living = Living {
        id: ExecutionId {
            seconds: 1,
            salt: 0,
            birth,
            random: birth,
        },
        tenant: "acme".into(),
        callable: "mail".into(),
        priority,
        queued_at_ms: 1,
        policy: Policy {
            timeout_ms: 1_000,
            max_worker_losses: 3,
            retry: None,
            cancellation: backlane_engine::rules::status::Cancellation::default(),
        },
        not_before_ms: None,
        start_deadline_ms: None,
        deadline_ms: None,
        dedup_key: None,
        waits_for: Box::default(),
        stands_for: Box::default(),
        ancestors: Box::default(),
        verdict: None,
        request: None,
        payload_bytes: 1,
        retried_from,
        progress: Progress::newborn(Phase::Ready, 1),
    };
    FactKind::execution(birth, ExecutionChange::Enqueued(Box::new(living)))
}

fn leased(birth: u64, counter: u64, attempt: u32) -> FactKind {
    let token = LeaseToken {
        shard: 0,
        epoch: 1,
        counter,
        random: 9,
    };
    let holding = Holding {
        token,
        worker: "w".into(),
        principal: "".into(),
        duration_ms: 1_000,
    };
    FactKind::execution(birth, ExecutionChange::Leased { holding, attempt })
}

fn lost(birth: u64) -> FactKind {
    let change = ExecutionChange::Requeued {
        cause: RequeueCause::LeaseLost,
        backoff: None,
        is_unbegun: false,
    };
    FactKind::execution(birth, change)
}

fn limit(most: u32) -> FactKind {
    FactKind::Tenant(TenantFact::LimitSet {
        tenant: "acme".into(),
        callable: None,
        max_running: Some(most),
    })
}

fn row(family: &'static Family, key: Key) -> Row {
    let head = Bytes::from([0]);
    let put = Put {
        head,
        ..Put::default()
    };
    let change = Change::Put(put);
    Row {
        family,
        key,
        change,
    }
}

fn ended(birth: u64, status: Status) -> FactKind {
    let ended = Ended {
        status,
        reason: EndReason::CancelRequested,
        outcome: None,
    };
    FactKind::execution(birth, ExecutionChange::Ended(ended))
}

fn discarded(birth: u64) -> FactKind {
    FactKind::execution(birth, ExecutionChange::Discarded)
}

/// The row that a fact calls for.
fn row_of(kind: &FactKind) -> Option<Row> {
    let FactKind::Execution(fact) = kind else {
        return None;
    };
    match fact.change {
        ExecutionChange::Enqueued(_) => Some(row(&PAYLOAD, Key::Number(fact.birth))),
        ExecutionChange::Requeued { .. } => Some(row(&ATTEMPT, Key::Ordinal(fact.birth, 1))),
        _ => None,
    }
}

/// The invariant that a log violates, if it violates one.
fn broken(kinds: Vec<FactKind>) -> Option<&'static str> {
    let rows = kinds.iter().filter_map(row_of).collect();
    broken_with(kinds, rows)
}

/// The invariant that a log with these rows violates, if it violates one.
fn broken_with(kinds: Vec<FactKind>, rows: Vec<Row>) -> Option<&'static str> {
    let mut log = LogCheck::new(0, 3);
    let callables = ["*".into()].into();
    let tenants = TenantScope::Any;
    log.offers
        .insert(Arc::from("w"), OfferSpec { callables, tenants });
    let mut commit = Commit {
        first_sequence: 1,
        rows,
        ..Commit::default()
    };
    for kind in kinds {
        let fact = Fact {
            at_ms: 1,
            actor: Actor::engine(),
            cause: None,
            kind,
        };
        encode_fact(&fact, &mut commit.frame);
        commit.count += 1;
    }
    log.emit(&commit).err().map(|violation| violation.invariant)
}

#[test]
fn a_correct_log_violates_no_invariant() {
    let log = vec![born(1, 50), leased(1, 1, 1), lost(1), leased(1, 2, 2)];
    assert_eq!(None, broken(log));
}

#[test]
fn a_lease_that_ends_without_the_row_of_its_attempt_is_reported() {
    let log = vec![born(1, 50), leased(1, 1, 1), lost(1)];
    let rows = vec![row(&PAYLOAD, Key::Number(1))];
    assert_eq!(
        Some("nothing acknowledged is ever lost"),
        broken_with(log, rows)
    );
}

#[test]
fn a_failure_that_brings_no_dead_letter_is_reported() {
    let log = vec![born(1, 50), ended(1, Status::Failed)];
    let rows = vec![row(&PAYLOAD, Key::Number(1)), row(&ENDING, Key::Number(1))];
    assert_eq!(
        Some("nothing acknowledged is ever lost"),
        broken_with(log, rows)
    );
}

#[test]
fn a_discard_of_an_unfinished_execution_is_reported() {
    let log = vec![born(1, 50), discarded(1)];
    assert_eq!(Some("nothing follows a terminal status"), broken(log));
}

#[test]
fn a_redrive_of_an_unfinished_execution_is_reported() {
    let log = vec![born(1, 50), redriving(2, 50, Some(1))];
    assert_eq!(Some("only legal transitions happen"), broken(log));
}

#[test]
fn a_lease_token_that_is_used_twice_is_reported() {
    let log = vec![born(1, 50), leased(1, 1, 1), lost(1), leased(1, 1, 2)];
    assert_eq!(Some("lease tokens are never reused"), broken(log));
}

#[test]
fn a_worse_execution_that_is_leased_first_is_reported() {
    let expected = Some("no worker gets an execution while a better one was admissible");
    assert_eq!(
        expected,
        broken(vec![born(1, 50), born(2, 50), leased(2, 1, 1)])
    );
    assert_eq!(
        expected,
        broken(vec![born(1, 50), born(2, 90), leased(1, 1, 1)])
    );
    assert_eq!(
        None,
        broken(vec![born(1, 50), born(2, 90), leased(2, 1, 1)])
    );
}

#[test]
fn a_lease_beyond_a_limit_is_reported() {
    let log = vec![
        limit(1),
        born(1, 50),
        born(2, 50),
        leased(1, 1, 1),
        leased(2, 2, 1),
    ];
    assert_eq!(Some("no limit is exceeded"), broken(log));
}

#[test]
fn a_queue_beyond_its_limit_is_reported() {
    let log = (1..=4).map(|birth| born(birth, 50)).collect();
    assert_eq!(Some("no limit is exceeded"), broken(log));
}

#[test]
fn a_second_lease_of_a_leased_execution_is_reported() {
    let log = vec![born(1, 50), leased(1, 1, 1), leased(1, 2, 2)];
    assert_eq!(Some("only legal transitions happen"), broken(log));
}
