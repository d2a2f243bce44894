//! Errors as workers report them.
//!
//! Owns their field rules and which of their fields the record keeps natively. Refuses to know
//! what follows from an error: the engine's verdict does.

use backlane_engine::command::Failure;
use backlane_engine::rules::limits::{Limits, MAX_RETRY_AFTER_MS};
use backlane_engine::rules::retry::{Category, Strategy};
use prost::Message as _;

use crate::fields::{self, Checked, broken, choice, must, within};
use crate::generated::backlane::v1;

/// What stands at the end of a message that was cut.
const CUT: &str = "…[cut]";

/// Checks one item of a `FailRequest`, its lease aside.
pub(crate) fn check(failure: v1::Failure, limits: &Limits) -> Checked<Failure> {
    let Some(error) = failure.error else {
        return broken("error", "must be given");
    };
    let retry_after_ms = failure.retry_after_ms;
    within(
        "retry_after_ms",
        retry_after_ms.unwrap_or(0),
        &(0..=MAX_RETRY_AFTER_MS),
    )?;
    let has_delay = !failure.throttled || retry_after_ms.is_some();
    must(has_delay, "retry_after_ms", "must be given with throttled")?;
    let category = check_error(&error, limits).map_err(|fault| fault.within("error"))?;
    Ok(Failure {
        category,
        retryable: error
            .retry_policy
            .as_ref()
            .is_none_or(|policy| policy.retryable),
        extra: extra(&error),
        message: cut(error.message, limits.max_error_message_bytes),
        code: error.code.map(String::into_boxed_str),
        retry_after_ms,
        throttled: failure.throttled,
    })
}

fn check_error(error: &v1::ExecutionError, limits: &Limits) -> Checked<Category> {
    let Some(category) = choice("category", error.category, Category::from_number)? else {
        return broken("category", "must be given");
    };
    if let Some(policy) = &error.retry_policy {
        choice(
            "retry_policy.backoff_strategy",
            policy.backoff_strategy,
            Strategy::from_number,
        )?;
    }
    fields::short("code", error.code.as_deref())?;
    fields::short("step_id", error.step_id.as_deref())?;
    fields::short("provider", error.provider.as_deref())?;
    if let Some(details) = &error.details {
        fields::json(
            "details",
            details,
            limits.max_details_bytes,
            limits.max_json_depth,
        )?;
    }
    Ok(category)
}

// The fields that an `ErrorRecord` has no place of its own for.
fn extra(error: &v1::ExecutionError) -> Box<[u8]> {
    let extra = v1::ExecutionError {
        retry_policy: error.retry_policy,
        step_id: error.step_id.clone(),
        provider: error.provider.clone(),
        http_status: error.http_status,
        details: error.details.clone(),
        ..v1::ExecutionError::default()
    };
    extra.encode_to_vec().into()
}

// At most so many bytes, the mark included, and never half a character.
fn cut(mut message: String, most: usize) -> Box<str> {
    if message.len() > most {
        let mut kept = most.saturating_sub(CUT.len());
        while !message.is_char_boundary(kept) {
            kept -= 1;
        }
        message.truncate(kept);
        message.push_str(CUT);
    }
    message.into()
}
