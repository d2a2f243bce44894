//! Random requests of all kinds of clients.
//!
//! Owns the values drawn for each field. Refuses to send requests.

use crate::api::{json_text, timestamp, v1};
use crate::dice::Dice;
use crate::plan::Plan;

/// A random execution to enqueue.
pub(crate) fn enqueue(plan: &Plan, dice: &mut Dice, wall_ms: u64) -> v1::EnqueueRequest {
    let mut request = v1::EnqueueRequest {
        tenant_id: plan.names.tenant(dice),
        callable_name: plan.names.callable(dice),
        input: dice.chance(900).then(|| input(plan, dice)),
        config: dice.chance(800).then(|| config(dice)),
        ..Default::default()
    };
    if dice.chance(plan.large) {
        let limits = &plan.settings.limits;
        let context = "x".repeat(limits.max_context_bytes - NAME_BYTES);
        request.context.insert("large".into(), context);
        let metadata = "x".repeat(limits.max_metadata_bytes - NAME_BYTES);
        request
            .metadata
            .insert("large".into(), json_text(&metadata));
    }
    if dice.chance(300) {
        request
            .context
            .insert("trace".into(), format!("{:x}", dice.roll()));
        request
            .metadata
            .insert("user".into(), json_text(&format!("usr_{}", dice.below(9))));
    }
    set_times(&mut request, dice, wall_ms);
    if dice.chance(200) {
        request.max_worker_losses = Some(u32::try_from(dice.between(1, 3)).unwrap_or(1));
    }
    if dice.chance(300) {
        request.cancellation_policy = i32::try_from(dice.between(0, 3)).unwrap_or(0);
    }
    if dice.chance(150) {
        request.dedup_key = format!("key_{}", dice.below(4));
        request.dedup_policy = i32::try_from(dice.between(0, 3)).unwrap_or(0);
    }
    request
}

/// Room for the names and the framing of one large value.
const NAME_BYTES: usize = 64;

/// An execution that runs at once, with an input of this size and nothing else.
pub(crate) fn simple(tenant: &str, callable: &str, bytes: usize) -> v1::EnqueueRequest {
    v1::EnqueueRequest {
        tenant_id: tenant.to_owned(),
        callable_name: callable.to_owned(),
        input: Some("x".repeat(bytes)),
        ..Default::default()
    }
}

fn input(plan: &Plan, dice: &mut Dice) -> String {
    if dice.chance(plan.large) {
        // One byte more than the limit is refused.
        let most = plan.settings.limits.max_input_bytes;
        let bytes = *dice.pick(&[most + 1, most, most, most / 2, 70_000]);
        let input = format!("input {:x} ", dice.roll());
        return input.clone() + &"x".repeat(bytes - input.len());
    }
    let bytes = if dice.chance(20) {
        dice.below(40_000)
    } else {
        dice.below(80)
    };
    format!(
        "input {:x} {}",
        dice.roll(),
        "x".repeat(usize::try_from(bytes).unwrap_or(0))
    )
}

fn set_times(request: &mut v1::EnqueueRequest, dice: &mut Dice, wall_ms: u64) {
    let mut from_ms = wall_ms;
    if dice.chance(150) {
        from_ms += dice.between(1, 60_000);
        request.not_before = Some(timestamp(from_ms));
    }
    if dice.chance(100) {
        request.start_deadline = Some(timestamp(from_ms + dice.between(1_000, 120_000)));
    }
    if dice.chance(100) {
        request.deadline = Some(timestamp(from_ms + dice.between(1_000, 600_000)));
    }
}

fn config(dice: &mut Dice) -> v1::BackgroundExecutionConfig {
    v1::BackgroundExecutionConfig {
        mode: i32::try_from(dice.between(0, 3)).unwrap_or(0),
        priority: dice
            .chance(700)
            .then(|| u32::try_from(dice.below(5) * 60).unwrap_or(0)),
        timeout_ms: dice.chance(300).then(|| dice.between(1_000, 60_000)),
        retry: dice.chance(600).then(|| retry(dice)),
        ..Default::default()
    }
}

fn retry(dice: &mut Dice) -> v1::RetryConfig {
    v1::RetryConfig {
        max_attempts: Some(u32::try_from(dice.between(1, 4)).unwrap_or(1)),
        strategy: i32::try_from(dice.between(0, 3)).unwrap_or(0),
        initial_delay_ms: Some(dice.between(0, 3_000)),
        jitter: Some(dice.chance(500)),
        ..Default::default()
    }
}

/// A random error that a worker reports.
pub(crate) fn failure(lease: &v1::LeaseRef, dice: &mut Dice) -> v1::Failure {
    let throttled = dice.chance(200);
    let after = throttled || dice.chance(200);
    let retry_after_ms = after.then(|| dice.between(0, 20_000));
    let category = if dice.chance(900) {
        dice.between(1, 4)
    } else {
        dice.between(5, 8)
    };
    v1::Failure {
        execution_id: lease.execution_id.clone(),
        lease_token: lease.lease_token.clone(),
        error: Some(v1::ExecutionError {
            category: i32::try_from(category).unwrap_or(1),
            message: format!("boom {}", dice.below(100)),
            details: dice.chance(300).then(|| json_text("why")),
            ..Default::default()
        }),
        retry_after_ms,
        throttled,
    }
}

/// A random output of a worker.
pub(crate) fn result(plan: &Plan, lease: &v1::LeaseRef, dice: &mut Dice) -> v1::CompleteResult {
    let large = dice.chance(plan.large);
    let bytes = plan.settings.limits.max_output_bytes - NAME_BYTES;
    let more = if large {
        "x".repeat(bytes)
    } else {
        String::new()
    };
    v1::CompleteResult {
        execution_id: lease.execution_id.clone(),
        lease_token: lease.lease_token.clone(),
        output: dice
            .chance(800)
            .then(|| json_text(&format!("done {:x}{more}", dice.roll()))),
    }
}
