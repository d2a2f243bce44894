//! Retention and trimming: old data is removed, and nothing else.

use backlane_runtime::{Method, Settings};
use backlane_sim::api::v1;

use crate::desk::{Desk, get, request};

#[test]
fn finished_executions_can_be_read_until_retention_removes_them() {
    let mut desk = Desk::with(Settings {
        retention_ms: 60_000,
        cache_bytes: 0,
        ..Settings::default()
    });
    let id = desk.finish(&request("a"));
    desk.advance(59_000);
    desk.settle();
    desk.forget();
    assert_eq!(id, desk.get(&id).execution_id);
    desk.advance(20_000);
    desk.settle();
    desk.forget();
    let ticket = desk.call(Method::Get, &get(&id));
    desk.settle();
    assert_eq!("EXECUTION_NOT_FOUND", desk.refusal(ticket));
}

#[test]
fn unfinished_executions_stay_however_old_they_are() {
    let mut desk = Desk::with(Settings {
        retention_ms: 60_000,
        cache_bytes: 0,
        ..Settings::default()
    });
    let id = desk.make(&request("a"));
    desk.advance(3_600_000);
    desk.settle();
    desk.forget();
    desk.restart();
    assert_eq!(Some("a".to_owned()), desk.get(&id).input);
}

#[test]
fn the_trimmed_log_leads_to_the_same_state() {
    let mut desk = Desk::with(Settings {
        round_after_facts: 50,
        ..Settings::default()
    });
    desk.make(&request("kept"));
    let held = desk.lease("holder", 1).remove(0);
    for one in 0..200 {
        desk.finish(&request(&one.to_string()));
        desk.forget();
    }
    let mut facts = 0;
    let counted = desk.store.replay(&mut |frame| {
        facts += frame.count;
        Ok(())
    });
    counted.expect("the log can be read");
    assert!(facts < 200, "{facts} of more than 600 facts are left");
    desk.restart();
    assert_eq!("completed", crate::desk::outcome(&desk.complete(&held)));
}

#[test]
fn an_execution_removed_during_a_read_does_not_displace_others() {
    let mut desk = Desk::with(Settings {
        retention_ms: 60_000,
        cache_bytes: 0,
        ..Settings::default()
    });
    let old = desk.finish(&request("old"));
    desk.advance(30_000);
    let new = desk.finish(&request("new"));
    desk.settle();
    let asked = v1::WaitRequest {
        tenant_id: "acme".into(),
        execution_ids: vec![old, new.clone()],
        ..Default::default()
    };
    let ticket = desk.call(Method::Wait, &asked);
    desk.read();
    desk.advance(40_000);
    desk.forget();
    desk.settle();
    let reply: v1::WaitResponse = desk.reply(ticket);
    let shown = reply
        .outcomes
        .into_iter()
        .map(|outcome| match outcome.outcome {
            Some(v1::wait_outcome::Outcome::Execution(record)) => Some(record.execution_id),
            _ => None,
        });
    assert_eq!(vec![None, Some(new)], shown.collect::<Vec<_>>());
}
