//! Request ids and the hash of a request's body.
//!
//! Owns which fields of a request are its body. A request id that comes again with the same body is
//! a repetition; with another body the request is refused. Refuses to know the reply to the first
//! request: the engine keeps that.
//!
//! The body is tenant, callable, input, context, dependencies and dedup key: what the execution is
//! about. How the execution runs (priority, timeout, times, retry rule, metadata) is not in the
//! body, because clients fill those fields from defaults that change between their versions. Where
//! such a field differs, the first request stands.

use backlane_engine::command::Request;
use backlane_engine::fact::RequestKey;

use crate::fields::{Checked, some_key};
use crate::generated::backlane::v1;
use crate::hash::{Body, Kind, key};

const MAX_REQUEST_ID_BYTES: usize = 128;

/// The request id of a request for one execution, where the client gave one.
pub(crate) fn of_one(message: &v1::EnqueueRequest) -> Checked<Option<Request>> {
    of(
        Kind::Enqueue,
        &message.tenant_id,
        &message.request_id,
        |body| {
            put_item(body, message);
        },
    )
}

/// The request id of a batch, where the client gave one.
pub(crate) fn of_batch(message: &v1::EnqueueBatchRequest) -> Checked<Option<Request>> {
    of(
        Kind::Batch,
        &message.tenant_id,
        &message.request_id,
        |body| {
            body.count(message.items.len());
            for item in &message.items {
                put_item(body, item);
            }
        },
    )
}

/// The request id of an input, where the client gave one. The body is execution, key and value.
pub(crate) fn of_input(message: &v1::ProvideInputRequest) -> Checked<Option<Request>> {
    of(
        Kind::Input,
        &message.tenant_id,
        &message.request_id,
        |body| {
            body.field(message.execution_id.as_bytes());
            body.field(message.key.as_bytes());
            body.field(message.value.as_bytes());
        },
    )
}

/// The request id of a redrive, where the client gave one. Its body is the execution, the new
/// input, whether the new execution begins anew, and whether dependents follow it.
pub(crate) fn of_redrive(message: &v1::RedriveRequest) -> Checked<Option<Request>> {
    of(
        Kind::Redrive,
        &message.tenant_id,
        &message.request_id,
        |body| {
            body.field(message.execution_id.as_bytes());
            body.optional(message.input.as_deref().map(str::as_bytes));
            // What older clients do not send adds nothing, so that kept hashes stay as they are.
            if message.restart {
                body.field(b"restart");
            }
            if message.with_dependents {
                body.field(b"with_dependents");
            }
        },
    )
}

fn of(kind: Kind, tenant: &str, id: &str, put: impl FnOnce(&mut Body)) -> Checked<Option<Request>> {
    let Some(id) = some_key("request_id", id, MAX_REQUEST_ID_BYTES)? else {
        return Ok(None);
    };
    let mut body = Body::new();
    body.field(tenant.as_bytes());
    put(&mut body);
    let key = RequestKey {
        key: key(kind, tenant, &id),
        body: body.finish(),
    };
    Ok(Some(Request { id, key }))
}

fn put_item(body: &mut Body, item: &v1::EnqueueRequest) {
    body.field(item.callable_name.as_bytes());
    body.optional(item.input.as_deref().map(str::as_bytes));
    body.count(item.context.len());
    for (key, value) in &item.context {
        body.field(key.as_bytes());
        body.field(value.as_bytes());
    }
    // Without dependencies this is the number 0, as in all versions.
    body.count(item.depends_on.len() + item.depends_on_items.len());
    for id in &item.depends_on {
        body.field(id.as_bytes());
    }
    for position in &item.depends_on_items {
        body.field(position.to_string().as_bytes());
    }
    body.field(item.dedup_key.as_bytes());
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;
    use crate::RawValue;

    fn plain() -> v1::EnqueueRequest {
        v1::EnqueueRequest {
            tenant_id: "acme".into(),
            callable_name: "mail.send".into(),
            request_id: "r".into(),
            ..v1::EnqueueRequest::default()
        }
    }

    fn key_of(message: &v1::EnqueueRequest) -> RequestKey {
        of_one(message).unwrap().unwrap().key
    }

    type Change = fn(&mut v1::EnqueueRequest);

    #[test]
    fn another_tenant_callable_input_context_dependency_or_dedup_key_makes_another_body() {
        let changes: [Change; 7] = [
            |it| it.callable_name.push('x'),
            |it| it.input = Some(String::new()),
            |it| it.context = [("k".into(), "v".into())].into(),
            |it| it.dedup_key = "d".into(),
            |it| it.depends_on = vec!["e".into()],
            |it| it.depends_on_items = vec![0],
            |it| it.tenant_id.push('x'),
        ];
        for change in changes {
            let mut message = plain();
            change(&mut message);
            assert_ne!(key_of(&plain()).body, key_of(&message).body);
        }
    }

    #[test]
    fn fields_that_say_how_an_execution_runs_do_not_change_the_body() {
        let changes: [Change; 8] = [
            |it| it.config = Some(v1::BackgroundExecutionConfig::default()),
            |it| it.metadata = [("k".into(), RawValue::default())].into(),
            |it| it.not_before = Some(Timestamp::default()),
            |it| it.delay_ms = Some(1),
            |it| it.deadline = Some(Timestamp::default()),
            |it| it.max_worker_losses = Some(1),
            |it| it.dedup_policy = 2,
            |it| it.traceparent = "t".into(),
        ];
        for change in changes {
            let mut message = plain();
            change(&mut message);
            assert_eq!(key_of(&plain()), key_of(&message));
        }
    }

    #[test]
    fn another_id_is_another_request_with_the_same_body() {
        let other = v1::EnqueueRequest {
            request_id: "s".into(),
            ..plain()
        };
        assert_ne!(key_of(&plain()).key, key_of(&other).key);
        assert_eq!(key_of(&plain()).body, key_of(&other).body);
        let none = v1::EnqueueRequest {
            request_id: String::new(),
            ..plain()
        };
        assert_eq!(Ok(None), of_one(&none));
    }

    #[test]
    fn the_body_of_a_redrive_is_its_execution_its_input_and_its_flags() {
        let plain = v1::RedriveRequest {
            tenant_id: "acme".into(),
            execution_id: "exec_1".into(),
            request_id: "r".into(),
            ..Default::default()
        };
        let key = |message: &v1::RedriveRequest| of_redrive(message).unwrap().unwrap().key;
        assert_ne!(key_of(&self::plain()).key, key(&plain).key);
        let config = v1::RedriveRequest {
            config: Some(v1::BackgroundExecutionConfig::default()),
            ..plain.clone()
        };
        assert_eq!(key(&plain), key(&config));
        let others = [
            v1::RedriveRequest {
                execution_id: "exec_2".into(),
                ..plain.clone()
            },
            v1::RedriveRequest {
                input: Some(String::new()),
                ..plain.clone()
            },
            v1::RedriveRequest {
                restart: true,
                ..plain.clone()
            },
            v1::RedriveRequest {
                with_dependents: true,
                ..plain.clone()
            },
        ];
        for other in others {
            assert_eq!(key(&plain).key, key(&other).key);
            assert_ne!(key(&plain).body, key(&other).body);
        }
    }

    #[test]
    fn a_batch_of_one_is_another_request_than_its_item() {
        let batch = v1::EnqueueBatchRequest {
            tenant_id: "acme".into(),
            items: vec![plain()],
            request_id: "r".into(),
        };
        let batch = of_batch(&batch).unwrap().unwrap().key;
        assert_ne!(key_of(&plain()).key, batch.key);
    }
}
