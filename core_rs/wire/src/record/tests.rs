//! Records as clients read them.
//!
//! Owns the promise that a record shows the request and the outcome. Refuses to know how the
//! execution got there.

mod parts;
mod rich;

use std::collections::BTreeMap;
use std::sync::Arc;

use backlane_engine::command::{Dependency, NewExecution};
use backlane_engine::fact::{Actor, CancelAsked, Holding, Outcome, OutcomeKind};
use backlane_engine::row::{Bytes, PayloadRow};
use backlane_engine::rules::id::{ExecutionId, LeaseToken};
use backlane_engine::rules::retry::Category;
use backlane_engine::rules::status::{ActorKind, EndReason, Phase};
use proptest::prelude::*;
use prost::Message as _;
use prost_types::Timestamp;

pub(crate) use rich::rich;

use super::*;
use crate::RawValue;
use crate::enqueue::decode_enqueue;
use crate::fixtures::{ID, call, ending as any_ending, json, living};
use crate::generated::backlane::v1;
use crate::row::{self, payload};

const BORN_MS: u64 = 1_790_000_000_123;

/// An execution that was just created from a request.
fn born(new: &NewExecution) -> Living {
    Living {
        id: ExecutionId {
            random: new.random.random,
            salt: new.random.salt,
            ..ID
        },
        tenant: new.tenant.shared(),
        callable: new.callable.clone(),
        priority: new.priority,
        queued_at_ms: BORN_MS,
        policy: new.policy,
        not_before_ms: new.not_before_ms,
        start_deadline_ms: new.start_deadline_ms,
        deadline_ms: new.deadline_ms,
        dedup_key: new.dedup_key.clone(),
        waits_for: Box::default(),
        stands_for: Box::default(),
        ancestors: Box::default(),
        verdict: None,
        request: None,
        payload_bytes: new.payload.row_bytes(new.depends_on.len()),
        retried_from: new.retried_from,
        progress: Progress::newborn(Phase::Ready, BORN_MS),
    }
}

fn head(new: &NewExecution, living: &Living) -> Vec<u8> {
    let named = new.depends_on.iter().map(|dependency| match dependency {
        Dependency::Execution(id) => *id,
        Dependency::Item(_) => ID,
    });
    let row = PayloadRow {
        id: living.id,
        queued_at_ms: living.queued_at_ms,
        depends_on: named.collect(),
        payload: new.payload.clone(),
    };
    payload::encode(row).0
}

fn read(new: &NewExecution, standing: Standing<'_>, view: View) -> v1::BackgroundExecution {
    read_with(new, standing, None, view)
}

fn read_with(
    new: &NewExecution,
    standing: Standing<'_>,
    last_error: Option<&ErrorRecord>,
    view: View,
) -> v1::BackgroundExecution {
    let parts = Parts {
        birth: ID.birth,
        head: &head(new, &born(new)),
        body: new.payload.body.as_deref(),
        standing,
        last_error,
        progress: None,
    };
    let bytes = record(&parts, view).unwrap();
    v1::BackgroundExecution::decode(&bytes[..]).unwrap()
}

/// The FULL record of an execution that was just created.
pub(crate) fn shown(new: &NewExecution) -> v1::BackgroundExecution {
    read(new, Standing::Living(&born(new)), View::Full)
}

pub(crate) fn made(message: &v1::EnqueueRequest) -> NewExecution {
    call(decode_enqueue, message).unwrap()
}

fn at(seconds: i64, nanos: i32) -> Timestamp {
    Timestamp { seconds, nanos }
}

#[test]
fn a_record_shows_every_field_that_was_sent_and_the_defaults_of_the_others() {
    let (sent, item) = (rich(), made(&rich()));
    let expected = v1::BackgroundExecution {
        execution_id: born(&item).id.to_string(),
        tenant_id: sent.tenant_id,
        callable_name: sent.callable_name,
        input: sent.input,
        context: sent.context,
        config: Some(v1::BackgroundExecutionConfig {
            retry: Some(v1::RetryConfig {
                max_attempts: Some(3),
                strategy: 3,
                initial_delay_ms: Some(1_000),
                backoff_multiplier: Some(2.0),
                max_delay_ms: Some(60_000),
                jitter: Some(true),
                retry_on: vec![1, 4],
            }),
            ..sent.config.unwrap()
        }),
        status: 1,
        queued_at: Some(at(1_790_000_000, 123_000_000)),
        metadata: sent.metadata,
        not_before: sent.not_before,
        start_deadline: sent.start_deadline,
        deadline: sent.deadline,
        cancellation_policy: 3,
        parent: sent.parent,
        max_worker_losses: 9,
        updated_at: Some(at(1_790_000_000, 123_000_000)),
        version: 1,
        dedup_key: Some("key".into()),
        traceparent: Some(sent.traceparent),
        depends_on: sent.depends_on,
        ..Default::default()
    };
    assert_eq!(expected, shown(&item));
}

#[test]
fn optional_fields_that_were_not_sent_are_absent() {
    let smallest = v1::EnqueueRequest {
        tenant_id: "acme".into(),
        callable_name: "f".into(),
        ..Default::default()
    };
    let record = shown(&made(&smallest));
    assert_eq!(
        (None, None, None),
        (record.input, record.dedup_key, record.traceparent)
    );
    assert_eq!(
        (None, None, None),
        (record.not_before, record.start_deadline, record.deadline)
    );
    let config = record.config.unwrap();
    assert_eq!(
        (1, Some(50), Some(300_000)),
        (config.mode, config.priority, config.timeout_ms)
    );
    assert_eq!(None, config.retry);
    let empty = v1::EnqueueRequest {
        input: Some(String::new()),
        ..smallest
    };
    assert_eq!(Some(String::new()), shown(&made(&empty)).input);
}

#[test]
fn a_basic_view_leaves_out_the_large_fields() {
    let item = made(&rich());
    let living = born(&item);
    let ending = ending(&living, Some(RawValue::NULL.into()), None);
    let full = read(&item, Standing::Ended(&ending), View::Full);
    let basic = read(&item, Standing::Ended(&ending), View::Basic);
    let expected = v1::BackgroundExecution {
        input: None,
        output: None,
        context: BTreeMap::default(),
        metadata: BTreeMap::default(),
        ..full.clone()
    };
    assert_eq!(expected, basic);
    assert!(full.input.is_some() && full.output.is_some());
    assert!(!full.context.is_empty() && !full.metadata.is_empty());
}

const TOKEN: LeaseToken = LeaseToken {
    shard: 0,
    epoch: 1,
    counter: 2,
    random: 3,
};

fn held(living: Living) -> Living {
    let holding = Holding {
        token: TOKEN,
        worker: Arc::from("w1"),
        principal: Arc::from(""),
        duration_ms: 30_000,
    };
    let asked = Actor::named(ActorKind::Client, "alice");
    let progress = Progress {
        phase: Phase::Running,
        attempt: 4,
        version: 9,
        updated_at_ms: BORN_MS + 5_000,
        started_at_ms: Some(BORN_MS + 1_000),
        holding: Some(holding),
        last_worker: Some(Arc::from("w0")),
        cancel: Some(CancelAsked {
            at_ms: 1,
            reason: EndReason::CancelRequested,
            actor: asked,
        }),
        ..living.progress
    };
    Living { progress, ..living }
}

// The execution as the engine leaves it at its end: without a holder, and one version later.
fn last(living: &Living) -> Living {
    let progress = living.progress.clone();
    let holding = progress.holding.as_ref();
    let outcome = holding.map(|held| Outcome {
        token: held.token,
        kind: OutcomeKind::Completed,
    });
    let progress = Progress {
        version: progress.version + 1,
        updated_at_ms: BORN_MS + 9_000,
        last_worker: holding.map(|held| held.worker.clone()),
        holding: None,
        outcome,
        ..progress
    };
    Living {
        progress,
        ..living.clone()
    }
}

fn ending(living: &Living, output: Option<Bytes>, error: Option<ErrorRecord>) -> EndingRow {
    let (status, reason) = match output {
        Some(_) => (Status::Completed, EndReason::Completed),
        None => (Status::Failed, EndReason::Failed),
    };
    EndingRow {
        id: living.id,
        tenant: living.tenant.clone(),
        status,
        reason,
        actor: Actor::named(ActorKind::Worker, "w1"),
        ended_at_ms: BORN_MS + 9_000,
        ended_lease: true,
        output,
        error: error.map(Box::new),
        progress: last(living).progress,
    }
}

#[test]
fn a_running_record_shows_its_holder_and_that_a_cancel_was_asked_for() {
    let item = made(&rich());
    let living = held(born(&item));
    let record = read(&item, Standing::Living(&living), View::Full);
    assert_eq!((2, 4, 9), (record.status, record.attempt, record.version));
    assert_eq!(Some(at(1_790_000_001, 123_000_000)), record.started_at);
    assert_eq!(
        (Some("w1".to_owned()), true),
        (record.worker_id, record.cancel_requested)
    );
    assert_eq!(
        (0, None, None),
        (record.reason, record.actor, record.completed_at)
    );
}

#[test]
fn a_finished_record_shows_its_end() {
    let item = made(&rich());
    let living = held(born(&item));
    let error = ErrorRecord {
        category: Category::Tool,
        message: "no".into(),
        code: Some("E1".into()),
        attempt: 4,
        occurred_at_ms: 5,
        extra: [0x40, 0x2A].into(),
    };
    let ending = ending(&living, None, Some(error));
    let record = read(&item, Standing::Ended(&ending), View::Full);
    assert_eq!((4, 10, 2), (record.status, record.version, record.reason));
    assert_eq!(Some(at(1_790_000_009, 123_000_000)), record.completed_at);
    assert_eq!(record.completed_at, record.updated_at);
    assert_eq!(
        Some(v1::Actor {
            kind: 2,
            id: "w1".into()
        }),
        record.actor
    );
    assert_eq!(
        (Some("w1".to_owned()), true),
        (record.worker_id, record.cancel_requested)
    );
    let expected = v1::ExecutionError {
        category: 2,
        message: "no".into(),
        code: Some("E1".into()),
        attempt: 4,
        http_status: Some(42),
        occurred_at_ms: 5,
        ..Default::default()
    };
    assert_eq!(Some(&expected), record.last_error.as_ref());
    assert_eq!((Some(expected), None), (record.error, record.output));
}

#[test]
fn a_record_shows_the_newest_error_and_the_spent_attempts() {
    let item = made(&rich());
    let mut living = born(&item);
    (living.progress.spent, living.progress.losses) = (2, 1);
    let error = ErrorRecord {
        category: Category::Network,
        message: "down".into(),
        code: None,
        attempt: 2,
        occurred_at_ms: 5,
        extra: Box::default(),
    };
    let standing = Standing::Living(&living);
    let record = read_with(&item, standing, Some(&error), View::Basic);
    assert_eq!((2, 1), (record.spent_attempts, record.worker_losses));
    let shown = record.last_error.unwrap();
    assert_eq!(("down", 2), (&*shown.message, shown.attempt));
    assert_eq!(
        None, record.error,
        "an unfinished execution must not show an error of its end"
    );
}

#[test]
fn the_head_of_an_ending_holds_all_that_a_decision_needs() {
    let living = held(born(&made(&rich())));
    let ending = ending(&living, Some(RawValue::NULL.into()), None);
    let head = row::ending::head(&ending);
    let known = row::ending::finished(ID.birth, "acme", &head).unwrap();
    assert_eq!((living.id, "acme"), (known.id, &*known.tenant));
    assert_eq!(Status::Completed, known.status);
    assert_eq!(TOKEN, known.outcome.unwrap().token);
}

#[test]
fn the_announced_size_is_at_least_the_stored_size() {
    let item = made(&rich());
    let body = item.payload.body.as_ref().map_or(0, Vec::len);
    let kept = head(&item, &born(&item)).len() + body;
    let announced = usize::try_from(item.payload.row_bytes(item.depends_on.len())).unwrap();
    assert!(
        (kept..kept + 16).contains(&announced),
        "{kept} bytes stored, {announced} bytes announced"
    );
}

#[test]
fn a_payload_knows_its_id() {
    let item = made(&rich());
    let living = born(&item);
    assert_eq!(Ok(living.id), payload::id(ID.birth, &head(&item, &living)));
}

proptest! {
    #[test]
    fn any_output_is_shown_to_the_byte(output in json()) {
        let item = made(&rich());
        let bytes = output.encode_to_vec();
        let ending = ending(&born(&item), Some(bytes.clone().into()), None);
        let record = read(&item, Standing::Ended(&ending), View::Full);
        prop_assert_eq!(Some(RawValue::from(bytes)), record.output);
    }

    #[test]
    fn any_standing_is_shown(living in living(), ending in any_ending()) {
        let new = made(&rich());
        for standing in [Standing::Living(&living), Standing::Ended(&ending)] {
            let record = read(&new, standing, View::Basic);
            prop_assert_eq!(born(&new).id.to_string(), record.execution_id);
            prop_assert_eq!(standing.status() as i32, record.status);
            prop_assert_eq!(standing.progress().attempt, record.attempt);
            prop_assert_eq!(standing.progress().cancel.is_some(), record.cancel_requested);
        }
    }

    #[test]
    fn any_head_is_shown_or_refused_without_a_panic(head: Vec<u8>, living in living()) {
        let parts = Parts {
            birth: 1,
            head: &head,
            body: None,
            standing: Standing::Living(&living),
            last_error: None,
            progress: None,
        };
        let _ = record(&parts, View::Full);
    }
}
