//! Promises of checking and salvaging a directory.
//!
//! Owns those about what is reported. Refuses to damage at random; that is `decay`.

use std::fs;

use backlane_store::{Report, StoreError, check, check_with, salvage_with};

use crate::families::{ALL, FORMAT, row};
use crate::files::{DATABASE, crash_image, tamper};
use crate::world::{Sqlite, World, append_all, facts, frame_of, with_rows};

/// Three frames, the second of which has a row of every family, in a closed directory.
fn sample() -> Sqlite {
    let world = Sqlite::default();
    let (mut store, epoch) = world.taken();
    let rows = ALL.iter().map(|family| row(family, 1, 1));
    append_all(
        &mut *store,
        epoch,
        &[facts(1, 2), with_rows(3, rows), facts(4, 3)],
    );
    world
}

fn checked(world: &Sqlite) -> Report {
    check_with(world.path(), &FORMAT).unwrap()
}

#[test]
fn an_undamaged_directory_is_counted_and_left_as_it_is() {
    let world = sample();
    let files = || {
        let names = [DATABASE, "watermark"];
        names.map(|name| fs::read(world.path().join(name)).unwrap())
    };
    let before = files();
    let whole = Report {
        frames: 3,
        rows: ALL.len() as u64,
        damage: Vec::new(),
    };
    assert_eq!(whole, checked(&world));
    assert_eq!(before, files());
    assert_eq!(2, world.taken().1);
}

#[test]
fn what_a_killed_process_left_in_the_write_ahead_log_is_counted() {
    let world = Sqlite::default();
    let (mut store, epoch) = world.taken();
    let one = with_rows(1, ALL.iter().map(|family| row(family, 1, 1)));
    append_all(&mut *store, epoch, &[one]);
    let image = crash_image(world.path());
    let report = checked(&image);
    assert_eq!(
        (1, ALL.len() as u64, 0),
        (report.frames, report.rows, report.damage.len())
    );
}

#[test]
fn a_directory_in_use_is_refused() {
    let world = sample();
    let _store = world.open();
    let refused = check(world.path());
    assert!(
        matches!(refused, Err(StoreError::InUse { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_directory_without_a_database_is_refused_and_left_empty() {
    let world = Sqlite::default();
    let refused = check(world.path());
    assert!(matches!(refused, Err(StoreError::Io { .. })), "{refused:?}");
    assert_eq!(0, fs::read_dir(world.path()).unwrap().count());
}

#[test]
fn damage_is_named_line_by_line() {
    let world = sample();
    tamper(&world, "UPDATE log SET count = 2 WHERE first_sequence = 1");
    tamper(&world, "UPDATE log SET count = 1 WHERE first_sequence = 1");
    tamper(&world, "DELETE FROM log WHERE first_sequence = 4");
    tamper(&world, "UPDATE payload SET crc_head = 1");
    tamper(&world, "UPDATE stage SET crc_body = 1");
    let report = checked(&world);
    assert_eq!((1, ALL.len() as u64 - 2), (report.frames, report.rows));
    let expected = [
        "the frame with facts 1 to 1 is damaged: its checksum is wrong",
        "facts 4 to 6 are missing from the log",
        "payload 1 is damaged: the checksum of its head is wrong",
        "stage 1/1 is damaged: the checksum of its body is wrong",
    ];
    assert_eq!(expected.map(str::to_owned).to_vec(), report.damage);
}

#[test]
fn a_gap_in_the_log_is_named() {
    let world = sample();
    tamper(&world, "DELETE FROM log WHERE first_sequence = 3");
    let expected = "facts 3 to 3 are missing from the log".to_owned();
    assert_eq!(vec![expected], checked(&world).damage);
}

#[test]
fn an_unreadable_header_is_reported() {
    let world = sample();
    let path = world.path().join(DATABASE);
    let mut database = fs::read(&path).unwrap();
    database[20] = 9;
    fs::write(&path, database).unwrap();
    let expected = "the header of backlane.db (page 1) is not readable".to_owned();
    assert_eq!(vec![expected], checked(&world).damage);
}

#[test]
fn salvage_passes_on_what_is_whole() {
    let world = sample();
    tamper(&world, "UPDATE log SET crc = 1 WHERE first_sequence = 3");
    tamper(&world, "UPDATE ending SET crc_head = 1");
    let (mut frames, mut rows) = (Vec::new(), Vec::new());
    let report = salvage_with(
        world.path(),
        &FORMAT,
        &mut |frame| frames.push(frame),
        &mut |row| rows.push(row),
    )
    .unwrap();
    assert_eq!(vec![frame_of(&facts(1, 2)), frame_of(&facts(4, 3))], frames);
    let others = ALL.iter().filter(|family| family.name != "ending");
    let expected: Vec<_> = others.map(|family| row(family, 1, 1)).collect();
    assert_eq!(expected, rows);
    assert_eq!(
        (2, ALL.len() as u64 - 1, 2),
        (report.frames, report.rows, report.damage.len())
    );
}
