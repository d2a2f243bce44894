//! One damaged row of each family: its execution says so, and everything else is served.
//!
//! Owns what a client sees of such a row. Refuses to damage whole pages; that is `decay`.

use std::collections::BTreeSet;

use backlane_engine::rules::id::ExecutionId;
use backlane_runtime::Method;
use backlane_sim::api::v1;

use crate::calls::{get, record};
use crate::directory::Directory;
use crate::sample::{Made, TENANTS, sample};
use crate::server::{Outcome, Server};
use crate::truth::{Noticed, Truth};

/// The hour in which the first executions of the sample were made.
const FIRST_HOUR: u64 = crate::server::START_MS / 3_600_000;

const HEAD: &str = "head = CAST(substr(head, 2) || 'x' AS BLOB)";
const BODY: &str = "body = CAST(substr(body, 2) || 'x' AS BLOB)";

pub(crate) fn birth(id: &str) -> u64 {
    ExecutionId::parse("id", id).expect("an id").birth
}

/// A copy of the sample in which one row of an execution is damaged.
fn damaged(truth: &Truth, table: &str, change: &str, id: &str) -> Directory {
    let copy = truth.sample.image.placed();
    copy.tamper(&format!(
        "UPDATE {table} SET {change} WHERE number = {}",
        birth(id)
    ));
    copy
}

/// Damages one row of an execution and opens a server. Everything but the noticed damage must be
/// served as it was. Returns the server and how many answers noticed the damage.
fn opened(truth: &Truth, table: &str, change: &str, id: &str) -> (Directory, Server, Noticed) {
    let directory = damaged(truth, table, change, id);
    let server = Truth::open(directory.path()).expect("damage to a row does not hinder a start");
    let noticed = truth
        .compare(&server)
        .expect("reading never ends the server");
    assert_eq!(None, server.failure());
    (directory, server, noticed)
}

/// What a FULL `Get` of an execution says about the damage.
fn damage_of(server: &Server, made: &Made) -> String {
    let got = server.get(&made.request.tenant_id, &made.id);
    got.expect_err("the damage is told").damage().to_owned()
}

fn basic(server: &Server, made: &Made) -> Outcome<v1::GetResponse> {
    let request = v1::GetRequest {
        view: v1::View::Basic.into(),
        ..get(&made.request.tenant_id, &made.id)
    };
    server.ask(Method::Get, &request)
}

#[test]
fn a_finished_execution_with_a_damaged_row_is_named_and_all_others_are_served() {
    let truth = Truth::of(sample());
    // The reply to a repeated request shows all of the execution.
    let payload = Noticed {
        gets: 1,
        lists: 1,
        repeats: 1,
        attempts: 0,
    };
    // The last attempt is derived from the head of the ending.
    let ending = Noticed {
        attempts: 1,
        ..payload
    };
    let attempt = Noticed {
        attempts: 1,
        ..Noticed::NOTHING
    };
    for (callable, table, change, noticed) in [
        ("completed", "payload", HEAD, payload),
        ("completed", "payload", BODY, payload),
        ("completed", "ending", HEAD, ending),
        ("completed", "ending", BODY, payload),
        ("failed", "payload", HEAD, payload),
        ("failed", "ending", HEAD, ending),
        ("failed", "attempt", HEAD, attempt),
        ("cancelled", "payload", BODY, payload),
        ("cancelled", "ending", HEAD, ending),
    ] {
        let made = truth.of_callable(callable)[3];
        let (_directory, server, seen) = opened(&truth, table, change, &made.id);
        let subject = format!("{table} of {callable}, {change}");
        assert_eq!(noticed, seen, "{subject}");
        if noticed.gets > 0 {
            let told = damage_of(&server, made);
            let place = format!("{table} {}", birth(&made.id));
            assert!(told.contains(&place), "{subject}: {told}");
        }
    }
}

#[test]
fn a_retrying_execution_whose_attempt_is_damaged_is_named() {
    let truth = Truth::of(sample());
    let made = truth.of_callable("retrying")[0];
    let (_directory, server, noticed) = opened(&truth, "attempt", HEAD, &made.id);
    let expected = Noticed {
        gets: 1,
        attempts: 1,
        lists: 1,
        repeats: 1,
    };
    assert_eq!(expected, noticed);
    let told = damage_of(&server, made);
    assert!(
        told.contains(&format!("attempt {}/1", birth(&made.id))),
        "{told}"
    );
    // Why it waits is known without the error.
    let request = v1::ExplainRequest {
        tenant_id: made.request.tenant_id.clone(),
        execution_id: made.id.clone(),
    };
    let told: Outcome<v1::ExplainResponse> = server.ask(Method::Explain, &request);
    let told = told.expect("the attempt is not needed");
    assert!(!told.reasons.is_empty(), "{told:?}");
    let named = format!("an attempt of execution number {}", birth(&made.id));
    let log = server.notices();
    assert!(log.iter().any(|line| line.contains(&named)), "{log:?}");
}

#[test]
fn a_queued_execution_with_a_damaged_payload_ends_when_it_is_leased_and_the_others_are_leased() {
    let truth = Truth::of(sample());
    let queued = truth.of_callable("ready");
    let made = queued[3];
    for change in [HEAD, BODY] {
        let directory = damaged(&truth, "payload", change, &made.id);
        let server = Truth::open(directory.path()).expect("it opens");
        let mut others: Vec<_> = queued.iter().map(|made| &*made.id).collect();
        others.retain(|id| *id != made.id);
        assert_are_leased(&truth, &server, &others);
        let told = damage_of(&server, made);
        assert!(
            told.contains(&format!("payload {}", birth(&made.id))),
            "{told}"
        );
        let status = listed_status(&server, made);
        assert_eq!(v1::BackgroundExecutionStatus::Failed, status);
        assert!(server.notices().iter().any(|line| line.contains(&made.id)));
        assert_eq!(None, server.failure());
    }
}

/// Leases every execution that is ready: exactly these, with the inputs they were made with.
fn assert_are_leased(truth: &Truth, server: &Server, ids: &[&str]) {
    let leases = server.lease("ready", 100);
    let ready: BTreeSet<_> = leases
        .iter()
        .map(|lease| &*record(lease).execution_id)
        .collect();
    assert_eq!(ids.iter().copied().collect::<BTreeSet<_>>(), ready);
    for lease in &leases {
        let input = &truth.record(&record(lease).execution_id).input;
        assert_eq!(*input, record(lease).input);
    }
}

fn listed_status(server: &Server, made: &Made) -> v1::BackgroundExecutionStatus {
    let listed = server.list(&made.request.tenant_id).expect("a list");
    let record = listed.iter().find(|record| record.execution_id == made.id);
    record.expect("it is listed").status()
}

#[test]
fn an_execution_that_ended_because_of_a_damaged_input_has_a_record_that_says_so() {
    let truth = Truth::of(sample());
    let made = truth.of_callable("ready")[0];
    let directory = damaged(&truth, "payload", BODY, &made.id);
    let server = Truth::open(directory.path()).expect("it opens");
    server.lease("ready", 100);
    let got = basic(&server, made).expect("the head is whole");
    let record = got.execution.expect("its record");
    let error = record.error.as_ref().expect("an error");
    assert_eq!(
        (v1::BackgroundExecutionStatus::Failed, Some("DATA_DAMAGED")),
        (record.status(), error.code.as_deref())
    );
    assert!(
        error
            .message
            .contains(&format!("payload {}", birth(&made.id))),
        "{error:?}"
    );
}

#[test]
fn a_living_execution_whose_payload_is_missing_is_damaged_and_listed() {
    let truth = Truth::of(sample());
    let made = truth.of_callable("pending")[0];
    let directory = truth.sample.image.placed();
    directory.tamper(&format!(
        "DELETE FROM payload WHERE number = {}",
        birth(&made.id)
    ));
    let server = Truth::open(directory.path()).expect("it opens");
    let told = damage_of(&server, made);
    assert!(
        told.contains(&format!("payload {} is missing", birth(&made.id))),
        "{told}"
    );
    assert_eq!(
        v1::BackgroundExecutionStatus::Queued,
        listed_status(&server, made)
    );
}

#[test]
fn a_repeated_request_whose_row_is_damaged_is_refused_and_nothing_is_doubled() {
    let truth = Truth::of(sample());
    let directory = truth.sample.image.placed();
    let table = format!("request_{FIRST_HOUR}");
    directory.tamper(&format!(
        "UPDATE {table} SET {HEAD} WHERE id = (SELECT min(id) FROM {table})"
    ));
    let server = Truth::open(directory.path()).expect("it opens");
    let listed = |server: &Server| TENANTS.map(|tenant| server.list(tenant).expect("a list").len());
    let before = listed(&server);
    let noticed = truth.compare(&server).expect("the server lives");
    let expected = Noticed {
        repeats: 1,
        ..Noticed::NOTHING
    };
    assert_eq!(expected, noticed);
    assert_eq!(before, listed(&server));
    let repeat: Outcome<v1::EnqueueResponse> =
        server.ask(Method::Enqueue, &truth.sample.made[0].request);
    let told = repeat.expect_err("the first request is the damaged one");
    assert!(told.damage().contains("request-0"), "{told:?}");
    assert_eq!(None, server.failure());
}
