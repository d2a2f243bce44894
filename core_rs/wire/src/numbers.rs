//! The enum numbers that the engine and the API share.
//!
//! Owns the tests that the numbers are equal, which lets the other modules cast. Refuses to
//! translate any number.

use backlane_engine::command::DedupPolicy;
use backlane_engine::row::AttemptOutcome;
use backlane_engine::rules::retry::{Category, Strategy};
use backlane_engine::rules::run::RunState;
use backlane_engine::rules::status::{ActorKind, EndReason, Mode, Status, TaskState};
use backlane_engine::rules::step::{StepState, WaitReason};

use crate::View;
use crate::generated::backlane::v1;

// The names of an enum's numbers from 1 upwards, without their common prefix.
fn names(prefix: &str, name: impl Fn(i32) -> Option<&'static str>) -> Vec<String> {
    let plain = |name: &str| name.strip_prefix(prefix).unwrap_or(name).replace('_', "");
    (1..)
        .map_while(name)
        .map(|name| plain(name).to_lowercase())
        .collect()
}

fn ours<T: std::fmt::Debug>(all: &[T]) -> Vec<String> {
    all.iter()
        .map(|value| format!("{value:?}").to_lowercase())
        .collect()
}

macro_rules! assert_same {
    ($ours:ty, $theirs:ty, $prefix:literal) => {
        let numbers: Vec<u32> = <$ours>::ALL.iter().map(|value| *value as u32).collect();
        assert_eq!((1..).take(numbers.len()).collect::<Vec<u32>>(), numbers);
        let theirs = |number| {
            <$theirs>::try_from(number)
                .ok()
                .map(|value| value.as_str_name())
        };
        assert_eq!(
            names($prefix, theirs),
            ours(<$ours>::ALL),
            stringify!($ours)
        );
    };
}

#[test]
fn every_enum_of_the_engine_has_the_numbers_of_the_contract() {
    assert_same!(
        Status,
        v1::BackgroundExecutionStatus,
        "BACKGROUND_EXECUTION_STATUS_"
    );
    assert_same!(
        Mode,
        v1::BackgroundExecutionMode,
        "BACKGROUND_EXECUTION_MODE_"
    );
    assert_same!(EndReason, v1::EndReason, "END_REASON_");
    assert_same!(ActorKind, v1::ActorKind, "ACTOR_KIND_");
    assert_same!(Strategy, v1::RetryStrategy, "RETRY_STRATEGY_");
    assert_same!(AttemptOutcome, v1::AttemptOutcome, "ATTEMPT_OUTCOME_");
    assert_same!(TaskState, v1::TaskState, "TASK_STATE_");
    assert_same!(DedupPolicy, v1::DedupPolicy, "DEDUP_POLICY_");
    assert_same!(RunState, v1::ExecutionState, "EXECUTION_STATE_");
    assert_same!(StepState, v1::StepState, "STEP_STATE_");
}

#[test]
fn reasons_of_waits_have_the_numbers_of_the_contract() {
    let theirs = |number| {
        v1::WaitReason::try_from(number)
            .ok()
            .map(|reason| reason.as_str_name())
    };
    let known = ours(&WaitReason::ALL[1..]);
    assert_eq!(names("WAIT_REASON_", theirs), known);
    let numbers = WaitReason::ALL.iter().map(|reason| *reason as u32);
    assert_eq!((0..=8).collect::<Vec<u32>>(), numbers.collect::<Vec<u32>>());
}

#[test]
fn categories_have_the_numbers_of_the_contract_and_shorter_names() {
    let theirs = |number| {
        v1::ErrorCategory::try_from(number)
            .ok()
            .map(|it| it.as_str_name())
    };
    let theirs = names("ERROR_CATEGORY_", theirs);
    assert_eq!(theirs.len(), Category::ALL.len());
    for (theirs, ours) in theirs.iter().zip(ours(Category::ALL)) {
        assert!(theirs.starts_with(&ours), "{theirs} is not {ours}");
    }
    let numbers = Category::ALL.iter().map(|category| *category as u32);
    assert_eq!((1..=8).collect::<Vec<u32>>(), numbers.collect::<Vec<u32>>());
}

#[test]
fn views_have_the_numbers_of_the_contract() {
    assert_eq!(v1::View::Basic as i32, View::Basic as i32);
    assert_eq!(v1::View::Full as i32, View::Full as i32);
}
