//! Damage that the writer meets: the server ends once, and the next start is refused.
//!
//! Owns what the operator is told. Refuses to say which pages a write touches: some damaged page
//! must be one of them.

use backlane_runtime::Method;
use backlane_sim::api::v1;

use crate::calls::enqueue;
use crate::dice::Dice;
use crate::directory::{Directory, PAGE_BYTES, flip};
use crate::sample::sample;
use crate::server::{Outcome, Refusal};
use crate::truth::Truth;

/// Servers that a write must have ended before the test is over.
const ENDED: usize = 3;

#[test]
fn damage_under_the_writer_is_one_failure_and_then_a_refusal_that_names_place_and_remedy() {
    let truth = Truth::of(sample());
    let mut dice = Dice(7);
    let mut ended = 0;
    for _ in 0..truth.sample.image.pages() * 4 {
        let page = dice.below(truth.sample.image.pages());
        let bit = dice.below(PAGE_BYTES * 8);
        let damaged = truth
            .sample
            .image
            .damaged(|database| flip(database, page, bit));
        if let Some(why) = failure_of_a_write(&damaged) {
            assert!(why.contains("appending from sequence"), "{why}");
            assert_refused(&damaged, page + 1);
            ended += 1;
        }
        if ended == ENDED {
            return;
        }
    }
    panic!("only {ended} damaged pages were met by a write");
}

/// Enqueues an execution. Returns why the server failed, if the enqueue ended it.
fn failure_of_a_write(damaged: &Directory) -> Option<String> {
    let server = Truth::open(damaged.path()).ok()?;
    let made: Outcome<v1::EnqueueResponse> =
        server.ask(Method::Enqueue, &enqueue("acme", "new", 1_000));
    match made {
        Err(Refusal::Dead(why)) if why.contains("appending") => Some(why),
        _ => None,
    }
}

/// Every further start is refused, in the same words.
fn assert_refused(damaged: &Directory, page: usize) {
    let refusals = [1, 2].map(|_| {
        let server = Truth::open(damaged.path());
        server.err().expect("the next start is refused")
    });
    assert_eq!(refusals[0], refusals[1]);
    let place = format!("page {page} of backlane.db");
    for part in [
        "backlane.db",
        &place,
        &damaged.path().display().to_string(),
        "backlane check DIR",
        "backlane check --salvage NEW DIR",
    ] {
        assert!(refusals[0].contains(part), "no {part} in: {}", refusals[0]);
    }
}
