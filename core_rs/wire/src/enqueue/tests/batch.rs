//! Many executions in one request.
//!
//! Owns the rules that concern several items of one request. Refuses to repeat the rules of a
//! single item.

use super::*;

fn batched(message: &v1::EnqueueBatchRequest) -> Result<EnqueueBatch, ApiError> {
    call(decode_batch, message)
}

fn batch_of(items: Vec<v1::EnqueueRequest>) -> v1::EnqueueBatchRequest {
    v1::EnqueueBatchRequest {
        tenant_id: "acme".into(),
        items,
        request_id: String::new(),
    }
}

#[test]
fn an_item_of_a_batch_names_the_tenant_of_the_batch_or_none() {
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
    assert_eq!(named_again.request, not_at_all.request);
    assert_eq!(named_again.items, not_at_all.items);
    assert!(named_again.request.is_some());
    assert!(named_again.items.iter().all(|item| item.request.is_none()));
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
    let refused = call_as(&Principal::default(), decode_batch, &large);
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
    assert!(items.next().unwrap().unwrap().request.is_some());
}
