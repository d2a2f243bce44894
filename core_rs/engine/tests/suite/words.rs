//! Words: translates the words of scenarios to engine values, and refusals to words.
//!
//! Owns that translation. Refuses to know the state of a scenario.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use backlane_engine::command::{DedupPolicy, Failure, Request};
use backlane_engine::error::Refusal;
use backlane_engine::fact::RequestKey;
use backlane_engine::rules::retry::{Retry, Strategy};
use backlane_engine::rules::status::{Cancellation, Status};

use crate::script::{Line, Word, duration, text};
use crate::view::category;
use crate::world::failed;

/// The reply to a line.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) words: Vec<String>,
    pub(crate) fields: BTreeMap<String, String>,
}

impl Answer {
    pub(crate) fn word(word: impl Into<String>) -> Self {
        Self {
            words: vec![word.into()],
            ..Self::default()
        }
    }

    /// Names in order, or `nothing`.
    pub(crate) fn names(words: Vec<String>) -> Self {
        if words.is_empty() {
            return Self::word("nothing");
        }
        Self {
            words,
            ..Self::default()
        }
    }

    pub(crate) fn with(mut self, key: &str, value: &impl ToString) -> Self {
        self.fields.insert(key.to_owned(), value.to_string());
        self
    }
}

pub(crate) fn set_retry(retry: &mut Retry, key: &str, value: &str) {
    match key {
        "retry.max_attempts" => retry.max_attempts = value.parse().expect("a number"),
        "retry.initial_delay" => retry.initial_delay_ms = duration(value),
        "retry.max_delay" => retry.max_delay_ms = duration(value),
        "retry.multiplier" => retry.backoff_multiplier = value.parse().expect("a number"),
        "retry.jitter" => retry.jitter = value == "true",
        "retry.on" => {
            let bits = value.split(',').map(|name| 1 << category(name) as u32);
            retry.retry_on = bits.fold(0, |all, bit| all | bit);
        }
        "retry.strategy" => {
            retry.strategy = match value {
                "fixed" => Strategy::Fixed,
                "linear" => Strategy::Linear,
                _ => Strategy::Exponential,
            }
        }
        "retry" => {}
        _ => panic!("enqueue knows no {key}"),
    }
}

pub(crate) fn dedup_policy(name: &str) -> DedupPolicy {
    match name {
        "return_existing" => DedupPolicy::ReturnExisting,
        "reject" => DedupPolicy::Reject,
        "replace_queued" => DedupPolicy::ReplaceQueued,
        _ => panic!("no dedup policy is called {name}"),
    }
}

pub(crate) fn cancellation(name: &str) -> Cancellation {
    match name {
        "cascade_cancel" => Cancellation::Cascade,
        "wait_for_children" => Cancellation::WaitForChildren,
        "detach" => Cancellation::Detach,
        _ => panic!("no cancellation policy is called {name}"),
    }
}

pub(crate) fn failure(line: &Line) -> Failure {
    Failure {
        category: category(line.get("category").unwrap_or("tool_error")),
        message: text(line.get("message").unwrap_or("boom")).into(),
        code: line.get("code").map(Into::into),
        retryable: line.get("retryable") != Some("false"),
        retry_after_ms: line.get("retry_after").map(duration),
        throttled: line.get("throttled") == Some("true"),
        ..failed()
    }
}

/// A request id. The body is made of the words that say what the execution is about.
pub(crate) fn request(scope: &str, id: &str, words: &[Word]) -> Request {
    // The words that say what an execution is about are the body of its request; the words that say
    // how it runs are not.
    let about = ["tenant", "callable", "input", "after", "dedup_key", "of"];
    let plain = |word: &&Word| word.key.as_deref().is_some_and(|key| about.contains(&key));
    let body: Vec<_> = words
        .iter()
        .filter(plain)
        .map(|word| (&word.key, &word.value))
        .collect();
    let key = RequestKey {
        key: digest(&format!("{scope} {id}")),
        body: digest(&format!("{body:?}")),
    };
    Request { id: id.into(), key }
}

pub(crate) fn digest(text: &str) -> [u8; 16] {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, text).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    ((half(1) << 64) | half(2)).to_le_bytes()
}

pub(crate) fn refused(refusal: &Refusal) -> Answer {
    let answer = |reason: &str| Answer {
        words: vec!["error".into(), reason.into()],
        ..Answer::default()
    };
    match refusal {
        Refusal::Invalid(_) => answer("INVALID_ARGUMENT"),
        Refusal::ExecutionNotFound { .. } | Refusal::DependencyNotFound { .. } => {
            answer("EXECUTION_NOT_FOUND")
        }
        Refusal::ExecutionDeleted { .. } => answer("EXECUTION_DELETED"),
        Refusal::RequestIdReused { .. } => answer("REQUEST_ID_REUSED"),
        Refusal::AlreadyExists { .. } | Refusal::InputExists { .. } => answer("ALREADY_EXISTS"),
        Refusal::EndDecided { .. } => {
            answer("TRANSITION_NOT_ALLOWED").with("status", &Status::Running.name())
        }
        Refusal::TransitionNotAllowed { status, .. } => {
            answer("TRANSITION_NOT_ALLOWED").with("status", &status.name())
        }
        Refusal::LeaseLost { .. } => answer("LEASE_LOST"),
        Refusal::QueueFull { .. } => answer("QUEUE_FULL"),
        Refusal::DiskFull => answer("DISK_FULL"),
        Refusal::Draining => answer("DRAINING"),
        Refusal::RoleDenied { .. } => Answer::word("PERMISSION_DENIED"),
        Refusal::SetAside { .. } => Answer::word("INTERNAL"),
        Refusal::DataDamaged { .. } => Answer::word("DATA_DAMAGED"),
        Refusal::RunTransitionNotAllowed { state, .. } => {
            answer("TRANSITION_NOT_ALLOWED").with("state", &state.name())
        }
        Refusal::RunTooLarge { .. } => answer("TOO_LARGE"),
        Refusal::PermissionDenied { .. } => answer("PERMISSION_DENIED"),
    }
}
