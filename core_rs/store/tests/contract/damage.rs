//! Promises about single damaged places: one row is damaged and its neighbours are found, and a
//! writer that meets damage ends once and says where.
//!
//! Owns those. Refuses to damage at random; that is `decay`.

use std::fs;
use std::os::unix::fs::FileExt as _;

use backlane_store::{
    ENDING, Family, KeyKind, Lookup, PAYLOAD, Part, SqliteOptions, StoreError, check_with,
};

use crate::families::{ALL, FORMAT, key, keyed, replaceable, row, starts};
use crate::files::{DATABASE, connect, corrupt, tamper};
use crate::world::{
    SHARD, Sqlite, World, append_all, facts, found, get, reader, with_payloads, with_rows,
};

/// The rows 1, 2 and 3 of every family, in a closed directory.
fn three_rows() -> Sqlite {
    let world = Sqlite::default();
    let (mut store, epoch) = world.taken();
    let rows = ALL
        .iter()
        .flat_map(|family| [1, 2, 3].map(|n| row(family, n, 1)));
    append_all(&mut *store, epoch, &[with_rows(1, rows)]);
    world
}

/// The family's table and the condition that finds row 2.
fn place(family: &Family) -> (String, &'static str) {
    match family.key {
        KeyKind::Number => (family.name.to_owned(), "number = 2"),
        KeyKind::Ordinal => (family.name.to_owned(), "number = 2 AND ordinal = 2"),
        KeyKind::Name => (family.name.to_owned(), "name = '000002'"),
        KeyKind::Digest => (
            format!("{}_12", family.name),
            "digest = x'02000000000000000202020202020202'",
        ),
    }
}

/// Changes of a row that its head shows.
fn head_changes(family: &Family) -> Vec<&'static str> {
    let mut changes = vec![
        "head = CAST(substr(head, 2) || 'x' AS BLOB)",
        "crc_head = crc_head + 1",
    ];
    if replaceable(family) {
        changes.push("version = version + 1");
    }
    if starts(family) {
        changes.push("at_ms = at_ms + 1");
    }
    if family.listed {
        changes.extend(["tenant = 'acmf'", "tag = 2"]);
    }
    changes
}

const BODY_CHANGES: [&str; 4] = [
    "body = CAST(substr(body, 2) || 'x' AS BLOB)",
    "body = NULL",
    "body = x''",
    "crc_body = crc_body + 1",
];

/// Reads the rows 1, 2 and 3 of a family.
fn read(world: &Sqlite, family: &'static Family, part: Part) -> Vec<Lookup> {
    let store = world.open();
    let keys = [1, 2, 3].map(|n| key(family, n));
    reader(&*store).get(family, &keys, part).unwrap()
}

/// Whether row 2 is damaged, after checking that its neighbours are found.
fn is_damaged(world: &Sqlite, family: &'static Family, part: Part) -> bool {
    let lookups = read(world, family, part);
    let neighbour = |n| found(&row(family, n, 1), part);
    assert_eq!((&neighbour(1), &neighbour(3)), (&lookups[0], &lookups[2]));
    match &lookups[1] {
        Lookup::Damaged(damage) => {
            assert_eq!(
                (family.name, key(family, 2).to_string()),
                (damage.family, damage.key.clone())
            );
            true
        }
        other => {
            assert_eq!(&found(&row(family, 2, 1), part), other);
            false
        }
    }
}

#[test]
fn a_changed_column_damages_its_row_alone() {
    for family in ALL {
        let (table, row) = place(family);
        for change in head_changes(family) {
            let world = three_rows();
            tamper(&world, &format!("UPDATE {table} SET {change} WHERE {row}"));
            assert!(is_damaged(&world, family, Part::Head), "{table} {change}");
            assert!(is_damaged(&world, family, Part::Whole), "{table} {change}");
        }
        for change in BODY_CHANGES {
            let world = three_rows();
            tamper(&world, &format!("UPDATE {table} SET {change} WHERE {row}"));
            assert!(!is_damaged(&world, family, Part::Head), "{table} {change}");
            assert!(is_damaged(&world, family, Part::Whole), "{table} {change}");
        }
    }
}

#[test]
fn content_of_another_row_or_family_is_damage() {
    for family in keyed() {
        let (table, row) = place(family);
        let neighbour = row.replace("= 2", "= 3").replace("000002", "000003");
        let columns = "crc_head, crc_body, head, body";
        let world = three_rows();
        tamper(
            &world,
            &format!(
                "UPDATE {table} SET ({columns}) = (SELECT {columns} FROM {table} WHERE {neighbour})
                 WHERE {row}"
            ),
        );
        assert!(is_damaged(&world, family, Part::Head), "{table}");
    }
    let world = three_rows();
    tamper(
        &world,
        "UPDATE payload SET (crc_head, head) = (SELECT crc_head, head FROM mark WHERE number = 2)
         WHERE number = 2",
    );
    assert!(is_damaged(&world, &PAYLOAD, Part::Head));
}

#[test]
fn ranges_name_the_damaged_row_and_return_the_others() {
    let world = three_rows();
    for family in ALL {
        let (table, row) = place(family);
        tamper(
            &world,
            &format!("UPDATE {table} SET crc_head = 0 WHERE {row}"),
        );
    }
    let store = world.open();
    let mut reader = reader(&*store);
    for family in keyed().filter(|family| family.key == KeyKind::Ordinal) {
        let rows = reader.of_number(family, 2, 0, 9).unwrap();
        assert!(matches!(rows[..], [(2, Lookup::Damaged(_))]), "{rows:?}");
    }
    for family in keyed().filter(|family| family.key == KeyKind::Name) {
        let rows = reader.all(family, None, 9).unwrap();
        let damaged = rows
            .iter()
            .filter(|(_, row)| matches!(row, Lookup::Damaged(_)));
        assert_eq!((3, 1), (rows.len(), damaged.count()));
    }
}

/// Changes the page that is the root of a table or index.
fn damage_root(world: &Sqlite, name: &str, change: impl Fn(&mut [u8])) -> u64 {
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
    let root: u32 = connect(world)
        .query_row(sql, [name], |row| row.get(0))
        .unwrap();
    let path = world.path().join(DATABASE);
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut page = [0; 4096];
    let at = u64::from(root - 1) * 4096;
    file.read_exact_at(&mut page, at).unwrap();
    change(&mut page);
    file.write_all_at(&page, at).unwrap();
    u64::from(root)
}

fn flip_a_bit(page: &mut [u8]) {
    page[2000] ^= 4;
}

fn zero(page: &mut [u8]) {
    page.fill(0);
}

#[test]
fn an_unreadable_page_damages_its_rows_and_no_other_table() {
    for change in [flip_a_bit, zero] {
        let world = three_rows();
        damage_root(&world, "payload", change);
        let store = world.open();
        let mut reader = reader(&*store);
        let keys = [1, 2, 9].map(|n| key(&PAYLOAD, n));
        let lookups = reader.get(&PAYLOAD, &keys, Part::Whole).unwrap();
        let damaged = lookups
            .iter()
            .filter(|lookup| matches!(lookup, Lookup::Damaged(_)));
        assert_eq!(3, damaged.count(), "{lookups:?}");
        let ending = get(&mut *reader, &ENDING, &key(&ENDING, 1));
        assert_eq!(found(&row(&ENDING, 1, 1), Part::Whole), ending);
    }
}

#[test]
fn an_unreadable_index_is_an_error_of_the_list_and_of_no_row() {
    for change in [flip_a_bit, zero] {
        let world = three_rows();
        damage_root(&world, "ending_by_tenant", change);
        let store = world.open();
        let mut reader = reader(&*store);
        let listed = reader.list(&ENDING, "acme", None, u64::MAX, 9);
        assert!(matches!(listed, Err(StoreError::Damaged(_))), "{listed:?}");
        let ending = get(&mut *reader, &ENDING, &key(&ENDING, 1));
        assert_eq!(found(&row(&ENDING, 1, 1), Part::Whole), ending);
    }
}

#[test]
fn a_writer_that_meets_damage_fails_for_good_and_the_next_start_is_refused() {
    for change in [flip_a_bit, zero] {
        let world = three_rows();
        let page = damage_root(&world, "payload", change);
        let (mut store, epoch) = world.taken();
        let next = 2;
        let failed = store.append(epoch, &with_payloads(next, &[7])).unwrap_err();
        assert!(matches!(failed, StoreError::Fatal { .. }), "{failed:?}");
        let again = store.append(epoch, &facts(next, 1)).unwrap_err();
        assert_eq!(failed.to_string(), again.to_string());
        drop(store);
        let note = fs::read_to_string(world.path().join("damaged")).unwrap();
        assert!(
            note.starts_with("backlane.db: appending from sequence 2: "),
            "{note}"
        );
        for _ in 0..2 {
            let what = corrupt(world.try_open(SqliteOptions::default()));
            assert!(what.contains(note.trim()), "{what}");
            assert!(what.contains("backlane check --salvage NEW DIR"), "{what}");
        }
        let report = check_with(world.path(), &FORMAT).unwrap();
        let named = report
            .damage
            .iter()
            .any(|line| line.contains(&format!("page {page}")));
        assert!(named, "page {page}: {:?}", report.damage);
        fs::remove_file(world.path().join("damaged")).unwrap();
        assert_eq!(3, world.open().take(SHARD, "node").unwrap().epoch);
    }
}
