//! Tests of explanations.
//!
//! Owns what the messages hold and how the lines read.

use backlane_engine::fact::{Actor, PauseAsked};
use backlane_engine::reason::{Awaited, MOST_COUNTED, Start};
use backlane_engine::rules::retry::Category;
use backlane_engine::rules::status::{ActorKind, EndReason, Status};
use prost::Message as _;

use super::*;

const NOW_MS: u64 = 1_700_000_000_000;

fn id(birth: u64) -> ExecutionId {
    ExecutionId {
        seconds: 1,
        salt: 2,
        birth,
        random: 3,
    }
}

fn told(reason: Reason) -> Explanation {
    Explanation {
        tenant: "acme".into(),
        callable: "mail.send".into(),
        status: Status::Queued,
        version: 5,
        reasons: vec![reason],
        start: None,
    }
}

fn failure() -> ErrorRecord {
    ErrorRecord {
        category: Category::Network,
        message: "no route\nto host".into(),
        code: Some("DOWN".into()),
        attempt: 2,
        occurred_at_ms: NOW_MS - 1,
        extra: Box::default(),
    }
}

fn reply(reason: Reason, error: Option<&ErrorRecord>) -> v1::Reason {
    let bytes = explain_response(&told(reason), error, NOW_MS);
    let reply = v1::ExplainResponse::decode(&*bytes).expect("a reply");
    assert_eq!((Status::Queued as i32, 5), (reply.status, reply.version));
    reply.reasons.into_iter().next().expect("one reason")
}

fn line(reason: Reason) -> String {
    reply(reason, Some(&failure())).text
}

const fn exactly(count: u64) -> Bounded {
    Bounded { count, more: false }
}

#[test]
fn the_lines_name_what_an_execution_waits_for() {
    let [first, second] = [id(1), id(2)];
    let unmet = vec![(first, Status::Running), (second, Status::Queued)];
    assert_eq!(
        format!("it waits for 5 executions: {first} (running), {second} (queued) and 3 more"),
        line(Reason::AwaitsDependencies { unmet, count: 5 })
    );
    let until_at_ms = NOW_MS + 90_000;
    assert_eq!(
        "it is scheduled for 2023-11-14T22:14:50Z, in 1 minute",
        line(Reason::NotDue { until_at_ms })
    );
    let backing_off = Reason::BackingOff {
        until_at_ms,
        attempt: Some(2),
    };
    assert_eq!(
        "it is tried again in 1 minute, after attempt 2 failed: DOWN: no route…",
        line(backing_off.clone())
    );
    assert_eq!(
        "it is tried again in 1 minute",
        reply(backing_off, None).text
    );
    let waits = vec![Awaited {
        key: Some("approval".into()),
        until_at_ms: Some(NOW_MS + 7_200_000),
        child: None,
    }];
    assert_eq!(
        "it is suspended until somebody provides the input \"approval\", or \
         2023-11-15T00:13:20Z, in 2 hours",
        line(Reason::Suspended { waits })
    );
}

#[test]
fn the_lines_name_who_paused_and_who_runs_an_execution() {
    let pause = |id: &str| {
        let actor = Actor {
            kind: ActorKind::Client,
            id: id.into(),
        };
        let at_ms = NOW_MS - 3_000;
        Reason::Paused {
            pause: Some(PauseAsked { at_ms, actor }),
        }
    };
    assert_eq!("alice paused it 3 seconds ago", line(pause("alice")));
    assert_eq!("a client paused it 3 seconds ago", line(pause("")));
    assert_eq!("it is paused", line(Reason::Paused { pause: None }));
    let running = Reason::Running(Running {
        worker: "w1".into(),
        attempt: 2,
        since_at_ms: NOW_MS - 60_000,
        cancel: None,
        pause_requested: true,
        waits_at_worker: false,
    });
    assert_eq!(
        "worker w1 has run attempt 2 for 1 minute; it was asked to yield to a pause",
        line(running)
    );
}

#[test]
fn the_lines_name_what_stands_between_an_execution_and_a_worker() {
    let limit = LimitReached {
        limit: 1,
        running: 1,
        holders: vec![id(7)],
    };
    assert_eq!(
        format!(
            "tenant acme is at its limit: 1 of 1 executions is running: {}",
            id(7)
        ),
        line(Reason::TenantLimit(limit))
    );
    assert_eq!(
        "no live worker offers callable mail.send for tenant acme; one did 3 minutes ago",
        line(Reason::NoWorker {
            last_at_ms: Some(NOW_MS - 180_000)
        })
    );
    assert_eq!(
        "2 workers offer callable mail.send; they have no free slot, and hold 8 executions",
        line(Reason::SlotsTaken {
            workers: 2,
            held: 8
        })
    );
    assert_eq!(
        "312 executions are ahead of it",
        line(Reason::Ahead(exactly(312)))
    );
    assert_eq!(
        "1 execution is ahead of it",
        line(Reason::Ahead(exactly(1)))
    );
    let more = Bounded::from_count(MOST_COUNTED + 1);
    assert_eq!(
        "more than 1000 executions are ahead of it",
        line(Reason::Ahead(more))
    );
}

#[test]
fn every_kind_of_reason_is_in_its_own_field() {
    let ended = Ended {
        status: Status::Completed,
        reason: EndReason::Completed,
        outcome: None,
    };
    let limit = LimitReached {
        limit: 1,
        running: 1,
        holders: Vec::new(),
    };
    let kinds = [
        Reason::SetAside { why: "odd".into() },
        Reason::AwaitsDependencies {
            unmet: Vec::new(),
            count: 0,
        },
        Reason::AwaitsChildren {
            ended,
            descendants: vec![id(1)],
            count: exactly(1),
        },
        Reason::TenantLimit(limit.clone()),
        Reason::CallableLimit(limit),
        Reason::Withheld {
            worker: "w1".into(),
            until_at_ms: None,
        },
        Reason::Turn(exactly(2)),
    ];
    let numbers = kinds.map(|kind| {
        let number = number_of(&kind);
        let kind = reply(kind, None).kind.expect("a kind that is known");
        let mut bytes = Vec::new();
        v1::Reason {
            text: String::new(),
            kind: Some(kind),
        }
        .encode(&mut bytes)
        .expect("room");
        let (tag, _) = prost::encoding::decode_key(&mut &*bytes).expect("a key");
        assert_eq!(number, tag);
        number
    });
    assert_eq!([3, 4, 10, 11, 12, 14, 17], numbers);
}

#[test]
fn the_estimate_has_an_end_only_if_it_is_known() {
    let start = |latest_ms| {
        let told = Explanation {
            start: Some(Start {
                earliest_ms: 0,
                latest_ms,
            }),
            ..told(Reason::Ahead(exactly(1)))
        };
        let bytes = explain_response(&told, None, NOW_MS);
        let reply = v1::ExplainResponse::decode(&*bytes).expect("a reply");
        reply.estimated_start.expect("an estimate").latest_ms
    };
    assert_eq!(Some(0), start(Some(0)));
    assert_eq!(None, start(None));
}
