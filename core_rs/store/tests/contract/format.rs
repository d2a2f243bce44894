//! Promises of the format number: older data is migrated or refused in one clear line, and a
//! migration that is interrupted leaves a directory that opens.
//!
//! Owns made-up formats later than today's. Refuses to know what a real migration changes.

use std::cell::RefCell;
use std::path::Path;

use backlane_store::{
    Family, Format, Key, KeyKind, Migration, Mode, Part, Retention, Row, SqliteOptions,
    SqliteStore, Store, StoreError,
};
use rusqlite::{Connection, Transaction};

use crate::families::{ALL, FORMAT, put, row, row_of};
use crate::files::{DATABASE, connect, corrupt, crash_image, tamper};
use crate::world::{SHARD, Sqlite, append_all, found, get, with_rows};

static ATTEMPT: Family = Family {
    number: 201,
    name: "attempt",
    key: KeyKind::Ordinal,
    mode: Mode::Once,
    retention: Retention::Kept,
    listed: false,
    since: 3,
};

static POLICY: Family = Family {
    number: 202,
    name: "policy",
    key: KeyKind::Name,
    mode: Mode::Replace,
    retention: Retention::Kept,
    listed: false,
    since: 4,
};

static NEWER: &[&Family] = &[ALL[0], ALL[1], ALL[2], &ATTEMPT, &POLICY];

/// Copies each payload into the table that the step to format 3 makes.
fn fill_attempts(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    tx.execute_batch("CREATE TABLE filled AS SELECT number FROM payload")
}

fn empty_node(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    tx.execute_batch("UPDATE shard SET node = 'migrated'")
}

fn fail(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    tx.execute_batch("DELETE FROM payload; SELECT * FROM missing")
}

thread_local! {
    static IMAGES: RefCell<Vec<Sqlite>> = const { RefCell::new(Vec::new()) };
}

/// Keeps what a process killed in the middle of this step leaves behind.
fn keep_image(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    let image = crash_image(Path::new(tx.path().unwrap()).parent().unwrap());
    IMAGES.with_borrow_mut(|images| images.push(image));
    tx.execute_batch("")
}

const fn step(to: u32, run: fn(&Transaction<'_>) -> rusqlite::Result<()>) -> Migration {
    Migration { to, run }
}

const fn format(number: u32, migrations: &'static [Migration]) -> Format {
    Format {
        number,
        families: NEWER,
        migrations,
    }
}

static TWO: Format = Format {
    number: 2,
    families: &[ALL[0], ALL[1], ALL[2]],
    migrations: &[],
};
static FOUR: Format = format(4, &[step(3, fill_attempts), step(4, empty_node)]);

fn open(world: &Sqlite, format: &'static Format) -> Result<SqliteStore, StoreError> {
    SqliteStore::open_with(world.path(), SqliteOptions::default(), format)
}

/// The rows that a directory of format 2 holds.
fn rows() -> Vec<Row> {
    let families = TWO.families.iter();
    families
        .flat_map(|family| [1, 2].map(|n| row(family, n, 1)))
        .collect()
}

/// A closed directory of format 2.
fn format_two() -> Sqlite {
    let world = Sqlite::default();
    let mut store = open(&world, &TWO).unwrap();
    let epoch = store.take(SHARD, "node").unwrap().epoch;
    append_all(&mut store, epoch, &[with_rows(1, rows())]);
    world
}

/// Opens a directory of any format with the newest one, checks its rows, and writes to the
/// families that the newest format brought.
fn assert_complete(world: &Sqlite) {
    let mut store = open(world, &FOUR).unwrap();
    let taken = store.take(SHARD, "node").unwrap();
    let mut reader = store.reader().unwrap();
    for row in rows() {
        assert_eq!(
            found(&row, Part::Whole),
            get(&mut *reader, row.family, &row.key)
        );
    }
    let at = u32::try_from(taken.epoch).unwrap();
    let one = row_of(&ATTEMPT, Key::Ordinal(1, at), put(&ATTEMPT, 1, 0));
    let commit = with_rows(taken.next_sequence, [one.clone(), row(&POLICY, 1, 1)]);
    append_all(&mut store, taken.epoch, &[commit]);
    assert_eq!(
        found(&one, Part::Whole),
        get(&mut *reader, &ATTEMPT, &one.key)
    );
}

fn number_of(world: &Sqlite) -> u32 {
    let connection = connect(world);
    connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap()
}

fn tables_of(world: &Sqlite) -> Vec<String> {
    let connection = connect(world);
    let sql = "SELECT sql FROM sqlite_schema WHERE name NOT IN ('filled') ORDER BY name";
    let mut select = connection.prepare(sql).unwrap();
    let tables = select
        .query_map([], |row| row.get::<_, Option<String>>(0))
        .unwrap();
    tables.map(|sql| sql.unwrap().unwrap_or_default()).collect()
}

#[test]
fn an_older_directory_is_migrated_step_by_step() {
    let world = format_two();
    assert_complete(&world);
    assert_eq!(4, number_of(&world));
    let count = "SELECT count(*) FROM filled";
    let filled = connect(&world).query_row(count, [], |row| row.get::<_, u32>(0));
    assert_eq!(Ok(2), filled);
    assert_complete(&world);
}

#[test]
fn a_migrated_directory_has_the_tables_of_a_new_one() {
    let (migrated, new) = (format_two(), Sqlite::default());
    drop(open(&migrated, &FOUR).unwrap());
    let mut store = open(&new, &FOUR).unwrap();
    let epoch = store.take(SHARD, "node").unwrap().epoch;
    append_all(&mut store, epoch, &[with_rows(1, rows())]);
    drop(store);
    assert_eq!(tables_of(&new), tables_of(&migrated));
}

#[test]
fn a_migration_that_fails_changes_nothing_of_its_step() {
    static FAILS_FIRST: Format = format(4, &[step(3, fail), step(4, empty_node)]);
    static FAILS_LAST: Format = format(4, &[step(3, fill_attempts), step(4, fail)]);
    for (failing, reached) in [(&FAILS_FIRST, 2), (&FAILS_LAST, 3)] {
        let world = format_two();
        for _ in 0..2 {
            let failed = open(&world, failing).err();
            assert!(matches!(failed, Some(StoreError::Io { .. })), "{failed:?}");
            assert_eq!(reached, number_of(&world));
        }
        assert_complete(&world);
    }
}

#[test]
fn a_process_killed_while_migrating_leaves_a_directory_that_opens() {
    static KILLED: Format = format(
        4,
        &[
            step(3, keep_image),
            step(3, fill_attempts),
            step(3, keep_image),
            step(4, keep_image),
            step(4, empty_node),
            step(4, keep_image),
        ],
    );
    let world = format_two();
    drop(open(&world, &KILLED).unwrap());
    let images = IMAGES.take();
    let numbers: Vec<_> = images.iter().map(number_of).collect();
    assert_eq!(vec![2, 2, 3, 3], numbers);
    images.iter().for_each(assert_complete);
}

#[test]
fn a_newer_format_is_refused_and_left_as_it_is() {
    let world = format_two();
    drop(open(&world, &FOUR).unwrap());
    let refused = open(&world, &TWO).err();
    let is_newer = matches!(
        refused,
        Some(StoreError::NewerVersion { found: 4, known: 2 })
    );
    assert!(is_newer, "{refused:?}");
    assert_complete(&world);
}

#[test]
fn the_format_of_version_0_1_0_is_refused_in_one_line() {
    let world = Sqlite::default();
    let old = Connection::open(world.path().join(DATABASE)).unwrap();
    old.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA application_id = 0x42636b4c; PRAGMA user_version = 1;
         CREATE TABLE payload (birth INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;",
    )
    .unwrap();
    let killed = crash_image(world.path());
    drop(old);
    for world in [&world, &killed] {
        let refused = open(world, &FORMAT).err().unwrap().to_string();
        let expected = format!(
            "{} was written by Backlane 0.1.0 (format 1), and this version cannot read it: start \
             Backlane 0.1.0 on it until its executions have ended, and give this version another \
             data directory",
            world.path().display()
        );
        assert_eq!(expected, refused);
    }
}

#[test]
fn an_unknown_number_is_refused() {
    let world = format_two();
    tamper(&world, "PRAGMA user_version = 0");
    assert!(corrupt(open(&world, &FORMAT)).contains("unknown format 0"));
}
