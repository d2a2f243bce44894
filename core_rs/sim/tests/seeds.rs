//! Seeds: two hundred runs violate no invariant, a seed always gives the same run, and the checker
//! notices deliberate mistakes.
//!
//! Owns the proof that the simulator can fail. Refuses to hold invariants of its own.

use backlane_sim::{Run, Sabotage, run};

/// The invariants that runs with a deliberate mistake violate, over some seeds.
fn broken_by(sabotage: Sabotage) -> Vec<&'static str> {
    let runs = (0..12).map(|seed| Run {
        steps: 300,
        sabotage,
        ..Run::of(seed)
    });
    let failures = runs.filter_map(|one| run(one).err());
    failures
        .map(|failure| failure.violation.invariant)
        .collect()
}

/// Runs seeds without a mistake. Some of them have a full disk, on which executions must end. In
/// some, what is over is redriven and discarded.
fn held(seeds: std::ops::Range<u64>) {
    let (mut refused, mut completed) = (0, 0);
    let (mut redriven, mut discarded, mut awaited, mut deleted) = (0, 0, 0, 0);
    for seed in seeds {
        match run(Run::of(seed)) {
            Ok(course) => {
                refused += course.refused_as_full;
                completed += course.completed_when_full;
                redriven += course.redriven;
                discarded += course.discarded;
                deleted += course.deleted;
                awaited += course.awaited;
            }
            Err(failure) => panic!("{failure}"),
        }
    }
    assert!(refused > 0 && completed > 0, "{refused}, {completed}");
    assert!(redriven > 20 && discarded > 20, "{redriven}, {discarded}");
    assert!(deleted > 20, "{deleted}");
    assert!(awaited > 10, "{awaited}");
}

#[test]
fn the_first_hundred_seeds_hold() {
    held(0..100);
}

#[test]
fn the_second_hundred_seeds_hold() {
    held(100..200);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [3, 14] {
        let courses = [run(Run::of(seed)), run(Run::of(seed))];
        let [first, second] = courses.map(|course| course.expect("the seed holds"));
        assert_eq!(first, second);
    }
}

#[test]
fn another_seed_gives_another_run() {
    let traces = [1, 2].map(|seed| run(Run::of(seed)).expect("the seed holds").trace);
    assert_ne!(traces[0], traces[1]);
}

#[test]
fn a_reply_before_its_commit_is_reported() {
    let broken = broken_by(Sabotage::AcknowledgeEarly);
    assert!(
        broken.contains(&"a reply shows only durable data"),
        "{broken:?}"
    );
}

#[test]
fn a_store_that_loses_a_commit_is_reported() {
    let broken = broken_by(Sabotage::LoseTail);
    assert!(
        broken.contains(&"nothing acknowledged is ever lost"),
        "{broken:?}"
    );
}

#[test]
fn a_store_that_changes_a_payload_is_reported() {
    let broken = broken_by(Sabotage::ChangePayload);
    assert!(
        broken.contains(&"an acknowledged execution exists, byte for byte"),
        "{broken:?}"
    );
}

#[test]
fn a_store_that_drops_endings_is_reported() {
    let broken = broken_by(Sabotage::DropEnding);
    assert_eq!(12, broken.len(), "{broken:?}");
}

#[test]
fn a_failing_seed_says_how_to_run_it_again() {
    let sabotage = Sabotage::DropEnding;
    let failure = run(Run {
        sabotage,
        ..Run::of(7)
    })
    .expect_err("it fails");
    let said = failure.to_string();
    assert!(said.starts_with("seed 7, step "), "{said}");
    let again = "cargo run -p backlane-sim --release -- --seed 7 --steps 600";
    assert!(said.ends_with(again), "{said}");
}
