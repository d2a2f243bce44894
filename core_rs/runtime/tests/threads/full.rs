//! A disk that is full, or gone, under the threads around a shard.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use backlane_runtime::{CompletionKind, Method, Runtime, UnaryCall};
use backlane_store::{
    Commit, Frame, Headroom, Maintenance, MemoryDisk, MemoryStore, Reader, Store, StoreError, Taken,
};

use crate::started;

/// What a test controls of a [`Tight`] store.
#[derive(Default)]
struct Valve {
    /// Appends that are refused from now on.
    refusals: AtomicUsize,
    /// Bytes that new executions may use; 0 for plenty.
    room_bytes: AtomicU64,
    /// Looks that find the files removed, from this number of appends on; 0 for none.
    removed_from: AtomicUsize,
    appends: AtomicUsize,
}

/// A store in memory on a disk that may be full or gone.
struct Tight(MemoryStore, Arc<Valve>);

impl Store for Tight {
    fn take(&mut self, shard: u16, node: &str) -> Result<Taken, StoreError> {
        self.0.take(shard, node)
    }

    fn replay(
        &mut self,
        each: &mut dyn FnMut(Frame) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.0.replay(each)
    }

    fn append(&mut self, epoch: u64, commit: &Commit) -> Result<(), StoreError> {
        let left = self.1.refusals.load(Ordering::SeqCst);
        if left > 0 {
            self.1.refusals.store(left - 1, Ordering::SeqCst);
            return Err(StoreError::Full {
                path: PathBuf::from("DATA"),
                free_bytes: 9,
            });
        }
        self.1.appends.fetch_add(1, Ordering::SeqCst);
        self.0.append(epoch, commit)
    }

    fn maintain(&mut self, epoch: u64, work: &Maintenance) -> Result<usize, StoreError> {
        self.0.maintain(epoch, work)
    }

    fn idle(&mut self) -> Result<(), StoreError> {
        self.0.idle()
    }

    fn headroom(&mut self) -> Result<Headroom, StoreError> {
        let from = self.1.removed_from.load(Ordering::SeqCst);
        if from > 0 && self.1.appends.load(Ordering::SeqCst) >= from {
            let path = PathBuf::from("DATA/backlane.db");
            return Err(StoreError::Removed { path });
        }
        let headroom = self.0.headroom()?;
        Ok(match self.1.room_bytes.load(Ordering::SeqCst) {
            0 => headroom,
            room_bytes => Headroom {
                room_bytes,
                ..headroom
            },
        })
    }

    fn place(&self) -> String {
        "DATA".to_owned()
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        self.0.reader()
    }
}

fn tight() -> (Runtime, Arc<Valve>) {
    let valve = Arc::<Valve>::default();
    let store = Tight(MemoryDisk::new().store(), valve.clone());
    (started(Box::new(store)), valve)
}

fn enqueue(runtime: &Runtime) {
    runtime.call(UnaryCall {
        ticket: runtime.ticket(),
        method: Method::Enqueue,
        principal: Arc::default(),
        timeout_ms: None,
        // An EnqueueRequest of tenant "t" and callable "f".
        bytes: vec![0x0A, 1, b't', 0x12, 1, b'f'],
    });
    runtime.wake();
}

/// The next completion, as a word or the line of a notice.
fn next(runtime: &Runtime, seen: &mut Vec<String>) -> String {
    while seen.is_empty() && runtime.failure().is_none() {
        seen.extend(runtime.drain().into_iter().map(|done| match done.kind {
            CompletionKind::Reply(_) => "reply".to_owned(),
            CompletionKind::Error { message, .. } => message,
            CompletionKind::Notice(line) => line,
            other => panic!("{other:?}"),
        }));
        thread::yield_now();
    }
    if seen.is_empty() {
        return runtime.failure().unwrap_or_default();
    }
    seen.remove(0)
}

#[test]
fn a_commit_waits_for_room_and_is_then_acknowledged() {
    let (runtime, valve) = tight();
    valve.refusals.store(2, Ordering::SeqCst);
    enqueue(&runtime);
    let mut seen = Vec::new();
    let line = next(&runtime, &mut seen);
    assert!(line.contains("the disk of DATA is full: 9 bytes"), "{line}");
    assert!(line.contains("The reserve is used up"), "{line}");
    assert_eq!("reply", next(&runtime, &mut seen));
    assert_eq!(None, runtime.failure());
    assert_eq!(1, valve.appends.load(Ordering::SeqCst));
}

#[test]
fn a_server_that_waits_for_room_can_be_stopped_and_acknowledges_nothing() {
    let (runtime, valve) = tight();
    valve.refusals.store(usize::MAX, Ordering::SeqCst);
    enqueue(&runtime);
    let mut seen = Vec::new();
    next(&runtime, &mut seen);
    runtime.stop();
    assert!(runtime.failure().is_some_and(|why| why.contains("is full")));
    assert_eq!(Vec::<String>::new(), seen);
    assert!(runtime.drain().is_empty());
}

#[test]
fn a_full_disk_is_told_with_its_path_and_free_bytes_and_so_is_its_end() {
    let (runtime, valve) = tight();
    let mut seen = Vec::new();
    valve.room_bytes.store(1, Ordering::SeqCst);
    let line = next(&runtime, &mut seen);
    assert!(line.contains("the disk of DATA is full: 10995"), "{line}");
    assert!(line.contains("DISK_FULL"), "{line}");
    assert!(runtime.disk().is_full);
    enqueue(&runtime);
    let refused = next(&runtime, &mut seen);
    assert!(refused.contains("disk"), "{refused}");
    valve.room_bytes.store(0, Ordering::SeqCst);
    let line = next(&runtime, &mut seen);
    assert!(
        line.contains("the disk of DATA has room again: 10995"),
        "{line}"
    );
    // The writer tells of the room before the shard has heard of it.
    let mut answers = (0..1_000).map(|_| {
        enqueue(&runtime);
        next(&runtime, &mut seen)
    });
    assert!(answers.any(|answer| answer == "reply"));
    assert!(!runtime.disk().is_full);
}

#[test]
fn a_commit_into_removed_files_is_not_acknowledged() {
    let (runtime, valve) = tight();
    valve.removed_from.store(1, Ordering::SeqCst);
    enqueue(&runtime);
    let failure = next(&runtime, &mut Vec::new());
    assert!(
        failure.contains("DATA/backlane.db was removed"),
        "{failure}"
    );
    runtime.stop();
    assert!(runtime.drain().is_empty());
}
