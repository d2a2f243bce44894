//! Promises of the store on `SQLite` alone: it locks its directory, survives the end of the
//! process, and notices a log that became shorter.
//!
//! Owns those. Refuses to repeat the contract. Damage to rows is in `damage` and `decay`.

use std::fs;

use backlane_store::{PAYLOAD, SqliteOptions, SqliteStore, Store, StoreError};
use rusqlite::Connection;

use crate::families::ALL;
use crate::files::{DATABASE, WAL, connect, corrupt, crash_image, tamper};
use crate::world::{
    SHARD, Sqlite, World, append_all, facts, kept, reader, replayed, request, with_payloads,
    with_rows,
};

fn defaults() -> SqliteOptions {
    SqliteOptions::default()
}

fn accepting_loss() -> SqliteOptions {
    SqliteOptions {
        accept_loss: true,
        ..defaults()
    }
}

/// Three frames, of facts 1 to 2, 3 to 4 and 5 to 6, in a closed directory.
fn three_frames(world: &Sqlite) {
    let (mut store, epoch) = world.taken();
    append_all(&mut *store, epoch, &[facts(1, 2), facts(3, 2), facts(5, 2)]);
}

fn replay_damaged(world: &Sqlite) -> String {
    corrupt(
        world
            .try_open(defaults())
            .and_then(|mut store| store.replay(&mut |_| Ok(()))),
    )
}

#[test]
fn a_second_open_is_refused_and_names_the_holder() {
    let world = Sqlite::default();
    let _store = world.open();
    let Err(StoreError::InUse { path, pid }) = world.try_open(defaults()) else {
        panic!("two stores on one directory")
    };
    assert_eq!(
        (world.path(), Some(std::process::id())),
        (path.as_path(), pid)
    );
}

#[test]
fn the_data_directory_is_made_with_its_parents() {
    let world = Sqlite::default();
    let path = world.path().join("a/b");
    assert!(SqliteStore::open(&path, defaults()).is_ok());
    assert!(path.join(DATABASE).exists());
}

#[test]
fn a_killed_process_loses_nothing() {
    let world = Sqlite::default();
    let (mut store, epoch) = world.taken();
    let commits = [with_payloads(1, &[1, 2]), with_rows(2, [request(10, 1, 1)])];
    append_all(&mut *store, epoch, &commits);
    let image = crash_image(world.path());
    let (mut recovered, epoch) = image.taken();
    assert_eq!(2, epoch);
    assert_eq!(replayed(&mut *store), replayed(&mut *recovered));
    assert_eq!(vec![2], kept(&mut *reader(&*recovered), &PAYLOAD, &[2]));
    append_all(&mut *recovered, epoch, &[with_rows(3, [request(10, 2, 9)])]);
}

#[test]
fn a_process_killed_while_making_the_directory_leaves_one_that_opens() {
    let world = Sqlite::default();
    fs::write(world.path().join(DATABASE), b"").unwrap();
    fs::write(world.path().join("LOCK"), b"12").unwrap();
    fs::write(world.path().join("watermark"), b"").unwrap();
    assert_eq!(1, world.taken().1);
}

#[test]
fn a_process_killed_while_writing_the_first_page_leaves_a_directory_that_opens() {
    let world = Sqlite::default();
    // The header of a rollback journal: no pages are saved, and the database had none.
    let mut journal = vec![0; 512];
    journal[..8].copy_from_slice(&[0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7]);
    journal[20..28].copy_from_slice(&[0, 0, 2, 0, 0, 0, 16, 0]);
    fs::write(world.path().join("backlane.db-journal"), journal).unwrap();
    fs::write(world.path().join(DATABASE), [0x55; 4096]).unwrap();
    assert_eq!(1, world.taken().1);
    assert!(!world.path().join("backlane.db-journal").exists());
    assert_eq!(2, world.taken().1);
}

#[test]
fn a_lost_write_ahead_log_is_noticed_and_named() {
    let world = Sqlite::default();
    three_frames(&world);
    let (mut store, epoch) = world.taken();
    append_all(&mut *store, epoch, &[facts(7, 3)]);
    let image = crash_image(world.path());
    fs::remove_file(image.path().join(WAL)).unwrap();
    let what = corrupt(image.try_open(defaults()));
    assert!(what.contains("facts 7 to 9 are missing"), "{what}");
    let what = corrupt(image.try_open(defaults()));
    assert!(
        what.contains("facts 7 to 9 are missing"),
        "refusing changed nothing: {what}"
    );
}

#[test]
fn an_accepted_loss_is_accepted_once_and_the_log_goes_on() {
    let world = Sqlite::default();
    three_frames(&world);
    tamper(&world, "DELETE FROM log WHERE first_sequence >= 5");
    let what = corrupt(world.try_open(defaults()));
    assert!(what.contains("facts 5 to 6 are missing"), "{what}");
    drop(world.try_open(accepting_loss()).unwrap());
    let (mut store, epoch) = world.taken();
    assert_eq!(2, replayed(&mut *store).len());
    append_all(&mut *store, epoch, &[facts(5, 1)]);
}

#[test]
fn a_deleted_database_is_noticed() {
    let world = Sqlite::default();
    three_frames(&world);
    fs::remove_file(world.path().join(DATABASE)).unwrap();
    let what = corrupt(world.try_open(defaults()));
    assert!(what.contains("facts 1 to 6 are missing"), "{what}");
}

#[test]
fn a_spoiled_watermark_is_noticed() {
    let world = Sqlite::default();
    three_frames(&world);
    let path = world.path().join("watermark");
    let mut text = fs::read(&path).unwrap();
    text[19] = b'5';
    fs::write(&path, &text).unwrap();
    assert!(corrupt(world.try_open(defaults())).contains("watermark"));
    fs::write(&path, &text[..10]).unwrap();
    assert!(corrupt(world.try_open(defaults())).contains("watermark"));
    drop(world.try_open(accepting_loss()).unwrap());
    assert_eq!(2, world.taken().1);
}

#[test]
fn the_watermark_holds_the_last_sequence() {
    let world = Sqlite::default();
    three_frames(&world);
    let text = fs::read_to_string(world.path().join("watermark")).unwrap();
    assert_eq!("00000000000000000006", text.split(' ').next().unwrap());
}

#[test]
fn a_watermark_behind_the_log_is_harmless() {
    let world = Sqlite::default();
    three_frames(&world);
    let path = world.path().join("watermark");
    let behind = fs::read(&path).unwrap();
    let (mut store, epoch) = world.taken();
    append_all(&mut *store, epoch, &[facts(7, 1)]);
    drop(store);
    fs::write(&path, behind).unwrap();
    assert_eq!(4, replayed(&mut *world.open()).len());
    fs::remove_file(&path).unwrap();
    assert_eq!(4, replayed(&mut *world.open()).len());
}

#[test]
fn a_changed_byte_is_noticed_and_its_frame_named() {
    let world = Sqlite::default();
    three_frames(&world);
    tamper(
        &world,
        "UPDATE log SET bytes = CAST('facts from 4' AS BLOB) WHERE first_sequence = 3",
    );
    let what = replay_damaged(&world);
    assert!(
        what.contains("the frame with facts 3 to 4 is damaged"),
        "{what}"
    );
}

#[test]
fn a_changed_count_is_noticed() {
    let world = Sqlite::default();
    three_frames(&world);
    tamper(&world, "UPDATE log SET count = 3 WHERE first_sequence = 3");
    let what = replay_damaged(&world);
    assert!(
        what.contains("the frame with facts 3 to 5 is damaged"),
        "{what}"
    );
}

#[test]
fn a_hole_in_the_log_is_noticed_and_named() {
    let world = Sqlite::default();
    three_frames(&world);
    tamper(&world, "DELETE FROM log WHERE first_sequence = 3");
    let what = replay_damaged(&world);
    assert!(what.contains("facts 3 to 4 are missing"), "{what}");
}

#[test]
fn a_lost_beginning_is_noticed_and_named() {
    let world = Sqlite::default();
    three_frames(&world);
    tamper(&world, "DELETE FROM log WHERE first_sequence = 1");
    let what = replay_damaged(&world);
    assert!(what.contains("facts 1 to 2 are missing"), "{what}");
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let world = Sqlite::default();
    fs::write(world.path().join(DATABASE), [0x55; 8192]).unwrap();
    assert!(corrupt(world.try_open(defaults())).contains("not readable"));
}

#[test]
fn a_database_of_another_program_is_refused() {
    let world = Sqlite::default();
    let theirs = Connection::open(world.path().join(DATABASE)).unwrap();
    theirs.execute_batch("CREATE TABLE theirs (x)").unwrap();
    drop(theirs);
    assert!(corrupt(world.try_open(defaults())).contains("another program"));
}

#[test]
fn a_failed_write_ends_the_store_for_good() {
    let world = Sqlite::default();
    let (mut store, epoch) = world.taken();
    append_all(&mut *store, epoch, &[facts(1, 1)]);
    // Stands for a failing disk: the table the append needs is gone.
    tamper(&world, "DROP TABLE payload");
    let failed = store
        .append(epoch, &with_payloads(2, &[1]))
        .unwrap_err()
        .to_string();
    assert!(failed.contains("appending from sequence 2"), "{failed}");
    let repeated = [
        store.append(epoch, &facts(2, 1)).unwrap_err(),
        store.take(SHARD, "node").unwrap_err(),
        store.replay(&mut |_| Ok(())).unwrap_err(),
        store.idle().unwrap_err(),
        store.headroom().unwrap_err(),
    ];
    for error in repeated {
        assert_eq!(failed, error.to_string());
    }
    assert!(store.reader().is_err());
}

#[test]
fn the_settings_that_durability_rests_on_are_set() {
    let world = Sqlite::default();
    three_frames(&world);
    let connection = connect(&world);
    let pragma = |name: &str| {
        connection.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0))
    };
    assert_eq!(Ok("wal".to_owned().into()), pragma("journal_mode"));
    assert_eq!(Ok(2.into()), pragma("auto_vacuum"), "incremental");
    assert_eq!(Ok(2.into()), pragma("user_version"));
    assert_eq!(
        4,
        fs::read(world.path().join(DATABASE)).unwrap()[20],
        "room for checksums"
    );
    assert!(rusqlite::version_number() >= 3_051_003);
}

#[test]
fn listing_expiry_and_lookups_walk_an_index() {
    let world = Sqlite::default();
    let (mut store, epoch) = world.taken();
    append_all(&mut *store, epoch, &[with_rows(1, [request(10, 1, 1)])]);
    drop(store);
    let connection = connect(&world);
    let plan = |sql: &str| {
        let sql = format!("EXPLAIN QUERY PLAN {sql}");
        connection
            .query_row(&sql, [], |row| row.get::<_, String>(3))
            .unwrap()
    };
    assert_eq!(
        "SEARCH ending USING COVERING INDEX ending_by_tenant (tenant=? AND tag=? AND rowid<?)",
        plan(
            "SELECT number FROM ending WHERE tenant = 'a' AND tag = 1 AND number < 5
             ORDER BY number DESC LIMIT 3"
        )
    );
    assert_eq!(
        "SEARCH expiry USING PRIMARY KEY (class=? AND at_ms<?)",
        plan(
            "SELECT at_ms, number FROM expiry WHERE class = 1 AND at_ms < 5
             ORDER BY at_ms, number LIMIT 1"
        )
    );
    assert_eq!(
        "SEARCH request_10 USING INDEX request_10_by_digest (digest=?)",
        plan("SELECT head FROM request_10 WHERE digest = x'01' ORDER BY id DESC LIMIT 1")
    );
    assert_eq!(
        "SEARCH setting USING PRIMARY KEY ((tenant,name)>(?,?))",
        plan(
            "SELECT tenant, name FROM setting WHERE (tenant, name) > ('a', 'b')
             ORDER BY tenant, name LIMIT 3"
        )
    );
    assert_eq!(
        "SEARCH step USING PRIMARY KEY (number=? AND ordinal>?)",
        plan("SELECT ordinal FROM step WHERE number = 1 AND ordinal >= 2 ORDER BY ordinal LIMIT 3")
    );
}

#[test]
fn churn_leaves_every_checksum_right() {
    let world = Sqlite::default();
    let options = SqliteOptions {
        page_bytes: 1024,
        cache_bytes: 64 << 10,
        checkpoint_bytes: 64 << 10,
        ..defaults()
    };
    let mut store = world.try_open(options).unwrap();
    let epoch = store.take(SHARD, "node").unwrap().epoch;
    for sequence in 1..=120 {
        let mut commit = with_rows(
            sequence,
            ALL.iter().flat_map(|family| {
                let numbers = sequence * 10..sequence * 10 + 10;
                numbers.map(|n| crate::families::row(family, n, 1))
            }),
        );
        commit.frame = vec![7; usize::try_from(sequence % 7).unwrap() * 3_000];
        store.append(epoch, &commit).unwrap();
        let work = backlane_store::Maintenance {
            trim_below_sequence: sequence.saturating_sub(20),
            expire: Some((backlane_store::Class::Execution, 800 + sequence * 10)),
            drop_hours_below: if sequence % 40 == 0 { 12 } else { 0 },
            limit: 40,
        };
        store.maintain(epoch, &work).unwrap();
        if sequence % 5 == 0 {
            store.idle().unwrap();
        }
    }
    let mut reader = store.reader().unwrap();
    let mut newest = ALL.iter().map(|family| kept(&mut *reader, family, &[1209]));
    assert!(newest.all(|found| found == vec![1209]));
    drop((store, reader));
    let report = backlane_store::check_with(world.path(), &crate::families::FORMAT).unwrap();
    assert_eq!(Vec::<String>::new(), report.damage);
}

#[test]
fn idle_moments_give_free_pages_back() {
    let world = Sqlite::default();
    let (mut store, epoch) = world.taken();
    let large = |sequence| backlane_store::Commit {
        frame: vec![1; 9 << 20],
        ..facts(sequence, 1)
    };
    append_all(&mut *store, epoch, &[large(1), large(2), facts(3, 1)]);
    let trim = backlane_store::Maintenance {
        trim_below_sequence: 3,
        limit: 10,
        ..backlane_store::Maintenance::default()
    };
    assert_eq!(2, store.maintain(epoch, &trim).unwrap());
    let full = fs::metadata(world.path().join(DATABASE)).unwrap().len();
    for _ in 0..100 {
        store.idle().unwrap();
    }
    drop(store);
    let left = fs::metadata(world.path().join(DATABASE)).unwrap().len();
    assert!(left < 8 << 20, "{full} became {left}");
}
