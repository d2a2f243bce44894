//! Requests in short form.
//!
//! Owns the callables and tenants of the tests. Refuses to judge replies.

use backlane_runtime::Method;
use backlane_sim::api::{json_text, reason_of, v1};

use crate::server::{Outcome, Server};

/// An input or an output that belongs to this number alone. Every tenth is longer than a page.
pub(crate) fn text(what: &str, number: usize) -> String {
    let times = if number.is_multiple_of(10) { 600 } else { 3 };
    format!("{what} of {number} ").repeat(times)
}

pub(crate) fn enqueue(tenant: &str, callable: &str, number: usize) -> v1::EnqueueRequest {
    v1::EnqueueRequest {
        tenant_id: tenant.into(),
        callable_name: callable.into(),
        input: Some(text("input", number)),
        request_id: format!("request-{number}"),
        config: Some(v1::BackgroundExecutionConfig {
            retry: Some(v1::RetryConfig {
                max_attempts: Some(5),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub(crate) fn get(tenant: &str, id: &str) -> v1::GetRequest {
    v1::GetRequest {
        tenant_id: tenant.into(),
        execution_id: id.into(),
        view: v1::View::Full.into(),
    }
}

pub(crate) fn lease(callable: &str, most: u32) -> v1::LeaseRequest {
    v1::LeaseRequest {
        worker_id: "w1".into(),
        callables: vec![callable.into()],
        max_executions: most,
        lease_duration_ms: 600_000,
        ..Default::default()
    }
}

pub(crate) fn complete(lease: &v1::Lease, output: &str) -> v1::CompleteRequest {
    let result = v1::CompleteResult {
        execution_id: record(lease).execution_id.clone(),
        lease_token: lease.lease_token.clone(),
        output: Some(json_text(output)),
    };
    v1::CompleteRequest {
        results: vec![result],
    }
}

pub(crate) fn fail(lease: &v1::Lease, retry_after_ms: Option<u64>) -> v1::FailRequest {
    let failure = v1::Failure {
        execution_id: record(lease).execution_id.clone(),
        lease_token: lease.lease_token.clone(),
        error: Some(v1::ExecutionError {
            category: v1::ErrorCategory::ToolError.into(),
            message: text("error", 3),
            retry_policy: Some(v1::RetryPolicy {
                retryable: retry_after_ms.is_some(),
                ..Default::default()
            }),
            ..Default::default()
        }),
        retry_after_ms,
        throttled: false,
    };
    v1::FailRequest {
        failures: vec![failure],
    }
}

pub(crate) fn record(lease: &v1::Lease) -> &v1::BackgroundExecution {
    lease.execution.as_ref().expect("its record")
}

impl Server {
    pub(crate) fn make(&self, request: &v1::EnqueueRequest) -> v1::BackgroundExecution {
        let made: v1::EnqueueResponse = self.ask(Method::Enqueue, request).expect("it is made");
        made.execution.expect("its record")
    }

    pub(crate) fn get(&self, tenant: &str, id: &str) -> Outcome<v1::BackgroundExecution> {
        let got: v1::GetResponse = self.ask(Method::Get, &get(tenant, id))?;
        Ok(got.execution.expect("its record"))
    }

    pub(crate) fn lease(&self, callable: &str, most: u32) -> Vec<v1::Lease> {
        let leased: Outcome<v1::LeaseResponse> = self.ask(Method::Lease, &lease(callable, most));
        leased.expect("a lease call is answered").leases
    }

    /// Completes a lease; it must be accepted.
    pub(crate) fn complete(&self, lease: &v1::Lease, output: &str) {
        assert_eq!("accepted", self.try_complete(lease, output));
    }

    /// Completes a lease and returns `accepted` or the reason why not.
    pub(crate) fn try_complete(&self, lease: &v1::Lease, output: &str) -> String {
        use v1::lease_outcome::Outcome as Kind;
        let reply: Outcome<v1::CompleteResponse> =
            self.ask(Method::Complete, &complete(lease, output));
        match &reply.expect("it is answered").outcomes[0].outcome {
            Some(Kind::Result(_)) => "accepted".into(),
            Some(Kind::Status(status)) => reason_of(status),
            None => "nothing".into(),
        }
    }

    /// Reports a failure of a lease; it must be accepted.
    pub(crate) fn fail(&self, lease: &v1::Lease, retry_after_ms: Option<u64>) {
        let reply: Outcome<v1::FailResponse> = self.ask(Method::Fail, &fail(lease, retry_after_ms));
        let outcome = &reply.expect("it is answered").outcomes[0];
        let accepted = matches!(outcome.outcome, Some(v1::lease_outcome::Outcome::Result(_)));
        assert!(accepted, "{outcome:?}");
    }

    /// Every execution of a tenant, newest first, page by page.
    pub(crate) fn list(&self, tenant: &str) -> Outcome<Vec<v1::BackgroundExecution>> {
        let mut all = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = v1::ListRequest {
                tenant_id: tenant.into(),
                page_token,
                view: v1::View::Full.into(),
                ..Default::default()
            };
            let page: v1::ListResponse = self.ask(Method::List, &request)?;
            all.extend(page.executions);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(all);
            }
        }
    }
}
