//! Every field rule of what makes executions, by the name of the field.
//!
//! Owns the examples. Refuses to look at bytes on disk: `record.rs` shows what became of them.

use backlane_engine::command::{DedupPolicy, NewExecution};
use backlane_engine::fact::Policy;
use backlane_engine::rules::retry::{Category, Retry, Strategy};
use backlane_engine::rules::status::Mode;
use prost::Message;
use prost_types::{Duration, Timestamp, Value, value::Kind};

use super::*;
use crate::fixtures::{acme_only, call, call_as, named, with_context};
use crate::{Method, RawValue, Reason};

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
    match call(Method::Enqueue, message) {
        Ok(Call::Enqueue(item)) => item.new,
        other => panic!("{other:?}"),
    }
}

fn batched(message: &v1::EnqueueBatchRequest) -> Result<EnqueueBatch, ApiError> {
    match call(Method::EnqueueBatch, message)? {
        Call::EnqueueBatch(batch) => Ok(batch),
        other => panic!("{other:?}"),
    }
}

fn second(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos: 0 })
}

fn json(kind: Kind) -> RawValue {
    Value { kind: Some(kind) }.encode_to_vec().into()
}

#[test]
fn the_smallest_request_means_the_defaults() {
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
        (DedupPolicy::ReturnExisting, 5),
        (new.dedup_policy, new.random)
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
fn an_empty_retry_means_its_defaults_and_a_full_one_itself() {
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
fn instants_are_milliseconds_and_nothing_happens_early() {
    let at = Some(Timestamp {
        seconds: 10,
        nanos: 1,
    });
    let message = v1::EnqueueRequest {
        not_before: at,
        start_deadline: second(11),
        deadline: second(253_402_300_799),
        ..plain()
    };
    let new = enqueued(&message);
    assert_eq!(Some(10_001), new.not_before_ms);
    assert_eq!(Some(11_000), new.start_deadline_ms);
    assert_eq!(Some(253_402_300_799_000), new.deadline_ms);
}

type Change = fn(&mut v1::EnqueueRequest);

fn config(message: &mut v1::EnqueueRequest) -> &mut v1::BackgroundExecutionConfig {
    message.config.get_or_insert_default()
}

fn retry(message: &mut v1::EnqueueRequest) -> &mut v1::RetryConfig {
    config(message).retry.get_or_insert_default()
}

const BROKEN: [(&str, Change); 33] = [
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
        config(it).target_binding = Some(Default::default())
    }),
    ("config.callback_url", |it| {
        config(it).callback_url = Some("https://a.example".into())
    }),
    ("config.retry.max_attempts", |it| {
        retry(it).max_attempts = Some(0)
    }),
    ("config.retry.strategy", |it| retry(it).strategy = 4),
    ("config.retry.backoff_multiplier", |it| {
        retry(it).backoff_multiplier = Some(f64::NAN)
    }),
    ("config.retry.backoff_multiplier", |it| {
        retry(it).backoff_multiplier = Some(-0.1)
    }),
    ("config.retry.backoff_multiplier", |it| {
        retry(it).backoff_multiplier = Some(f64::INFINITY)
    }),
    ("config.retry.retry_on[1]", |it| {
        retry(it).retry_on = vec![1, 9]
    }),
    ("config.retry.retry_on[0]", |it| {
        retry(it).retry_on = vec![0]
    }),
    ("metadata[\"k\"]", |it| {
        it.metadata = [("k".into(), json(Kind::NumberValue(f64::NAN)))].into();
    }),
    ("metadata[\"k\"]", |it| {
        it.metadata = [("k".into(), RawValue::default())].into()
    }),
    ("not_before", |it| it.not_before = second(-1)),
    ("not_before", |it| {
        it.not_before = Some(Timestamp {
            seconds: 1,
            nanos: 1_000_000_000,
        })
    }),
    ("start_deadline", |it| {
        it.start_deadline = second(253_402_300_800)
    }),
    ("start_deadline", |it| {
        (it.not_before, it.start_deadline) = (second(5), second(5))
    }),
    ("deadline", |it| {
        (it.not_before, it.deadline) = (second(5), second(4))
    }),
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
            named(call(Method::Enqueue, &message))
        );
        let run = v1::RunRequest {
            enqueue: Some(message.clone()),
            timeout: None,
        };
        let expected = format!("INVALID_ARGUMENT enqueue.{field}");
        assert_eq!(expected, named(call(Method::Run, &run)));
    }
}

#[test]
fn what_is_too_large_is_told_apart_from_what_is_wrong() {
    let large: [(&str, Change); 3] = [
        ("input", |it| it.input = Some("x".repeat((1 << 20) + 1))),
        ("context", |it| {
            it.context = [("k".into(), "x".repeat(64 << 10))].into()
        }),
        ("metadata", |it| {
            it.metadata = [("k".into(), json(Kind::StringValue("x".repeat(64 << 10))))].into();
        }),
    ];
    for (field, change) in large {
        let mut message = plain();
        change(&mut message);
        let error = call(Method::Enqueue, &message).unwrap_err();
        assert_eq!(
            (Reason::TooLarge, Some(field)),
            (error.reason(), error.metadata("field"))
        );
        let number = |key| error.metadata(key).unwrap().parse::<usize>().unwrap();
        assert!(number("size") > number("limit"));
    }
    let mut message = plain();
    message.input = Some("x".repeat(1 << 20));
    assert!(call(Method::Enqueue, &message).is_ok());
}

#[test]
fn a_run_is_silent_unless_told_otherwise_and_shares_request_ids_with_enqueue() {
    let message = v1::EnqueueRequest {
        request_id: "r".into(),
        ..plain()
    };
    let run = |message, timeout| {
        call(
            Method::Run,
            &v1::RunRequest {
                enqueue: Some(message),
                timeout,
            },
        )
        .unwrap()
    };
    let Call::Run { item, timeout_ms } = run(message.clone(), None) else {
        panic!()
    };
    assert_eq!(3_600_000, timeout_ms);
    assert_eq!(enqueued(&message).request, item.new.request);
    let mode = |item: &EnqueueItem| crate::record::tests::shown(item).config.unwrap().mode;
    assert_eq!(Mode::Silent as i32, mode(&item));
    let told = v1::BackgroundExecutionConfig {
        mode: 3,
        ..Default::default()
    };
    let Call::Run { item, timeout_ms } = run(
        configured(told),
        Some(Duration {
            seconds: 1,
            nanos: 1,
        }),
    ) else {
        panic!()
    };
    assert_eq!((Mode::Deferred as i32, 1_001), (mode(&item), timeout_ms));
}

#[test]
fn a_run_waits_an_hour_at_most() {
    for (seconds, nanos) in [(3_601, 0), (-1, 0), (1, -1), (i64::MAX, 0)] {
        let timeout = Some(Duration { seconds, nanos });
        let run = v1::RunRequest {
            enqueue: Some(plain()),
            timeout,
        };
        assert_eq!("INVALID_ARGUMENT timeout", named(call(Method::Run, &run)));
    }
    let empty = v1::RunRequest::default();
    assert_eq!("INVALID_ARGUMENT enqueue", named(call(Method::Run, &empty)));
}

fn request_of(message: &v1::EnqueueRequest) -> Request {
    enqueued(message).request.unwrap()
}

#[test]
fn a_body_is_the_same_in_whatever_order_it_was_written() {
    let entry = |key: &str| {
        let value = json(Kind::BoolValue(true)).into_bytes();
        let entry = [&[0x0A, 1, key.as_bytes()[0], 0x12, 2][..], &value].concat();
        [&[0x0A, u8::try_from(entry.len()).unwrap()][..], &entry].concat()
    };
    let object = |keys: [&str; 2]| {
        let fields = keys.map(entry).concat();
        let head = [0x2A, u8::try_from(fields.len()).unwrap()];
        RawValue::from([&head[..], &fields].concat())
    };
    let message = |keys| v1::EnqueueRequest {
        request_id: "r".into(),
        metadata: [("m".into(), object(keys))].into(),
        ..plain()
    };
    let (one, other) = (message(["a", "b"]), message(["b", "a"]));
    assert_ne!(one.encode_to_vec(), other.encode_to_vec());
    assert_eq!(request_of(&one), request_of(&other));
}

#[test]
fn another_body_or_another_id_makes_another_request() {
    let message = v1::EnqueueRequest {
        request_id: "r".into(),
        ..plain()
    };
    let known = request_of(&message).key;
    let other_id = v1::EnqueueRequest {
        request_id: "s".into(),
        ..plain()
    };
    let other_body = v1::EnqueueRequest {
        input: Some(String::new()),
        ..message.clone()
    };
    assert_eq!(known, request_of(&message).key);
    assert_eq!(known.body, request_of(&other_id).key.body);
    assert_ne!(known.key, request_of(&other_id).key.key);
    assert_eq!(known.key, request_of(&other_body).key.key);
    assert_ne!(known.body, request_of(&other_body).key.body);
}

fn batch_of(items: Vec<v1::EnqueueRequest>) -> v1::EnqueueBatchRequest {
    v1::EnqueueBatchRequest {
        tenant_id: "acme".into(),
        items,
        request_id: String::new(),
    }
}

#[test]
fn an_item_of_a_batch_names_its_tenant_again_or_not_at_all() {
    let unnamed = v1::EnqueueRequest {
        tenant_id: String::new(),
        ..plain()
    };
    let id = |items| v1::EnqueueBatchRequest {
        request_id: "r".into(),
        ..batch_of(items)
    };
    let named_again = batched(&id(vec![plain(), plain()])).unwrap();
    let not_at_all = batched(&id(vec![unnamed.clone(), plain()])).unwrap();
    assert_eq!(named_again, not_at_all);
    assert!(named_again.request.is_some());
    assert!(
        named_again
            .items
            .iter()
            .all(|item| item.new.request.is_none())
    );
    let other = v1::EnqueueRequest {
        tenant_id: "other".into(),
        ..plain()
    };
    let refused = named(batched(&batch_of(vec![plain(), other])));
    assert_eq!("INVALID_ARGUMENT items[1].tenant_id", refused);
}

#[test]
fn an_item_of_a_batch_has_no_request_id() {
    let item = v1::EnqueueRequest {
        request_id: "r".into(),
        ..plain()
    };
    let refused = named(batched(&batch_of(vec![item])));
    assert_eq!("INVALID_ARGUMENT items[0].request_id", refused);
}

#[test]
fn the_first_broken_item_refuses_a_batch() {
    let config = v1::BackgroundExecutionConfig {
        priority: Some(256),
        ..Default::default()
    };
    let items = vec![plain(), plain(), plain(), configured(config)];
    assert_eq!(
        "INVALID_ARGUMENT items[3].config.priority",
        named(batched(&batch_of(items)))
    );
}

#[test]
fn a_batch_is_neither_empty_nor_too_long_nor_too_large() {
    assert_eq!("INVALID_ARGUMENT items", named(batched(&batch_of(vec![]))));
    let unnamed = v1::EnqueueRequest {
        tenant_id: String::new(),
        ..plain()
    };
    let many = batch_of(vec![unnamed; 10_001]);
    assert_eq!("INVALID_ARGUMENT items", named(batched(&many)));
    let large = vec![0; (16 << 20) + 1];
    let refused = call_as(&Principal::default(), Method::EnqueueBatch, &large);
    assert_eq!("TOO_LARGE items", named(refused));
}

#[test]
fn items_of_a_stream_are_independent() {
    let wrong = v1::EnqueueRequest {
        callable_name: String::new(),
        ..plain()
    };
    let foreign = v1::EnqueueRequest {
        tenant_id: "other".into(),
        ..plain()
    };
    let id = v1::EnqueueRequest {
        request_id: "r".into(),
        ..plain()
    };
    let message = v1::EnqueueStreamRequest {
        items: vec![plain(), wrong, foreign, id],
    };
    let bytes = message.encode_to_vec();
    let items = with_context(&acme_only(), |context| {
        decode_enqueue_stream(&bytes, context)
    });
    let mut items = items.unwrap().into_iter();
    assert!(items.next().unwrap().is_ok());
    assert_eq!(
        "INVALID_ARGUMENT items[1].callable_name",
        named(items.next().unwrap())
    );
    assert_eq!("PERMISSION_DENIED ", named(items.next().unwrap()));
    assert!(items.next().unwrap().unwrap().new.request.is_some());
}

#[test]
fn making_for_a_tenant_out_of_scope_is_denied() {
    let message = v1::EnqueueRequest {
        tenant_id: "other".into(),
        ..plain()
    };
    let calls = [
        (Method::Enqueue, message.encode_to_vec()),
        (
            Method::Run,
            v1::RunRequest {
                enqueue: Some(message),
                timeout: None,
            }
            .encode_to_vec(),
        ),
        (
            Method::EnqueueBatch,
            v1::EnqueueBatchRequest {
                tenant_id: "other".into(),
                ..batch_of(vec![plain()])
            }
            .encode_to_vec(),
        ),
    ];
    for (method, bytes) in calls {
        let error = call_as(&acme_only(), method, &bytes).unwrap_err();
        assert_eq!(Reason::PermissionDenied, error.reason());
        assert_eq!(Some("other"), error.metadata("tenant_id"));
    }
}
