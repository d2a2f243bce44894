//! The check of directories in which every checksum is right, and the content is not.
//!
//! Owns the lines about facts and about missing rows. Refuses to prove again that wrong checksums
//! are found: the store's tests do.

use backlane_engine::fact::{Actor, Ended, ExecutionChange, Fact, FactKind};
use backlane_engine::rules::status::{EndReason, Status};
use backlane_runtime::{Method, Salvage, check, salvage};
use backlane_sim::api::v1;
use backlane_store::{Commit, SqliteOptions, SqliteStore, Store};
use backlane_wire::encode_fact;

use crate::calls::enqueue;
use crate::directory::Directory;
use crate::rows::birth;
use crate::sample::sample;
use crate::server::Server;
use crate::truth::Truth;

/// A directory with one execution, and after it a frame with these bytes.
fn with_frame(bytes: &[u8]) -> Directory {
    let directory = Directory::new();
    let server = Server::open(directory.path());
    server.make(&enqueue("acme", "mail", 1));
    server.stop();
    let store = SqliteStore::open(directory.path(), SqliteOptions::default());
    let mut store = store.expect("it opens");
    let taken = store.take(0, "node").expect("it is taken");
    let commit = Commit {
        first_sequence: taken.next_sequence,
        count: 1,
        frame: bytes.to_vec(),
        rows: Vec::new(),
    };
    store.append(taken.epoch, &commit).expect("it is appended");
    directory
}

fn damage(directory: &Directory) -> Vec<String> {
    let findings = check(directory.path()).expect("it can be checked");
    findings.damage
}

#[test]
fn a_fact_that_cannot_be_decoded_is_reported_by_its_number() {
    // At 5 ms, kind 99 with an empty message.
    let directory = with_frame(&[5, 0x08, 5, 0x9A, 0x06, 0]);
    let expected = "fact 2 cannot be decoded: a fact of kind 99, which this version does not know";
    assert_eq!(vec![expected], damage(&directory));
}

#[test]
fn a_fact_that_cannot_follow_is_reported_by_its_number() {
    let ended = Ended {
        status: Status::Completed,
        reason: EndReason::Completed,
        outcome: None,
    };
    let fact = Fact {
        at_ms: 1,
        actor: Actor::engine(),
        cause: None,
        kind: FactKind::execution(9, ExecutionChange::Ended(ended)),
    };
    let mut frame = Vec::new();
    encode_fact(&fact, &mut frame);
    let expected = "fact 2 cannot follow: a fact changes execution number 9, which does not exist";
    assert_eq!(vec![expected], damage(&with_frame(&frame)));
}

#[test]
fn a_row_that_is_missing_from_a_directory_without_other_damage_is_reported() {
    let truth = Truth::of(sample());
    for (callable, table) in [
        ("ready", "payload"),
        ("failed", "payload"),
        ("failed", "ending"),
    ] {
        let copy = truth.sample.image.placed();
        let number = birth(&truth.of_callable(callable)[0].id);
        copy.tamper(&format!("DELETE FROM {table} WHERE number = {number}"));
        assert_eq!(vec![format!("{table} {number} is missing")], damage(&copy));
    }
}

#[test]
fn a_deleted_execution_is_neither_missed_nor_brought_back() {
    let directory = Directory::new();
    let server = Server::open(directory.path());
    let request = enqueue("acme", "mail", 1);
    let (id, stays) = (
        server.make(&request).execution_id,
        enqueue("acme", "mail", 2),
    );
    server.make(&stays);
    let cancel = v1::CancelRequest {
        tenant_id: "acme".into(),
        execution_id: id.clone(),
    };
    let cancelled = server.ask::<v1::CancelResponse>(Method::Cancel, &cancel);
    assert!(cancelled.is_ok(), "{cancelled:?}");
    let delete = v1::DeleteRequest {
        tenant_id: "acme".into(),
        execution_id: id.clone(),
    };
    let deleted = server.ask::<v1::DeleteResponse>(Method::Delete, &delete);
    assert!(deleted.is_ok(), "{deleted:?}");
    server.stop();
    let findings = check(directory.path()).expect("it can be checked");
    assert_eq!(Vec::<String>::new(), findings.damage);
    let new = directory.beside("new");
    let saved = salvage(directory.path(), &new).expect("it can be saved");
    let expected = Salvage {
        findings,
        living: 1,
        ..Salvage::default()
    };
    assert_eq!(expected, saved);
    let server = Server::open(&new);
    assert!(server.get("acme", &id).is_err());
    assert_eq!(1, server.list("acme").expect("a list").len());
}
