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
