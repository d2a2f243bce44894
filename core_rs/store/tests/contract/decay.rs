//! Random damage to the database file: flipped bits and zeroed pages.
//!
//! Owns the promise that a reader answers with what was written, or says that it is damaged:
//! never with wrong data, and never with a missing row. Refuses to expect any particular error.

use std::collections::BTreeMap;
use std::fs;

use backlane_store::{
    Frame, Key, KeyKind, Lookup, Part, Reader, Row, SqliteOptions, Store, StoreError, check_with,
    salvage_with,
};

use crate::families::{ALL, FORMAT, bytes, key, keyed, listing, of_kind, put, row_of};
use crate::files::DATABASE;
use crate::world::{SHARD, Sqlite, append_all, found, frame_of, with_rows};

const ROWS: u64 = 200;
const COMMITS: u64 = 20;
const PAGE_BYTES: usize = 1024;

/// Small pages make deep trees, so that damage hits inner pages too.
fn options() -> SqliteOptions {
    SqliteOptions {
        page_bytes: 1024,
        ..SqliteOptions::default()
    }
}

/// A sequence of numbers that look random, the same for the same seed (xorshift64*).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(drawn).unwrap() % bound
    }
}

/// What was written, and the files that hold it.
struct Truth {
    rows: Vec<Row>,
    frames: Vec<Frame>,
    database: Vec<u8>,
    watermark: Vec<u8>,
}

/// Row `n` of a family. Some bodies are long, so that they fill pages of their own.
fn sample(family: &'static backlane_store::Family, n: u64) -> Row {
    let mut content = put(family, n, 1);
    let length = if n.is_multiple_of(10) { 3_000 } else { 40 };
    content.body =
        (!n.is_multiple_of(7)).then(|| bytes(vec![u8::try_from(n % 256).unwrap(); length]));
    if family.listed {
        content.listing = Some(listing(
            ["acme", "bolt"][usize::try_from(n % 2).unwrap()],
            1,
        ));
    }
    row_of(family, key(family, n), content)
}

fn truth() -> Truth {
    let world = Sqlite::default();
    let mut store = world.try_open(options()).unwrap();
    let epoch = store.take(SHARD, "node").unwrap().epoch;
    let mut truth = Truth {
        rows: Vec::new(),
        frames: Vec::new(),
        database: Vec::new(),
        watermark: Vec::new(),
    };
    let share = ROWS / COMMITS;
    for number in 0..COMMITS {
        let numbers = number * share..(number + 1) * share;
        let rows = ALL
            .iter()
            .flat_map(|f| numbers.clone().map(|n| sample(f, n)));
        let mut commit = with_rows(number + 1, rows);
        commit.frame = format!("the facts of commit {number} ")
            .repeat(40)
            .into_bytes();
        append_all(&mut store, epoch, std::slice::from_ref(&commit));
        truth.frames.push(frame_of(&commit));
        truth.rows.extend(commit.rows);
    }
    drop(store);
    truth.database = fs::read(world.path().join(DATABASE)).unwrap();
    truth.watermark = fs::read(world.path().join("watermark")).unwrap();
    truth
}

impl Truth {
    /// A directory with the database changed.
    fn damaged(&self, change: impl FnOnce(&mut [u8])) -> Sqlite {
        let world = Sqlite::default();
        let mut database = self.database.clone();
        change(&mut database);
        fs::write(world.path().join(DATABASE), database).unwrap();
        fs::write(world.path().join("watermark"), &self.watermark).unwrap();
        world
    }

    /// Compares everything that a directory answers with what was written. Returns how many
    /// answers were damage or errors.
    fn compare(&self, world: &Sqlite) -> usize {
        let mut store = match world.try_open(options()) {
            Ok(store) => store,
            Err(StoreError::Corrupt { .. }) => return 1,
            Err(other) => panic!("{other:?}"),
        };
        let mut seen = Vec::new();
        let replayed = store.replay(&mut |frame| {
            seen.push(frame);
            Ok(())
        });
        assert!(
            self.frames.starts_with(&seen),
            "a frame is not what was written"
        );
        let mut noticed = usize::from(replayed.is_err());
        assert!(
            noticed == 1 || self.frames.len() == seen.len(),
            "frames are missing"
        );
        let mut reader = store.reader().unwrap();
        noticed += self.compare_rows(&mut *reader);
        noticed += self.compare_ranges(&mut *reader);
        noticed + self.compare_digests(&mut *reader)
    }

    fn of(&self, family: &'static backlane_store::Family) -> Vec<&Row> {
        self.rows
            .iter()
            .filter(|row| row.family == family)
            .collect()
    }

    fn compare_rows(&self, reader: &mut dyn Reader) -> usize {
        let mut noticed = 0;
        for family in ALL {
            let rows = self.of(family);
            let keys: Vec<_> = rows.iter().map(|row| row.key.clone()).collect();
            for part in [Part::Head, Part::Whole] {
                let lookups = reader.get(family, &keys, part).unwrap();
                for (row, lookup) in rows.iter().zip(lookups) {
                    noticed += usize::from(differs(&found(row, part), &lookup));
                }
            }
        }
        noticed
    }

    fn compare_ranges(&self, reader: &mut dyn Reader) -> usize {
        let mut noticed = 0;
        for family in ALL.iter().filter(|family| family.listed) {
            for (tenant, n) in [("acme", 0), ("bolt", 1)] {
                let expected: Vec<_> = (0..ROWS).rev().filter(|number| number % 2 == n).collect();
                let listed = reader.list(family, tenant, None, u64::MAX, 9999);
                noticed += tell(&expected, &listed);
            }
        }
        for family in of_kind(KeyKind::Name) {
            let mut rows = self.of(family);
            rows.sort_by(|a, b| a.key.cmp(&b.key));
            let Ok(read) = reader.all(family, None, 9999) else {
                noticed += 1;
                continue;
            };
            assert_eq!(rows.len(), read.len(), "{} rows are missing", family.name);
            for (row, (key, lookup)) in rows.iter().zip(read) {
                assert_eq!(row.key, key);
                noticed += usize::from(differs(&found(row, Part::Whole), &lookup));
            }
        }
        for family in of_kind(KeyKind::Ordinal) {
            for row in self.of(family) {
                let Key::Ordinal(number, ordinal) = row.key else {
                    unreachable!()
                };
                match reader.of_number(family, number, 0, 9) {
                    Ok(read) => {
                        let [(at, lookup)] = &read[..] else {
                            panic!("{read:?}")
                        };
                        assert_eq!(ordinal, *at);
                        noticed += usize::from(differs(&found(row, Part::Whole), lookup));
                    }
                    Err(error) => noticed += is_damage(&error),
                }
            }
        }
        noticed
    }

    fn compare_digests(&self, reader: &mut dyn Reader) -> usize {
        let mut noticed = 0;
        for family in of_kind(KeyKind::Digest) {
            let rows = self.of(family);
            let digests: Vec<_> = rows.iter().map(|row| digest(&row.key).1).collect();
            let lookups = reader.digests(family, &digests, 0).unwrap();
            for (row, lookup) in rows.iter().zip(lookups) {
                noticed += usize::from(differs(&found(row, Part::Whole), &lookup));
            }
            for hour in 10..13 {
                let of_hour = rows.iter().map(|row| digest(&row.key));
                let of_hour = of_hour
                    .filter(|(of, _)| *of == hour)
                    .map(|(_, digest)| digest);
                let read = reader.digests_of_hour(family, hour, 0, 9999);
                noticed += tell(&(of_hour.collect(), None), &read);
            }
        }
        noticed
    }
}

fn digest(key: &Key) -> (u32, [u8; 16]) {
    match key {
        Key::Digest { hour, digest } => (*hour, *digest),
        _ => unreachable!("only digest families are asked"),
    }
}

/// Whether a lookup says that the row is damaged, instead of what was written.
fn differs(expected: &Lookup, lookup: &Lookup) -> bool {
    match lookup {
        Lookup::Damaged(_) => true,
        other => {
            assert_eq!(expected, other);
            false
        }
    }
}

fn is_damage(error: &StoreError) -> usize {
    assert!(matches!(error, StoreError::Damaged(_)), "{error:?}");
    1
}

fn tell<T: PartialEq + std::fmt::Debug>(expected: &T, read: &Result<T, StoreError>) -> usize {
    match read {
        Ok(read) => {
            assert_eq!(expected, read);
            0
        }
        Err(error) => is_damage(error),
    }
}

/// Checks and salvages a damaged directory. What is salvaged must be what was written.
fn assert_salvage_is_true(truth: &Truth, world: &Sqlite) -> usize {
    let damage = check_with(world.path(), &FORMAT).unwrap().damage;
    let written: BTreeMap<_, _> = truth.rows.iter().map(|row| (place(row), row)).collect();
    let mut saved = 0;
    let mut frames = Vec::new();
    let report = salvage_with(
        world.path(),
        &FORMAT,
        &mut |frame| frames.push(frame),
        &mut |row| {
            assert_eq!(Some(&&row), written.get(&place(&row)));
            saved += 1;
        },
    )
    .unwrap();
    assert!(frames.iter().all(|frame| truth.frames.contains(frame)));
    let counted = (frames.len() as u64, saved);
    assert_eq!((report.frames, report.rows), counted);
    assert_eq!(damage, report.damage);
    usize::try_from(saved).unwrap()
}

fn place(row: &Row) -> (u16, Key) {
    (row.family.number, row.key.clone())
}

#[test]
fn an_undamaged_directory_answers_everything_and_is_salvaged_whole() {
    let truth = truth();
    let world = truth.damaged(|_| ());
    assert_eq!(0, truth.compare(&world));
    assert_eq!(truth.rows.len(), assert_salvage_is_true(&truth, &world));
}

#[test]
fn a_flipped_bit_is_never_wrong_data_nor_a_missing_row() {
    let truth = truth();
    let (mut dice, mut read_as_damaged) = (Dice(2026), 0);
    for round in 0..200 {
        let bit = dice.below(truth.database.len() * 8);
        let world = truth.damaged(|database| database[bit / 8] ^= 1 << (bit % 8));
        read_as_damaged += usize::from(truth.compare(&world) > 0);
        let report = check_with(world.path(), &FORMAT).unwrap();
        assert!(!report.damage.is_empty(), "the check missed bit {bit}");
        if round % 10 == 0 {
            let saved = assert_salvage_is_true(&truth, &world);
            assert!(
                saved + 200 > truth.rows.len() || bit < PAGE_BYTES * 8,
                "{bit}: {saved}"
            );
        }
    }
    // The rest hits pages that no read needs, such as those of expiry.
    assert!(read_as_damaged >= 190, "{read_as_damaged} of 200");
}

#[test]
fn a_zeroed_page_is_never_wrong_data_nor_a_missing_row() {
    let truth = truth();
    let (mut dice, mut read_as_damaged) = (Dice(4), 0);
    for round in 0..40 {
        let page = dice.below(truth.database.len() / PAGE_BYTES) * PAGE_BYTES;
        let world = truth.damaged(|database| database[page..page + PAGE_BYTES].fill(0));
        read_as_damaged += usize::from(truth.compare(&world) > 0);
        let report = check_with(world.path(), &FORMAT).unwrap();
        assert!(!report.damage.is_empty(), "the check missed page {page}");
        if round % 5 == 0 {
            assert_salvage_is_true(&truth, &world);
        }
    }
    // The rest hits pages that no read needs, such as those of expiry.
    assert!(read_as_damaged >= 36, "{read_as_damaged} of 40");
}

#[test]
fn rows_of_all_kinds_are_in_the_sample() {
    let truth = truth();
    let of_kind = |family| truth.of(family).len();
    assert!(keyed().all(|family| of_kind(family) == usize::try_from(ROWS).unwrap()));
    assert!(
        truth.database.len() > 500 * PAGE_BYTES,
        "{}",
        truth.database.len()
    );
}
