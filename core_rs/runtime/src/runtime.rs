//! The runtime: the threads around one shard.
//!
//! Owns the inbox, the outbox, and the threads that step the shard, write and read. Refuses to wait
//! for the consumer of completions: the runtime signals an eventfd and continues.

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
/// Number of request ids that are read in one portion when a server starts.
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

    /// Puts an input in the inbox without waking the shard.
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
        // The counter cannot overflow in practice, and a write that fails means that the eventfd is
        // readable already.
        let _ = (&self.bell).write(&1_u64.to_ne_bytes());
    }

    /// Records a failure, after which no reply may leave.
    fn fail(&self, why: &str) {
        self.failure.lock().get_or_insert_with(|| why.to_owned());
        self.stopping.store(true, Ordering::SeqCst);
        self.came.notify_one();
        self.ring();
    }
}

/// One shard and its threads.
pub struct Runtime {
    shared: Arc<Shared>,
    next_ticket: AtomicU64,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Runtime {
    /// Takes the shard of a store, recovers it and starts its threads.
    ///
    /// # Errors
    /// [`RecoverError`], naming the damaged or missing part.
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
        let learner = store.reader()?;
        let hours = request_hours(&recovered, now);
        let mut reading = vec![start_learner(&shared, learner, hours)];
        let mut readers = Vec::new();
        for _ in 0..READERS {
            let (door, queries) = channel();
            reading.push(start_reader(&shared, store.reader()?, queries));
            readers.push(door);
        }
        let (writer, work) = channel();
        let writing = Writer::new(store, recovered.epoch(), tell_of(&shared));
        let writing = start_writer(&shared, writing, work, reading);
        let stepper = Stepper {
            shard: recovered,
            clock,
            readers,
            writer,
            next_reader: 0,
        };
        let threads = Mutex::new(vec![writing, start_stepper(&shared, stepper)]);
        Ok(Self {
            shared,
            next_ticket: AtomicU64::new(1),
            threads,
        })
    }

    /// Returns a new ticket for a call or a stream.
    #[must_use]
    pub fn ticket(&self) -> Ticket {
        self.next_ticket.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends an input to the shard. Never blocks.
    pub fn tell(&self, input: Input) {
        self.shared.tell(input);
    }

    /// Accepts a unary call, which the shard decides after [`Self::wake`]. The call is refused at
    /// once if too many bytes are undecided.
    pub fn call(&self, call: UnaryCall) {
        let ticket = call.ticket;
        if self.shared.flow.call(call.bytes.len()) {
            return self.shared.put(Input::Call(call));
        }
        let error = ApiError::rate_limited("undecided bytes", MOST_BYTES);
        let kind = CompletionKind::from(&error);
        self.shared.publish(vec![Completion { ticket, kind }]);
    }

    /// Accepts a message of a stream. Returns false if the stream must not be read further until
    /// [`CompletionKind::Resume`].
    #[must_use]
    pub fn frame(&self, stream: Ticket, bytes: Vec<u8>) -> bool {
        let goes_on = self.shared.flow.message(stream, bytes.len());
        self.tell(Input::Frame(stream, bytes));
        goes_on
    }

    /// Ends a stream.
    pub fn close(&self, stream: Ticket) {
        self.shared.flow.close(stream);
        self.tell(Input::Close(stream));
    }

    /// Wakes the shard for the calls accepted since the last wake. One wake for many calls puts
    /// them into one commit.
    pub fn wake(&self) {
        self.shared.came.notify_one();
    }

    /// Makes the shard look at its clock, which was moved.
    pub fn look(&self) {
        // The lock orders this signal: the shard either has not read the clock yet or is asleep.
        let inbox = self.shared.inbox.lock();
        self.shared.came.notify_one();
        drop(inbox);
    }

    /// The file descriptor that is readable while completions wait.
    #[must_use]
    pub fn bell(&self) -> RawFd {
        self.shared.bell.as_raw_fd()
    }

    /// Takes all completions since the last call.
    #[must_use]
    pub fn drain(&self) -> Vec<Completion> {
        let mut count = [0; 8];
        // The read fails if another caller has reset the eventfd already; the completions are taken
        // below in any case.
        let _ = (&self.shared.bell).read(&mut count);
        std::mem::take(&mut *self.shared.outbox.lock())
    }

    /// The failure after which no reply may leave, if there was one.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.shared.failure.lock().clone()
    }

    /// Number of steps that the shard has taken.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.shared.steps.load(Ordering::Relaxed)
    }

    /// The difference between the counts of running executions and the live leases at the newest
    /// audit. Any number but 0 is a defect of the program.
    #[must_use]
    pub fn permit_drift(&self) -> u64 {
        self.shared.permit_drift.load(Ordering::Relaxed)
    }

    /// Decides all inputs so far and makes them durable, then ends all threads.
    pub fn stop(&self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.shared.came.notify_one();
        for thread in std::mem::take(&mut *self.threads.lock()) {
            // A thread that panicked has already recorded its failure.
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

/// Starts a thread that the server needs. If the thread panics, the server fails: it ends, and
/// recovers at its next start.
fn spawn(shared: &Arc<Shared>, name: &str, body: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    let watch = Watch {
        shared: shared.clone(),
        name: name.to_owned(),
    };
    let watched = move || {
        let _watch = watch;
        body();
    };
    // The server cannot work without this thread, so a failed start ends it.
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
) -> JoinHandle<()> {
    let told = shared.clone();
    spawn(shared, "learner", move || {
        for hour in hours {
            if learn_hour(&told, &mut *reader, hour).is_err() {
                // Request ids that were not learned are looked up in the store, which then reports
                // the error.
                return;
            }
        }
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
) -> JoinHandle<()> {
    let told = shared.clone();
    spawn(shared, "reader", move || {
        for (id, query) in queries {
            // Damage is a result of the damaged row and never ends the process.
            let found = reader::answer(&mut *reader, &query);
            told.tell(Input::Read(id, found));
        }
    })
}

fn tell_of(shared: &Arc<Shared>) -> Box<dyn Fn(Input) + Send> {
    let shared = shared.clone();
    Box::new(move |input| shared.tell(input))
}

/// Starts the thread of the writer, which closes the store after the `reading` threads have
/// closed their views of it: the last one to close a database empties its write-ahead log into
/// it, and a read-only view cannot.
fn start_writer(
    shared: &Arc<Shared>,
    mut writer: Writer,
    work: Receiver<Work>,
    reading: Vec<JoinHandle<()>>,
) -> JoinHandle<()> {
    let told = shared.clone();
    spawn(shared, "writer", move || {
        if let Err(error) = writer.run(&work) {
            told.fail(&error.to_string());
        }
        for thread in reading {
            // A thread that panicked has told so itself.
            let _ = thread.join();
        }
    })
}

struct Stepper {
    // Dropping the shard's loop ends the readers and the writer, because it holds the only senders
    // to them.
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

    /// Waits for inputs, or for the time at which the shard asked for its next step.
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
            // A thread that is gone has recorded its failure, which ends this thread too.
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
