//! Disks to open stores on, and short ways to write commits and read rows.
//!
//! Owns what the promises have in common. Refuses to assert.

use std::path::Path;

use backlane_store::{
    Commit, ENDING, Family, Frame, Key, Lookup, MemoryDisk, PAYLOAD, Part, Put, REQUEST, Reader,
    Row, SqliteOptions, SqliteStore, Store, StoreError,
};

use crate::families::{ALL, FORMAT, bytes, listing, row, row_of, stored};

pub(crate) const SHARD: u16 = 7;

/// Something that outlives the stores opened on it, one at a time.
pub(crate) trait World {
    fn open(&self) -> Box<dyn Store>;

    /// Opens a store and takes the shard. Returns the store and its epoch.
    fn taken(&self) -> (Box<dyn Store>, u64) {
        let mut store = self.open();
        let epoch = store.take(SHARD, "node").expect("the shard is free").epoch;
        (store, epoch)
    }
}

pub(crate) struct Memory(pub(crate) MemoryDisk);

impl Default for Memory {
    fn default() -> Self {
        Self(MemoryDisk::with_families(ALL))
    }
}

impl World for Memory {
    fn open(&self) -> Box<dyn Store> {
        Box::new(self.0.store())
    }
}

pub(crate) struct Sqlite(tempfile::TempDir);

impl Default for Sqlite {
    fn default() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }
}

impl Sqlite {
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn try_open(&self, options: SqliteOptions) -> Result<SqliteStore, StoreError> {
        SqliteStore::open_with(self.path(), options, &FORMAT)
    }
}

impl World for Sqlite {
    fn open(&self) -> Box<dyn Store> {
        Box::new(
            self.try_open(SqliteOptions::default())
                .expect("the directory is undamaged"),
        )
    }
}

/// A commit of `count` facts and no rows.
pub(crate) fn facts(first_sequence: u64, count: u32) -> Commit {
    let frame = format!("facts from {first_sequence}").into_bytes();
    Commit {
        first_sequence,
        count,
        frame,
        ..Commit::default()
    }
}

/// A commit of one fact with these rows.
pub(crate) fn with_rows(sequence: u64, rows: impl IntoIterator<Item = Row>) -> Commit {
    Commit {
        rows: rows.into_iter().collect(),
        ..facts(sequence, 1)
    }
}

pub(crate) fn payload(number: u64) -> Row {
    row(&PAYLOAD, number, 0)
}

/// A commit of one fact with the payloads of these numbers.
pub(crate) fn with_payloads(sequence: u64, numbers: &[u64]) -> Commit {
    with_rows(sequence, numbers.iter().map(|number| payload(*number)))
}

pub(crate) fn ending(number: u64, tenant: &str, tag: u8, at_ms: u64) -> Row {
    let put = Put {
        version: 1,
        at_ms,
        listing: Some(listing(tenant, tag)),
        head: bytes(format!("ending {number} at {at_ms}")),
        body: None,
    };
    row_of(&ENDING, Key::Number(number), put)
}

pub(crate) fn request(hour: u32, digest: u8, outcome: u64) -> Row {
    let put = Put {
        head: bytes(outcome.to_le_bytes()),
        ..Put::default()
    };
    let digest = [digest; 16];
    row_of(&REQUEST, Key::Digest { hour, digest }, put)
}

pub(crate) fn frame_of(commit: &Commit) -> Frame {
    Frame {
        first_sequence: commit.first_sequence,
        count: commit.count,
        bytes: commit.frame.clone(),
    }
}

pub(crate) fn replayed(store: &mut dyn Store) -> Vec<Frame> {
    let mut frames = Vec::new();
    store
        .replay(&mut |frame| {
            frames.push(frame);
            Ok(())
        })
        .expect("the log is undamaged");
    frames
}

pub(crate) fn append_all(store: &mut dyn Store, epoch: u64, commits: &[Commit]) {
    for commit in commits {
        store.append(epoch, commit).expect("the commit follows");
    }
}

pub(crate) fn reader(store: &dyn Store) -> Box<dyn Reader> {
    store.reader().expect("a reader")
}

pub(crate) fn found(row: &Row, part: Part) -> Lookup {
    match &row.change {
        backlane_store::Change::Put(put) => Lookup::Found(stored(put, part)),
        backlane_store::Change::Delete | backlane_store::Change::Erase => Lookup::Absent,
    }
}

/// Reads one whole row.
pub(crate) fn get(reader: &mut dyn Reader, family: &'static Family, key: &Key) -> Lookup {
    let keys = std::slice::from_ref(key);
    let mut found = reader.get(family, keys, Part::Whole).expect("a reader");
    found.pop().expect("one outcome for one key")
}

/// The numbers of `asked` that have a row in the family.
pub(crate) fn kept(reader: &mut dyn Reader, family: &'static Family, asked: &[u64]) -> Vec<u64> {
    let has_row = |number: &u64| {
        let key = crate::families::key(family, *number);
        get(reader, family, &key) != Lookup::Absent
    };
    asked
        .iter()
        .copied()
        .filter({
            let mut has_row = has_row;
            move |number| has_row(number)
        })
        .collect()
}
