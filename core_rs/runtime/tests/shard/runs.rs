//! Runs: what workers record, and what later leases, readers and restarts see of it.
//!
//! Owns what scenarios cannot express: rows in memory and in the store, damage, streams, sizes.
//! Refuses to know which action may follow which.

use backlane_runtime::Method;
use backlane_sim::api::v1;
use v1::step_action::Action;

use crate::desk::{Desk, lease_ref, request};

pub(crate) fn step_id(number: u8) -> String {
    use backlane_engine::rules::step::StepId;
    StepId([number; 20]).to_string()
}

pub(crate) fn started(number: u8, name: &str) -> Action {
    Action::Started(v1::NewStep {
        step_id: step_id(number),
        name: name.into(),
        input: Some(format!("input of {name}")),
        ..Default::default()
    })
}

pub(crate) fn completed(number: u8, output: &str) -> Action {
    Action::Completed(v1::StepCompleted {
        step_id: step_id(number),
        output: Some(output.into()),
    })
}

pub(crate) fn report(lease: &v1::Lease, actions: Vec<Action>) -> v1::ReportStepsRequest {
    let v1::LeaseRef {
        execution_id,
        lease_token,
    } = lease_ref(lease);
    let action = |action| v1::StepAction {
        action: Some(action),
    };
    v1::ReportStepsRequest {
        reports: vec![v1::StepReport {
            execution_id,
            lease_token,
            actions: actions.into_iter().map(action).collect(),
            schema_version: "v7".into(),
            sequence: 0,
        }],
    }
}

pub(crate) fn suspension(lease: &v1::Lease, waits: Vec<v1::WaitPoint>) -> v1::SuspendRequest {
    let v1::LeaseRef {
        execution_id,
        lease_token,
    } = lease_ref(lease);
    v1::SuspendRequest {
        suspensions: vec![v1::Suspension {
            execution_id,
            lease_token,
            waits,
            schema_version: "v7".into(),
        }],
    }
}

pub(crate) fn wait_for(number: u8, key: &str) -> v1::WaitPoint {
    v1::WaitPoint {
        step_id: step_id(number),
        name: "approval".into(),
        reason: v1::WaitReason::Approval as i32,
        key: key.into(),
        ..Default::default()
    }
}

fn status_of(outcome: &v1::LeaseOutcome) -> i32 {
    match &outcome.outcome {
        Some(v1::lease_outcome::Outcome::Result(result)) => result.status,
        other => panic!("no result but {other:?}"),
    }
}

fn tell(desk: &mut Desk, request: &v1::ReportStepsRequest) {
    let reply: v1::ReportStepsResponse = desk.ask(Method::ReportSteps, request);
    assert_eq!(2, status_of(&reply.outcomes[0]));
}

pub(crate) fn suspend(desk: &mut Desk, request: &v1::SuspendRequest) -> i32 {
    let reply: v1::SuspendResponse = desk.ask(Method::Suspend, request);
    status_of(&reply.outcomes[0])
}

pub(crate) fn run_of(desk: &mut Desk, id: &str) -> v1::Execution {
    let asked = v1::GetExecutionRunRequest {
        tenant_id: "acme".into(),
        execution_id: id.into(),
    };
    let reply: v1::GetExecutionRunResponse = desk.ask(Method::GetExecutionRun, &asked);
    reply.execution.expect("its run")
}

fn provide(id: &str, key: &str, value: &str, request_id: &str) -> v1::ProvideInputRequest {
    v1::ProvideInputRequest {
        tenant_id: "acme".into(),
        execution_id: id.into(),
        key: key.into(),
        value: value.into(),
        request_id: request_id.into(),
    }
}

fn release(desk: &mut Desk, lease: &v1::Lease) {
    let releases = vec![lease_ref(lease)];
    let _: v1::ReleaseResponse = desk.ask(Method::Release, &v1::ReleaseRequest { releases });
}

#[test]
fn recorded_steps_come_with_later_leases_and_in_the_view_of_the_run() {
    let mut desk = Desk::new();
    let id = desk.make(&request("a"));
    let first = desk.lease("w1", 1).remove(0);
    assert_eq!((0, ""), (first.steps.len(), &*first.schema_version));
    let actions = vec![started(1, "fetch"), completed(1, "42"), started(2, "send")];
    tell(&mut desk, &report(&first, actions));
    release(&mut desk, &first);
    // From memory, and after a restart from the store.
    for worker in ["w2", "w3"] {
        let lease = desk.lease(worker, 1).remove(0);
        assert_eq!("v7", lease.schema_version);
        let seen = lease.steps.iter();
        let seen = seen.map(|step| (&*step.name, step.state(), step.output.as_deref()));
        let expected = [
            ("fetch", v1::StepState::Completed, Some("42")),
            ("send", v1::StepState::Failed, None),
        ];
        assert_eq!(expected.to_vec(), seen.collect::<Vec<_>>());
        let error = lease.steps[1].error.as_ref().expect("its error");
        assert_eq!("ATTEMPT_ENDED", error.code());
        release(&mut desk, &lease);
        desk.restart();
    }
    let run = run_of(&mut desk, &id);
    assert_eq!(v1::ExecutionState::Running, run.state());
    assert_eq!(vec![step_id(1), step_id(2)], run.step_order);
    assert_eq!(
        Some("input of fetch"),
        run.steps[&step_id(1)].input.as_deref()
    );
    assert_eq!(v1::StepType::Function, run.steps[&step_id(1)].step_type());
    let lease = desk.lease("w4", 1).remove(0);
    desk.complete(&lease);
    let run = run_of(&mut desk, &id);
    assert_eq!(v1::ExecutionState::Completed, run.state());
    assert_eq!(Some("null"), run.output.as_deref());
    assert_eq!(2, run.steps.len());
}

#[test]
fn an_input_ends_a_wait_and_is_its_output() {
    let mut desk = Desk::new();
    let id = desk.make(&request("a"));
    let lease = desk.lease("w1", 1).remove(0);
    assert_eq!(
        2,
        suspend(&mut desk, &suspension(&lease, vec![wait_for(1, "ok")]))
    );
    let run = run_of(&mut desk, &id);
    assert_eq!(v1::ExecutionState::Waiting, run.state());
    assert_eq!(v1::WaitReason::Approval, run.wait_reason());
    assert_eq!("ok", run.steps[&step_id(1)].input_key());
    assert!(desk.lease("w2", 1).is_empty());
    desk.restart();
    let asked = provide(&id, "ok", "yes", "r1");
    for existing in [false, true] {
        let reply: v1::ProvideInputResponse = desk.ask(Method::ProvideInput, &asked);
        assert_eq!(existing, reply.existing);
    }
    let lease = desk.lease("w2", 1).remove(0);
    assert_eq!(1, lease.attempt);
    assert_eq!(Some("yes"), lease.steps[0].output.as_deref());
    assert_eq!("v7", lease.schema_version);
}

#[test]
fn an_input_that_came_early_ends_its_wait_at_once() {
    let mut desk = Desk::new();
    let id = desk.make(&request("a"));
    let early = provide(&id, "ok", "early", "");
    let reply: v1::ProvideInputResponse = desk.ask(Method::ProvideInput, &early);
    assert!(!reply.existing);
    let ticket = desk.call(Method::ProvideInput, &early);
    desk.settle();
    assert_eq!("ALREADY_EXISTS", desk.refusal(ticket));
    let lease = desk.lease("w1", 1).remove(0);
    assert_eq!(
        1,
        suspend(&mut desk, &suspension(&lease, vec![wait_for(1, "ok")]))
    );
    let lease = desk.lease("w1", 1).remove(0);
    assert_eq!(Some("early"), lease.steps[0].output.as_deref());
}

#[test]
fn the_largest_run_fits_into_a_lease_with_the_largest_payload() {
    let mut desk = Desk::new();
    let large = v1::EnqueueRequest {
        input: Some("i".repeat(1 << 20)),
        context: [("k".to_owned(), "c".repeat((64 << 10) - 20))].into(),
        ..request("")
    };
    desk.make(&large);
    let id = desk.make(&large);
    let first = desk.lease("w1", 1).remove(0);
    // Each output is one of several that reach the limit together.
    let output = "o".repeat((1 << 20) / 4 - 100);
    for number in 1..=4 {
        let actions = vec![started(number, "s"), completed(number, &output)];
        tell(&mut desk, &report(&first, actions));
    }
    let more = report(&first, vec![started(5, "s"), completed(5, &output)]);
    let reply: v1::ReportStepsResponse = desk.ask(Method::ReportSteps, &more);
    let refused = reply.outcomes[0].outcome.clone();
    let Some(v1::lease_outcome::Outcome::Status(status)) = refused else {
        panic!("accepted");
    };
    assert_eq!("TOO_LARGE", backlane_sim::api::reason_of(&status));
    release(&mut desk, &first);
    desk.restart();
    // The helpers of the desk compare each reply with the limit of 4 000 000 bytes.
    for expected in [4, 0] {
        let lease = desk.lease("w2", 2).remove(0);
        assert_eq!(expected, lease.steps.len());
    }
    let run = run_of(&mut desk, &id);
    assert_eq!(v1::ExecutionState::Running, run.state());
}

#[test]
fn a_worker_is_told_of_a_pause_and_yields() {
    use v1::work_request::Message as Up;
    use v1::work_response::Message as Down;
    let mut desk = Desk::new();
    let id = desk.make(&request("a"));
    let stream = desk.open(Method::Work);
    let up = |message| v1::WorkRequest {
        message: Some(message),
    };
    let hello = v1::WorkHello {
        worker_id: "w1".into(),
        callables: vec!["*".into()],
        ..Default::default()
    };
    desk.frame(stream, &up(Up::Hello(hello)));
    let credit = v1::WorkCredit {
        executions: 1,
        ..Default::default()
    };
    desk.frame(stream, &up(Up::Credit(credit)));
    desk.settle();
    let down = |desk: &mut Desk| {
        let response: v1::WorkResponse = desk.message(stream);
        response.message.expect("a message")
    };
    assert!(matches!(down(&mut desk), Down::Welcome(_)));
    let Down::Leases(leases) = down(&mut desk) else {
        panic!("no leases");
    };
    let lease = &leases.leases[0];
    let actions = vec![started(1, "a"), completed(1, "1")];
    desk.frame(stream, &up(Up::Steps(report(lease, actions))));
    desk.settle();
    assert!(matches!(down(&mut desk), Down::Outcomes(_)));
    let pause = v1::PauseRequest {
        tenant_id: "acme".into(),
        execution_id: id.clone(),
    };
    let _: v1::PauseResponse = desk.ask(Method::Pause, &pause);
    let Down::Pauses(pauses) = down(&mut desk) else {
        panic!("no pause");
    };
    assert_eq!(vec![lease_ref(lease)], pauses.leases);
    desk.frame(stream, &up(Up::Suspend(suspension(lease, Vec::new()))));
    desk.settle();
    let Down::Outcomes(outcomes) = down(&mut desk) else {
        panic!("no outcomes");
    };
    assert_eq!(2, status_of(&outcomes.outcomes[0]));
    assert_eq!(v1::ExecutionState::Paused, run_of(&mut desk, &id).state());
}

#[test]
fn a_worker_that_comes_back_is_told_of_a_pause_again() {
    use v1::work_request::Message as Up;
    use v1::work_response::Message as Down;
    let mut desk = Desk::new();
    let id = desk.make(&request("a"));
    let lease = desk.lease("w1", 1).remove(0);
    let pause = v1::PauseRequest {
        tenant_id: "acme".into(),
        execution_id: id,
    };
    let _: v1::PauseResponse = desk.ask(Method::Pause, &pause);
    let stream = desk.open(Method::Work);
    let hello = v1::WorkHello {
        worker_id: "w1".into(),
        callables: vec!["*".into()],
        held: vec![lease_ref(&lease)],
        ..Default::default()
    };
    let message = Some(Up::Hello(hello));
    desk.frame(stream, &v1::WorkRequest { message });
    desk.settle();
    let welcome: v1::WorkResponse = desk.message(stream);
    assert!(matches!(welcome.message, Some(Down::Welcome(_))));
    let told: v1::WorkResponse = desk.message(stream);
    let leases = vec![lease_ref(&lease)];
    let expected = Down::Pauses(v1::WorkPauses { leases });
    assert_eq!(Some(expected), told.message);
}

#[test]
fn each_lease_of_a_suspended_attempt_is_listed() {
    let mut desk = Desk::new();
    let id = desk.make(&request("a"));
    let lease = desk.lease("w1", 1).remove(0);
    suspend(&mut desk, &suspension(&lease, vec![wait_for(1, "ok")]));
    desk.advance(5_000);
    let asked = provide(&id, "ok", "yes", "");
    let _: v1::ProvideInputResponse = desk.ask(Method::ProvideInput, &asked);
    let lease = desk.lease("w2", 1).remove(0);
    desk.advance(1_000);
    let listed = |desk: &mut Desk| {
        let asked = v1::ListAttemptsRequest {
            tenant_id: "acme".into(),
            execution_id: id.clone(),
            ..Default::default()
        };
        let reply: v1::ListAttemptsResponse = desk.ask(Method::ListAttempts, &asked);
        let seconds = |at: Option<prost_types::Timestamp>| at.map(|at| at.seconds % 100);
        let rows = reply.attempts.into_iter().map(move |it| {
            let (began, ended) = (seconds(it.started_at), seconds(it.ended_at));
            (it.ordinal, it.attempt, it.outcome(), began, ended)
        });
        rows.collect::<Vec<_>>()
    };
    let first = (1, 1, v1::AttemptOutcome::Suspended, Some(0), Some(0));
    let running = (2, 1, v1::AttemptOutcome::Running, Some(5), None);
    assert_eq!(vec![first, running], listed(&mut desk));
    desk.complete(&lease);
    let completed = (2, 1, v1::AttemptOutcome::Completed, Some(5), Some(6));
    assert_eq!(vec![first, completed], listed(&mut desk));
}

#[test]
fn a_paused_execution_is_held_until_it_is_resumed() {
    let mut desk = Desk::new();
    let id = desk.make(&request("a"));
    let pause = v1::PauseRequest {
        tenant_id: "acme".into(),
        execution_id: id.clone(),
    };
    let reply: v1::PauseResponse = desk.ask(Method::Pause, &pause);
    assert!(reply.execution.expect("its record").paused);
    assert!(desk.lease("w1", 1).is_empty());
    assert_eq!(v1::ExecutionState::Paused, run_of(&mut desk, &id).state());
    let stats = v1::GetQueueStatsRequest {
        tenant_id: "acme".into(),
    };
    let stats: v1::GetQueueStatsResponse = desk.ask(Method::GetQueueStats, &stats);
    assert_eq!((0, 1), (stats.ready, stats.held));
    let resume = v1::ResumeRequest {
        tenant_id: "acme".into(),
        execution_id: id,
    };
    let reply: v1::ResumeResponse = desk.ask(Method::Resume, &resume);
    assert!(!reply.execution.expect("its record").paused);
    assert_eq!(1, desk.lease("w1", 1).len());
}
