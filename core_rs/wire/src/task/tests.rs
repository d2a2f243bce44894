//! Task records as clients read them.
//!
//! Owns the promise that a task record agrees with the record of the same execution. Refuses to
//! know transitions: the engine tests those.

use backlane_engine::fact::Living;
use backlane_engine::row::EndingRow;
use backlane_engine::rules::status::{EndReason, Phase, Status, TaskState};
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::RawValue;
use crate::fixtures::{ID, call, ending, error_record, living, named, payload_head};
use crate::generated::backlane::v1;

fn head(metadata: &[(&str, &[u8])]) -> Vec<u8> {
    let mut given = Vec::new();
    let mut encoded = Vec::new();
    for (key, value) in metadata {
        put::message(&mut encoded, 15, |out| {
            put::text(out, 1, key);
            put::bytes(out, 2, value);
        });
    }
    put::bytes(&mut given, 15, &encoded);
    payload_head(&ID, given)
}

fn shown(
    standing: Standing<'_>,
    error: Option<&backlane_engine::fact::ErrorRecord>,
) -> v1::TaskRecord {
    let head = head(&[
        ("n", &[0x11, 0, 0, 0, 0, 0, 0, 0x04, 0x40]),
        ("s", b"\x1a\x01x"),
    ]);
    let parts = Parts {
        birth: ID.birth,
        head: &head,
        body: None,
        standing,
        last_error: error,
        progress: None,
    };
    v1::TaskRecord::decode(&task_record(&parts).unwrap()[..]).unwrap()
}

fn of_living(living: &Living) -> v1::TaskRecord {
    shown(Standing::Living(living), None)
}

fn ended(from: EndingRow, status: Status, reason: EndReason) -> EndingRow {
    let output = from.output.map(|_| RawValue::NULL.into());
    EndingRow {
        status,
        reason,
        output,
        ..from
    }
}

#[test]
fn the_request_names_its_broken_field() {
    let request = v1::GetTaskRecordRequest {
        tenant_id: "acme".into(),
        execution_id: "exec_?".into(),
    };
    assert_eq!(
        "INVALID_ARGUMENT execution_id",
        named(call(decode_get_task_record, &request))
    );
}

proptest! {
    #[test]
    fn the_task_of_an_unfinished_execution_follows_its_phase(living in living()) {
        let states = [
            (Phase::Pending, TaskState::Pending),
            (Phase::Ready, TaskState::Ready),
            (Phase::Retrying, TaskState::Retrying),
            (Phase::Running, TaskState::Running),
        ];
        for (phase, state) in states {
            let mut living = living.clone();
            living.progress.phase = phase;
            let (id, attempts) = (living.id.to_string(), living.progress.attempt);
            let task = of_living(&living);
            prop_assert_eq!((id, state as i32, attempts), (task.id, task.state, task.attempts));
            prop_assert_eq!((None, None), (task.finished_at, task.output));
        }
    }

    #[test]
    fn the_task_of_an_ended_execution_follows_its_status(from in ending()) {
        let ends = [
            (Status::Completed, EndReason::Completed, TaskState::Completed),
            (Status::Failed, EndReason::Failed, TaskState::DeadLettered),
            (Status::Timeout, EndReason::Deadline, TaskState::DeadLettered),
            (Status::Cancelled, EndReason::CancelRequested, TaskState::Cancelled),
            (Status::Cancelled, EndReason::DependencyFailed, TaskState::Skipped),
        ];
        for (status, reason, state) in ends {
            let ending = ended(from.clone(), status, reason);
            let task = shown(Standing::Ended(&ending), None);
            prop_assert_eq!(state as i32, task.state);
            prop_assert_eq!(Some(ending.ended_at_ms), task.finished_at);
            prop_assert_eq!(7, task.created_at);
            let output = ending.output.map(|bytes| RawValue::from(bytes.to_vec()));
            prop_assert_eq!(output, task.output);
        }
    }

    #[test]
    fn the_error_is_the_newest_one(living in living(), from in ending(), last in error_record()) {
        let from = EndingRow { output: None, ..from };
        let earlier = Some(last.message.to_string());
        // An end that is decided has an error before the execution has ended.
        let decided = living.verdict_error().map(|error| error.message.to_string());
        let task = shown(Standing::Living(&living), Some(&last));
        prop_assert_eq!(decided.or(earlier.clone()), task.error);
        let own = from.error.as_ref().map(|error| error.message.to_string());
        let task = shown(Standing::Ended(&from), Some(&last));
        prop_assert_eq!(own.or(earlier), task.error);
    }

    #[test]
    fn metadata_are_texts(living in living()) {
        let task = of_living(&living);
        let expected = [("n".to_owned(), "2.5".to_owned()), ("s".to_owned(), "x".to_owned())];
        prop_assert_eq!(std::collections::BTreeMap::from(expected), task.metadata);
    }
}
