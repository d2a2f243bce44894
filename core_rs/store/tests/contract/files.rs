//! Short ways to change the files of a data directory, for the tests of `SQLite` stores.
//!
//! Owns the names of the files, and the tests of their permissions. Refuses to know promises.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use backlane_store::{SqliteOptions, SqliteStore, StoreError};
use rusqlite::{Connection, OpenFlags};

use crate::world::{Sqlite, World, append_all, with_payloads};

pub(crate) const DATABASE: &str = "backlane.db";
pub(crate) const WAL: &str = "backlane.db-wal";

/// Opens the database of a directory through the page checksums, as a store does.
pub(crate) fn connect(world: &Sqlite) -> Connection {
    let path = world.path().join(DATABASE);
    // Opening any store registers the checksums.
    drop(Sqlite::default().open());
    let vfs = backlane_store::sqlite::VFS_NAME;
    Connection::open_with_flags_and_vfs(path, OpenFlags::default(), vfs).unwrap()
}

/// Changes the database of a closed directory with SQL. The pages keep right checksums.
pub(crate) fn tamper(world: &Sqlite, sql: &str) {
    connect(world).execute_batch(sql).unwrap();
}

/// Copies the files that a process killed at this moment leaves.
pub(crate) fn crash_image(path: &Path) -> Sqlite {
    let image = Sqlite::default();
    for file in [DATABASE, WAL, "watermark", "LOCK"] {
        if path.join(file).exists() {
            fs::copy(path.join(file), image.path().join(file)).unwrap();
        }
    }
    image
}

/// What a refusal says about the damage.
pub(crate) fn corrupt(result: Result<impl Sized, StoreError>) -> String {
    match result {
        Err(StoreError::Corrupt { what }) => what,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("the damage was not noticed"),
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn only_the_servers_user_may_read_the_directory_and_its_files() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a/b");
    // No other test depends on the mask.
    let mask = rustix::process::umask(rustix::fs::Mode::empty());
    let mut store = SqliteStore::open(&path, SqliteOptions::default()).unwrap();
    let epoch = backlane_store::Store::take(&mut store, 1, "node")
        .unwrap()
        .epoch;
    append_all(&mut store, epoch, &[with_payloads(1, &[1])]);
    rustix::process::umask(mask);
    assert_eq!(0o700, mode(&path));
    let mut files: Vec<_> = fs::read_dir(&path)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let expected = [
        "LOCK",
        "backlane.db",
        "backlane.db-shm",
        "backlane.db-wal",
        "reserve",
        "watermark",
    ];
    assert_eq!(expected.to_vec(), files);
    for file in files {
        assert_eq!(0o600, mode(&path.join(&file)), "{file}");
    }
}
