//! Promises of copies: a backup of a directory in use, and a backup that is put back.
//!
//! Owns those. The commands on top of them check each copy.

use std::fs;
use std::path::Path;

use backlane_store::{
    PAYLOAD, SqliteOptions, SqliteStore, Store, StoreError, backup, check, restore,
};

use crate::files::{DATABASE, WAL};
use crate::world::{SHARD, append_all, facts, kept, reader, replayed, with_payloads};

fn opened(path: &Path) -> SqliteStore {
    SqliteStore::open(path, SqliteOptions::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn taken(path: &Path) -> (SqliteStore, u64) {
    let mut store = opened(path);
    let epoch = store.take(SHARD, "node").unwrap().epoch;
    (store, epoch)
}

/// A store in use, with its last commits in the write-ahead log only.
fn in_use(path: &Path) -> (SqliteStore, u64) {
    let (mut store, epoch) = taken(path);
    append_all(&mut store, epoch, &[with_payloads(1, &[1, 2])]);
    drop(store);
    let (mut store, epoch) = taken(path);
    append_all(&mut store, epoch, &[with_payloads(2, &[3])]);
    (store, epoch)
}

fn damage(path: &Path) -> Vec<String> {
    check(path).unwrap_or_else(|error| panic!("{error}")).damage
}

#[test]
fn a_backup_of_a_store_in_use_holds_every_commit_until_then() {
    let root = tempfile::tempdir().unwrap();
    let (live, copy) = (root.path().join("live"), root.path().join("copy"));
    let (mut store, epoch) = in_use(&live);
    let frames = replayed(&mut store);
    backup(&live, &copy).unwrap_or_else(|error| panic!("{error}"));
    append_all(&mut store, epoch, &[with_payloads(3, &[4])]);

    assert_eq!(Vec::<String>::new(), damage(&copy));
    let (mut backed_up, epoch) = taken(&copy);
    assert_eq!(frames, replayed(&mut backed_up));
    let numbers = [1, 2, 3, 4];
    let found = kept(&mut *reader(&backed_up), &PAYLOAD, &numbers);
    assert_eq!(vec![1, 2, 3], found);
    append_all(&mut backed_up, epoch, &[facts(3, 1)]);
}

#[test]
fn a_backup_knows_where_it_ends() {
    let root = tempfile::tempdir().unwrap();
    let (live, copy) = (root.path().join("live"), root.path().join("copy"));
    let (mut store, epoch) = in_use(&live);
    let at_backup = fs::read(live.join("watermark")).unwrap();
    backup(&live, &copy).unwrap();
    append_all(&mut store, epoch, &[facts(3, 1)]);
    assert_eq!(at_backup, fs::read(copy.join("watermark")).unwrap());
}

#[test]
fn a_backup_of_a_log_that_is_too_short_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let (live, cut) = (root.path().join("live"), root.path().join("cut"));
    let _store = in_use(&live);
    fs::create_dir(&cut).unwrap();
    for file in [DATABASE, "watermark"] {
        fs::copy(live.join(file), cut.join(file)).unwrap();
    }
    let refused = backup(&cut, &root.path().join("copy"));
    let Err(StoreError::Corrupt { what }) = refused else {
        panic!("{refused:?}");
    };
    assert!(what.contains('2'), "{what}");
}

#[test]
fn a_restored_backup_has_its_log_moved_along() {
    let root = tempfile::tempdir().unwrap();
    let (live, backup) = (root.path().join("live"), root.path().join("backup"));
    let new = root.path().join("new");
    let (mut store, _) = in_use(&live);
    fs::create_dir(&backup).unwrap();
    for file in [DATABASE, WAL, "watermark"] {
        fs::copy(live.join(file), backup.join(file)).unwrap();
    }
    restore(&backup, &new, false).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(Vec::<String>::new(), damage(&new));
    assert_eq!(replayed(&mut store), replayed(&mut opened(&new)));
}

#[test]
fn a_copy_with_a_later_watermark_is_restored_if_the_loss_is_accepted() {
    let root = tempfile::tempdir().unwrap();
    let (live, copy) = (root.path().join("live"), root.path().join("copy"));
    let _store = in_use(&live);
    fs::create_dir(&copy).unwrap();
    for file in [DATABASE, "watermark"] {
        fs::copy(live.join(file), copy.join(file)).unwrap();
    }
    let (refused, accepted) = (root.path().join("refused"), root.path().join("accepted"));
    restore(&copy, &refused, false).unwrap();
    assert_eq!(1, damage(&refused).len());
    let error = SqliteStore::open(&refused, SqliteOptions::default()).map(|_| ());
    let way_out = error.unwrap_err().to_string();
    assert!(
        way_out.contains("backlane serve --accept-loss"),
        "{way_out}"
    );
    restore(&copy, &accepted, true).unwrap();
    assert_eq!(Vec::<String>::new(), damage(&accepted));
    assert_eq!(1, replayed(&mut opened(&accepted)).len());
}

#[test]
fn a_directory_in_use_is_not_restored_from() {
    let root = tempfile::tempdir().unwrap();
    let live = root.path().join("live");
    let _store = in_use(&live);
    let refused = restore(&live, &root.path().join("new"), false);
    assert!(
        matches!(refused, Err(StoreError::InUse { .. })),
        "{refused:?}"
    );
}
