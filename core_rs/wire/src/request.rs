//! Request ids.
//!
//! Owns what of a request is its body: all but the request id itself, in one form, whatever
//! order it was written in. Refuses to know what was answered: the engine does.

use std::collections::BTreeMap;
use std::mem;

use backlane_engine::command::Request;
use prost::Message as _;

use crate::RawValue;
use crate::fields::{Checked, some_key};
use crate::generated::backlane::v1;
use crate::hash::{Family, request_key};

const MAX_REQUEST_ID_BYTES: usize = 128;

/// Takes the request id of one execution, if it has one.
pub(crate) fn of_one(message: &mut v1::EnqueueRequest) -> Checked<Option<Request>> {
    let id = mem::take(&mut message.request_id);
    let Some(id) = some_key("request_id", &id, MAX_REQUEST_ID_BYTES)? else {
        return Ok(None);
    };
    let raw = sort_metadata(message);
    let key = request_key(
        Family::Enqueue,
        &message.tenant_id,
        &id,
        &message.encode_to_vec(),
    );
    message.metadata = raw;
    Ok(Some(Request { id, key }))
}

/// Takes the request id of a batch, if it has one.
pub(crate) fn of_batch(message: &mut v1::EnqueueBatchRequest) -> Checked<Option<Request>> {
    let id = mem::take(&mut message.request_id);
    let Some(id) = some_key("request_id", &id, MAX_REQUEST_ID_BYTES)? else {
        return Ok(None);
    };
    for item in &mut message.items {
        // Naming the batch's tenant again says nothing new.
        if item.tenant_id == message.tenant_id {
            item.tenant_id.clear();
        }
    }
    let raw: Vec<_> = message.items.iter_mut().map(sort_metadata).collect();
    let key = request_key(
        Family::Batch,
        &message.tenant_id,
        &id,
        &message.encode_to_vec(),
    );
    for (item, raw) in message.items.iter_mut().zip(raw) {
        item.metadata = raw;
    }
    Ok(Some(Request { id, key }))
}

type Metadata = BTreeMap<String, RawValue>;

// The order of keys within JSON objects is the client library's whim, from one run to the next:
// it is no part of the body. Returns the metadata as it came.
fn sort_metadata(message: &mut v1::EnqueueRequest) -> Metadata {
    let sorted = message
        .metadata
        .iter()
        .map(|(key, value)| (key.clone(), value.canonical()));
    let sorted = sorted.collect();
    mem::replace(&mut message.metadata, sorted)
}

#[cfg(test)]
mod tests {
    use prost_types::Value;
    use prost_types::value::Kind;

    use super::*;
    use crate::fixtures::call;
    use crate::{Call, Method};

    fn plain() -> v1::EnqueueRequest {
        v1::EnqueueRequest {
            tenant_id: "acme".into(),
            callable_name: "mail.send".into(),
            request_id: "r".into(),
            ..v1::EnqueueRequest::default()
        }
    }

    fn request_of(message: &v1::EnqueueRequest) -> Request {
        match call(Method::Enqueue, message) {
            Ok(Call::Enqueue(item)) => item.new.request.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_body_is_the_same_in_whatever_order_it_was_written() {
        let entry = |key: &str| {
            let value = Value {
                kind: Some(Kind::BoolValue(true)),
            }
            .encode_to_vec();
            let entry = [&[0x0A, 1, key.as_bytes()[0], 0x12, 2][..], &value].concat();
            [&[0x0A, u8::try_from(entry.len()).unwrap()][..], &entry].concat()
        };
        let object = |keys: [&str; 2]| {
            let fields = keys.map(entry).concat();
            let head = [0x2A, u8::try_from(fields.len()).unwrap()];
            RawValue::from([&head[..], &fields].concat())
        };
        let message = |keys| v1::EnqueueRequest {
            metadata: [("m".into(), object(keys))].into(),
            ..plain()
        };
        let (one, other) = (message(["a", "b"]), message(["b", "a"]));
        assert_ne!(one.encode_to_vec(), other.encode_to_vec());
        assert_eq!(request_of(&one), request_of(&other));
    }

    #[test]
    fn another_body_or_another_id_makes_another_request() {
        let message = plain();
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
}
