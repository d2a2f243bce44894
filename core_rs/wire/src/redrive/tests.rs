//! Redrives: what the new execution takes over.
//!
//! Owns the promise that everything is as it was, but for what the request changes and for times.

use backlane_engine::rules::access::Principal;
use prost::Message as _;

use super::*;
use crate::fixtures::{ID, acme_only, call, call_as, named, payload_head, with_context};
use crate::record::tests::{made, rich, shown};

fn request() -> v1::RedriveRequest {
    v1::RedriveRequest {
        tenant_id: "acme".into(),
        execution_id: ID.to_string(),
        ..Default::default()
    }
}

/// The new execution that a request makes from an execution that set every field.
fn remade(request: &v1::RedriveRequest) -> NewExecution {
    let old = made(&rich());
    let redrive = call(decode_redrive, request).unwrap();
    let head = payload_head(&ID, old.payload.head);
    let body = old.payload.body.as_deref();
    with_context(&Principal::default(), |context| {
        redrive.remake(&head, body, context).unwrap()
    })
}

#[test]
fn the_new_execution_is_the_old_one_without_its_times() {
    let old = shown(&made(&rich()));
    let expected = v1::BackgroundExecution {
        not_before: None,
        start_deadline: None,
        deadline: None,
        depends_on: Vec::new(),
        inherit_inbox: None,
        spawn_policies: [].into(),
        retried_from: Some(ID.to_string()),
        ..old
    };
    let new = remade(&request());
    assert_eq!(expected, shown(&new));
    assert_eq!(
        (None, None, None),
        (new.not_before_ms, new.start_deadline_ms, new.deadline_ms)
    );
    assert_eq!(DedupPolicy::Reject, new.dedup_policy);
    assert_eq!(Some(ID.birth), new.retried_from);
}

#[test]
fn another_input_keeps_the_context_and_everything_else() {
    let new = shown(&remade(&v1::RedriveRequest {
        input: Some("other".into()),
        ..request()
    }));
    let expected = v1::BackgroundExecution {
        input: Some("other".into()),
        ..shown(&remade(&request()))
    };
    assert_eq!(expected, new);
}

#[test]
fn another_config_replaces_the_whole_config_but_not_the_worker_losses() {
    let config = v1::BackgroundExecutionConfig {
        priority: Some(9),
        ..Default::default()
    };
    let new = shown(&remade(&v1::RedriveRequest {
        config: Some(config),
        ..request()
    }));
    let config = new.config.unwrap();
    assert_eq!(
        (Some(9), Some(300_000)),
        (config.priority, config.timeout_ms)
    );
    assert_eq!((1, None), (config.mode, config.retry));
    assert_eq!(9, new.max_worker_losses);
}

#[test]
fn steps_are_taken_over_unless_the_request_says_restart_or_has_an_input() {
    let carries = |request: &v1::RedriveRequest| {
        let decoded = call(decode_redrive, request).unwrap();
        decoded.carries_steps()
    };
    assert!(carries(&request()));
    let restart = v1::RedriveRequest {
        restart: true,
        ..request()
    };
    let input = v1::RedriveRequest {
        input: Some(String::new()),
        ..request()
    };
    assert!(!carries(&restart) && !carries(&input));
}

#[test]
fn a_payload_of_another_execution_is_refused() {
    let old = made(&rich());
    let redrive = call(decode_redrive, &request()).unwrap();
    let other = ExecutionId {
        random: ID.random + 1,
        ..ID
    };
    let head = payload_head(&other, old.payload.head);
    with_context(&Principal::default(), |context| {
        assert!(redrive.remake(&head, None, context).is_err());
        assert!(redrive.remake(&[0xFF], None, context).is_err());
    });
}

#[test]
fn every_broken_rule_names_its_field() {
    type Change = fn(&mut v1::RedriveRequest);
    let broken: [(&str, Change); 5] = [
        ("INVALID_ARGUMENT tenant_id", |it| it.tenant_id.clear()),
        ("INVALID_ARGUMENT execution_id", |it| {
            it.execution_id.clear();
        }),
        ("INVALID_ARGUMENT request_id", |it| {
            it.request_id = "\n".into();
        }),
        ("TOO_LARGE input", |it| {
            it.input = Some("x".repeat((1 << 20) + 1));
        }),
        ("INVALID_ARGUMENT config.timeout_ms", |it| {
            it.config = Some(v1::BackgroundExecutionConfig {
                timeout_ms: Some(0),
                ..Default::default()
            });
        }),
    ];
    for (expected, change) in broken {
        let mut message = request();
        change(&mut message);
        assert_eq!(expected, named(call(decode_redrive, &message)));
    }
}

#[test]
fn an_execution_of_a_tenant_out_of_scope_is_not_found() {
    let other = v1::RedriveRequest {
        tenant_id: "other".into(),
        ..request()
    };
    let refused = call_as(&acme_only(), decode_redrive, &other.encode_to_vec());
    assert_eq!("EXECUTION_NOT_FOUND ", named(refused));
}
