//! The step to format 4: what failed or timed out in a directory of format 3 is a dead letter.
//!
//! Owns a directory of format 3. Refuses to know the other steps: `format` tests the way of all.

use backlane_store::{
    ATTEMPT, Change, DEAD_LETTER, ENDING, Format, Key, Lookup, Maintenance, PAYLOAD, Part, REQUEST,
    Reader, Row, SqliteOptions, SqliteStore, Store,
};

use crate::world::{SHARD, Sqlite, append_all, ending, payload, with_rows};

static THREE: Format = Format {
    number: 3,
    families: &[&PAYLOAD, &ENDING, &REQUEST, &ATTEMPT],
    migrations: &[],
};

/// The tags of the six statuses; the executions that failed (4) or timed out (6) are dead letters.
const ENDED: [(u64, &str, u8); 6] = [
    (1, "acme", 3),
    (2, "acme", 4),
    (3, "blue", 4),
    (4, "acme", 5),
    (5, "acme", 6),
    (6, "acme", 4),
];

/// A closed directory of format 3.
fn format_three() -> Sqlite {
    let world = Sqlite::default();
    let options = SqliteOptions::default();
    let mut store = SqliteStore::open_with(world.path(), options, &THREE).unwrap();
    let epoch = store.take(SHARD, "node").unwrap().epoch;
    let rows = ENDED.iter().flat_map(|(number, tenant, tag)| {
        let ended = ending(*number, tenant, *tag, 1_000 + number);
        [payload(*number), ended]
    });
    append_all(&mut store, epoch, &[with_rows(1, rows)]);
    world
}

fn open(world: &Sqlite) -> SqliteStore {
    SqliteStore::open(world.path(), SqliteOptions::default()).unwrap()
}

fn listed(reader: &mut dyn Reader, tenant: &str) -> Vec<u64> {
    let read = reader.list(&DEAD_LETTER, tenant, None, u64::MAX >> 1, 10);
    read.unwrap()
}

#[test]
fn failures_and_timeouts_of_format_3_come_to_the_dead_letters() {
    let world = format_three();
    // A second start finds nothing to migrate.
    for _ in 0..2 {
        let store = open(&world);
        let mut reader = store.reader().unwrap();
        assert_eq!(vec![6, 5, 2], listed(&mut *reader, "acme"));
        assert_eq!(vec![3], listed(&mut *reader, "blue"));
        let timed_out = reader.list(&DEAD_LETTER, "acme", Some(6), 100, 10);
        assert_eq!(vec![5], timed_out.unwrap());
        let [row] = &reader
            .get(&DEAD_LETTER, &[Key::Number(5)], Part::Whole)
            .unwrap()[..]
        else {
            panic!()
        };
        assert!(
            matches!(row, Lookup::Found(_)),
            "its checksums are right: {row:?}"
        );
    }
}

#[test]
fn a_salvage_of_a_directory_of_format_3_makes_its_dead_letters() {
    let world = format_three();
    let mut saved = Vec::new();
    let report = backlane_store::salvage(world.path(), &mut |_| (), &mut |row| {
        if row.family == &DEAD_LETTER {
            saved.push(row.key);
        }
    });
    assert_eq!(Vec::<String>::new(), report.unwrap().damage);
    assert_eq!([2, 3, 5, 6].map(Key::Number).to_vec(), saved);
}

#[test]
fn a_salvage_makes_no_dead_letter_of_what_was_discarded() {
    let world = format_three();
    let mut store = open(&world);
    let taken = store.take(SHARD, "node").unwrap();
    let gone = Row {
        family: &DEAD_LETTER,
        key: Key::Number(2),
        change: Change::Delete,
    };
    append_all(
        &mut store,
        taken.epoch,
        &[with_rows(taken.next_sequence, [gone])],
    );
    drop(store);
    let mut saved = 0;
    let salvaged = backlane_store::salvage(world.path(), &mut |_| (), &mut |row| {
        saved += u32::from(row.family == &DEAD_LETTER);
    });
    assert_eq!((Vec::new(), 3), (salvaged.unwrap().damage, saved));
}

#[test]
fn a_migrated_dead_letter_can_be_deleted_and_goes_with_its_execution() {
    let world = format_three();
    let mut store = open(&world);
    let taken = store.take(SHARD, "node").unwrap();
    let discarded = Row {
        family: &DEAD_LETTER,
        key: Key::Number(6),
        change: Change::Delete,
    };
    let commit = with_rows(taken.next_sequence, [discarded]);
    append_all(&mut store, taken.epoch, &[commit]);
    let class = backlane_store::Class::Execution;
    let expire = Maintenance {
        expire: Some((class, 1_003)),
        limit: 100,
        ..Maintenance::default()
    };
    store.maintain(taken.epoch, &expire).unwrap();
    let mut reader = store.reader().unwrap();
    assert_eq!(vec![5], listed(&mut *reader, "acme"));
    assert_eq!(vec![3], listed(&mut *reader, "blue"));
}
