//! The field rules of a spawn.

use prost::Message as _;

use super::*;
use crate::RawValue;
use crate::fixtures::{ID, call, named};
use crate::row::action::details;
use backlane_engine::rules::status::Cancellation;
use backlane_engine::rules::step::StepId;

fn background() -> v1::SpawnChild {
    v1::SpawnChild {
        background: true,
        inherit_inbox: true,
        policies: [("budget".into(), RawValue::from(vec![0x20, 0x01]))].into(),
    }
}

fn asking(mode: Option<v1::spawn_mode::Mode>) -> v1::SpawnRequest {
    v1::SpawnRequest {
        enqueue: Some(v1::EnqueueRequest {
            tenant_id: "acme".into(),
            callable_name: "mail.send".into(),
            cancellation_policy: 3,
            ..Default::default()
        }),
        mode: Some(v1::SpawnMode { mode }),
        parent_execution_id: ID.to_string(),
        lease_token: "lt_0_1_2_3".into(),
        cancellation_policy: 0,
        step: None,
        schema_version: String::new(),
    }
}

fn spawning() -> v1::SpawnRequest {
    asking(Some(v1::spawn_mode::Mode::Child(background())))
}

fn child_of(message: &v1::SpawnRequest) -> Child {
    match call(decode_spawn, message).unwrap() {
        Spawn::Background(child) => *child,
        Spawn::Inline => panic!("it is a background execution"),
    }
}

#[test]
fn only_a_background_child_is_enqueued() {
    let inline = asking(Some(v1::spawn_mode::Mode::Inline(v1::SpawnInline {})));
    assert_eq!(Ok(Spawn::Inline), call(decode_spawn, &inline));
    let child = v1::SpawnChild {
        background: false,
        ..background()
    };
    let foreground = asking(Some(v1::spawn_mode::Mode::Child(child)));
    assert_eq!(Ok(Spawn::Inline), call(decode_spawn, &foreground));
    let child = child_of(&spawning());
    assert_eq!(ID, child.parent.id);
    assert_eq!(LeaseToken::parse("lt_0_1_2_3"), child.parent.token);
}

#[test]
fn the_policy_of_a_child_is_that_of_the_spawn_or_that_of_the_enqueue() {
    let cancellation = |message: &v1::SpawnRequest| child_of(message).new.policy.cancellation;
    assert_eq!(Cancellation::Detach, cancellation(&spawning()));
    let own = v1::SpawnRequest {
        cancellation_policy: 2,
        ..spawning()
    };
    assert_eq!(Cancellation::WaitForChildren, cancellation(&own));
}

#[test]
fn the_record_of_a_child_shows_its_parent_and_its_spawn() {
    let record = crate::record::tests::shown(&child_of(&spawning()).new);
    let parent = record.parent.unwrap();
    assert_eq!((ID.to_string(), 3), (parent.parent_id, parent.parent_type));
    assert_eq!(3, record.cancellation_policy);
    assert_eq!(Some(true), record.inherit_inbox);
    assert_eq!(background().policies, record.spawn_policies);
}

#[test]
fn every_broken_field_of_a_spawn_is_named() {
    type Change = fn(&mut v1::SpawnRequest);
    let rules: [(&str, Change); 9] = [
        ("parent_execution_id", |it| it.parent_execution_id.clear()),
        ("lease_token", |it| it.lease_token.clear()),
        ("mode", |it| it.mode = None),
        ("mode", |it| it.mode = Some(v1::SpawnMode::default())),
        ("cancellation_policy", |it| it.cancellation_policy = 9),
        ("enqueue", |it| it.enqueue = None),
        ("enqueue.parent", |it| {
            let parent = v1::ParentLink::default();
            it.enqueue.as_mut().unwrap().parent = Some(parent);
        }),
        ("enqueue.depends_on_items", |it| {
            it.enqueue.as_mut().unwrap().depends_on_items = vec![0];
        }),
        ("mode.child.policies", |it| {
            let child = v1::SpawnChild {
                policies: [("x".into(), RawValue::default())].into(),
                ..background()
            };
            let mode = Some(v1::spawn_mode::Mode::Child(child));
            it.mode = Some(v1::SpawnMode { mode });
        }),
    ];
    for (field, change) in rules {
        let mut message = spawning();
        change(&mut message);
        let refused = named(call(decode_spawn, &message));
        assert_eq!(format!("INVALID_ARGUMENT {field}"), refused);
    }
    assert!(call(decode_spawn, &spawning()).is_ok());
    assert!(!spawning().encode_to_vec().is_empty());
}

#[test]
fn the_step_of_a_spawn_keeps_the_rules_of_a_step() {
    let step = v1::NewStep {
        step_id: StepId([7; 20]).to_string(),
        name: "summarise".into(),
        key: "first".into(),
        ..Default::default()
    };
    let with = |step: v1::NewStep, version: &str| v1::SpawnRequest {
        step: Some(step),
        schema_version: version.into(),
        ..spawning()
    };
    let child = child_of(&with(step.clone(), "v1"));
    let recorded = child.step.unwrap().recorded(true);
    let shown = details(&recorded.contents.details).unwrap();
    assert_eq!(StepId([7; 20]), recorded.step);
    assert_eq!(
        ("summarise", "first", "v1"),
        (&*shown.step.name, &*shown.step.key, &*shown.schema_version)
    );
    let no_name = v1::NewStep {
        name: String::new(),
        ..step.clone()
    };
    let refused = named(call(decode_spawn, &with(no_name, "v1")));
    assert_eq!("INVALID_ARGUMENT step.name", refused);
    let refused = named(call(decode_spawn, &with(step, &"x".repeat(129))));
    assert_eq!("INVALID_ARGUMENT schema_version", refused);
}

#[test]
fn a_client_gives_any_parent_but_an_execution_or_a_step() {
    let with = |parent_type, id: &str| v1::EnqueueRequest {
        tenant_id: "acme".into(),
        callable_name: "mail.send".into(),
        parent: Some(v1::ParentLink {
            parent_id: id.into(),
            parent_type,
        }),
        ..Default::default()
    };
    let decode = crate::enqueue::decode_enqueue;
    for parent_type in [1, 4, 5, 6] {
        let new = call(decode, &with(parent_type, "msg_1")).unwrap();
        let parent = crate::record::tests::shown(&new).parent.unwrap();
        assert_eq!(
            ("msg_1", parent_type),
            (&*parent.parent_id, parent.parent_type)
        );
    }
    for parent_type in [0, 2, 3, 7] {
        let refused = named(call(decode, &with(parent_type, "msg_1")));
        assert_eq!("INVALID_ARGUMENT parent.parent_type", refused);
    }
    let refused = named(call(decode, &with(1, "")));
    assert_eq!("INVALID_ARGUMENT parent.parent_id", refused);
}
