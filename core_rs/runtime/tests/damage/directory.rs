//! Data directories that no server uses: copies, and changes of their files.
//!
//! Owns the names of the files. Refuses to know what the database means.

use std::fs;
use std::path::{Path, PathBuf};

use backlane_store::sqlite::VFS_NAME;
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

/// The bytes of a page of a new database.
pub(crate) const PAGE_BYTES: usize = 4096;

const DATABASE: &str = "backlane.db";
const WATERMARK: &str = "watermark";

/// The files of a directory, in memory.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) database: Vec<u8>,
    pub(crate) watermark: Vec<u8>,
}

impl Image {
    /// Copies the files of a directory whose server was stopped.
    pub(crate) fn of(path: &Path) -> Self {
        assert!(!path.join("backlane.db-wal").exists(), "the server runs");
        let read = |name| fs::read(path.join(name)).expect("the file is there");
        Self {
            database: read(DATABASE),
            watermark: read(WATERMARK),
        }
    }

    /// A new directory with these files.
    pub(crate) fn placed(&self) -> Directory {
        let directory = Directory::new();
        let write = |name, bytes| fs::write(directory.path().join(name), bytes).expect("writing");
        write(DATABASE, &self.database);
        write(WATERMARK, &self.watermark);
        directory
    }

    /// A new directory with these files and a database that is changed.
    pub(crate) fn damaged(&self, change: impl FnOnce(&mut [u8])) -> Directory {
        let mut image = self.clone();
        change(&mut image.database);
        image.placed()
    }

    pub(crate) fn pages(&self) -> usize {
        self.database.len() / PAGE_BYTES
    }
}

/// Flips one bit of a page.
pub(crate) fn flip(database: &mut [u8], page: usize, bit: usize) {
    database[page * PAGE_BYTES + bit / 8] ^= 1 << (bit % 8);
}

/// A data directory that is removed at the end of the test.
#[derive(Debug)]
pub(crate) struct Directory(TempDir);

impl Directory {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// A place in the directory at which nothing is yet.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Changes the database with SQL. The pages keep right checksums, and the rows do not. A
    /// server must have been opened in this process: that registers the checksums of pages.
    pub(crate) fn tamper(&self, sql: &str) {
        let path = self.path().join(DATABASE);
        let database = Connection::open_with_flags_and_vfs(path, OpenFlags::default(), VFS_NAME);
        let database = database.expect("the database opens");
        let changed = database.execute(sql, []).expect("the statement runs");
        assert!(changed > 0, "nothing was changed by: {sql}");
    }
}
