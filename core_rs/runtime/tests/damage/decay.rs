//! Random damage to the database file: flipped bits and zeroed pages.
//!
//! Owns the bar for bit rot: no wrong data, no acknowledged execution that is not found, no
//! request that is doubled, no server that reading ends. Refuses to expect any particular error.

use std::fmt;

use crate::dice::Dice;
use crate::directory::{Directory, PAGE_BYTES, flip};
use crate::sample::sample;
use crate::truth::{Noticed, Truth};

/// How the servers behaved on damaged copies.
#[derive(Debug, Default)]
struct Tally {
    unnoticed: usize,
    refused: usize,
    stopped: usize,
    answered: usize,
    answers: Noticed,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            unnoticed,
            refused,
            stopped,
            answered,
            answers,
        } = self;
        write!(
            f,
            "{unnoticed} served everything as it was, {refused} refused to start, {stopped} were \
             stopped by their writer and refused to start again, {answered} served the rest and \
             said what is damaged ({} gets, {} lists of attempts, {} lists, {} repeated requests)",
            answers.gets, answers.attempts, answers.lists, answers.repeats
        )
    }
}

impl Tally {
    fn add(&mut self, truth: &Truth, damaged: &Directory) {
        let server = match Truth::open(damaged.path()) {
            Ok(server) => server,
            Err(why) => return self.refuse(&why),
        };
        match truth.compare(&server) {
            Ok(Noticed::NOTHING) => self.unnoticed += 1,
            Ok(noticed) => {
                self.answered += 1;
                self.answers.gets += noticed.gets;
                self.answers.attempts += noticed.attempts;
                self.answers.lists += noticed.lists;
                self.answers.repeats += noticed.repeats;
            }
            Err(why) => return self.stop(server, &why, damaged),
        }
        // The upkeep of the writer may have met the damage after the last answer.
        if let Some(why) = server.failure() {
            self.stop(server, &why, damaged);
        }
    }

    fn refuse(&mut self, why: &str) {
        assert!(
            why.contains("backlane"),
            "the refusal names no place: {why}"
        );
        self.refused += 1;
    }

    /// No read ends a server. Its writer does, and the next start says why.
    fn stop(&mut self, server: crate::server::Server, why: &str, damaged: &Directory) {
        let is_upkeep = ["trimming and expiring", "checkpointing"];
        assert!(is_upkeep.iter().any(|doing| why.contains(doing)), "{why}");
        server.stop();
        let again = Truth::open(damaged.path())
            .err()
            .expect("the next start is refused");
        assert!(again.contains("backlane check --salvage"), "{again}");
        self.stopped += 1;
    }
}

#[test]
fn a_server_on_a_flipped_bit_serves_the_truth_or_says_what_is_damaged() {
    let truth = Truth::of(sample());
    let mut dice = Dice(2026);
    let mut tally = Tally::default();
    for _ in 0..200 {
        let page = dice.below(truth.sample.image.pages());
        let bit = dice.below(PAGE_BYTES * 8);
        let damaged = truth
            .sample
            .image
            .damaged(|database| flip(database, page, bit));
        tally.add(&truth, &damaged);
    }
    println!("200 flipped bits: {tally}");
    assert!(tally.answered > 0 && tally.refused > 0, "{tally}");
}

#[test]
fn a_server_on_a_zeroed_page_serves_the_truth_or_says_what_is_damaged() {
    let truth = Truth::of(sample());
    let mut dice = Dice(4);
    let mut tally = Tally::default();
    for _ in 0..40 {
        let page = dice.below(truth.sample.image.pages()) * PAGE_BYTES;
        let zeroed = |database: &mut [u8]| database[page..page + PAGE_BYTES].fill(0);
        tally.add(&truth, &truth.sample.image.damaged(zeroed));
    }
    println!("40 zeroed pages: {tally}");
    assert!(tally.answered > 0 && tally.refused > 0, "{tally}");
}

#[test]
fn an_undamaged_copy_serves_everything() {
    let truth = Truth::of(sample());
    let copy = truth.sample.image.placed();
    let server = Truth::open(copy.path()).expect("it opens");
    assert_eq!(Ok(Noticed::NOTHING), truth.compare(&server));
    assert_eq!(None, server.failure());
}
