//! Every field rule of the requests that create executions.
//!
//! Owns one example per rule. Refuses to look at bytes on disk: `record/tests.rs` shows how the
//! fields come back.

mod batch;

use backlane_engine::command::{DedupPolicy, NewExecution};
use backlane_engine::fact::Policy;
use backlane_engine::rules::retry::{Category, Retry, Strategy};
use backlane_engine::rules::status::Mode;
use prost::Message;
use prost_types::{Duration, Timestamp, Value, value::Kind};

use super::*;
use crate::fixtures::{Decode, NOW_MS, acme_only, call, call_as, named, with_context};
use crate::{RawValue, Reason};

fn plain() -> v1::EnqueueRequest {
    v1::EnqueueRequest {
        tenant_id: "acme".into(),
        callable_name: "mail.send".into(),
        ..v1::EnqueueRequest::default()
    }
}

fn configured(config: v1::BackgroundExecutionConfig) -> v1::EnqueueRequest {
    v1::EnqueueRequest {
        config: Some(config),
        ..plain()
    }
}

fn retried(retry: v1::RetryConfig) -> v1::EnqueueRequest {
    configured(v1::BackgroundExecutionConfig {
        retry: Some(retry),
        ..Default::default()
    })
}

fn enqueued(message: &v1::EnqueueRequest) -> NewExecution {
    call(decode_enqueue, message).unwrap()
}

fn second(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanos: 0 }
}

fn json(kind: Kind) -> RawValue {
    Value { kind: Some(kind) }.encode_to_vec().into()
}

#[test]
fn the_smallest_request_takes_every_default() {
    let new = enqueued(&plain());
    let policy = Policy {
        timeout_ms: 300_000,
        max_worker_losses: 3,
        retry: None,
    };
    assert_eq!(("acme", "mail.send"), (&*new.tenant, &*new.callable));
    assert_eq!((50, policy), (new.priority, new.policy));
    assert_eq!(
        (None, None, None),
        (new.not_before_ms, new.start_deadline_ms, new.deadline_ms)
    );
    assert_eq!((None, None), (new.request, new.dedup_key));
    assert_eq!(
        (DedupPolicy::ReturnExisting, 5, 5),
        (new.dedup_policy, new.random.salt, new.random.random)
    );
}

#[test]
fn an_explicit_zero_priority_is_not_the_default() {
    let config = v1::BackgroundExecutionConfig {
        priority: Some(0),
        ..Default::default()
    };
    assert_eq!(0, enqueued(&configured(config)).priority);
    let config = v1::BackgroundExecutionConfig {
        priority: Some(255),
        ..Default::default()
    };
    assert_eq!(255, enqueued(&configured(config)).priority);
}

#[test]
fn an_empty_retry_takes_every_default_and_a_full_one_is_kept() {
    let retry = |message| enqueued(&message).policy.retry;
    assert_eq!(
        Some(Retry::default()),
        retry(retried(v1::RetryConfig::default()))
    );
    let given = v1::RetryConfig {
        max_attempts: Some(7),
        strategy: 2,
        initial_delay_ms: Some(0),
        backoff_multiplier: Some(0.5),
        max_delay_ms: Some(9),
        jitter: Some(false),
        retry_on: vec![4, 1, 4],
    };
    let expected = Retry {
        max_attempts: 7,
        strategy: Strategy::Linear,
        initial_delay_ms: 0,
        backoff_multiplier: 0.5,
        max_delay_ms: 9,
        jitter: false,
        retry_on: 1 << Category::Llm as u32 | 1 << Category::Timeout as u32,
    };
    assert_eq!(Some(expected), retry(retried(given)));
}

#[test]
fn times_are_rounded_up_to_milliseconds_so_that_nothing_happens_early() {
    let at = Some(Timestamp {
        seconds: 10,
        nanos: 1,
    });
    let message = v1::EnqueueRequest {
        not_before: at,
        start_deadline: Some(second(11)),
        deadline: Some(second(253_402_300_799)),
        ..plain()
    };
    let new = enqueued(&message);
    assert_eq!(Some(10_001), new.not_before_ms);
    assert_eq!(Some(11_000), new.start_deadline_ms);
    assert_eq!(Some(253_402_300_799_000), new.deadline_ms);
}

#[test]
fn a_delay_counts_from_the_servers_time() {
    let message = v1::EnqueueRequest {
        delay_ms: Some(1_500),
        // Before the end of the delay: a repetition that comes later must not be refused.
        deadline: Some(second(1_700_000_001)),
        ..plain()
    };
    let new = enqueued(&message);
    assert_eq!(Some(NOW_MS + 1_500), new.not_before_ms);
    assert_eq!(Some(NOW_MS + 1_000), new.deadline_ms);
}

type Change = fn(&mut v1::EnqueueRequest);

fn config(message: &mut v1::EnqueueRequest) -> &mut v1::BackgroundExecutionConfig {
    message.config.get_or_insert_default()
}

fn retry(message: &mut v1::EnqueueRequest) -> &mut v1::RetryConfig {
    config(message).retry.get_or_insert_default()
}

const BROKEN: [(&str, Change); 36] = [
    ("tenant_id", |it| it.tenant_id.clear()),
    ("tenant_id", |it| it.tenant_id = "a b".into()),
    ("tenant_id", |it| it.tenant_id = "a".repeat(129)),
    ("callable_name", |it| it.callable_name.clear()),
    ("callable_name", |it| it.callable_name = "a*".into()),
    ("callable_name", |it| it.callable_name = "a".repeat(257)),
    ("config.mode", |it| config(it).mode = 4),
    ("config.mode", |it| config(it).mode = -1),
    ("config.priority", |it| config(it).priority = Some(256)),
    ("config.timeout_ms", |it| config(it).timeout_ms = Some(0)),
    ("config.target_binding", |it| {
        config(it).target_binding = Some(v1::TargetBindingConfig::default());
    }),
    ("config.callback_url", |it| {
        config(it).callback_url = Some("https://a.example".into());
    }),
    ("config.retry.max_attempts", |it| {
        retry(it).max_attempts = Some(0);
    }),
    ("config.retry.strategy", |it| retry(it).strategy = 4),
    ("config.retry.backoff_multiplier", |it| {
        retry(it).backoff_multiplier = Some(f64::NAN);
    }),
    ("config.retry.backoff_multiplier", |it| {
        retry(it).backoff_multiplier = Some(-0.1);
    }),
    ("config.retry.backoff_multiplier", |it| {
        retry(it).backoff_multiplier = Some(f64::INFINITY);
    }),
    ("config.retry.retry_on[1]", |it| {
        retry(it).retry_on = vec![1, 9];
    }),
    ("config.retry.retry_on[0]", |it| {
        retry(it).retry_on = vec![0];
    }),
    ("metadata[\"k\"]", |it| {
        it.metadata = [("k".into(), json(Kind::NumberValue(f64::NAN)))].into();
    }),
    ("metadata[\"k\"]", |it| {
        it.metadata = [("k".into(), RawValue::default())].into();
    }),
    ("not_before", |it| it.not_before = Some(second(-1))),
    ("not_before", |it| {
        it.not_before = Some(Timestamp {
            seconds: 1,
            nanos: 1_000_000_000,
        });
    }),
    ("start_deadline", |it| {
        it.start_deadline = Some(second(253_402_300_800));
    }),
    ("start_deadline", |it| {
        (it.not_before, it.start_deadline) = (Some(second(5)), Some(second(5)));
    }),
    ("deadline", |it| {
        (it.not_before, it.deadline) = (Some(second(5)), Some(second(4)));
    }),
    ("delay_ms", |it| {
        (it.not_before, it.delay_ms) = (Some(second(5)), Some(0));
    }),
    ("delay_ms", |it| it.delay_ms = Some(3_153_600_000_001)),
    ("delay_ms", |it| it.delay_ms = Some(u64::MAX)),
    ("max_worker_losses", |it| it.max_worker_losses = Some(0)),
    ("max_worker_losses", |it| it.max_worker_losses = Some(101)),
    ("request_id", |it| it.request_id = "ä".into()),
    ("request_id", |it| it.request_id = "r".repeat(129)),
    ("dedup_key", |it| it.dedup_key = "k".repeat(257)),
    ("dedup_policy", |it| it.dedup_policy = 4),
    ("traceparent", |it| it.traceparent = "00-0-0-0".into()),
];

#[test]
fn every_broken_rule_names_its_field() {
    for (field, change) in BROKEN {
        let mut message = plain();
        change(&mut message);
        assert_eq!(
            format!("INVALID_ARGUMENT {field}"),
            named(call(decode_enqueue, &message))
        );
        let run = v1::RunRequest {
            enqueue: Some(message.clone()),
            timeout: None,
        };
        let expected = format!("INVALID_ARGUMENT enqueue.{field}");
        assert_eq!(expected, named(call(decode_run, &run)));
    }
}

#[test]
fn a_field_that_is_too_large_is_refused_with_a_reason_of_its_own() {
    let large: [(&str, Change); 3] = [
        ("input", |it| it.input = Some("x".repeat((1 << 20) + 1))),
        ("context", |it| {
            it.context = [("k".into(), "x".repeat(64 << 10))].into();
        }),
        ("metadata", |it| {
            it.metadata = [("k".into(), json(Kind::StringValue("x".repeat(64 << 10))))].into();
        }),
    ];
    for (field, change) in large {
        let mut message = plain();
        change(&mut message);
        let error = call(decode_enqueue, &message).unwrap_err();
        assert_eq!(
            (Reason::TooLarge, Some(field)),
            (error.reason(), error.metadata("field"))
        );
        let number = |key| error.metadata(key).unwrap().parse::<usize>().unwrap();
        assert!(number("size") > number("limit"));
    }
    let mut message = plain();
    message.input = Some("x".repeat(1 << 20));
    assert!(call(decode_enqueue, &message).is_ok());
}

#[test]
fn a_run_is_silent_by_default_and_shares_request_ids_with_enqueue() {
    let message = v1::EnqueueRequest {
        request_id: "r".into(),
        ..plain()
    };
    let run = |message, timeout| {
        call(
            decode_run,
            &v1::RunRequest {
                enqueue: Some(message),
                timeout,
            },
        )
        .unwrap()
    };
    let Run { new, timeout_ms } = run(message.clone(), None);
    assert_eq!(3_600_000, timeout_ms);
    assert_eq!(enqueued(&message).request, new.request);
    let mode = |new: &NewExecution| crate::record::tests::shown(new).config.unwrap().mode;
    assert_eq!(Mode::Silent as i32, mode(&new));
    let told = v1::BackgroundExecutionConfig {
        mode: 3,
        ..Default::default()
    };
    let Run { new, timeout_ms } = run(
        configured(told),
        Some(Duration {
            seconds: 1,
            nanos: 1,
        }),
    );
    assert_eq!((Mode::Deferred as i32, 1_001), (mode(&new), timeout_ms));
}

#[test]
fn a_run_waits_an_hour_at_most() {
    for (seconds, nanos) in [(3_601, 0), (-1, 0), (1, -1), (i64::MAX, 0)] {
        let timeout = Some(Duration { seconds, nanos });
        let run = v1::RunRequest {
            enqueue: Some(plain()),
            timeout,
        };
        assert_eq!("INVALID_ARGUMENT timeout", named(call(decode_run, &run)));
    }
    let empty = v1::RunRequest::default();
    assert_eq!("INVALID_ARGUMENT enqueue", named(call(decode_run, &empty)));
}

#[test]
fn an_enqueue_for_a_tenant_out_of_scope_is_denied() {
    let message = v1::EnqueueRequest {
        tenant_id: "other".into(),
        ..plain()
    };
    let calls: [(Decode<()>, _); 3] = [
        (
            |it, context| decode_enqueue(it, context).map(drop),
            message.encode_to_vec(),
        ),
        (
            |it, context| decode_run(it, context).map(drop),
            v1::RunRequest {
                enqueue: Some(message),
                timeout: None,
            }
            .encode_to_vec(),
        ),
        (
            |it, context| decode_batch(it, context).map(drop),
            v1::EnqueueBatchRequest {
                tenant_id: "other".into(),
                items: vec![plain()],
                ..Default::default()
            }
            .encode_to_vec(),
        ),
    ];
    for (decode, bytes) in calls {
        let error = call_as(&acme_only(), decode, &bytes).unwrap_err();
        assert_eq!(Reason::PermissionDenied, error.reason());
        assert_eq!(Some("other"), error.metadata("tenant_id"));
    }
}

#[test]
fn dependencies_are_ids_and_positions_and_at_most_256() {
    let id = crate::fixtures::ID;
    let new = enqueued(&v1::EnqueueRequest {
        depends_on: vec![id.to_string()],
        ..plain()
    });
    assert_eq!(vec![Dependency::Execution(id)], new.depends_on);
    let wrong = v1::EnqueueRequest {
        depends_on: vec![id.to_string(), "exec_".into()],
        ..plain()
    };
    let refused = named(call(decode_enqueue, &wrong));
    assert_eq!("INVALID_ARGUMENT depends_on[1]", refused);
    let many = |count| v1::EnqueueRequest {
        depends_on: vec![id.to_string(); count],
        ..plain()
    };
    assert_eq!(256, enqueued(&many(256)).depends_on.len());
    let refused = named(call(decode_enqueue, &many(257)));
    assert_eq!("INVALID_ARGUMENT depends_on", refused);
}

#[test]
fn positions_have_a_meaning_only_in_a_batch() {
    let item = v1::EnqueueRequest {
        depends_on_items: vec![0],
        ..plain()
    };
    let refused = named(call(decode_enqueue, &item));
    assert_eq!("INVALID_ARGUMENT depends_on_items", refused);
    let run = v1::RunRequest {
        enqueue: Some(item.clone()),
        timeout: None,
    };
    let refused = named(call(decode_run, &run));
    assert_eq!("INVALID_ARGUMENT enqueue.depends_on_items", refused);
    let batch = v1::EnqueueBatchRequest {
        tenant_id: "acme".into(),
        items: vec![plain(), item],
        request_id: String::new(),
    };
    let batch = call(decode_batch, &batch).unwrap();
    assert_eq!(vec![Dependency::Item(0)], batch.items[1].depends_on);
}
