//! The command that runs the simulator with a range of seeds.
//!
//! Owns the arguments of the command. Refuses to do anything that the library does not do.

use std::ops::Range;
use std::process::ExitCode;

use backlane_sim::{Run, STEPS, run};

const USAGE: &str = "backlane-sim [--seed N | --seeds A..B] [--steps N] [--verbose]";

struct Arguments {
    seeds: Range<u64>,
    steps: u64,
    aloud: bool,
}

fn parse(mut words: impl Iterator<Item = String>) -> Option<Arguments> {
    let mut arguments = Arguments {
        seeds: 0..200,
        steps: STEPS,
        aloud: false,
    };
    while let Some(word) = words.next() {
        match &*word {
            "--seed" => {
                let seed: u64 = words.next()?.parse().ok()?;
                arguments.seeds = seed..seed + 1;
            }
            "--seeds" => {
                let range = words.next()?;
                let (first, end) = range.split_once("..")?;
                arguments.seeds = first.parse().ok()?..end.parse().ok()?;
            }
            "--steps" => arguments.steps = words.next()?.parse().ok()?,
            "--verbose" => arguments.aloud = true,
            _ => return None,
        }
    }
    Some(arguments)
}

fn main() -> ExitCode {
    let Some(Arguments {
        seeds,
        steps,
        aloud,
    }) = parse(std::env::args().skip(1))
    else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let (mut executions, mut lives, many) = (0, 0, seeds.end.saturating_sub(seeds.start));
    for seed in seeds {
        match run(Run {
            steps,
            aloud,
            ..Run::of(seed)
        }) {
            Ok(course) => {
                executions += course.executions;
                lives += course.lives;
            }
            Err(failure) => {
                eprintln!("{failure}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{many} seeds without a violation: {executions} executions, {lives} server processes");
    ExitCode::SUCCESS
}
