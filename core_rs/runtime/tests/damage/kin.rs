//! Executions that depend on, or descend from, others about which something is lost.
//!
//! Owns the promise that after a salvage every living execution can go on or has ended. Refuses to
//! know which facts a frame of the log holds.

use backlane_engine::rules::step::StepId;
use backlane_runtime::{Method, Salvage, check, salvage};
use backlane_sim::api::v1;
use v1::BackgroundExecutionStatus as Status;

use crate::calls::{enqueue, record};
use crate::directory::{Directory, Image};
use crate::server::{Outcome, Server};

const LEASE_MS: u64 = 600_000;

fn request(callable: &str, number: usize) -> v1::EnqueueRequest {
    v1::EnqueueRequest {
        // No attempt is repeated, so that a failure is the end.
        config: None,
        ..enqueue("acme", callable, number)
    }
}

fn after(callable: &str, number: usize, on: &[&str]) -> v1::EnqueueRequest {
    v1::EnqueueRequest {
        depends_on: on.iter().map(ToString::to_string).collect(),
        ..request(callable, number)
    }
}

fn with(policy: v1::CancellationPolicy, callable: &str, number: usize) -> v1::EnqueueRequest {
    v1::EnqueueRequest {
        cancellation_policy: policy.into(),
        ..request(callable, number)
    }
}

fn leased(server: &Server, callable: &str) -> v1::Lease {
    server.lease(callable, 1).remove(0)
}

fn spawn(server: &Server, parent: &v1::Lease, callable: &str, number: usize) -> String {
    let child = v1::SpawnChild {
        background: true,
        ..Default::default()
    };
    let request = v1::SpawnRequest {
        enqueue: Some(request(callable, number)),
        mode: Some(v1::SpawnMode {
            mode: Some(v1::spawn_mode::Mode::Child(child)),
        }),
        parent_execution_id: record(parent).execution_id.clone(),
        lease_token: parent.lease_token.clone(),
        ..Default::default()
    };
    let reply: Outcome<v1::SpawnResponse> = server.ask(Method::Spawn, &request);
    match reply.expect("it is answered").spawned {
        Some(v1::spawn_response::Spawned::Execution(record)) => record.execution_id,
        other => panic!("{other:?}"),
    }
}

fn await_child(server: &Server, parent: &v1::Lease, child: &str) {
    let wait = v1::WaitPoint {
        step_id: StepId([7; 20]).to_string(),
        name: "child".into(),
        reason: v1::WaitReason::SubAgent.into(),
        child_execution_id: Some(child.into()),
        ..Default::default()
    };
    let suspension = v1::Suspension {
        execution_id: record(parent).execution_id.clone(),
        lease_token: parent.lease_token.clone(),
        waits: vec![wait],
        ..Default::default()
    };
    let suspensions = vec![suspension];
    let reply: Outcome<v1::SuspendResponse> =
        server.ask(Method::Suspend, &v1::SuspendRequest { suspensions });
    let outcome = &reply.expect("it is answered").outcomes[0].outcome;
    assert!(
        matches!(outcome, Some(v1::lease_outcome::Outcome::Result(_))),
        "{outcome:?}"
    );
}

fn pause(server: &Server, id: &str) {
    let request = v1::PauseRequest {
        tenant_id: "acme".into(),
        execution_id: id.into(),
    };
    let paused: Outcome<v1::PauseResponse> = server.ask(Method::Pause, &request);
    paused.expect("it can be paused");
}

fn status(server: &Server, id: &str) -> Status {
    server.get("acme", id).expect("it is shown").status()
}

/// The frame of the log that begins with this fact, or the last one, is damaged.
fn lose_frame(directory: &Directory, first_sequence: &str) {
    directory.tamper(&format!(
        "UPDATE log SET crc = crc + 1 WHERE first_sequence = {first_sequence}"
    ));
}

const LAST: &str = "(SELECT max(first_sequence) FROM log)";

fn saved(directory: &Directory) -> (Server, Salvage) {
    let new = directory.beside("new");
    let report = salvage(directory.path(), &new).unwrap_or_else(|error| panic!("{error}"));
    (Server::open(&new), report)
}

#[test]
fn what_depends_on_an_execution_whose_record_is_lost_is_skipped() {
    let directory = Directory::new();
    let server = Server::open(directory.path());
    let gone = server.make(&request("mail", 1)).execution_id;
    let next = server.make(&after("mail", 2, &[&gone])).execution_id;
    let last = server.make(&after("mail", 3, &[&next])).execution_id;
    server.stop();
    lose_frame(&directory, "1");

    let (server, report) = saved(&directory);
    assert_eq!((vec![gone], 2), (report.failed, report.living));
    for id in [next, last] {
        let record = server.get("acme", &id).expect("it is shown");
        assert_eq!(v1::EndReason::DependencyFailed, record.reason());
    }
}

#[test]
fn what_depends_on_an_execution_whose_end_only_a_row_tells_follows_that_end() {
    for completes in [true, false] {
        let directory = Directory::new();
        let server = Server::open(directory.path());
        let first = server.make(&request("first", 1)).execution_id;
        let next = server.make(&after("next", 2, &[&first])).execution_id;
        let lease = leased(&server, "first");
        if completes {
            server.complete(&lease, "done");
        } else {
            server.fail(&lease, None);
        }
        server.stop();
        lose_frame(&directory, LAST);

        let (server, _) = saved(&directory);
        let leases = server.lease("next", 1);
        assert_eq!(usize::from(completes), leases.len());
        let expected = if completes {
            Status::Running
        } else {
            Status::Cancelled
        };
        assert_eq!(expected, status(&server, &next));
    }
}

#[test]
fn the_descendants_of_one_whose_end_only_a_row_tells_are_cancelled() {
    for (policy, is_cancelled) in [
        (v1::CancellationPolicy::CascadeCancel, true),
        (v1::CancellationPolicy::Detach, false),
    ] {
        let directory = Directory::new();
        let server = Server::open(directory.path());
        server.make(&with(policy, "parent", 1));
        let parent = leased(&server, "parent");
        let child = spawn(&server, &parent, "child", 2);
        leased(&server, "child");
        server.fail(&parent, None);
        server.stop();
        lose_frame(&directory, LAST);

        let (server, _) = saved(&directory);
        let record = server.get("acme", &child).expect("it is shown");
        assert_eq!(Status::Running, record.status());
        assert_eq!(is_cancelled, record.cancel_requested);
    }
}

#[test]
fn a_parent_is_woken_whose_awaited_child_was_lost() {
    let directory = Directory::new();
    let server = Server::open(directory.path());
    let id = server.make(&request("parent", 1)).execution_id;
    let parent = leased(&server, "parent");
    let child = spawn(&server, &parent, "child", 2);
    await_child(&server, &parent, &child);
    server.stop();
    // The enqueue and the lease came before the spawn.
    lose_frame(&directory, "3");

    let (server, report) = saved(&directory);
    assert_eq!((vec![child], 1), (report.failed, report.living));
    assert_eq!(Status::Queued, status(&server, &id));
    let lease = leased(&server, "parent");
    assert_eq!("ended", lease.steps[0].output());
    server.complete(&lease, "done");
}

#[test]
fn one_that_waits_for_its_children_ends_when_the_last_one_was_lost() {
    let directory = Directory::new();
    let server = Server::open(directory.path());
    let policy = v1::CancellationPolicy::WaitForChildren;
    let id = server.make(&with(policy, "parent", 1)).execution_id;
    let parent = leased(&server, "parent");
    spawn(&server, &parent, "child", 2);
    server.fail(&parent, None);
    assert_eq!(Status::Running, status(&server, &id));
    server.stop();
    lose_frame(&directory, "3");

    let (server, _) = saved(&directory);
    assert_eq!(Status::Failed, status(&server, &id));
}

#[test]
fn an_execution_that_is_queued_behind_its_last_attempt_is_held_by_nobody_and_stays_paused() {
    for is_paused in [false, true] {
        let directory = Directory::new();
        let server = Server::open(directory.path());
        let id = server.make(&enqueue("acme", "mail", 1)).execution_id;
        let lease = leased(&server, "mail");
        if is_paused {
            pause(&server, &id);
        }
        server.fail(&lease, Some(1_000));
        server.stop();
        lose_frame(&directory, LAST);

        let (server, report) = saved(&directory);
        assert_eq!(vec![id.clone()], report.uncertain);
        assert_eq!("LEASE_LOST", server.try_complete(&lease, "late"));
        let shown = server.get("acme", &id).expect("it is shown");
        assert_eq!((Status::Queued, is_paused), (shown.status(), shown.paused));
        let leases = server.lease("mail", 1);
        assert_eq!(usize::from(!is_paused), leases.len());
        for lease in &leases {
            server.complete(lease, "done");
        }
        assert_eq!(None, server.failure());
    }
}

/// A directory with graphs and families in which every kind of consequence has come about or is
/// still to come.
fn kin() -> Image {
    use v1::CancellationPolicy as Policy;
    let directory = Directory::new();
    let server = Server::open(directory.path());
    let make = |request: v1::EnqueueRequest| server.make(&request).execution_id;
    let first = make(request("first", 1));
    let second = make(after("second", 2, &[&first]));
    make(after("third", 3, &[&second]));
    make(with(Policy::CascadeCancel, "parent", 4));
    let parent = leased(&server, "parent");
    let running = spawn(&server, &parent, "child", 5);
    leased(&server, "child");
    let queued = spawn(&server, &parent, "child", 6);
    make(after("fourth", 7, &[&first, &running, &queued]));
    make(with(Policy::WaitForChildren, "waiting", 8));
    let waiting = leased(&server, "waiting");
    let late = spawn(&server, &waiting, "late", 9);
    make(after("fifth", 10, &[&record(&waiting).execution_id]));
    make(request("suspended", 11));
    let suspended = leased(&server, "suspended");
    let awaited = spawn(&server, &suspended, "awaited", 12);
    await_child(&server, &suspended, &awaited);
    let dedup = |number| v1::EnqueueRequest {
        dedup_key: "key".into(),
        dedup_policy: v1::DedupPolicy::ReplaceQueued.into(),
        ..request("replaced", number)
    };
    let replaced = make(dedup(13));
    make(after("sixth", 14, &[&replaced, &late]));
    make(dedup(15));
    server.complete(&leased(&server, "first"), "done");
    server.fail(&parent, None);
    server.fail(&waiting, None);
    server.fail(&leased(&server, "second"), None);
    server.complete(&leased(&server, "awaited"), "done");
    server.complete(&leased(&server, "replaced"), "done");
    server.stop();
    Image::of(directory.path())
}

/// Lets every lease expire and completes what can be leased, until nothing more can. Returns the
/// executions that are unfinished then.
fn work_off(server: &Server) -> Vec<String> {
    for _ in 0..8 {
        for lease in server.lease("*", 100) {
            server.complete(&lease, "done");
        }
        server.advance(LEASE_MS + 1_000);
    }
    let all = server.list("acme").expect("they can be listed");
    let unfinished = |one: &v1::BackgroundExecution| {
        matches!(one.status(), Status::Queued | Status::Running).then(|| one.execution_id.clone())
    };
    all.iter().filter_map(unfinished).collect()
}

fn goes_on(directory: &Directory, what: &str) {
    let new = directory.beside("new");
    let report = salvage(directory.path(), &new);
    let report = report.unwrap_or_else(|error| panic!("{what}: {error}"));
    let server = Server::open(&new);
    let unfinished = work_off(&server);
    assert_eq!(Vec::<String>::new(), unfinished, "{what}: {report:?}");
    assert_eq!(None, server.failure());
    server.stop();
    let found = check(&new).expect("it can be checked");
    assert_eq!(Vec::<String>::new(), found.damage, "{what}");
}

#[test]
fn whichever_frame_is_lost_every_execution_can_go_on_or_has_ended() {
    let image = kin();
    let placed = image.placed();
    let found = check(placed.path()).expect("it can be checked");
    assert_eq!(Vec::<String>::new(), found.damage);
    goes_on(&placed, "nothing");
    for frame in 0..found.frames {
        let first = format!(
            "(SELECT first_sequence FROM log ORDER BY first_sequence LIMIT 1 OFFSET {frame})"
        );
        let one = image.placed();
        one.tamper(&format!(
            "UPDATE log SET crc = crc + 1 WHERE first_sequence = {first}"
        ));
        goes_on(&one, &format!("frame {frame}"));
        let rest = image.placed();
        rest.tamper(&format!(
            "UPDATE log SET crc = crc + 1 WHERE first_sequence >= {first}"
        ));
        goes_on(&rest, &format!("all from frame {frame}"));
    }
}
