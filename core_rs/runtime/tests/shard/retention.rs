//! Retention and trimming: old data is removed, and nothing else.

use backlane_runtime::{Input, Method, Settings};
use backlane_sim::api::v1;

use crate::desk::{Desk, get, lease_ref, request};
use crate::runs::{completed, report, started};

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

/// What reading gives if retention removes the execution between the reads of one query: its ending
/// was there, and the first rows of each range are gone.
fn read_late(desk: &mut Desk) {
    let (id, query) = desk.reads.pop_front().expect("a read is asked for");
    let mut reader = desk.store.reader().expect("a reader");
    let mut found = backlane_runtime::reader::answer(&mut *reader, &query);
    assert_eq!(1, found.rows.len(), "the ending is read");
    for rows in &mut found.ranges {
        rows.as_mut().expect("they can be read").remove(0);
    }
    desk.send(Input::Read(id, found));
}

/// An execution that recorded a step, was released and completed, this long ago. Finished
/// executions are kept for a minute.
fn completed_ago(age_ms: u64) -> (Desk, String) {
    let mut desk = Desk::with(Settings {
        retention_ms: 60_000,
        cache_bytes: 0,
        ..Settings::default()
    });
    let id = desk.make(&request("a"));
    let lease = desk.lease("w1", 1).remove(0);
    let steps = report(&lease, vec![started(1, "x"), completed(1, "done")]);
    let _: v1::ReportStepsResponse = desk.ask(Method::ReportSteps, &steps);
    let releases = vec![lease_ref(&lease)];
    let _: v1::ReleaseResponse = desk.ask(Method::Release, &v1::ReleaseRequest { releases });
    let lease = desk.lease("w2", 1).remove(0);
    desk.complete(&lease);
    desk.advance(age_ms);
    desk.settle();
    (desk, id)
}

/// Why a call is refused whose reads come while rows of the execution go.
fn refused_late(desk: &mut Desk, method: Method, call: &impl prost::Message) -> String {
    let ticket = desk.call(method, call);
    // The first read tells that the execution has finished.
    desk.read();
    read_late(desk);
    desk.settle();
    desk.refusal(ticket)
}

#[test]
fn a_run_that_retention_removes_during_a_read_is_not_found_and_not_damaged() {
    for (age_ms, reason) in [(59_000, "DATA_DAMAGED"), (80_000, "EXECUTION_NOT_FOUND")] {
        let (mut desk, id) = completed_ago(age_ms);
        let call = v1::GetExecutionRunRequest {
            tenant_id: "acme".into(),
            execution_id: id,
        };
        let refused = refused_late(&mut desk, Method::GetExecutionRun, &call);
        assert_eq!(reason, refused);
    }
}

#[test]
fn attempts_that_retention_removes_during_a_read_are_not_listed_in_part() {
    let (mut desk, id) = completed_ago(80_000);
    let call = v1::ListAttemptsRequest {
        tenant_id: "acme".into(),
        execution_id: id,
        ..Default::default()
    };
    let refused = refused_late(&mut desk, Method::ListAttempts, &call);
    assert_eq!("EXECUTION_NOT_FOUND", refused);
}
