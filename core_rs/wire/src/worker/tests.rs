//! The field rules of the unary calls of workers.
//!
//! Owns an example for every rule. Refuses to know which leases are live.

use prost::Message;

use backlane_engine::rules::access::{Principal, TenantScope};

use super::*;
use crate::Reason;
use crate::fixtures::{ID, acme_only, call, call_as, named};

fn lease() -> v1::LeaseRequest {
    v1::LeaseRequest {
        worker_id: "w1".into(),
        callables: vec!["mail.send".into(), "a.b.*".into(), "*".into()],
        ..Default::default()
    }
}

fn leasing(principal: &Principal, message: &v1::LeaseRequest) -> Result<Lease, ApiError> {
    call_as(principal, decode_lease, &message.encode_to_vec())
}

fn held_by(token: &str) -> v1::LeaseRef {
    v1::LeaseRef {
        execution_id: ID.to_string(),
        lease_token: token.into(),
    }
}

#[test]
fn a_lease_has_defaults() {
    let lease = leasing(&Principal::default(), &lease()).unwrap();
    assert_eq!(("w1", 1), (&*lease.worker, lease.max));
    assert_eq!((30_000, 0), (lease.duration_ms, lease.wait_ms));
    assert_eq!(TenantScope::Any, lease.offer.tenants);
    assert_eq!(3, lease.offer.callables.len());
}

type Change = fn(&mut v1::LeaseRequest);

#[test]
fn every_broken_rule_of_a_lease_names_its_field() {
    let broken: [(&str, Change); 12] = [
        ("worker_id", |it| it.worker_id.clear()),
        ("callables", |it| it.callables.clear()),
        ("callables", |it| it.callables = vec!["a".into(); 1_001]),
        ("callables[0]", |it| it.callables[0] = "a*".into()),
        ("callables[1]", |it| it.callables[1] = ".*.*".into()),
        ("callables[2]", |it| it.callables[2].clear()),
        ("tenant_ids", |it| it.tenant_ids = vec!["a".into(); 1_001]),
        ("tenant_ids[1]", |it| {
            it.tenant_ids = vec!["a".into(), "b c".into()];
        }),
        ("max_executions", |it| it.max_executions = 1_001),
        ("lease_duration_ms", |it| it.lease_duration_ms = 999),
        ("lease_duration_ms", |it| it.lease_duration_ms = 3_600_001),
        ("wait_ms", |it| it.wait_ms = 60_001),
    ];
    for (field, change) in broken {
        let mut message = lease();
        change(&mut message);
        let refused = named(call(decode_lease, &message));
        assert_eq!(format!("INVALID_ARGUMENT {field}"), refused);
    }
}

#[test]
fn an_offer_is_limited_to_the_tenants_of_its_caller() {
    let only = TenantScope::Only(["acme".into()].into());
    assert_eq!(only, leasing(&acme_only(), &lease()).unwrap().offer.tenants);
    let own = v1::LeaseRequest {
        tenant_ids: vec!["acme".into()],
        ..lease()
    };
    assert_eq!(
        only,
        leasing(&Principal::default(), &own).unwrap().offer.tenants
    );
    assert_eq!(only, leasing(&acme_only(), &own).unwrap().offer.tenants);
    let other = v1::LeaseRequest {
        tenant_ids: vec!["other".into()],
        ..lease()
    };
    let denied = leasing(&acme_only(), &other).unwrap_err();
    assert_eq!(Reason::PermissionDenied, denied.reason());
}

#[test]
fn a_malformed_token_is_stale_and_a_malformed_id_refuses_only_its_item() {
    let unreadable = v1::LeaseRef {
        execution_id: "x".into(),
        ..held_by("lt_0_1_2_3")
    };
    let message = v1::RenewLeasesRequest {
        leases: vec![held_by("lt_0_1_2_3"), held_by("nonsense"), unreadable],
        lease_duration_ms: 0,
    };
    let renew = call(decode_renew, &message).unwrap();
    assert_eq!(None, renew.duration_ms);
    let mut items = renew.items.into_iter();
    let token = Some(LeaseToken {
        shard: 0,
        epoch: 1,
        counter: 2,
        random: 3,
    });
    assert_eq!(Some(Ok(Held { id: ID, token })), items.next());
    assert_eq!(
        Some(Ok(Held {
            id: ID,
            token: None
        })),
        items.next()
    );
    assert_eq!(
        "INVALID_ARGUMENT leases[2].execution_id",
        named(items.next().unwrap())
    );
}

#[test]
fn a_renewal_keeps_or_changes_the_period() {
    let renew = |leases, lease_duration_ms| {
        call(
            decode_renew,
            &v1::RenewLeasesRequest {
                leases,
                lease_duration_ms,
            },
        )
    };
    let renewed = renew(vec![held_by("")], 1_000).unwrap();
    assert_eq!(Some(1_000), renewed.duration_ms);
    let refused = named(renew(vec![held_by("")], 1));
    assert_eq!("INVALID_ARGUMENT lease_duration_ms", refused);
    assert_eq!("INVALID_ARGUMENT leases", named(renew(vec![], 0)));
    assert_eq!(
        "INVALID_ARGUMENT leases",
        named(renew(vec![held_by(""); 1_001], 0))
    );
}

fn result(output: Option<RawValue>) -> v1::CompleteResult {
    let (execution_id, lease_token) = (ID.to_string(), "lt_0_1_2_3".into());
    v1::CompleteResult {
        execution_id,
        lease_token,
        output,
    }
}

#[test]
fn an_output_is_kept_to_the_byte_and_an_absent_output_is_null() {
    let sent = vec![0x1A, 0x02, b'o', b'k'];
    let results = vec![result(None), result(Some(sent.clone().into()))];
    let outputs = call(decode_complete, &v1::CompleteRequest { results })
        .unwrap()
        .into_iter()
        .map(|item| item.unwrap().1);
    let expected = [RawValue::NULL.to_vec(), sent].map(|it| Report::Completed(it.into()));
    assert_eq!(expected.to_vec(), outputs.collect::<Vec<_>>());
}

#[test]
fn a_refused_output_does_not_affect_the_other_items() {
    let text = |length: usize| {
        let kind = Some(prost_types::value::Kind::StringValue("x".repeat(length)));
        RawValue::from(prost_types::Value { kind }.encode_to_vec())
    };
    let results = vec![
        result(Some(text(1 << 20))),
        result(Some(RawValue::default())),
        result(Some(text((1 << 20) - 4))),
    ];
    let mut items = call(decode_complete, &v1::CompleteRequest { results })
        .unwrap()
        .into_iter();
    assert_eq!("TOO_LARGE results[0].output", named(items.next().unwrap()));
    assert_eq!(
        "INVALID_ARGUMENT results[1].output",
        named(items.next().unwrap())
    );
    assert!(items.next().unwrap().is_ok());
}

#[test]
fn reports_are_neither_empty_nor_too_many() {
    let none = v1::CompleteRequest::default();
    assert_eq!(
        "INVALID_ARGUMENT results",
        named(call(decode_complete, &none))
    );
    let many = v1::FailRequest {
        failures: vec![v1::Failure::default(); 1_001],
    };
    assert_eq!("INVALID_ARGUMENT failures", named(call(decode_fail, &many)));
    let none = v1::ReleaseRequest::default();
    assert_eq!(
        "INVALID_ARGUMENT releases",
        named(call(decode_release, &none))
    );
}

#[test]
fn a_release_has_no_result() {
    let message = v1::ReleaseRequest {
        releases: vec![held_by("lt_0_1_2_3")],
    };
    let items = call(decode_release, &message).unwrap();
    assert_eq!(Report::Released, items[0].as_ref().unwrap().1);
}

fn advance(fraction: Option<f64>, message: &str) -> v1::ProgressReport {
    v1::ProgressReport {
        execution_id: ID.to_string(),
        lease_token: "lt_0_1_2_3".into(),
        fraction,
        message: message.into(),
    }
}

#[test]
fn every_report_of_progress_is_read_or_refused_on_its_own() {
    let long = "x".repeat(1_025);
    let cases = [
        (advance(Some(0.0), ""), None),
        (advance(Some(1.0), &long[1..]), None),
        (advance(None, "text"), None),
        (
            advance(Some(-0.1), ""),
            Some("INVALID_ARGUMENT reports[3].fraction"),
        ),
        (
            advance(Some(1.1), ""),
            Some("INVALID_ARGUMENT reports[4].fraction"),
        ),
        (
            advance(Some(f64::NAN), ""),
            Some("INVALID_ARGUMENT reports[5].fraction"),
        ),
        (
            advance(None, ""),
            Some("INVALID_ARGUMENT reports[6].fraction"),
        ),
        (advance(None, &long), Some("TOO_LARGE reports[7].message")),
    ];
    let reports = cases.iter().map(|(report, _)| report.clone()).collect();
    let read = call(decode_progress, &v1::ReportProgressRequest { reports }).unwrap();
    for (item, (report, refused)) in read.into_iter().zip(cases) {
        match refused {
            Some(refused) => assert_eq!(refused, named(item)),
            None => assert_eq!(report.fraction, item.unwrap().1.fraction),
        }
    }
    let none = v1::ReportProgressRequest::default();
    assert_eq!(
        "INVALID_ARGUMENT reports",
        named(call(decode_progress, &none))
    );
}
