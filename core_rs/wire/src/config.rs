//! The config of an execution.
//!
//! Owns the field rules and the defaults of a config. Refuses to know the other fields of the
//! request.

use backlane_engine::fact::Policy;
use backlane_engine::rules::limits::{
    DEFAULT_MAX_WORKER_LOSSES, DEFAULT_PRIORITY, DEFAULT_TIMEOUT_MS, MAX_WORKER_LOSSES,
};
use backlane_engine::rules::retry::{Category, Retry, Strategy};
use backlane_engine::rules::status::{Cancellation, Mode};

use crate::fields::{Checked, broken, choice, must, within};
use crate::generated::backlane::v1;

/// A config whose absent fields have been replaced by their defaults.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Config {
    pub(crate) mode: Mode,
    pub(crate) priority: u8,
    pub(crate) policy: Policy,
}

/// Checks a config. Each absent field takes its default; an absent mode takes `default_mode`, which
/// depends on the call.
pub(crate) fn check(
    given: Option<&v1::BackgroundExecutionConfig>,
    max_worker_losses: Option<u32>,
    default_mode: Mode,
) -> Checked<Config> {
    let max_worker_losses = max_worker_losses.unwrap_or(DEFAULT_MAX_WORKER_LOSSES);
    within(
        "max_worker_losses",
        max_worker_losses,
        &(1..=MAX_WORKER_LOSSES),
    )?;
    let empty = v1::BackgroundExecutionConfig::default();
    let given = given.unwrap_or(&empty);
    let mode = choice("config.mode", given.mode, Mode::from_number)?;
    let timeout_ms = given.timeout_ms.unwrap_or(DEFAULT_TIMEOUT_MS);
    must(timeout_ms > 0, "config.timeout_ms", "must be at least 1")?;
    let is_delivered = given.target_binding.is_some();
    must(
        !is_delivered,
        "config.target_binding",
        "is not supported by this server version",
    )?;
    let is_called_back = given.callback_url.is_some();
    must(
        !is_called_back,
        "config.callback_url",
        "is not supported by this server version",
    )?;
    let retry = given.retry.as_ref().map(check_retry).transpose();
    let retry = retry.map_err(|fault| fault.within("config.retry"))?;
    Ok(Config {
        mode: mode.unwrap_or(default_mode),
        priority: check_priority(given.priority)?,
        policy: Policy {
            timeout_ms,
            max_worker_losses,
            retry,
            cancellation: Cancellation::default(),
        },
    })
}

fn check_priority(given: Option<u32>) -> Checked<u8> {
    let given = given.unwrap_or(DEFAULT_PRIORITY.into());
    u8::try_from(given).or_else(|_| broken("config.priority", "must be 0 to 255"))
}

fn check_retry(given: &v1::RetryConfig) -> Checked<Retry> {
    let default = Retry::default();
    let max_attempts = given.max_attempts.unwrap_or(default.max_attempts);
    // The engine counts spent attempts in 16 bits.
    let in_range = (1..=u32::from(u16::MAX)).contains(&max_attempts);
    must(in_range, "max_attempts", "must be 1 to 65535")?;
    let multiplier = given
        .backoff_multiplier
        .unwrap_or(default.backoff_multiplier);
    let is_valid = multiplier.is_finite() && multiplier >= 0.0;
    must(
        is_valid,
        "backoff_multiplier",
        "must be finite and not negative",
    )?;
    let strategy = choice("strategy", given.strategy, Strategy::from_number)?;
    Ok(Retry {
        max_attempts,
        strategy: strategy.unwrap_or_default(),
        initial_delay_ms: given.initial_delay_ms.unwrap_or(default.initial_delay_ms),
        // Adding 0.0 turns −0.0 into 0.0, so that the value kept equals the value read back from
        // disk.
        backoff_multiplier: multiplier + 0.0,
        max_delay_ms: given.max_delay_ms.unwrap_or(default.max_delay_ms),
        jitter: given.jitter.unwrap_or(default.jitter),
        retry_on: check_retry_on(&given.retry_on)?,
    })
}

fn check_retry_on(given: &[i32]) -> Checked<u32> {
    let mut bits = 0;
    for (index, number) in given.iter().enumerate() {
        let field = || format!("retry_on[{index}]");
        match choice(&field(), *number, Category::from_number)? {
            Some(category) => bits |= 1 << category as u32,
            None => return broken(&field(), "must be given"),
        }
    }
    Ok(bits)
}
