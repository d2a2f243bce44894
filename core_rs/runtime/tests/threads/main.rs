//! Failures of the threads around a shard.

mod full;

use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use backlane_runtime::{Clock, CompletionKind, Method, Random, Runtime, Settings, UnaryCall};
use backlane_store::{
    Commit, Damage, Family, Frame, Headroom, Key, Lookup, Maintenance, MemoryDisk, MemoryStore,
    Part, Reader, Store, StoreError, Taken,
};

/// A store that writes normally and whose lists cannot be read.
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

    fn headroom(&mut self) -> Result<Headroom, StoreError> {
        self.0.headroom()
    }

    fn place(&self) -> String {
        self.0.place()
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        Ok(Box::new(BrokenReader(self.0.reader()?)))
    }
}

struct BrokenReader(Box<dyn Reader>);

impl Reader for BrokenReader {
    fn get(
        &mut self,
        family: &'static Family,
        keys: &[Key],
        part: Part,
    ) -> Result<Vec<Lookup>, StoreError> {
        self.0.get(family, keys, part)
    }

    fn of_number(
        &mut self,
        family: &'static Family,
        number: u64,
        from: u32,
        limit: usize,
    ) -> Result<Vec<(u32, Lookup)>, StoreError> {
        self.0.of_number(family, number, from, limit)
    }

    fn list(
        &mut self,
        family: &'static Family,
        _: &str,
        _: Option<u8>,
        _: u64,
        _: usize,
    ) -> Result<Vec<u64>, StoreError> {
        Err(StoreError::Damaged(Damage {
            family: family.name,
            key: "the index".into(),
            what: "a page that cannot be read".into(),
        }))
    }

    fn all(
        &mut self,
        family: &'static Family,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Lookup)>, StoreError> {
        self.0.all(family, after, limit)
    }

    fn digests(
        &mut self,
        family: &'static Family,
        digests: &[[u8; 16]],
        since_hour: u32,
    ) -> Result<Vec<Lookup>, StoreError> {
        self.0.digests(family, digests, since_hour)
    }

    fn digests_of_hour(
        &mut self,
        family: &'static Family,
        hour: u32,
        after: u64,
        limit: usize,
    ) -> Result<(Vec<[u8; 16]>, Option<u64>), StoreError> {
        self.0.digests_of_hour(family, hour, after, limit)
    }
}

fn started(store: Box<dyn Store>) -> Runtime {
    started_with(store, Box::new(|| 7))
}

fn started_with(store: Box<dyn Store>, random: Random) -> Runtime {
    let clock = Clock::standing_at(1_800_000_000_000);
    let runtime = Runtime::start(store, "node", Settings::default(), random, clock);
    runtime.unwrap_or_else(|error| panic!("{error}"))
}

/// Enqueues an execution.
fn enqueue(runtime: &Runtime) {
    runtime.call(UnaryCall {
        ticket: runtime.ticket(),
        method: Method::Enqueue,
        principal: std::sync::Arc::default(),
        timeout_ms: None,
        // An EnqueueRequest of tenant "t" and callable "f".
        bytes: vec![0x0A, 1, b't', 0x12, 1, b'f'],
    });
    runtime.wake();
}

/// Asks for a list and returns the first completion.
fn list(runtime: &Runtime) -> CompletionKind {
    runtime.call(UnaryCall {
        ticket: runtime.ticket(),
        method: Method::List,
        principal: std::sync::Arc::default(),
        timeout_ms: None,
        // A ListRequest of tenant "t".
        bytes: vec![0x0A, 1, b't'],
    });
    runtime.wake();
    loop {
        if let Some(completion) = runtime.drain().into_iter().next() {
            return completion.kind;
        }
        thread::yield_now();
    }
}

#[test]
fn a_failed_read_is_the_error_of_one_reply_and_the_server_continues() {
    let (told, answers) = channel();
    thread::spawn(move || {
        let runtime = started(Box::new(Unreadable(MemoryDisk::new().store())));
        let answers = [list(&runtime), list(&runtime)];
        let failure = runtime.failure();
        runtime.stop();
        let _ = told.send((answers, failure));
    });
    let (answers, failure) = answers
        .recv_timeout(Duration::from_secs(30))
        .expect("both lists are answered, and every thread ends");
    for answer in answers {
        let CompletionKind::Error { code, message, .. } = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(15, code, "DATA_LOSS");
        assert!(message.contains("a page that cannot be read"), "{message}");
    }
    assert_eq!(None, failure);
}

/// A store that does something else before each append.
struct Before<F>(F, MemoryStore);

impl<F: FnMut() + Send> Store for Before<F> {
    fn take(&mut self, shard: u16, node: &str) -> Result<Taken, StoreError> {
        self.1.take(shard, node)
    }

    fn replay(
        &mut self,
        each: &mut dyn FnMut(Frame) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.1.replay(each)
    }

    fn append(&mut self, epoch: u64, commit: &Commit) -> Result<(), StoreError> {
        (self.0)();
        self.1.append(epoch, commit)
    }

    fn maintain(&mut self, epoch: u64, work: &Maintenance) -> Result<usize, StoreError> {
        self.1.maintain(epoch, work)
    }

    fn idle(&mut self) -> Result<(), StoreError> {
        self.1.idle()
    }

    fn headroom(&mut self) -> Result<Headroom, StoreError> {
        self.1.headroom()
    }

    fn place(&self) -> String {
        self.1.place()
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        self.1.reader()
    }
}

#[test]
fn a_panic_of_a_core_thread_fails_the_server() {
    let (told, end) = channel();
    thread::spawn(move || {
        let panics = || panic!("a defect of the store");
        let runtime = started(Box::new(Before(panics, MemoryDisk::new().store())));
        enqueue(&runtime);
        while runtime.failure().is_none() {
            thread::yield_now();
        }
        let why = runtime.failure();
        runtime.stop();
        let _ = told.send(why);
    });
    let why = end.recv_timeout(Duration::from_secs(30)).ok().flatten();
    let expected = "the writer thread of the core panicked";
    assert_eq!(Some(expected.to_owned()), why);
}

#[test]
fn a_panic_of_the_shard_fails_the_server_whatever_thread_it_is_on() {
    let (told, end) = channel();
    thread::spawn(move || {
        let store = Box::new(MemoryDisk::new().store());
        let runtime = started_with(store, Box::new(|| panic!("a defect of the shard")));
        enqueue(&runtime);
        while runtime.failure().is_none() {
            thread::yield_now();
        }
        let why = runtime.failure();
        let answers = runtime.drain();
        runtime.stop();
        let _ = told.send((why, answers));
    });
    let (why, answers) = end
        .recv_timeout(Duration::from_secs(30))
        .expect("every thread ends");
    assert_eq!(Some("the shard of the core panicked".to_owned()), why);
    assert!(answers.is_empty(), "{answers:?}");
}

#[test]
fn a_call_that_is_decided_by_its_own_thread_waits_for_no_disk_but_its_reply_does() {
    let (disk, go_on) = channel::<()>();
    let (told, end) = channel();
    thread::spawn(move || {
        // The disk stands still from its first commit until the test lets it go on.
        let waits = move || {
            let _ = go_on.recv();
        };
        let runtime = started(Box::new(Before(waits, MemoryDisk::new().store())));
        // Until one of them found the shard free.
        loop {
            let (direct, steps) = (runtime.direct_steps(), runtime.steps());
            enqueue(&runtime);
            if runtime.direct_steps() > direct {
                break;
            }
            while runtime.steps() == steps {
                thread::yield_now();
            }
        }
        let early = runtime.drain();
        drop(disk);
        let answer = loop {
            if let Some(completion) = runtime.drain().into_iter().next() {
                break completion.kind;
            }
            thread::yield_now();
        };
        runtime.stop();
        let _ = told.send((early, answer));
    });
    let (early, answer) = end
        .recv_timeout(Duration::from_secs(30))
        .expect("the reply comes once the disk goes on");
    assert!(early.is_empty(), "{early:?}");
    assert!(matches!(answer, CompletionKind::Reply(_)), "{answer:?}");
}
