//! Errors that workers report.
//!
//! Owns the field rules of an error and the choice of fields that an `ErrorRecord` names. Refuses
//! to know what an error leads to: the engine decides that.

use backlane_engine::command::Failure;
use backlane_engine::rules::limits::{Limits, MAX_RETRY_AFTER_MS};
use backlane_engine::rules::retry::{Category, Strategy};
use prost::Message as _;

use crate::fields::{self, Checked, broken, choice, must, within};
use crate::generated::backlane::v1;

/// The text at the end of a message that was cut.
const CUT: &str = "…[cut]";

/// Checks one item of a `FailRequest`, without its lease.
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

/// Checks the error of a step. The server adds the attempt and the time.
pub(crate) fn of_step(
    error: Option<v1::ExecutionError>,
    limits: &Limits,
) -> Checked<v1::ExecutionError> {
    let Some(error) = error else {
        return broken("error", "must be given");
    };
    check_error(&error, limits).map_err(|fault| fault.within("error"))?;
    Ok(v1::ExecutionError {
        message: cut(error.message, limits.max_error_message_bytes).into(),
        attempt: 0,
        occurred_at_ms: 0,
        ..error
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

// The fields of the error that `ErrorRecord` has no named field for, in encoded form.
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

// Cuts a message to at most `most` bytes, including the mark, and only between characters.
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::fixtures::{ID, call, named};
    use crate::generated::backlane::v1::RetryPolicy;
    use crate::worker::decode_fail;
    use crate::{ApiError, RawValue};
    use backlane_engine::command::Report;

    fn error() -> v1::ExecutionError {
        v1::ExecutionError {
            category: 2,
            message: "no".into(),
            ..Default::default()
        }
    }

    fn failure(error: v1::ExecutionError) -> v1::Failure {
        v1::Failure {
            execution_id: ID.to_string(),
            lease_token: "lt_1_2".into(),
            error: Some(error),
            ..Default::default()
        }
    }

    fn full() -> v1::ExecutionError {
        v1::ExecutionError {
            code: Some("E1".into()),
            attempt: 9,
            occurred_at_ms: 9,
            retry_policy: Some(RetryPolicy {
                backoff_strategy: 2,
                ..Default::default()
            }),
            step_id: Some("s".into()),
            provider: Some("p".into()),
            http_status: Some(429),
            details: Some(RawValue::NULL.to_vec().into()),
            ..error()
        }
    }

    /// A request with one item that sets every field.
    pub(crate) fn rich() -> v1::FailRequest {
        v1::FailRequest {
            failures: vec![failure(full())],
        }
    }

    // Checks an item that follows another item, so that its index is 1.
    fn reported(item: v1::Failure) -> Result<Failure, ApiError> {
        let failures = vec![failure(error()), item];
        let mut items = call(decode_fail, &v1::FailRequest { failures })?;
        match items.pop().unwrap()?.1 {
            Report::Failed(failure) => Ok(*failure),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_plain_error_may_be_retried() {
        let expected = Failure {
            category: Category::Tool,
            message: "no".into(),
            code: None,
            extra: [].into(),
            retryable: true,
            retry_after_ms: None,
            throttled: false,
        };
        assert_eq!(Ok(expected), reported(failure(error())));
    }

    #[test]
    fn fields_that_an_error_record_does_not_name_are_kept_as_extra() {
        let sent = full();
        let failure = reported(failure(sent.clone())).unwrap();
        assert!(!failure.retryable);
        assert_eq!(Some("E1"), failure.code.as_deref());
        let kept = v1::ExecutionError::decode(&*failure.extra).unwrap();
        let expected = v1::ExecutionError {
            category: 0,
            message: String::new(),
            code: None,
            attempt: 0,
            occurred_at_ms: 0,
            ..sent
        };
        assert_eq!(expected, kept);
    }

    type Change = fn(&mut v1::Failure);

    #[test]
    fn every_broken_rule_names_its_field() {
        let broken: [(&str, Change); 13] = [
            ("INVALID_ARGUMENT failures[1].execution_id", |it| {
                it.execution_id.clear();
            }),
            ("INVALID_ARGUMENT failures[1].error", |it| it.error = None),
            ("INVALID_ARGUMENT failures[1].retry_after_ms", |it| {
                it.throttled = true;
            }),
            ("INVALID_ARGUMENT failures[1].retry_after_ms", |it| {
                it.retry_after_ms = Some(86_400_001);
            }),
            ("INVALID_ARGUMENT failures[1].error.category", |it| {
                of(it).category = 0;
            }),
            ("INVALID_ARGUMENT failures[1].error.category", |it| {
                of(it).category = 9;
            }),
            (
                "INVALID_ARGUMENT failures[1].error.retry_policy.backoff_strategy",
                |it| {
                    of(it).retry_policy.get_or_insert_default().backoff_strategy = 4;
                },
            ),
            ("TOO_LARGE failures[1].error.code", |it| {
                of(it).code = Some("x".repeat(257));
            }),
            ("TOO_LARGE failures[1].error.step_id", |it| {
                of(it).step_id = Some("x".repeat(257));
            }),
            ("TOO_LARGE failures[1].error.provider", |it| {
                of(it).provider = Some("x".repeat(257));
            }),
            ("INVALID_ARGUMENT failures[1].error.details", |it| {
                of(it).details = Some(RawValue::default());
            }),
            ("INVALID_ARGUMENT failures[1].error.details", |it| {
                of(it).details = Some(vec![0x08, 0x01].into());
            }),
            ("TOO_LARGE failures[1].error.details", |it| {
                let text = [vec![0x1A, 0x81, 0x80, 0x04], vec![b'x'; 65_537]].concat();
                of(it).details = Some(text.into());
            }),
        ];
        for (expected, change) in broken {
            let mut item = failure(error());
            change(&mut item);
            assert_eq!(expected, named(reported(item)));
        }
    }

    fn of(failure: &mut v1::Failure) -> &mut v1::ExecutionError {
        failure.error.get_or_insert_default()
    }

    #[test]
    fn throttling_comes_with_its_delay() {
        let item = v1::Failure {
            throttled: true,
            retry_after_ms: Some(86_400_000),
            ..failure(error())
        };
        let failure = reported(item).unwrap();
        assert_eq!(
            (true, Some(86_400_000)),
            (failure.throttled, failure.retry_after_ms)
        );
    }

    #[test]
    fn a_long_message_is_cut_between_characters_with_a_mark() {
        let cut = |message: String| cut(message, 8 << 10);
        let whole = "ä".repeat(4 << 10);
        assert_eq!(whole, *cut(whole.clone()));
        let short = cut(format!("x{whole}"));
        assert!(short.ends_with("ä…[cut]"), "{short}");
        assert!((8_188..=8_192).contains(&short.len()));
    }
}
