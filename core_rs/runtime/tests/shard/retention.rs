//! Retention and trimming: old data is removed, and nothing else.

use backlane_runtime::{Input, Method, Settings};
use backlane_sim::api::v1;

use crate::desk::{Desk, get, request};
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

#[test]
fn an_execution_that_retention_removes_during_a_read_is_not_found_and_not_damaged() {
    for method in [Method::GetExecutionRun, Method::ListAttempts] {
        for (age_ms, reason) in [(59_000, "DATA_DAMAGED"), (80_000, "EXECUTION_NOT_FOUND")] {
            let mut desk = Desk::with(Settings {
                retention_ms: 60_000,
                cache_bytes: 0,
                ..Settings::default()
            });
            let id = desk.make(&request("a"));
            let lease = desk.lease("w1", 1).remove(0);
            let steps = report(&lease, vec![started(1, "x"), completed(1, "done")]);
            let _: v1::ReportStepsResponse = desk.ask(Method::ReportSteps, &steps);
            let release = v1::ReleaseRequest {
                releases: vec![crate::desk::lease_ref(&lease)],
            };
            let _: v1::ReleaseResponse = desk.ask(Method::Release, &release);
            let lease = desk.lease("w2", 1).remove(0);
            desk.complete(&lease);
            desk.advance(age_ms);
            desk.settle();
            let ticket = match method {
                Method::ListAttempts => {
                    let request = v1::ListAttemptsRequest {
                        tenant_id: "acme".into(),
                        execution_id: id,
                        ..Default::default()
                    };
                    desk.call(method, &request)
                }
                _ => {
                    let request = v1::GetExecutionRunRequest {
                        tenant_id: "acme".into(),
                        execution_id: id,
                    };
                    desk.call(method, &request)
                }
            };
            // The first read tells that the execution has finished.
            desk.read();
            read_late(&mut desk);
            desk.settle();
            // Nothing tells that the oldest attempts are missing: only the newest ones are kept.
            if method == Method::GetExecutionRun || reason == "EXECUTION_NOT_FOUND" {
                assert_eq!(reason, desk.refusal(ticket), "{method:?}");
            }
        }
    }
}
