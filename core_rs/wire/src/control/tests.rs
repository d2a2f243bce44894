//! The field rules of requests about one run.
//!
//! Owns an example for every rule. Refuses to know what a run allows.

use super::*;
use crate::fixtures::{ID, acme_only, call, call_as, named};
use prost::Message as _;

fn provide() -> v1::ProvideInputRequest {
    v1::ProvideInputRequest {
        tenant_id: "acme".into(),
        execution_id: ID.to_string(),
        key: "ok".into(),
        value: "yes".into(),
        request_id: "r1".into(),
    }
}

type Change = fn(&mut v1::ProvideInputRequest);

#[test]
fn every_broken_rule_of_an_input_names_its_field() {
    let broken: [(&str, Change); 6] = [
        ("INVALID_ARGUMENT tenant_id", |it| it.tenant_id.clear()),
        ("INVALID_ARGUMENT execution_id", |it| {
            it.execution_id.clear();
        }),
        ("INVALID_ARGUMENT key", |it| it.key.clear()),
        ("INVALID_ARGUMENT key", |it| it.key = "x".repeat(129)),
        ("TOO_LARGE value", |it| it.value = "x".repeat((1 << 20) + 1)),
        ("INVALID_ARGUMENT request_id", |it| {
            it.request_id = "x".repeat(129);
        }),
    ];
    for (expected, change) in broken {
        let mut message = provide();
        change(&mut message);
        assert_eq!(expected, named(call(decode_input, &message)));
    }
}

#[test]
fn execution_key_and_value_are_the_body_of_an_input() {
    let key_of = |change: Change| {
        let mut message = provide();
        change(&mut message);
        let input = call(decode_input, &message).unwrap();
        input.request.unwrap().key
    };
    let known = key_of(|_| ());
    let changes: [Change; 3] = [
        |it| it.execution_id = it.execution_id.replace('A', "B").replace('a', "b"),
        |it| it.key.push('x'),
        |it| it.value.push('x'),
    ];
    for change in changes {
        let other = key_of(change);
        assert_eq!(known.key, other.key);
        assert_ne!(known.body, other.body);
    }
    assert_ne!(known.key, key_of(|it| it.request_id.push('x')).key);
}

#[test]
fn an_execution_of_a_foreign_tenant_is_not_found() {
    let foreign = v1::PauseRequest {
        tenant_id: "other".into(),
        execution_id: ID.to_string(),
    };
    let bytes = foreign.encode_to_vec();
    let of = |refused: Result<(), ApiError>| refused.unwrap_err().reason().name();
    let principal = acme_only();
    let refused = [
        call_as(&principal, decode_pause, &bytes).map(drop),
        call_as(&principal, decode_resume, &bytes).map(drop),
        call_as(&principal, decode_get_run, &bytes).map(drop),
    ];
    assert_eq!(["EXECUTION_NOT_FOUND"; 3], refused.map(of));
}
