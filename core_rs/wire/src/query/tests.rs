//! The field rules of requests that read executions, wait for them or cancel them.
//!
//! Owns an example for every rule. Refuses to look executions up.

use prost::Message;
use prost_types::Duration;

use super::*;
use crate::fixtures::{Decode, ID, acme_only, call, call_as, named, visible};
use crate::{Reason, page_token};

fn id() -> String {
    ID.to_string()
}

fn get(view: i32) -> v1::GetRequest {
    v1::GetRequest {
        tenant_id: "acme".into(),
        execution_id: id(),
        view,
    }
}

fn list() -> v1::ListRequest {
    v1::ListRequest {
        tenant_id: "acme".into(),
        ..Default::default()
    }
}

fn wait() -> v1::WaitRequest {
    let other = ExecutionId { birth: 78, ..ID }.to_string();
    v1::WaitRequest {
        tenant_id: "acme".into(),
        execution_ids: vec![id(), other],
        ..Default::default()
    }
}

fn waiting(message: &v1::WaitRequest) -> Wait {
    call(decode_wait, message).unwrap()
}

#[test]
fn a_get_is_full_and_a_list_is_basic_by_default() {
    let get = |view| call(decode_get, &get(view));
    let expected = |view| {
        let named = Named {
            tenant: visible("acme"),
            id: ID,
        };
        Ok(Get { named, view })
    };
    assert_eq!(expected(View::Full), get(0));
    assert_eq!(expected(View::Basic), get(1));
    assert_eq!("INVALID_ARGUMENT view", named(get(3)));
    let expected = List {
        tenant: visible("acme"),
        status: None,
        page_size: 100,
        before: None,
        view: View::Basic,
        parent: None,
        filter: None,
    };
    assert_eq!(Ok(expected), call(decode_list, &list()));
}

#[test]
fn broken_rules_name_their_field() {
    let get = |change: fn(&mut v1::GetRequest)| {
        let mut message = get(0);
        change(&mut message);
        named(call(decode_get, &message))
    };
    assert_eq!("INVALID_ARGUMENT tenant_id", get(|it| it.tenant_id.clear()));
    assert_eq!(
        "INVALID_ARGUMENT execution_id",
        get(|it| it.execution_id.push('x'))
    );
    let list = |change: fn(&mut v1::ListRequest)| {
        let mut message = list();
        change(&mut message);
        named(call(decode_list, &message))
    };
    assert_eq!(
        "INVALID_ARGUMENT tenant_id",
        list(|it| it.tenant_id.clear())
    );
    assert_eq!("INVALID_ARGUMENT status", list(|it| it.status = 7));
    assert_eq!(
        "INVALID_ARGUMENT page_size",
        list(|it| it.page_size = 1_001)
    );
    assert_eq!(
        "INVALID_ARGUMENT page_token",
        list(|it| it.page_token = "7".into())
    );
    assert_eq!("INVALID_ARGUMENT view", list(|it| it.view = -1));
    let peek = |limit, callables: &[&str]| {
        let callables = callables.iter().copied().map(String::from).collect();
        let message = v1::PeekRequest {
            tenant_id: "acme".into(),
            limit,
            callables,
        };
        named(call(decode_peek, &message))
    };
    assert_eq!("INVALID_ARGUMENT limit", peek(1_001, &[]));
    assert_eq!("INVALID_ARGUMENT callables[1]", peek(0, &["a", "b*"]));
}

#[test]
fn a_list_continues_after_the_execution_of_its_page_token() {
    let before = |token: String, status| {
        let message = v1::ListRequest {
            page_token: token,
            status,
            ..list()
        };
        call(decode_list, &message).map(|list| list.before)
    };
    let token = || page_token("acme", Some(Status::Failed), 5);
    assert_eq!(Ok(Some(5)), before(token(), 4));
    assert_eq!("INVALID_ARGUMENT page_token", named(before(token(), 3)));
}

#[test]
fn a_peek_looks_at_one_tenants_callables() {
    let message = v1::PeekRequest {
        tenant_id: "acme".into(),
        ..Default::default()
    };
    let offer = OfferSpec {
        callables: BTreeSet::from(["*".into()]),
        tenants: TenantScope::Only(BTreeSet::from(["acme".into()])),
    };
    let expected = Peek {
        tenant: visible("acme"),
        limit: 10,
        offer,
    };
    assert_eq!(Ok(expected), call(decode_peek, &message));
}

#[test]
fn another_tenants_executions_are_not_found() {
    let (tenant_id, execution_id) = ("other".to_owned(), id());
    let get = v1::GetRequest {
        tenant_id: tenant_id.clone(),
        ..get(0)
    };
    let cancel = v1::CancelRequest {
        tenant_id,
        execution_id,
    };
    let calls: [(Decode<()>, _); 2] = [
        (
            |it, context| decode_get(it, context).map(drop),
            get.encode_to_vec(),
        ),
        (
            |it, context| decode_cancel(it, context).map(drop),
            cancel.encode_to_vec(),
        ),
    ];
    for (decode, bytes) in calls {
        let error = call_as(&acme_only(), decode, &bytes).unwrap_err();
        assert_eq!(Reason::ExecutionNotFound, error.reason());
    }
    let wait = v1::WaitRequest {
        tenant_id: "other".into(),
        ..wait()
    };
    let wait = call_as(&acme_only(), decode_wait, &wait.encode_to_vec()).unwrap();
    assert_eq!(None, wait.tenant);
    for id in wait.ids {
        assert_eq!(Reason::ExecutionNotFound, id.unwrap_err().reason());
    }
}

#[test]
fn another_tenants_lists_are_denied() {
    let tenant_id = "other".to_owned();
    let list = v1::ListRequest {
        tenant_id: tenant_id.clone(),
        ..list()
    };
    let peek = v1::PeekRequest {
        tenant_id: tenant_id.clone(),
        ..Default::default()
    };
    let stats = v1::GetQueueStatsRequest { tenant_id };
    let calls: [(Decode<()>, _); 3] = [
        (
            |it, context| decode_list(it, context).map(drop),
            list.encode_to_vec(),
        ),
        (
            |it, context| decode_peek(it, context).map(drop),
            peek.encode_to_vec(),
        ),
        (
            |it, context| decode_queue_stats(it, context).map(drop),
            stats.encode_to_vec(),
        ),
    ];
    for (decode, bytes) in calls {
        let error = call_as(&acme_only(), decode, &bytes).unwrap_err();
        assert_eq!(Reason::PermissionDenied, error.reason());
    }
}

#[test]
fn a_wait_is_for_all_for_any_or_for_a_count() {
    let needed = |wait_for, count| {
        waiting(&v1::WaitRequest {
            wait_for,
            count,
            ..wait()
        })
        .needed
    };
    assert_eq!(
        [2, 2, 1, 1, 2],
        [
            needed(0, 0),
            needed(1, 0),
            needed(2, 0),
            needed(3, 1),
            needed(3, 2)
        ]
    );
    let refused = |wait_for, count| {
        named(call(
            decode_wait,
            &v1::WaitRequest {
                wait_for,
                count,
                ..wait()
            },
        ))
    };
    assert_eq!("INVALID_ARGUMENT count", refused(3, 0));
    assert_eq!("INVALID_ARGUMENT count", refused(3, 3));
    assert_eq!("INVALID_ARGUMENT count", refused(1, 1));
    assert_eq!("INVALID_ARGUMENT wait_for", refused(4, 0));
}

#[test]
fn a_wait_is_for_distinct_ids_and_an_hour_at_most() {
    let refused = |message| named(call(decode_wait, &message));
    let ids = |execution_ids| v1::WaitRequest {
        execution_ids,
        ..wait()
    };
    assert_eq!("INVALID_ARGUMENT execution_ids", refused(ids(vec![])));
    assert_eq!(
        "INVALID_ARGUMENT execution_ids",
        refused(ids(vec![id(); 1_001]))
    );
    assert_eq!(
        "INVALID_ARGUMENT execution_ids[1]",
        refused(ids(vec![id(), id()]))
    );
    let timeout = |seconds| {
        let timeout = Some(Duration { seconds, nanos: 0 });
        v1::WaitRequest { timeout, ..wait() }
    };
    assert_eq!("INVALID_ARGUMENT timeout", refused(timeout(3_601)));
    assert_eq!(0, waiting(&timeout(0)).timeout_ms);
    assert_eq!(3_600_000, waiting(&wait()).timeout_ms);
}

#[test]
fn an_id_that_cannot_be_read_does_not_affect_other_ids() {
    let message = v1::WaitRequest {
        execution_ids: vec!["x".into(), id()],
        ..wait()
    };
    let mut ids = waiting(&message).ids.into_iter();
    assert_eq!(
        "INVALID_ARGUMENT execution_ids[0]",
        named(ids.next().unwrap())
    );
    assert_eq!(Some(Ok(ID)), ids.next());
}
