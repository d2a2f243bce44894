//! Random requests of all kinds of clients.
//!
//! Owns the values drawn for each field. Refuses to send requests.

use crate::api::{json_text, timestamp, v1};
use crate::dice::Dice;

/// The tenants of every run.
pub(crate) const TENANTS: [&str; 3] = ["acme", "globex", "initech"];
/// The callables of every run.
pub(crate) const CALLABLES: [&str; 4] = ["mail.send", "mail.bulk", "llm.chat", "report"];

/// A random execution to enqueue.
pub(crate) fn enqueue(dice: &mut Dice, wall_ms: u64) -> v1::EnqueueRequest {
    let mut request = v1::EnqueueRequest {
        tenant_id: (*dice.pick(&TENANTS)).to_owned(),
        callable_name: (*dice.pick(&CALLABLES)).to_owned(),
        input: dice.chance(900).then(|| input(dice)),
        config: dice.chance(800).then(|| config(dice)),
        ..Default::default()
    };
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
    if dice.chance(150) {
        request.dedup_key = format!("key_{}", dice.below(4));
        request.dedup_policy = i32::try_from(dice.between(0, 3)).unwrap_or(0);
    }
    request
}

fn input(dice: &mut Dice) -> String {
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
pub(crate) fn result(lease: &v1::LeaseRef, dice: &mut Dice) -> v1::CompleteResult {
    v1::CompleteResult {
        execution_id: lease.execution_id.clone(),
        lease_token: lease.lease_token.clone(),
        output: dice
            .chance(800)
            .then(|| json_text(&format!("done {:x}", dice.roll()))),
    }
}
