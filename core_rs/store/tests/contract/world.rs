//! Disks to open stores on, and short ways to write commits.
//!
//! Owns what the promises have in common. Refuses to assert.

use std::path::Path;
use std::sync::Arc;

use backlane_store::{
    Bytes, Commit, FinishedRow, Frame, MemoryDisk, Reader, RequestRow, SqliteOptions, SqliteStore,
    Store, StoreError,
};

pub(crate) const SHARD: u16 = 7;

/// Something that outlives the stores opened on it, one at a time.
pub(crate) trait World {
    fn open(&self) -> Box<dyn Store>;

    /// A store that holds the shard, and its epoch.
    fn taken(&self) -> (Box<dyn Store>, u64) {
        let mut store = self.open();
        let epoch = store.take(SHARD, "node").expect("the shard is free").epoch;
        (store, epoch)
    }
}

#[derive(Default)]
pub(crate) struct Memory(pub(crate) MemoryDisk);

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
        SqliteStore::open(self.path(), options)
    }
}

impl World for Sqlite {
    fn open(&self) -> Box<dyn Store> {
        Box::new(
            self.try_open(SqliteOptions::default())
                .expect("the directory is sound"),
        )
    }
}

pub(crate) fn bytes(content: &[u8]) -> Bytes {
    Arc::from(content)
}

/// A commit of `count` facts and nothing else.
pub(crate) fn facts(first_sequence: u64, count: u32) -> Commit {
    let frame = format!("facts from {first_sequence}").into_bytes();
    Commit {
        first_sequence,
        count,
        frame,
        ..Commit::default()
    }
}

/// A commit of one fact with these payloads.
pub(crate) fn with_payloads(sequence: u64, births: &[u64]) -> Commit {
    let payload = |birth: &u64| (*birth, bytes(format!("payload {birth}").as_bytes()));
    Commit {
        payloads: births.iter().map(payload).collect(),
        ..facts(sequence, 1)
    }
}

/// A commit of one fact with these endings.
pub(crate) fn with_finished(sequence: u64, finished: Vec<FinishedRow>) -> Commit {
    Commit {
        finished,
        ..facts(sequence, 1)
    }
}

/// A commit of one fact with these requests.
pub(crate) fn with_requests(sequence: u64, requests: Vec<RequestRow>) -> Commit {
    Commit {
        requests,
        ..facts(sequence, 1)
    }
}

pub(crate) fn ending(birth: u64, tenant: &str, status: u8, finished_at_ms: u64) -> FinishedRow {
    let ending = bytes(format!("ending {birth} at {finished_at_ms}").as_bytes());
    FinishedRow {
        birth,
        tenant: tenant.into(),
        status,
        finished_at_ms,
        ending,
    }
}

pub(crate) fn request(hour: u32, key: u8, first_birth: u64) -> RequestRow {
    RequestRow {
        hour,
        key: [key; 16],
        body: [key ^ 0xff; 16],
        first_birth,
        count: 3,
        // Odd keys stand for executions that are not in a row.
        listed: if key % 2 == 1 {
            vec![first_birth + 5, 1]
        } else {
            Vec::new()
        },
    }
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
        .expect("the log is sound");
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

pub(crate) fn births(rows: &[FinishedRow]) -> Vec<u64> {
    rows.iter().map(|row| row.birth).collect()
}
