//! The requests of the API that the words of a scenario stand for.

use backlane_sim::api::{timestamp, v1};

use crate::script::{Line, Word, duration, instant, text};

/// The execution that the words of a line describe.
pub(crate) fn enqueue(words: &[Word], now_ms: u64) -> v1::EnqueueRequest {
    let mut request = v1::EnqueueRequest {
        tenant_id: "acme".into(),
        callable_name: "mail".into(),
        ..Default::default()
    };
    let keyed = words.iter();
    for (key, value) in keyed.filter_map(|word| Some((word.key.as_deref()?, &*word.value))) {
        set(&mut request, key, value, now_ms);
    }
    request
}

fn set(request: &mut v1::EnqueueRequest, key: &str, value: &str, now_ms: u64) {
    let at = || Some(timestamp(instant(value, now_ms)));
    match key {
        "tenant" => request.tenant_id = value.into(),
        "callable" => request.callable_name = value.into(),
        "input" => request.input = Some(text(value).into()),
        "max_worker_losses" => request.max_worker_losses = value.parse().ok(),
        "not_before" => request.not_before = at(),
        "delay" => request.delay_ms = Some(duration(value)),
        "start_deadline" => request.start_deadline = at(),
        "deadline" => request.deadline = at(),
        "after" | "parent" | "step" | "token" => {}
        "policy" => {
            let name = format!("CANCELLATION_POLICY_{}", value.to_uppercase());
            request.cancellation_policy = number(v1::CancellationPolicy::from_str_name(&name));
        }
        "request_id" => request.request_id = value.into(),
        "dedup_key" => request.dedup_key = value.into(),
        "dedup_policy" => {
            let name = format!("DEDUP_POLICY_{}", value.to_uppercase());
            request.dedup_policy = number(v1::DedupPolicy::from_str_name(&name));
        }
        _ => {
            let config = request.config.get_or_insert_default();
            match key {
                "priority" => config.priority = value.parse().ok(),
                "timeout" => config.timeout_ms = Some(duration(value)),
                _ => set_retry(config.retry.get_or_insert_default(), key, value),
            }
        }
    }
}

fn number(named: Option<impl Into<i32>>) -> i32 {
    named.expect("a known name").into()
}

fn set_retry(retry: &mut v1::RetryConfig, key: &str, value: &str) {
    match key {
        "retry.max_attempts" => retry.max_attempts = value.parse().ok(),
        "retry.initial_delay" => retry.initial_delay_ms = Some(duration(value)),
        "retry.max_delay" => retry.max_delay_ms = Some(duration(value)),
        "retry.multiplier" => retry.backoff_multiplier = value.parse().ok(),
        "retry.jitter" => retry.jitter = Some(value == "true"),
        "retry.on" => retry.retry_on = value.split(',').map(category).collect(),
        "retry.strategy" => {
            let name = format!("RETRY_STRATEGY_{}", value.to_uppercase());
            retry.strategy = number(v1::RetryStrategy::from_str_name(&name));
        }
        "retry" => {}
        _ => panic!("enqueue knows no {key}"),
    }
}

fn category(name: &str) -> i32 {
    let name = format!("ERROR_CATEGORY_{}", name.to_uppercase());
    number(v1::ErrorCategory::from_str_name(&name))
}

/// The `Lease` call that a line describes. It never waits.
pub(crate) fn lease(line: &Line) -> v1::LeaseRequest {
    let list = |key: &str| {
        line.get(key)
            .map(|value| value.split(',').map(Into::into).collect())
    };
    v1::LeaseRequest {
        worker_id: line.plain(0).into(),
        callables: list("callables").unwrap_or_else(|| vec!["*".into()]),
        tenant_ids: list("tenants").unwrap_or_default(),
        max_executions: line
            .get("max")
            .map_or(1, |most| most.parse().expect("a number")),
        lease_duration_ms: line.get("duration").map_or(0, duration),
        wait_ms: 0,
    }
}

/// The error that a line describes.
pub(crate) fn failure(line: &Line, held: v1::LeaseRef) -> v1::Failure {
    let retry_policy = line.get("retryable").map(|retryable| v1::RetryPolicy {
        retryable: retryable == "true",
        ..Default::default()
    });
    v1::Failure {
        execution_id: held.execution_id,
        lease_token: held.lease_token,
        error: Some(v1::ExecutionError {
            category: category(line.get("category").unwrap_or("tool_error")),
            message: text(line.get("message").unwrap_or("boom")).into(),
            code: line.get("code").map(Into::into),
            retry_policy,
            ..Default::default()
        }),
        retry_after_ms: line.get("retry_after").map(duration),
        throttled: line.get("throttled") == Some("true"),
    }
}

/// The `Cancel` call that a line describes.
pub(crate) fn cancel(line: &Line, execution_id: String) -> v1::CancelRequest {
    v1::CancelRequest {
        tenant_id: line.get("tenant").unwrap_or("acme").into(),
        execution_id,
    }
}

/// The progress that a line describes.
pub(crate) fn progress(line: &Line, held: v1::LeaseRef) -> v1::ProgressReport {
    v1::ProgressReport {
        execution_id: held.execution_id,
        lease_token: held.lease_token,
        fraction: line.get("fraction").map(|it| it.parse().expect("a number")),
        message: text(line.get("message").unwrap_or_default()).into(),
    }
}

/// The `Redrive` call that a line describes.
pub(crate) fn redrive(line: &Line, execution_id: String) -> v1::RedriveRequest {
    let timeout_ms = line.get("timeout").map(duration);
    let priority = line.get("priority").and_then(|value| value.parse().ok());
    let given = timeout_ms.is_some() || priority.is_some();
    v1::RedriveRequest {
        tenant_id: line.get("tenant").unwrap_or("acme").into(),
        execution_id,
        input: line.get("input").map(|value| text(value).into()),
        restart: line.get("restart").is_some(),
        with_dependents: line.get("with_dependents").is_some(),
        config: given.then(|| v1::BackgroundExecutionConfig {
            timeout_ms,
            priority,
            ..Default::default()
        }),
        request_id: line.get("request_id").unwrap_or_default().into(),
    }
}
