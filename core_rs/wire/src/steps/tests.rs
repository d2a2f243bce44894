//! The field rules of step reports and suspensions.
//!
//! Owns an example for every rule. Refuses to know which action a run allows.

use prost_types::Timestamp;

use super::*;
use crate::fixtures::{ID, NOW_MS, call, named, with_context};
use crate::row::action::details;
use backlane_engine::rules::access::Principal;
use prost::Message as _;

fn id(number: u8) -> String {
    StepId([number; 20]).to_string()
}

fn new(number: u8) -> v1::NewStep {
    v1::NewStep {
        step_id: id(number),
        name: "fetch".into(),
        ..v1::NewStep::default()
    }
}

fn action(action: v1::step_action::Action) -> v1::StepAction {
    v1::StepAction {
        action: Some(action),
    }
}

fn every_action() -> Vec<v1::StepAction> {
    use v1::step_action::Action as A;
    let error = v1::ExecutionError {
        category: 2,
        message: "no".into(),
        ..v1::ExecutionError::default()
    };
    vec![
        action(A::Planned(v1::StepsPlanned {
            steps: vec![new(1), new(2)],
        })),
        action(A::Started(new(3))),
        action(A::Completed(v1::StepCompleted {
            step_id: id(3),
            output: Some("4".into()),
        })),
        action(A::Failed(v1::StepFailed {
            step_id: id(3),
            error: Some(error),
        })),
        action(A::Skipped(v1::StepSkipped {
            step_id: id(1),
            reason: Some("why".into()),
        })),
    ]
}

fn report(actions: Vec<v1::StepAction>) -> v1::ReportStepsRequest {
    let report = v1::StepReport {
        execution_id: ID.to_string(),
        lease_token: "lt_0_1_2_3".into(),
        actions,
        schema_version: "v1".into(),
        sequence: 5,
    };
    v1::ReportStepsRequest {
        reports: vec![report],
    }
}

fn read(request: &v1::ReportStepsRequest) -> Result<(Held, Versioned<StepReport>), ApiError> {
    call(decode_steps, request)?.remove(0)
}

#[test]
fn a_plan_is_an_action_for_itself_and_one_for_each_step() {
    let (_, report) = read(&report(every_action())).unwrap();
    let report = report.recorded(true);
    let step = |number| StepId([number; 20]);
    let expected = [
        (Action::Plan, "reports[0].actions[0].planned"),
        (
            Action::StepAdded(step(1)),
            "reports[0].actions[0].planned.steps[0].step_id",
        ),
        (
            Action::StepAdded(step(2)),
            "reports[0].actions[0].planned.steps[1].step_id",
        ),
        (
            Action::StepStarted(step(3)),
            "reports[0].actions[1].started.step_id",
        ),
        (
            Action::StepCompleted(step(3)),
            "reports[0].actions[2].completed.step_id",
        ),
        (
            Action::StepFailed(step(3)),
            "reports[0].actions[3].failed.step_id",
        ),
        (
            Action::StepSkipped(step(1)),
            "reports[0].actions[4].skipped.step_id",
        ),
    ];
    let actions = report.actions.iter();
    let actions = actions.map(|action| (action.action, &*action.field));
    assert_eq!(expected.to_vec(), actions.collect::<Vec<_>>());
    assert_eq!(5, report.sequence);
    let bodies = report.actions.iter();
    let bodies = bodies.map(|action| action.contents.body.as_deref());
    let expected = [None, None, None, None, Some(&b"4"[..]), None, Some(b"why")];
    assert_eq!(expected.to_vec(), bodies.collect::<Vec<_>>());
}

#[test]
fn the_version_is_kept_with_the_first_action_of_a_run_only() {
    let versions = |is_first| {
        let (_, report) = read(&report(every_action())).unwrap();
        let report = report.recorded(is_first);
        let all = report.actions.into_iter();
        let all = all.map(|action| details(&action.contents.details).unwrap().schema_version);
        all.filter(|version| !version.is_empty())
            .collect::<Vec<_>>()
    };
    assert_eq!(vec!["v1"], versions(true));
    assert_eq!(Vec::<String>::new(), versions(false));
}

#[test]
fn a_step_is_a_function_unless_it_says_otherwise() {
    let kind = |step: v1::NewStep| {
        let (_, contents) = new_step(step).unwrap();
        details(&contents.details).unwrap().step.step_type()
    };
    assert_eq!(v1::StepType::Function, kind(new(1)));
    let tool = v1::NewStep {
        step_type: v1::StepType::Tool.into(),
        ..new(1)
    };
    assert_eq!(v1::StepType::Tool, kind(tool));
}

type Change = fn(&mut v1::NewStep);

#[test]
fn every_broken_rule_of_a_step_names_its_field() {
    let broken: [(&str, Change); 14] = [
        ("INVALID_ARGUMENT step_id", |it| it.step_id = "7".into()),
        ("INVALID_ARGUMENT parent_step_id", |it| {
            it.parent_step_id = Some(ID.to_string());
        }),
        ("INVALID_ARGUMENT step_type", |it| it.step_type = 7),
        ("INVALID_ARGUMENT name", |it| it.name.clear()),
        ("INVALID_ARGUMENT name", |it| it.name = "x".repeat(129)),
        ("TOO_LARGE input", |it| {
            it.input = Some("x".repeat((1 << 20) + 1));
        }),
        ("INVALID_ARGUMENT source.source_type", |it| {
            it.source.get_or_insert_default().source_type = 6;
        }),
        ("TOO_LARGE source.triggered_by", |it| {
            it.source.get_or_insert_default().triggered_by = Some("x".repeat(257));
        }),
        ("TOO_LARGE source.reason", |it| {
            it.source.get_or_insert_default().reason = Some("x".repeat(257));
        }),
        ("TOO_LARGE source.spawn_mode", |it| {
            it.source.get_or_insert_default().spawn_mode = Some("x".repeat(257));
        }),
        ("TOO_LARGE callable_id", |it| {
            it.callable_id = Some("x".repeat(257));
        }),
        ("TOO_LARGE callable_type", |it| {
            it.callable_type = Some("x".repeat(257));
        }),
        ("INVALID_ARGUMENT key", |it| it.key = "x".repeat(129)),
        ("TOO_LARGE arguments_hash", |it| {
            it.arguments_hash = vec![0; 33];
        }),
    ];
    for (expected, change) in broken {
        let mut step = new(1);
        change(&mut step);
        let started = action(v1::step_action::Action::Started(step));
        let (reason, field) = expected.split_once(' ').unwrap();
        let expected = format!("{reason} reports[0].actions[0].started.{field}");
        assert_eq!(expected, named(read(&report(vec![started]))));
    }
}

#[test]
fn every_broken_rule_of_a_report_names_its_field() {
    use v1::step_action::Action as A;
    let of = |given: A| vec![action(given)];
    let many = vec![new(1); 101];
    let ended = |step_id: String, output| v1::StepCompleted { step_id, output };
    let large = Some("x".repeat((1 << 20) + 1));
    let failed = |error| v1::StepFailed {
        step_id: id(1),
        error,
    };
    let long = Some("x".repeat(1_025));
    let skipped = v1::StepSkipped {
        step_id: id(1),
        reason: long,
    };
    let cases = [
        ("INVALID_ARGUMENT actions", vec![]),
        (
            "INVALID_ARGUMENT actions",
            vec![v1::StepAction::default(); 1_001],
        ),
        (
            "INVALID_ARGUMENT actions[0].action",
            vec![v1::StepAction::default()],
        ),
        (
            "INVALID_ARGUMENT actions[0].planned.steps",
            of(A::Planned(v1::StepsPlanned { steps: many })),
        ),
        (
            "INVALID_ARGUMENT actions[0].completed.step_id",
            of(A::Completed(ended(String::new(), None))),
        ),
        (
            "TOO_LARGE actions[0].completed.output",
            of(A::Completed(ended(id(1), large))),
        ),
        (
            "INVALID_ARGUMENT actions[0].failed.error",
            of(A::Failed(failed(None))),
        ),
        (
            "INVALID_ARGUMENT actions[0].failed.error.category",
            of(A::Failed(failed(Some(v1::ExecutionError::default())))),
        ),
        (
            "TOO_LARGE actions[0].skipped.reason",
            of(A::Skipped(skipped)),
        ),
    ];
    for (expected, actions) in cases {
        let (reason, field) = expected.split_once(' ').unwrap();
        let refused = named(read(&report(actions)));
        assert_eq!(format!("{reason} reports[0].{field}"), refused);
    }
    let mut long = report(every_action());
    long.reports[0].schema_version = "x".repeat(129);
    assert_eq!(
        "INVALID_ARGUMENT reports[0].schema_version",
        named(read(&long))
    );
    let none = v1::ReportStepsRequest::default();
    assert_eq!("INVALID_ARGUMENT reports", named(call(decode_steps, &none)));
}

#[test]
fn on_a_stream_the_path_begins_with_the_message() {
    use v1::work_request::Message;
    let broken = report(vec![v1::StepAction::default()]);
    let request = v1::WorkRequest {
        message: Some(Message::Steps(broken)),
    };
    let frame = with_context(&Principal::default(), |context| {
        crate::work::decode_work(&request.encode_to_vec(), context)
    });
    let crate::work::WorkFrame::Steps(mut reports) = frame.unwrap() else {
        panic!("not steps");
    };
    let expected = "INVALID_ARGUMENT steps.reports[0].actions[0].action";
    assert_eq!(expected, named(reports.remove(0)));
}

#[test]
fn far_too_many_actions_are_refused_before_they_take_memory() {
    let empty = [0x1A, 0x00].repeat(400_000);
    let mut request = Vec::new();
    crate::put::bytes(&mut request, 1, &empty);
    let refused = with_context(&Principal::default(), |context| {
        decode_steps(&request, context)
    });
    assert_eq!("INVALID_ARGUMENT request", named(refused));
    // Text is no list of actions, whatever it looks like.
    let input = Some("0".repeat(1 << 20));
    let large = v1::NewStep { input, ..new(1) };
    let started = action(v1::step_action::Action::Started(large));
    assert!(read(&report(vec![started])).is_ok());
}

fn point() -> v1::WaitPoint {
    v1::WaitPoint {
        step_id: id(1),
        name: "approval".into(),
        reason: v1::WaitReason::Approval.into(),
        key: "ok".into(),
        ..v1::WaitPoint::default()
    }
}

fn suspended(waits: Vec<v1::WaitPoint>) -> Result<Suspension, ApiError> {
    let suspension = v1::Suspension {
        execution_id: ID.to_string(),
        lease_token: "lt_0_1_2_3".into(),
        waits,
        schema_version: "v1".into(),
    };
    let request = v1::SuspendRequest {
        suspensions: vec![suspension],
    };
    let item = call(decode_suspend, &request)?.remove(0);
    item.map(|(_, suspension)| suspension.recorded(true))
}

#[test]
fn a_wait_ends_at_an_instant_after_a_duration_or_never() {
    let ends = [
        (None, None),
        (Some(5), None),
        (None, Some(Timestamp::default())),
    ];
    let waits = ends.map(|(wait_ms, wait_until)| v1::WaitPoint {
        wait_ms,
        wait_until,
        ..point()
    });
    let suspension = suspended(waits.to_vec()).unwrap();
    let told = suspension.waits.iter();
    let told = told.map(|wait| {
        let shown = details(&wait.contents.details).unwrap().step;
        (wait.end, shown.wait_until)
    });
    let expected = [
        (NewWaitEnd::Never, None),
        (NewWaitEnd::After(5), Some(NOW_MS + 5)),
        (NewWaitEnd::At(0), Some(0)),
    ];
    assert_eq!(expected.to_vec(), told.collect::<Vec<_>>());
    assert_eq!("suspensions[0]", &*suspension.field);
    let first = details(&suspension.waits[0].contents.details).unwrap();
    assert_eq!("v1", first.schema_version);
    assert_eq!(v1::StepType::Wait, first.step.step_type());
    assert_eq!("ok", first.step.input_key());
}

type PointChange = fn(&mut v1::WaitPoint);

#[test]
fn every_broken_rule_of_a_wait_names_its_field() {
    let broken: [(&str, PointChange); 10] = [
        ("INVALID_ARGUMENT step_id", |it| it.step_id.clear()),
        ("INVALID_ARGUMENT name", |it| it.name.clear()),
        ("INVALID_ARGUMENT reason", |it| it.reason = 9),
        ("INVALID_ARGUMENT key", |it| it.key = "x".repeat(129)),
        ("INVALID_ARGUMENT step_key", |it| {
            it.step_key = "x".repeat(129);
        }),
        ("TOO_LARGE arguments_hash", |it| {
            it.arguments_hash = vec![0; 33];
        }),
        ("INVALID_ARGUMENT child_execution_id", |it| {
            it.child_execution_id = Some("exec_1".into());
        }),
        ("INVALID_ARGUMENT wait_ms", |it| {
            it.wait_ms = Some(36_500 * 86_400_000 + 1);
        }),
        ("INVALID_ARGUMENT wait_ms", |it| {
            it.wait_ms = Some(1);
            it.wait_until = Some(Timestamp::default());
        }),
        ("INVALID_ARGUMENT wait_until", |it| {
            it.wait_until = Some(Timestamp {
                seconds: -1,
                nanos: 0,
            });
        }),
    ];
    for (expected, change) in broken {
        let mut point = point();
        change(&mut point);
        let (reason, field) = expected.split_once(' ').unwrap();
        let refused = named(suspended(vec![point]));
        assert_eq!(format!("{reason} suspensions[0].waits[0].{field}"), refused);
    }
    let refused = named(suspended(vec![point(); 101]));
    assert_eq!("INVALID_ARGUMENT suspensions[0].waits", refused);
    assert_eq!(Ok(0), suspended(Vec::new()).map(|it| it.waits.len()));
}
