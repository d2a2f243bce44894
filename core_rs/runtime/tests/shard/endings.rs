//! Endings that wait for children: the attempts, the run and the counts meanwhile and afterwards.
//!
//! Owns also what is shown of an execution whose end an earlier program version decided. Refuses to
//! know when an end waits: the engine does.

use backlane_runtime::{Method, Settings};
use backlane_sim::api::{millis, v1};
use backlane_store::ATTEMPT;

use crate::attempts::{attempts, failure, told};
use crate::desk::{Desk, request};
use crate::runs::{report, run_of, started};
use crate::spawn::spawned;

const SECOND_MS: u64 = 1_000;

fn waits_for_children() -> v1::EnqueueRequest {
    v1::EnqueueRequest {
        cancellation_policy: v1::CancellationPolicy::WaitForChildren as i32,
        ..request("parent")
    }
}

fn cancel(desk: &mut Desk, id: &str) {
    let cancel = v1::CancelRequest {
        tenant_id: "acme".into(),
        execution_id: id.into(),
    };
    let _: v1::CancelResponse = desk.ask(Method::Cancel, &cancel);
}

/// A parent with a step that runs, whose attempt failed a second after it began; and its child.
/// `edit` changes what is written with the failure.
fn decided(desk: &mut Desk, edit: impl FnOnce(&mut Desk)) -> (String, String) {
    let id = desk.make(&waits_for_children());
    let lease = desk.lease("w1", 1).remove(0);
    let child = spawned(desk, &lease);
    let steps = report(&lease, vec![started(1, "x")]);
    let _: v1::ReportStepsResponse = desk.ask(Method::ReportSteps, &steps);
    desk.advance(SECOND_MS);
    desk.call(Method::Fail, &failure(&lease, "boom"));
    edit(desk);
    desk.settle();
    (id, child)
}

#[test]
fn an_attempt_that_decided_the_end_is_shown_at_once_and_once() {
    let mut desk = Desk::new();
    let began_ms = desk.now.wall_ms;
    let (id, child) = decided(&mut desk, |_| ());
    let expected = vec![(1, "w1".to_owned(), "FAILED", "boom".to_owned())];
    assert_eq!(expected, told(&mut desk, &id));
    let shown = attempts(&mut desk, &id);
    let times = [&shown[0].started_at, &shown[0].ended_at].map(|at| at.as_ref().map(millis));
    assert_eq!([Some(began_ms), Some(began_ms + SECOND_MS)], times);
    let record = desk.get(&id);
    assert_eq!(v1::BackgroundExecutionStatus::Running, record.status());
    assert_eq!("boom", record.last_error.expect("its error").message);

    desk.advance(SECOND_MS);
    desk.restart();
    cancel(&mut desk, &child);
    let record = desk.get(&id);
    assert_eq!(v1::BackgroundExecutionStatus::Failed, record.status());
    assert_eq!(shown, attempts(&mut desk, &id));
}

#[test]
fn the_run_waits_for_a_sub_agent_and_its_steps_ended_with_the_attempt() {
    let mut desk = Desk::new();
    let (id, child) = decided(&mut desk, |_| ());
    let decided_ms = desk.now.wall_ms;
    desk.advance(SECOND_MS);
    let waiting = run_of(&mut desk, &id);
    assert_eq!(v1::ExecutionState::Waiting, waiting.state());
    assert_eq!(v1::WaitReason::SubAgent, waiting.wait_reason());
    let step = &waiting.steps[&waiting.step_order[0]];
    let code = step.error.as_ref().and_then(|error| error.code.as_deref());
    assert_eq!(
        (v1::StepState::Failed, Some("ATTEMPT_ENDED")),
        (step.state(), code)
    );
    assert_eq!(Some(decided_ms), step.ended_at);
    cancel(&mut desk, &child);
    let ended = run_of(&mut desk, &id);
    assert_eq!(v1::ExecutionState::Failed, ended.state());
    assert_eq!(waiting.steps, ended.steps);
}

#[test]
fn an_end_that_an_earlier_version_decided_shows_its_attempt_once_it_has_ended() {
    let mut desk = Desk::with(Settings {
        cache_bytes: 0,
        ..Settings::default()
    });
    // Earlier program versions wrote no row of that attempt.
    let (id, child) = decided(&mut desk, |desk| {
        for commit in &mut desk.appends {
            commit.rows.retain(|row| row.family != &ATTEMPT);
        }
    });
    let decided_ms = desk.now.wall_ms;
    desk.advance(SECOND_MS);
    desk.restart();
    assert!(attempts(&mut desk, &id).is_empty());
    let waiting = run_of(&mut desk, &id);
    assert_eq!(v1::WaitReason::SubAgent, waiting.wait_reason());
    let step = &waiting.steps[&waiting.step_order[0]];
    assert_eq!(
        (v1::StepState::Failed, Some(decided_ms)),
        (step.state(), step.ended_at)
    );
    assert_eq!("boom", desk.get(&id).last_error.expect("an error").message);
    cancel(&mut desk, &child);
    let expected = vec![(1, "w1".to_owned(), "FAILED", "boom".to_owned())];
    assert_eq!(expected, told(&mut desk, &id));
}

#[test]
fn one_that_waits_for_its_children_is_counted() {
    let mut desk = Desk::new();
    let (_, child) = decided(&mut desk, |_| ());
    let request = v1::GetQueueStatsRequest {
        tenant_id: "acme".into(),
    };
    let counted = |desk: &mut Desk| {
        let stats: v1::GetQueueStatsResponse = desk.ask(Method::GetQueueStats, &request);
        let of_callables = stats.callables.iter().map(|one| one.ending).sum();
        (stats.ending, of_callables, stats.running)
    };
    assert_eq!((1, 1, 0), counted(&mut desk));
    cancel(&mut desk, &child);
    assert_eq!((0, 0, 0), counted(&mut desk));
}
