//! The salvage of damaged directories.
//!
//! Owns what is reported, and that a new directory serves all that was whole. Refuses to prove
//! again that damage is found: the store's tests do.

use std::fs;
use std::path::{Path, PathBuf};

use backlane_runtime::{FreshError, Method, Salvage, SalvageError, check, salvage};
use backlane_sim::api::v1;

use crate::calls::{enqueue, get, record};
use crate::dice::Dice;
use crate::directory::{Directory, PAGE_BYTES, flip};
use crate::rows::birth;
use crate::sample::sample;
use crate::server::{Outcome, Refusal, Server};
use crate::truth::{Noticed, Truth};

type Record = v1::BackgroundExecution;

/// A damaged directory and the new one that was saved from it.
struct Saved {
    _damaged: Directory,
    new: PathBuf,
    report: Salvage,
}

fn saved(damaged: Directory) -> Saved {
    let new = damaged.beside("new");
    let report = salvage(damaged.path(), &new).unwrap_or_else(|error| panic!("{error}"));
    Saved {
        _damaged: damaged,
        new,
        report,
    }
}

fn opened(new: &Path) -> Server {
    Truth::open(new).unwrap_or_else(|why| panic!("{why}"))
}

/// What the new directory answers for an execution.
fn got(server: &Server, truth: &Truth, id: &str) -> Outcome<Record> {
    server.get(&truth.record(id).tenant_id, id)
}

fn code_of(record: &Record) -> &str {
    let error = record.error.as_ref();
    error
        .and_then(|error| error.code.as_deref())
        .unwrap_or_default()
}

/// Every execution but these is served as it was, and found again by its request.
fn assert_others_are_whole(truth: &Truth, server: &Server, but: &[&str]) {
    let others = truth.sample.made.iter();
    let others: Vec<_> = others.filter(|made| !but.contains(&&*made.id)).collect();
    let gets: Vec<_> = others
        .iter()
        .map(|made| get(&made.request.tenant_id, &made.id))
        .collect();
    let repeats: Vec<_> = others.iter().map(|made| made.request.clone()).collect();
    let gets = server.ask_all::<v1::GetResponse>(Method::Get, &gets);
    let repeats = server.ask_all::<v1::EnqueueResponse>(Method::Enqueue, &repeats);
    for ((made, got), repeat) in others.iter().zip(gets).zip(repeats) {
        let expected = Some(truth.record(&made.id).clone());
        assert_eq!(Ok(expected.clone()), got.map(|got| got.execution));
        assert_eq!(Ok(expected), repeat.map(|repeat| repeat.execution));
    }
}

#[test]
fn a_whole_directory_has_no_damage_and_is_salvaged_as_it_is() {
    let truth = Truth::of(sample());
    let copy = truth.sample.image.placed();
    let findings = check(copy.path()).expect("it can be checked");
    assert_eq!(Vec::<String>::new(), findings.damage);
    assert!(
        findings.frames > 0 && findings.facts > 160 && findings.rows > 560,
        "{findings:?}"
    );
    assert!(
        findings.facts < 1_000,
        "the log was not trimmed: {findings:?}"
    );

    let saved = saved(copy);
    let expected = Salvage {
        findings,
        living: 160,
        ..Salvage::default()
    };
    assert_eq!(expected, saved.report);
    let server = opened(&saved.new);
    assert_eq!(Ok(Noticed::NOTHING), truth.compare(&server));
}

#[test]
fn a_lease_outlives_a_salvage_and_its_token_is_not_given_again() {
    let directory = Directory::new();
    let server = Server::open(directory.path());
    server.make(&enqueue("acme", "mail", 1));
    server.make(&enqueue("acme", "mail", 2));
    server.stop();
    for _ in 0..5 {
        Server::open(directory.path()).stop();
    }
    let server = Server::open(directory.path());
    let old = server.lease("mail", 1).remove(0);
    server.stop();

    let saved = saved(directory);
    let server = Server::open(&saved.new);
    let epoch = |lease: &v1::Lease| {
        let epoch = lease.lease_token.split('_').nth(2).expect("an epoch");
        u64::from_str_radix(epoch, 16).expect("a number")
    };
    let new = server.lease("mail", 1).remove(0);
    assert!(
        epoch(&old) < epoch(&new),
        "{} {}",
        old.lease_token,
        new.lease_token
    );
    server.complete(&old, "of the old lease");
    server.complete(&new, "of the new lease");
}

/// Each damaged row has a line, by its table and its execution, and nothing else has one.
fn assert_names(lines: &[String], places: &[(&str, &str)]) {
    for (table, id) in places {
        let line = format!("{table} {} is damaged", birth(id));
        assert!(
            lines.iter().any(|found| found.starts_with(&line)),
            "{line}: {lines:?}"
        );
    }
    assert_eq!(places.len(), lines.len());
}

#[test]
fn what_is_whole_beside_damaged_rows_is_served_and_the_rest_says_that_it_is_damaged() {
    let truth = Truth::of(sample());
    let of = |callable, at: usize| &*truth.of_callable(callable)[at].id;
    let [input, output, ending, queued] = [
        of("completed", 1),
        of("completed", 2),
        of("completed", 3),
        of("ready", 1),
    ];
    let damaged = truth.sample.image.placed();
    let spoil = |table, column, id| {
        let (change, birth) = (format!("crc_{column} = crc_{column} + 1"), birth(id));
        damaged.tamper(&format!(
            "UPDATE {table} SET {change} WHERE number = {birth}"
        ));
    };
    spoil("payload", "body", input);
    spoil("ending", "body", output);
    spoil("ending", "head", ending);
    spoil("payload", "head", queued);

    let Saved {
        _damaged,
        new,
        report,
    } = saved(damaged);
    let places = [
        ("ending", output),
        ("ending", ending),
        ("payload", input),
        ("payload", queued),
    ];
    assert_names(&report.findings.damage, &places);
    let sorted = |mut ids: Vec<String>| {
        ids.sort_by_key(|id| birth(id));
        ids
    };
    let ended = sorted(vec![output.to_owned(), ending.to_owned()]);
    assert_eq!(
        (160, ended, Vec::new(), vec![queued.to_owned()]),
        (
            report.living,
            report.failed,
            report.uncertain,
            report.without_payload
        )
    );

    let server = opened(&new);
    assert_others_are_whole(&truth, &server, &[input, output, ending, queued]);
    let told = got(&server, &truth, input).expect_err("its payload is lost");
    assert!(told.damage().contains("is missing"), "{told:?}");
    assert_ended_damaged(&truth, &server, output);
    assert_ended_damaged(&truth, &server, ending);
    let leased = server.lease("ready", 100);
    assert!(
        leased
            .iter()
            .all(|lease| record(lease).execution_id != queued)
    );
    assert_eq!(truth.of_callable("ready").len() - 1, leased.len());
    assert!(server.notices().iter().any(|line| line.contains(queued)));
}

/// The execution has an ending that says that its own is lost, and its input as before.
fn assert_ended_damaged(truth: &Truth, server: &Server, id: &str) {
    let record = got(server, truth, id).expect("it has a new ending");
    assert_eq!(
        (v1::BackgroundExecutionStatus::Failed, "DATA_DAMAGED"),
        (record.status(), code_of(&record))
    );
    assert_eq!(truth.record(id).input, record.input);
}

#[test]
fn a_request_whose_row_is_damaged_is_taken_from_the_log() {
    let directory = Directory::new();
    let server = Server::open(directory.path());
    let request = enqueue("acme", "mail", 1);
    let made = server.make(&request);
    server.stop();
    let table = format!("request_{}", crate::server::START_MS / 3_600_000);
    directory.tamper(&format!("UPDATE {table} SET crc_head = crc_head + 1"));

    let saved = saved(directory);
    let server = Server::open(&saved.new);
    let again: Outcome<v1::EnqueueResponse> = server.ask(Method::Enqueue, &request);
    let again = again.expect("it is answered");
    assert_eq!((true, Some(made)), (again.existing, again.execution));
}

#[test]
fn executions_that_lost_facts_may_have_changed_are_named_and_go_on() {
    let truth = Truth::of(sample());
    let damaged = truth.sample.image.placed();
    // The leases of all running executions were one commit, the last.
    damaged.tamper(
        "UPDATE log SET crc = crc + 1
         WHERE first_sequence = (SELECT max(first_sequence) FROM log)",
    );
    let refusal = Truth::open(damaged.path())
        .err()
        .expect("a damaged frame is refused");
    assert!(refusal.contains("backlane check --salvage"), "{refusal}");

    let Saved {
        _damaged,
        new,
        report,
    } = saved(damaged);
    assert_eq!((160, 160), (report.living, report.uncertain.len()));
    assert_eq!((0, 0), (report.failed.len(), report.without_payload.len()));
    let server = opened(&new);
    let running: Vec<_> = truth
        .of_callable("running")
        .iter()
        .map(|made| &*made.id)
        .collect();
    assert_others_are_whole(&truth, &server, &running);
    assert_eq!(running.len(), server.lease("running", 100).len());
    assert_eq!(None, server.failure());
}

#[test]
fn an_execution_whose_birth_is_lost_ends_as_failed_and_is_found() {
    let directory = Directory::new();
    let server = Server::open(directory.path());
    let made: Vec<_> = (1..=3)
        .map(|n| server.make(&enqueue("acme", "mail", n)))
        .collect();
    let lease = server.lease("mail", 1).remove(0);
    server.stop();
    directory.tamper("UPDATE log SET crc = crc + 1 WHERE first_sequence = 2");

    let Saved {
        _damaged,
        new,
        report,
    } = saved(directory);
    assert_eq!(vec![made[1].execution_id.clone()], report.failed);
    // The lease of the first comes after the lost facts and says where it stands.
    assert_eq!(vec![made[0].execution_id.clone()], report.uncertain);
    let server = Server::open(&new);
    let record = server
        .get("acme", &made[1].execution_id)
        .expect("it is found");
    assert_eq!("DATA_DAMAGED", code_of(&record));
    let repeated = server.make(&enqueue("acme", "mail", 2));
    assert_eq!(made[1].execution_id, repeated.execution_id);
    server.complete(&lease, "done");
    let next = server.make(&enqueue("acme", "mail", 4));
    assert_eq!(4, birth(&next.execution_id));
    assert_eq!(3, birth(&made[2].execution_id));
}

#[test]
fn an_attempt_that_only_a_row_tells_of_is_not_made_a_second_time() {
    let directory = Directory::new();
    let server = Server::open(directory.path());
    let made = server.make(&enqueue("acme", "mail", 1));
    let lease = server.lease("mail", 1).remove(0);
    server.fail(&lease, Some(1_000));
    server.stop();
    directory.tamper("UPDATE log SET crc = crc + 1 WHERE first_sequence > 1");

    let Saved {
        _damaged,
        new,
        report,
    } = saved(directory);
    assert_eq!(vec![made.execution_id], report.uncertain);
    let server = Server::open(&new);
    let second = server.lease("mail", 1).remove(0);
    server.fail(&second, Some(1_000));
    server.advance(1_000);
    let third = server.lease("mail", 1).remove(0);
    server.complete(&third, "done");
    assert_eq!(None, server.failure());
}

fn without_last_error(record: &v1::BackgroundExecution) -> v1::BackgroundExecution {
    v1::BackgroundExecution {
        last_error: None,
        ..record.clone()
    }
}

#[test]
fn a_salvage_of_random_damage_serves_the_truth_or_says_what_is_damaged() {
    let truth = Truth::of(sample());
    let mut dice = Dice(11);
    let (mut same, mut damaged, mut failed, mut uncertain, mut lost) = (0, 0, 0, 0, 0);
    for round in 0..30 {
        let page = dice.below(truth.sample.image.pages());
        let bit = dice.below(PAGE_BYTES * 8);
        let copy = truth.sample.image.damaged(|database| match round % 3 {
            0 => database[page * PAGE_BYTES..(page + 1) * PAGE_BYTES].fill(0),
            _ => flip(database, page, bit),
        });
        let new = copy.beside("new");
        let report = match salvage(copy.path(), &new) {
            Ok(report) => report,
            Err(SalvageError::Nothing { what, .. }) => {
                assert!(what.contains("page 1"), "{what}");
                continue;
            }
            Err(other) => panic!("page {}: {other}", page + 1),
        };
        let server = opened(&new);
        for made in &truth.sample.made {
            match got(&server, &truth, &made.id) {
                Ok(record) if record == *truth.record(&made.id) => same += 1,
                Ok(record) if code_of(&record) == "DATA_DAMAGED" => {
                    assert!(report.failed.contains(&made.id), "{record:?}");
                    failed += 1;
                }
                // Only the row of its newest failed attempt is lost, with the page that held it.
                Ok(record) if record == without_last_error(truth.record(&made.id)) => lost += 1,
                Ok(record) => {
                    assert!(report.uncertain.contains(&made.id), "{record:?}");
                    uncertain += 1;
                }
                Err(refusal) if refusal.is_damage() => damaged += 1,
                // Both of its rows are lost, and the log no longer speaks of it.
                Err(Refusal::Refused(5, ..)) => lost += 1,
                Err(refusal) => panic!("{refusal:?}"),
            }
        }
        assert_eq!(None, server.failure());
    }
    println!(
        "30 salvages: {same} executions as they were, {damaged} damaged, {failed} failed, \
         {uncertain} uncertain, {lost} lost"
    );
    assert!(
        same > 29 * 250 && damaged > 0 && failed > 0,
        "{same} {damaged} {failed}"
    );
}

#[test]
fn a_place_that_is_not_empty_is_refused_and_left_as_it_is() {
    let directory = Directory::new();
    Server::open(directory.path()).stop();
    let new = directory.beside("new");
    fs::create_dir(&new).expect("a directory");
    fs::write(new.join("letter"), "dear").expect("a file");
    let refused = salvage(directory.path(), &new);
    assert!(
        matches!(
            refused,
            Err(SalvageError::Fresh(FreshError::NotEmpty { .. }))
        ),
        "{refused:?}"
    );
    assert_eq!(1, fs::read_dir(&new).expect("it is there").count());

    fs::remove_file(new.join("letter")).expect("the file is there");
    let unfinished = directory.beside("new.unfinished");
    fs::create_dir(&unfinished).expect("a directory");
    let refused = salvage(directory.path(), &new);
    assert!(
        matches!(
            refused,
            Err(SalvageError::Fresh(FreshError::Unfinished { .. }))
        ),
        "{refused:?}"
    );

    fs::remove_dir(unfinished).expect("the directory is there");
    let saved = salvage(directory.path(), &new);
    assert_eq!(
        Ok(0),
        saved
            .map(|saved| saved.living)
            .map_err(|error| error.to_string())
    );
}

#[test]
fn a_database_of_which_nothing_can_be_read_is_not_salvaged() {
    let truth = sample();
    let damaged = truth
        .image
        .damaged(|database| database[..PAGE_BYTES].fill(0));
    let new = damaged.beside("new");
    let refused = salvage(damaged.path(), &new);
    assert!(
        matches!(refused, Err(SalvageError::Nothing { .. })),
        "{refused:?}"
    );
    assert!(!new.exists() && !damaged.beside("new.unfinished").exists());
}
