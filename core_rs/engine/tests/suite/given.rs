//! Values that tests begin with: executions, offers and reports.
//!
//! Owns plain values, which a test changes where they matter. Refuses to drive an engine.

use std::sync::Arc;

use backlane_engine::command::{DedupPolicy, Failure, IdRandom, NewExecution, OfferSpec, Report};
use backlane_engine::fact::{Actor, Policy};
use backlane_engine::row::Payload;
use backlane_engine::rules::access::{Principal, TenantScope, VisibleTenant};
use backlane_engine::rules::retry::{Category, Retry, Strategy};
use backlane_engine::rules::status::{ActorKind, Cancellation};

/// A tenant, seen by a caller who may act for every tenant.
pub(crate) fn visible(tenant: &str) -> VisibleTenant {
    Principal::default()
        .sees(tenant)
        .expect("every tenant is in scope")
}

pub(crate) fn new_execution(tenant: &str, callable: &str) -> NewExecution {
    NewExecution {
        tenant: visible(tenant),
        callable: callable.into(),
        priority: 50,
        policy: Policy {
            timeout_ms: 300_000,
            max_worker_losses: 3,
            retry: None,
            cancellation: Cancellation::default(),
        },
        not_before_ms: None,
        start_deadline_ms: None,
        deadline_ms: None,
        request: None,
        dedup_key: None,
        dedup_policy: DedupPolicy::default(),
        depends_on: Vec::new(),
        parent: None,
        payload: Payload::default(),
        retried_from: None,
        actor: Actor::of(ActorKind::Client),
        random: IdRandom {
            salt: 5,
            random: 77,
        },
    }
}

pub(crate) fn retries(strategy: Strategy) -> Retry {
    Retry {
        strategy,
        jitter: false,
        ..Retry::default()
    }
}

pub(crate) fn offer(callables: &[&str]) -> OfferSpec {
    let callables = callables.iter().map(|name| (*name).into()).collect();
    OfferSpec {
        callables,
        tenants: TenantScope::Any,
    }
}

pub(crate) fn completed() -> Report {
    Report::Completed(Arc::from(*b"null"))
}

pub(crate) fn failed() -> Failure {
    Failure {
        category: Category::Tool,
        message: "boom".into(),
        code: None,
        extra: Box::default(),
        retryable: true,
        retry_after_ms: None,
        throttled: false,
    }
}
