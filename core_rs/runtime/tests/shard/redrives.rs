//! Redrives: the steps that a new execution takes over.
//!
//! Owns what scenarios cannot express: rows in memory and in the store, places of steps, damage.

use backlane_runtime::{Method, Settings};
use backlane_sim::api::v1;
use backlane_store::{ACTION, Key};
use v1::StepState as S;

use crate::desk::{Desk, request};
use crate::over::{fail_lease, redrive};
use crate::runs::{
    completed, provide, report, run_of, started, step_id, suspend, suspension, tell, wait_for,
};

/// An execution that completed a step and a wait, began another step, and failed.
fn failed(desk: &mut Desk) -> String {
    let id = desk.make(&request("a"));
    let lease = desk.lease("w1", 1).remove(0);
    let actions = vec![started(1, "fetch"), completed(1, "42")];
    tell(desk, &report(&lease, actions));
    suspend(desk, &suspension(&lease, vec![wait_for(2, "ok")]));
    // Kept as another action's body.
    let early = provide(&id, "ok", "yes", "");
    let _: v1::ProvideInputResponse = desk.ask(Method::ProvideInput, &early);
    let lease = desk.lease("w1", 1).remove(0);
    tell(desk, &report(&lease, vec![started(3, "send")]));
    fail_lease(desk, &lease);
    id
}

fn made(desk: &mut Desk, asked: &v1::RedriveRequest) -> v1::BackgroundExecution {
    let reply: v1::RedriveResponse = desk.ask(Method::Redrive, asked);
    assert!(!reply.existing);
    reply.execution.expect("its record")
}

fn seen(steps: &[v1::Step]) -> Vec<(&str, S, Option<&str>)> {
    let steps = steps.iter();
    let seen = steps.map(|step| (&*step.name, step.state(), step.output.as_deref()));
    seen.collect()
}

const DONE: [(&str, S, Option<&str>); 2] = [
    ("fetch", S::Completed, Some("42")),
    ("approval", S::Completed, Some("yes")),
];

#[test]
fn the_first_lease_of_a_redrive_has_the_completed_steps_from_memory_and_from_the_store() {
    for restarts in [false, true] {
        let mut desk = Desk::new();
        let id = failed(&mut desk);
        let old = run_of(&mut desk, &id);
        if restarts {
            desk.restart();
        }
        let new = made(&mut desk, &redrive(&id)).execution_id;
        if restarts {
            desk.restart();
        }
        let run = run_of(&mut desk, &new);
        assert_eq!(v1::ExecutionState::Created, run.state());
        assert_eq!(vec![step_id(1), step_id(2)], run.step_order);
        for step in run.steps.values() {
            let before = v1::Step {
                attempt: 0,
                ..old.steps[&step.id].clone()
            };
            assert_eq!(&before, step);
        }
        let lease = desk.lease("w2", 1).remove(0);
        assert_eq!((1, "v7"), (lease.attempt, &*lease.schema_version));
        assert_eq!(DONE.to_vec(), seen(&lease.steps));
        let more = report(&lease, vec![started(4, "send"), completed(4, "sent")]);
        tell(&mut desk, &more);
        desk.complete(&lease);
        let run = run_of(&mut desk, &new);
        assert_eq!(v1::ExecutionState::Completed, run.state());
        assert_eq!(3, run.steps.len());
        // The old run stays as it is.
        assert_eq!(old, run_of(&mut desk, &id));
    }
}

#[test]
fn an_execution_that_ended_and_was_not_written_yet_hands_over_its_steps() {
    let mut desk = Desk::with(Settings {
        cache_bytes: 0,
        ..Settings::default()
    });
    let id = desk.make(&v1::EnqueueRequest {
        deadline: Some(backlane_sim::api::timestamp(desk.now.wall_ms + 1_000)),
        ..request("a")
    });
    let lease = desk.lease("w1", 1).remove(0);
    let actions = vec![started(1, "fetch"), completed(1, "42")];
    let steps = desk.call(Method::ReportSteps, &report(&lease, actions));
    desk.advance(1_000);
    let redriven = desk.call(Method::Redrive, &redrive(&id));
    assert!(desk.reads.is_empty(), "the store has no step yet");
    desk.settle();
    let _: v1::ReportStepsResponse = desk.reply(steps);
    let _: v1::RedriveResponse = desk.reply(redriven);
    let lease = desk.lease("w2", 1).remove(0);
    assert_eq!(DONE[..1].to_vec(), seen(&lease.steps));
}

#[test]
fn a_redrive_that_begins_anew_or_has_another_input_takes_over_nothing() {
    let mut desk = Desk::new();
    let id = failed(&mut desk);
    let anew = v1::RedriveRequest {
        restart: true,
        ..redrive(&id)
    };
    let other = v1::RedriveRequest {
        input: Some("b".into()),
        ..redrive(&id)
    };
    for asked in [anew, other] {
        made(&mut desk, &asked);
        let lease = desk.lease("w1", 1).remove(0);
        assert_eq!((0, ""), (lease.steps.len(), &*lease.schema_version));
        desk.complete(&lease);
    }
    let config = v1::RedriveRequest {
        config: Some(v1::BackgroundExecutionConfig::default()),
        ..redrive(&id)
    };
    made(&mut desk, &config);
    assert_eq!(DONE.to_vec(), seen(&desk.lease("w1", 1)[0].steps));
}

#[test]
fn a_request_id_with_another_restart_is_refused() {
    let mut desk = Desk::new();
    let id = failed(&mut desk);
    let asked = v1::RedriveRequest {
        request_id: "r1".into(),
        ..redrive(&id)
    };
    made(&mut desk, &asked);
    let other = v1::RedriveRequest {
        restart: true,
        ..asked
    };
    let ticket = desk.call(Method::Redrive, &other);
    desk.settle();
    assert_eq!("REQUEST_ID_REUSED", desk.refusal(ticket));
}

#[test]
fn a_damaged_step_is_named_and_nothing_is_enqueued_but_anew() {
    let mut desk = Desk::new();
    let id = failed(&mut desk);
    desk.restart();
    let parsed = backlane_engine::rules::id::ExecutionId::parse("id", &id);
    let birth = parsed.expect("an id").birth;
    desk.disk.spoil(&ACTION, &Key::Ordinal(birth, 2));
    let ticket = desk.call(Method::Redrive, &redrive(&id));
    desk.settle();
    assert_eq!("DATA_DAMAGED", desk.refusal(ticket));
    assert!(desk.lease("w", 1).is_empty());
    let anew = v1::RedriveRequest {
        restart: true,
        ..redrive(&id)
    };
    made(&mut desk, &anew);
    assert_eq!(1, desk.lease("w", 1).len());
}

#[test]
fn steps_that_are_taken_over_survive_the_trimming_of_the_log() {
    let mut desk = Desk::new();
    let id = failed(&mut desk);
    let new = made(&mut desk, &redrive(&id)).execution_id;
    desk.forget();
    desk.restart();
    let again = run_of(&mut desk, &new);
    assert_eq!(2, again.steps.len());
    assert_eq!(DONE.to_vec(), seen(&desk.lease("w", 1)[0].steps));
}
