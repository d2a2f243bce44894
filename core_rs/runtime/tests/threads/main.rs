//! The threads around a shard, where one of them fails.

use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use backlane_runtime::{Clock, Method, Runtime, Settings, UnaryCall};
use backlane_store::{
    Bytes, Commit, FinishedRow, Frame, Headroom, Maintenance, MemoryDisk, MemoryStore, Reader,
    RequestRow, Store, StoreError, Taken,
};

/// A store that writes well and whose lists cannot be read.
struct Unreadable(MemoryStore);

impl Store for Unreadable {
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
        self.0.append(epoch, commit)
    }

    fn maintain(&mut self, epoch: u64, work: &Maintenance) -> Result<usize, StoreError> {
        self.0.maintain(epoch, work)
    }

    fn idle(&mut self) -> Result<(), StoreError> {
        self.0.idle()
    }

    fn headroom(&self) -> Result<Headroom, StoreError> {
        self.0.headroom()
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        Ok(Box::new(BrokenReader(self.0.reader()?)))
    }
}

struct BrokenReader(Box<dyn Reader>);

impl Reader for BrokenReader {
    fn payloads(&mut self, births: &[u64]) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.0.payloads(births)
    }

    fn finished(&mut self, births: &[u64]) -> Result<Vec<Option<FinishedRow>>, StoreError> {
        self.0.finished(births)
    }

    fn list_finished(
        &mut self,
        _: &str,
        _: Option<u8>,
        _: u64,
        _: usize,
    ) -> Result<Vec<FinishedRow>, StoreError> {
        Err(StoreError::Corrupt {
            what: "a page that cannot be read".into(),
        })
    }

    fn requests(
        &mut self,
        keys: &[[u8; 16]],
        since_hour: u32,
    ) -> Result<Vec<Option<RequestRow>>, StoreError> {
        self.0.requests(keys, since_hour)
    }

    fn request_keys(
        &mut self,
        hour: u32,
        after: u64,
        limit: usize,
    ) -> Result<(Vec<[u8; 16]>, Option<u64>), StoreError> {
        self.0.request_keys(hour, after, limit)
    }
}

#[test]
fn a_failed_reader_is_told_and_the_threads_still_end() {
    let store = Box::new(Unreadable(MemoryDisk::new().store()));
    let clock = Clock::standing_at(1_800_000_000_000);
    let runtime = Runtime::start(store, "node", Settings::default(), Box::new(|| 7), clock);
    let runtime = runtime.unwrap_or_else(|error| panic!("{error}"));
    runtime.call(UnaryCall {
        ticket: runtime.ticket(),
        method: Method::List,
        principal: std::sync::Arc::default(),
        timeout_ms: None,
        // A ListRequest of tenant "t".
        bytes: vec![0x0A, 1, b't'],
    });
    runtime.wake();

    let (ended, end) = channel();
    thread::spawn(move || {
        while runtime.failure().is_none() {
            thread::yield_now();
        }
        let why = runtime.failure();
        runtime.stop();
        let _ = ended.send(why);
    });
    let why = end.recv_timeout(Duration::from_secs(30)).ok().flatten();

    let named = why.is_some_and(|why| why.contains("a page that cannot be read"));
    assert!(
        named,
        "the failure names what cannot be read, and every thread ended"
    );
}
