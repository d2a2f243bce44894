//! Promises of the store on `SQLite` about the disk under it: files that are gone are noticed, the
//! reserve is kept, the write-ahead log stays short, and each commit is synced.
//!
//! Owns those. A disk that is really full needs a small file system: `tests/disk` has one.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use backlane_store::sqlite::log_syncs_of_this_thread;
use backlane_store::{Commit, SqliteOptions, Store, StoreError};
use rusqlite::Connection;

use crate::files::{DATABASE, WAL, connect};
use crate::world::{SHARD, Sqlite, World, append_all, facts};

fn removed(store: &mut dyn Store) -> String {
    match store.headroom() {
        Err(StoreError::Removed { path }) => path.file_name().unwrap().to_string_lossy().into(),
        other => panic!("{other:?}"),
    }
}

fn in_use() -> (Sqlite, Box<dyn Store>, u64) {
    let world = Sqlite::default();
    let (mut store, epoch) = world.taken();
    append_all(&mut *store, epoch, &[facts(1, 1)]);
    assert!(store.headroom().is_ok());
    (world, store, epoch)
}

#[test]
fn a_file_that_was_removed_is_noticed_and_ends_the_store() {
    for file in [DATABASE, WAL, "backlane.db-shm", "watermark", "LOCK"] {
        let (world, mut store, epoch) = in_use();
        fs::remove_file(world.path().join(file)).unwrap();
        assert_eq!(file, removed(&mut *store));
        let refused = store.append(epoch, &facts(2, 1)).unwrap_err().to_string();
        assert!(refused.contains(file), "{refused}");
    }
}

#[test]
fn a_file_that_was_replaced_by_a_copy_is_noticed() {
    let (world, mut store, _) = in_use();
    let (path, copy) = (world.path().join(DATABASE), world.path().join("copy"));
    fs::copy(&path, &copy).unwrap();
    fs::rename(&copy, &path).unwrap();
    assert_eq!(DATABASE, removed(&mut *store));
}

#[test]
fn a_directory_that_was_removed_or_moved_is_noticed() {
    let (world, mut store, _) = in_use();
    let moved = world.path().with_extension("moved");
    fs::rename(world.path(), &moved).unwrap();
    removed(&mut *store);
    fs::rename(&moved, world.path()).unwrap();
    let (world, mut store, _) = in_use();
    fs::remove_dir_all(world.path()).unwrap();
    removed(&mut *store);
}

fn allocated(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.blocks() * 512)
}

#[test]
fn the_reserve_is_allocated_from_the_start_and_is_no_room_for_new_executions() {
    let (world, mut store, _) = in_use();
    let reserve = SqliteOptions::default().reserve_bytes;
    assert!(allocated(&world.path().join("reserve")) >= reserve);
    let headroom = store.headroom().unwrap();
    assert_eq!(reserve, headroom.reserve_bytes);
    assert!(headroom.room_bytes < headroom.free_bytes);
}

/// Reads for ever, in turns with another reader, so that one of them is always in a transaction
/// and none of them is in one for long.
fn read_in_turns(reader: &Connection, others: &Receiver<()>, mine: &Sender<()>, end: &AtomicBool) {
    while !end.load(Ordering::SeqCst) {
        reader
            .execute_batch("BEGIN; SELECT count(*) FROM log")
            .unwrap();
        let goes_on = mine.send(()).is_ok() && others.recv().is_ok();
        reader.execute_batch("COMMIT").unwrap();
        if !goes_on {
            return;
        }
    }
}

#[test]
fn the_write_ahead_log_stays_short_while_readers_are_never_all_idle() {
    const MIB: usize = 1 << 20;
    let world = Sqlite::default();
    let mut store = world
        .try_open(SqliteOptions {
            checkpoint_bytes: MIB as u64,
            ..SqliteOptions::default()
        })
        .unwrap();
    let epoch = store.take(SHARD, "node").unwrap().epoch;
    let end = AtomicBool::new(false);
    let (first, second) = (connect(&world), connect(&world));
    let ((to_first, by_second), (to_second, by_first)) = (channel(), channel());
    let mut longest = 0;
    thread::scope(|threads| {
        let end = &end;
        threads.spawn(move || read_in_turns(&first, &by_second, &to_second, end));
        threads.spawn(move || {
            // The first is in a transaction before this one begins.
            if by_first.recv().is_ok() {
                read_in_turns(&second, &by_first, &to_first, end);
            }
        });
        for sequence in 1..=48 {
            let commit = Commit {
                frame: vec![7; MIB / 2],
                ..facts(sequence, 1)
            };
            append_all(&mut store, epoch, &[commit]);
            let wal = fs::metadata(world.path().join(WAL)).unwrap().len();
            longest = longest.max(wal);
        }
        end.store(true, Ordering::SeqCst);
    });
    // Of 24 MiB that were written.
    assert!(longest < 12 * MIB as u64, "{longest}");
}

#[test]
fn each_commit_is_synced_before_it_is_acknowledged() {
    let world = Sqlite::default();
    let (mut store, epoch) = world.taken();
    for sequence in 1..=20 {
        let before = log_syncs_of_this_thread();
        append_all(&mut *store, epoch, &[facts(sequence, 1)]);
        assert!(log_syncs_of_this_thread() > before, "commit {sequence}");
    }
}
