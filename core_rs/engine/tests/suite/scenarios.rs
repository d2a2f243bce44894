//! Runs every scenario of the conformance suite on the engine.
//!
//! Owns the comparison of replies with the expectations of a scenario. Refuses to know the effects
//! of verbs.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::script::{Line, duration, parse, relative, text};
use crate::stage::Stage;
use crate::words::Answer;

const SCENARIOS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/conformance/scenarios"
);

fn files() -> Vec<PathBuf> {
    let listed = fs::read_dir(SCENARIOS).expect("the scenarios' folder");
    let paths = listed.map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|ext| ext == "scenario"))
        .collect();
    files.sort();
    files
}

#[test]
fn every_scenario_holds_on_the_engine() {
    let files = files();
    assert!(
        files.len() > 20,
        "{} scenarios are too few to be all",
        files.len()
    );
    let failed: Vec<_> = files.iter().filter(|path| !holds(path)).collect();
    assert_eq!(Vec::<&PathBuf>::new(), failed);
}

fn holds(path: &Path) -> bool {
    let lines = parse(&fs::read_to_string(path).expect("a readable file"));
    // Filters are of the wire crate.
    let needs = lines.iter().filter(|line| line.verb == "needs");
    if needs.clone().any(|line| line.plain(0) == "filters") {
        return true;
    }
    let mut stage = Stage::new();
    lines.iter().all(|line| {
        let played = catch_unwind(AssertUnwindSafe(|| check(line, &stage.play(line))));
        if played.is_err() {
            eprintln!("  in {}:{}", path.display(), line.number);
        }
        played.is_ok()
    })
}

fn check(line: &Line, answer: &Answer) {
    let refused = answer.words.first().is_some_and(|word| word == "error");
    assert!(
        !refused || !line.expected.is_empty(),
        "refused: {:?}",
        answer.words
    );
    let plain = line.expected.iter().filter(|word| word.key.is_none());
    let words: Vec<_> = plain.map(|word| word.value.clone()).collect();
    if !words.is_empty() {
        assert_eq!(words, answer.words);
    }
    let given = line
        .expected
        .iter()
        .filter_map(|word| Some((word.key.as_deref()?, &*word.value)));
    let stated = line
        .keyed()
        .filter(|_| matches!(&*line.verb, "expect" | "run" | "stats" | "task"));
    for (key, expected) in given.chain(stated).filter(|(key, _)| *key != "tenant") {
        let actual = answer.fields.get(key).map(String::as_str);
        assert_eq!(Some(&*normal(key, expected)), actual, "{key}");
    }
}

/// The normal form of a value: times in milliseconds, texts without quotes; JSON stays as it is.
fn normal(key: &str, value: &str) -> String {
    let digits = value.trim_start_matches(['+', '-']);
    let is_time = digits.starts_with(|letter: char| letter.is_ascii_digit())
        && digits.ends_with(|letter: char| letter.is_ascii_lowercase());
    match value.chars().next() {
        _ if key == "output" => value.to_owned(),
        Some('+' | '-') if is_time => format!("{}{}ms", &value[..1], relative(value).abs()),
        _ if is_time => format!("{}ms", duration(value)),
        _ => text(value).to_owned(),
    }
}
