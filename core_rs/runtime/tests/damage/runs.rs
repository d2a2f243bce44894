//! Runs in directories that are checked, damaged and saved.
//!
//! Owns what is reported of a run, and what becomes of it. Refuses to prove again that damage of
//! rows is found.

use backlane_engine::rules::step::StepId;
use backlane_runtime::{Method, check, salvage};
use backlane_sim::api::v1;
use v1::step_action::Action;

use crate::calls::{enqueue, record};
use crate::directory::Directory;
use crate::rows::birth;
use crate::server::Server;

const HEAD: &str = "head = CAST(substr(head, 2) || 'x' AS BLOB)";

fn step_id(number: u8) -> String {
    StepId([number; 20]).to_string()
}

fn step(number: u8) -> [Action; 2] {
    let started = v1::NewStep {
        step_id: step_id(number),
        name: format!("step {number}"),
        ..Default::default()
    };
    let completed = v1::StepCompleted {
        step_id: step_id(number),
        output: Some(number.to_string()),
    };
    [Action::Started(started), Action::Completed(completed)]
}

fn report(server: &Server, lease: &v1::Lease, actions: impl IntoIterator<Item = Action>) {
    let actions = actions.into_iter().map(|action| v1::StepAction {
        action: Some(action),
    });
    let report = v1::StepReport {
        execution_id: record(lease).execution_id.clone(),
        lease_token: lease.lease_token.clone(),
        actions: actions.collect(),
        ..Default::default()
    };
    let reports = vec![report];
    let reply: v1::ReportStepsResponse = server
        .ask(Method::ReportSteps, &v1::ReportStepsRequest { reports })
        .expect("it is answered");
    let outcome = reply.outcomes[0].outcome.as_ref();
    assert!(
        matches!(outcome, Some(v1::lease_outcome::Outcome::Result(_))),
        "{outcome:?}"
    );
}

fn release(server: &Server, lease: &v1::Lease) {
    let releases = vec![v1::LeaseRef {
        execution_id: record(lease).execution_id.clone(),
        lease_token: lease.lease_token.clone(),
    }];
    let reply: v1::ReleaseResponse = server
        .ask(Method::Release, &v1::ReleaseRequest { releases })
        .expect("it is answered");
    assert_eq!(1, reply.outcomes.len());
}

/// A directory with one execution that recorded two steps and was released. Returns its id.
fn with_run() -> (Directory, String) {
    let directory = Directory::new();
    let server = Server::open(directory.path());
    let id = server.make(&enqueue("acme", "mail", 1)).execution_id;
    let lease = server.lease("mail", 1).remove(0);
    report(&server, &lease, step(1).into_iter().chain(step(2)));
    release(&server, &lease);
    server.stop();
    (directory, id)
}

fn damage(directory: &Directory) -> Vec<String> {
    check(directory.path()).expect("it can be checked").damage
}

#[test]
fn a_whole_run_is_replayed_without_a_finding_and_saved_with_its_steps() {
    let (directory, _) = with_run();
    assert_eq!(Vec::<String>::new(), damage(&directory));
    let new = directory.beside("new");
    let saved = salvage(directory.path(), &new).expect("it is saved");
    assert_eq!((1, 0), (saved.living, saved.failed.len()));
    let server = Server::open(&new);
    server.advance(6_000);
    let lease = server.lease("mail", 1).remove(0);
    let outputs = lease.steps.iter().map(|step| step.output().to_owned());
    assert_eq!(vec!["1", "2"], outputs.collect::<Vec<_>>());
    report(&server, &lease, step(3));
    server.stop();
}

/// Redrives an execution that was released, after a cancel.
fn redrive(server: &Server, id: &str) -> Result<v1::RedriveResponse, crate::server::Refusal> {
    let cancel = v1::CancelRequest {
        tenant_id: "acme".into(),
        execution_id: id.into(),
    };
    let _: v1::CancelResponse = server.ask(Method::Cancel, &cancel).expect("it is queued");
    let asked = v1::RedriveRequest {
        tenant_id: "acme".into(),
        execution_id: id.into(),
        ..Default::default()
    };
    server.ask(Method::Redrive, &asked)
}

#[test]
fn the_run_of_a_redrive_is_replayed_without_a_finding_and_saved_with_its_steps() {
    let (directory, id) = with_run();
    let server = Server::open(directory.path());
    redrive(&server, &id).expect("it is over");
    server.stop();
    assert_eq!(Vec::<String>::new(), damage(&directory));
    let new = directory.beside("new");
    let saved = salvage(directory.path(), &new).expect("it is saved");
    assert_eq!((1, 0), (saved.living, saved.failed.len()));
    let server = Server::open(&new);
    let lease = server.lease("mail", 1).remove(0);
    let outputs = lease.steps.iter().map(|step| step.output().to_owned());
    assert_eq!(vec!["1", "2"], outputs.collect::<Vec<_>>());
    report(&server, &lease, step(3));
    server.stop();
    assert_eq!(
        Vec::<String>::new(),
        check(&new).expect("it can be checked").damage
    );
}

#[test]
fn a_redrive_names_the_damaged_action_and_enqueues_nothing() {
    let (directory, id) = with_run();
    directory.tamper(&format!("UPDATE action SET {HEAD} WHERE ordinal = 3"));
    let server = Server::open(directory.path());
    let told = redrive(&server, &id).expect_err("the damage is told");
    let place = format!("action {}/3", birth(&id));
    assert!(told.damage().contains(&place), "{}", told.damage());
    assert!(server.lease("mail", 1).is_empty());
    server.stop();
}

#[test]
fn an_action_that_is_missing_is_named_and_its_execution_ends_when_it_is_leased() {
    let (directory, id) = with_run();
    directory.tamper("DELETE FROM action WHERE ordinal = 2");
    let birth = birth(&id);
    assert_eq!(
        vec![format!("action {birth}/2 is missing")],
        damage(&directory)
    );
    let server = Server::open(directory.path());
    server.advance(6_000);
    assert!(server.lease("mail", 1).is_empty());
    let ended = server.get("acme", &id).expect("it is shown");
    let error = ended.error.expect("its error");
    assert_eq!("DATA_DAMAGED", error.code());
    assert!(error.message.contains("is missing"), "{}", error.message);
    server.stop();
}

#[test]
fn a_damaged_action_is_told_by_the_view_of_the_run_and_ends_its_execution() {
    let (directory, id) = with_run();
    directory.tamper(&format!("UPDATE action SET {HEAD} WHERE ordinal = 3"));
    let server = Server::open(directory.path());
    server.advance(6_000);
    let asked = v1::GetExecutionRunRequest {
        tenant_id: "acme".into(),
        execution_id: id.clone(),
    };
    let refused = server.ask::<v1::GetExecutionRunResponse>(Method::GetExecutionRun, &asked);
    let told = refused.expect_err("the damage is told");
    let place = format!("action {}/3", birth(&id));
    assert!(told.damage().contains(&place), "{}", told.damage());
    assert!(server.lease("mail", 1).is_empty());
    let ended = server.get("acme", &id).expect("it is shown");
    assert_eq!("DATA_DAMAGED", ended.error.expect("its error").code());
    assert_eq!(None, server.failure());
    server.stop();
}
