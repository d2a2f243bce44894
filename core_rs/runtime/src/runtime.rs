//! The runtime: the threads around one shard.
//!
//! Owns the inbox, the outbox, and the threads that step the shard, write and read. Refuses to
//! wait for whoever takes the completions: it raises an eventfd and goes on.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use backlane_store::{REQUEST, Reader, Store, StoreError};
use backlane_wire::ApiError;
use parking_lot::{Condvar, Mutex};

use crate::clock::{Clock, LOOK_EVERY_MS};
use crate::flow::{Flow, MOST_BYTES};
use crate::message::{Completion, CompletionKind, Input, Output, Query, ReadId, Ticket, UnaryCall};
use crate::reader;
use crate::recover::{RecoverError, recover, request_hours};
use crate::shard::{Random, Settings, Shard};
use crate::writer::{Work, Writer, WriterDoor};

const READERS: usize = 2;
/// Request ids read in one portion when a server starts.
const REQUEST_PORTION: usize = 10_000;

struct Shared {
    inbox: Mutex<Vec<Input>>,
    came: Condvar,
    outbox: Mutex<Vec<Completion>>,
    bell: File,
    flow: Flow,
    failure: Mutex<Option<String>>,
    stopping: AtomicBool,
    steps: AtomicU64,
    permit_drift: AtomicU64,
}

impl Shared {
    fn tell(&self, input: Input) {
        self.put(input);
        self.came.notify_one();
    }

    /// Leaves something for the shard without waking it.
    fn put(&self, input: Input) {
        self.inbox.lock().push(input);
    }

    fn publish(&self, mut completions: Vec<Completion>) {
        if completions.is_empty() {
            return;
        }
        let mut outbox = self.outbox.lock();
        let ring = outbox.is_empty();
        outbox.append(&mut completions);
        drop(outbox);
        if ring {
            self.ring();
        }
    }

    fn ring(&self) {
        // The counter is far from full; a bell that rings already needs no second ring.
        let _ = (&self.bell).write(&1_u64.to_ne_bytes());
    }

    /// Nothing may be acknowledged any more.
    fn fail(&self, why: &str) {
        self.failure.lock().get_or_insert_with(|| why.to_owned());
        self.stopping.store(true, Ordering::SeqCst);
        self.came.notify_one();
        self.ring();
    }
}

/// One shard with its threads.
pub struct Runtime {
    shared: Arc<Shared>,
    next_ticket: AtomicU64,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Runtime {
    /// Takes the shard of a store, recovers it and starts its threads.
    ///
    /// # Errors
    /// [`RecoverError`], naming what is damaged or missing.
    pub fn start(
        mut store: Box<dyn Store>,
        node: &str,
        settings: Settings,
        random: Random,
        mut clock: Clock,
    ) -> Result<Self, RecoverError> {
        let now = clock.now();
        let recovered = recover(&mut *store, node, settings, random, now)?;
        let bell = eventfd()?;
        let shared = Arc::new(Shared {
            inbox: Mutex::default(),
            came: Condvar::new(),
            outbox: Mutex::default(),
            bell,
            flow: Flow::default(),
            failure: Mutex::default(),
            stopping: AtomicBool::new(false),
            steps: AtomicU64::new(0),
            permit_drift: AtomicU64::new(0),
        });
        let (writer, work) = channel();
        let mut threads = Vec::new();
        let learner = store.reader()?;
        let hours = request_hours(&recovered, now);
        threads.push(start_learner(&shared, learner, hours, writer.clone()));
        let mut readers = Vec::new();
        for _ in 0..READERS {
            let (door, queries) = channel();
            let reader = store.reader()?;
            threads.push(start_reader(&shared, reader, queries, writer.clone()));
            readers.push(door);
        }
        let epoch = recovered.epoch();
        threads.push(start_writer(&shared, store, epoch, work));
        let stepper = Stepper {
            shard: recovered,
            clock,
            readers,
            writer,
            next_reader: 0,
        };
        threads.push(start_stepper(&shared, stepper));
        let threads = Mutex::new(threads);
        Ok(Self {
            shared,
            next_ticket: AtomicU64::new(1),
            threads,
        })
    }

    /// A new ticket for a call or a stream.
    #[must_use]
    pub fn ticket(&self) -> Ticket {
        self.next_ticket.fetch_add(1, Ordering::Relaxed)
    }

    /// Tells the shard something. Never blocks.
    pub fn tell(&self, input: Input) {
        self.shared.tell(input);
    }

    /// Takes a unary call, for [`Self::wake`] to have it decided. Where too much is undecided
    /// already, it is refused at once.
    pub fn call(&self, call: UnaryCall) {
        let ticket = call.ticket;
        if self.shared.flow.call(call.bytes.len()) {
            return self.shared.put(Input::Call(call));
        }
        let error = ApiError::rate_limited("undecided bytes", MOST_BYTES);
        let kind = CompletionKind::from(&error);
        self.shared.publish(vec![Completion { ticket, kind }]);
    }

    /// Takes a message of a stream. False: stop reading it until [`CompletionKind::Resume`].
    #[must_use]
    pub fn frame(&self, stream: Ticket, bytes: Vec<u8>) -> bool {
        let goes_on = self.shared.flow.message(stream, bytes.len());
        self.tell(Input::Frame(stream, bytes));
        goes_on
    }

    /// A stream is gone.
    pub fn close(&self, stream: Ticket) {
        self.shared.flow.close(stream);
        self.tell(Input::Close(stream));
    }

    /// Wakes the shard for the calls taken since the last wake: one wake for many calls makes one
    /// commit of them.
    pub fn wake(&self) {
        self.shared.came.notify_one();
    }

    /// Has the shard look at its clock again, which was moved.
    pub fn look(&self) {
        // Under the lock, so that it comes before the shard reads the clock or while it sleeps.
        let inbox = self.shared.inbox.lock();
        self.shared.came.notify_one();
        drop(inbox);
    }

    /// Readable when completions wait.
    #[must_use]
    pub fn bell(&self) -> RawFd {
        self.shared.bell.as_raw_fd()
    }

    /// Everything that finished since the last call.
    #[must_use]
    pub fn drain(&self) -> Vec<Completion> {
        let mut count = [0; 8];
        // Empty when somebody else took the ring: what it rang for is taken below all the same.
        let _ = (&self.shared.bell).read(&mut count);
        std::mem::take(&mut *self.shared.outbox.lock())
    }

    /// Why nothing may be acknowledged any more, if so.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.shared.failure.lock().clone()
    }

    /// Steps of the shard so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.shared.steps.load(Ordering::Relaxed)
    }

    /// How far the counts of running executions were from the live leases at the newest audit:
    /// 0, or there is a defect.
    #[must_use]
    pub fn permit_drift(&self) -> u64 {
        self.shared.permit_drift.load(Ordering::Relaxed)
    }

    /// Decides and makes durable what was told so far, then ends all threads.
    pub fn stop(&self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.shared.came.notify_one();
        for thread in std::mem::take(&mut *self.threads.lock()) {
            // A thread that panicked has told so itself.
            let _ = thread.join();
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.stop();
    }
}

fn eventfd() -> Result<File, StoreError> {
    use rustix::event::{EventfdFlags, eventfd};
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    let bell = eventfd(0, flags).map_err(|error| StoreError::Io {
        doing: "making an eventfd".into(),
        source: error.into(),
    })?;
    Ok(File::from(bell))
}

fn named(name: &str) -> Builder {
    Builder::new().name(format!("backlane-{name}"))
}

/// Starts a thread without which the server cannot go on: a panic of the thread is a failure of
/// the server, which ends and recovers by its next start.
fn spawn(shared: &Arc<Shared>, name: &str, body: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    let watch = Watch {
        shared: shared.clone(),
        name: name.to_owned(),
    };
    let watched = move || {
        let _watch = watch;
        body();
    };
    // Without its threads there is no server: nothing is left to do where none can be started.
    named(name).spawn(watched).expect("a thread can be started")
}

struct Watch {
    shared: Arc<Shared>,
    name: String,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { shared, name } = self;
            shared.fail(&format!("the {name} thread of the core panicked"));
        }
    }
}

fn start_learner(
    shared: &Arc<Shared>,
    mut reader: Box<dyn Reader>,
    hours: impl IntoIterator<Item = u32> + Send + 'static,
    writer: WriterDoor,
) -> JoinHandle<()> {
    let told = shared.clone();
    spawn(shared, "learner", move || {
        for hour in hours {
            if learn_hour(&told, &mut *reader, hour).is_err() {
                // Look-ups of what was not learned go to the store, which says what is wrong.
                break;
            }
        }
        close(reader, writer);
    })
}

fn learn_hour(shared: &Shared, reader: &mut dyn Reader, hour: u32) -> Result<(), StoreError> {
    let mut after = 0;
    while !shared.stopping.load(Ordering::SeqCst) {
        let (keys, next) = reader.digests_of_hour(&REQUEST, hour, after, REQUEST_PORTION)?;
        shared.tell(Input::Requests {
            hour,
            keys,
            last: next.is_none(),
        });
        match next {
            Some(next) => after = next,
            None => break,
        }
    }
    Ok(())
}

fn start_reader(
    shared: &Arc<Shared>,
    mut reader: Box<dyn Reader>,
    queries: Receiver<(ReadId, Query)>,
    writer: WriterDoor,
) -> JoinHandle<()> {
    let told = shared.clone();
    spawn(shared, "reader", move || {
        for (id, query) in queries {
            // Damage is an outcome of the row that it is found in: it never ends the process.
            let found = reader::answer(&mut *reader, &query);
            told.tell(Input::Read(id, found));
        }
        close(reader, writer);
    })
}

/// Closes a reader and lets the writer end. The writer closes last, because only a writer can
/// leave all data in the database file.
fn close(reader: Box<dyn Reader>, writer: WriterDoor) {
    drop(reader);
    drop(writer);
}

fn start_writer(
    shared: &Arc<Shared>,
    store: Box<dyn Store>,
    epoch: u64,
    work: Receiver<Work>,
) -> JoinHandle<()> {
    let told = shared.clone();
    let tell = shared.clone();
    spawn(shared, "writer", move || {
        let writer = Writer::new(store, epoch, Box::new(move |input| tell.tell(input)));
        if let Err(error) = writer.run(&work) {
            told.fail(&error.to_string());
        }
    })
}

struct Stepper {
    // Ends the readers and the writer by going: it holds the only doors to them.
    shard: Shard,
    clock: Clock,
    readers: Vec<Sender<(ReadId, Query)>>,
    writer: WriterDoor,
    next_reader: usize,
}

fn start_stepper(shared: &Arc<Shared>, mut stepper: Stepper) -> JoinHandle<()> {
    let told = shared.clone();
    spawn(shared, "shard", move || stepper.run(&told))
}

impl Stepper {
    fn run(&mut self, shared: &Shared) {
        loop {
            let inputs = self.gather(shared);
            let stopping = shared.stopping.load(Ordering::SeqCst);
            if shared.failure.lock().is_some() {
                return;
            }
            let outputs = self.shard.step(inputs, self.clock.now());
            self.carry_out(shared, outputs);
            shared.steps.fetch_add(1, Ordering::Relaxed);
            shared
                .permit_drift
                .store(self.shard.permit_drift(), Ordering::Relaxed);
            if stopping && self.shard.is_settled() && shared.inbox.lock().is_empty() {
                return;
            }
        }
    }

    /// Waits for inputs, or for the time the shard asked to be stepped at.
    fn gather(&mut self, shared: &Shared) -> Vec<Input> {
        let mut inbox = shared.inbox.lock();
        if inbox.is_empty() {
            let wake_ms = self.shard.wake_in_ms(self.clock.now());
            let wait_ms = wake_ms.unwrap_or(LOOK_EVERY_MS).min(LOOK_EVERY_MS);
            if wait_ms > 0 {
                let wait = Duration::from_millis(wait_ms);
                shared.came.wait_for(&mut inbox, wait);
            }
        }
        std::mem::take(&mut *inbox)
    }

    fn carry_out(&mut self, shared: &Shared, outputs: Vec<Output>) {
        let mut completions = Vec::new();
        for output in outputs {
            // A thread that is gone has said why: the failure ends this one as well.
            match output {
                Output::Append(commit) => {
                    let _ = self.writer.send(Work::Append(commit));
                }
                Output::Maintain(goal) => {
                    let _ = self.writer.send(Work::Maintain(goal));
                }
                Output::Read(id, query) => {
                    self.next_reader = (self.next_reader + 1) % self.readers.len();
                    let _ = self.readers[self.next_reader].send((id, query));
                }
                Output::Complete(completion) => completions.push(completion),
                Output::Decided(stream, size) => {
                    if shared.flow.decided(stream, size) {
                        let kind = CompletionKind::Resume;
                        completions.push(Completion {
                            ticket: stream,
                            kind,
                        });
                    }
                }
            }
        }
        shared.publish(completions);
    }
}
