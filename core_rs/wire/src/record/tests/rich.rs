//! A request that sets every field.
//!
//! Owns one value for each field. Refuses to check anything.

use backlane_engine::rules::id::ExecutionId;
use prost_types::Timestamp;

use crate::RawValue;
use crate::fixtures::ID;
use crate::generated::backlane::v1;

fn at(seconds: i64, nanos: i32) -> Timestamp {
    Timestamp { seconds, nanos }
}

/// A request that sets every field.
pub(crate) fn rich() -> v1::EnqueueRequest {
    v1::EnqueueRequest {
        tenant_id: "acme".into(),
        callable_name: "mail.send".into(),
        input: Some("{\"to\":\"ä\"}".into()),
        context: [("b".into(), String::new()), ("a".into(), "1".into())].into(),
        config: Some(v1::BackgroundExecutionConfig {
            mode: 3,
            priority: Some(0),
            timeout_ms: Some(7),
            retry: Some(v1::RetryConfig {
                retry_on: vec![4, 1],
                ..Default::default()
            }),
            ..Default::default()
        }),
        metadata: [("m".into(), RawValue::from(vec![0x20, 0x01]))].into(),
        not_before: Some(at(1_900_000_000, 0)),
        start_deadline: Some(at(1_900_000_001, 0)),
        deadline: Some(at(1_900_000_002, 500_000_000)),
        max_worker_losses: Some(9),
        request_id: String::new(),
        dedup_key: "key".into(),
        dedup_policy: 0,
        traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into(),
        delay_ms: None,
        depends_on: vec![ID.to_string(), ExecutionId { birth: 3, ..ID }.to_string()],
        depends_on_items: Vec::new(),
        cancellation_policy: 3,
        parent: Some(v1::ParentLink {
            parent_id: "msg_1".into(),
            parent_type: 1,
        }),
    }
}
