//! The runtime: the threads around one shard.
//!
//! Owns the inbox, the outbox, and the threads that step the shard, write and read. Refuses to wait
//! for the consumer of completions: the runtime signals an eventfd and continues.

use std::io::Read as _;
use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

use backlane_engine::rules::access::Principal;
use backlane_store::{REQUEST, Reader, Store, StoreError};
use backlane_wire::{ApiError, Method};
use parking_lot::Mutex;

use crate::clock::Clock;
use crate::flow::{CALL_BYTES, Reading, STREAM_BYTES};
use crate::keeper::{Disk, Keeper};
use crate::message::{Completion, CompletionKind, Input, Query, ReadId, Ticket, UnaryCall};
use crate::reader;
use crate::recover::{RecoverError, recover, request_hours};
use crate::shard::{Random, Settings};
use crate::writer::{Work, Writer};

mod road;
mod shared;
mod stepper;

use road::Road;
use shared::{Shared, spawn};
use stepper::Stepper;

const READERS: usize = 2;
/// Number of request ids that are read in one portion when a server starts.
const REQUEST_PORTION: usize = 10_000;

/// One shard and its threads.
pub struct Runtime {
    shared: Arc<Shared>,
    road: Arc<Road>,
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
        let shared = Arc::new(Shared::new()?);
        let road = Arc::new(Road::new(shared.clone()));
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
        let keeper = Keeper::new(store, recovered.epoch(), Box::new(road.clone()));
        let writing = start_writer(&shared, keeper, work, reading);
        road.open(Stepper::new(recovered, clock, readers, writer));
        let threads = Mutex::new(vec![writing, road::start(&shared, road.clone())]);
        Ok(Self {
            shared,
            road,
            next_ticket: AtomicU64::new(1),
            threads,
        })
    }

    /// Returns a new ticket for a call or a stream.
    #[must_use]
    pub fn ticket(&self) -> Ticket {
        self.next_ticket.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends an input to the shard, after all calls that came before it. Never blocks.
    pub fn tell(&self, input: Input) {
        self.shared.inbox.lock().release();
        self.shared.tell(input);
    }

    /// Accepts a unary call, which the shard decides after [`Self::wake`]. The call is refused at
    /// once if too many bytes are undecided.
    pub fn call(&self, call: UnaryCall) {
        let ticket = call.ticket;
        if self.shared.flow.call(call.bytes.len()) {
            return self.shared.inbox.lock().add_waiting(Input::Call(call));
        }
        self.refuse(ticket, "undecided bytes of calls", CALL_BYTES);
    }

    fn refuse(&self, ticket: Ticket, what: &'static str, limit: usize) {
        let error = ApiError::rate_limited(what, limit);
        let kind = CompletionKind::from(&error);
        self.shared.publish(vec![Completion { ticket, kind }]);
    }

    /// Starts a stream.
    pub fn open(&self, ticket: Ticket, method: Method, principal: Arc<Principal>) {
        self.shared.flow.open(ticket);
        self.tell(Input::Open {
            ticket,
            method,
            principal,
        });
    }

    /// Accepts a message of a stream. Returns false if the stream must not be read further until
    /// [`CompletionKind::Resume`]. The stream ends with an error if its message has no room.
    #[must_use]
    pub fn frame(&self, stream: Ticket, bytes: Vec<u8>) -> bool {
        let reading = self.shared.flow.message(stream, bytes.len());
        if reading == Reading::Ends {
            self.close(stream);
            self.refuse(stream, "undecided bytes of streams", STREAM_BYTES);
        } else {
            self.tell(Input::Frame(stream, bytes));
        }
        reading == Reading::GoesOn
    }

    /// Ends a stream.
    pub fn close(&self, stream: Ticket) {
        self.shared.flow.close(stream);
        self.tell(Input::Close(stream));
    }

    /// Wakes the shard for the calls accepted since the last wake. One wake for many calls puts
    /// them into one commit. A few small calls are decided on this thread, if nobody else uses the
    /// shard. This never waits for the disk.
    pub fn wake(&self) {
        self.shared.inbox.lock().release();
        self.road.go_on();
    }

    /// Makes the shard look at its clock, which was moved.
    pub fn look(&self) {
        self.shared.notify();
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

    /// Number of these steps that other threads than the shard's own have taken.
    #[must_use]
    pub fn direct_steps(&self) -> u64 {
        self.road.direct_steps()
    }

    /// The difference between the counts of running executions and the live leases at the newest
    /// audit. Any number but 0 is a defect of the program.
    #[must_use]
    pub fn permit_drift(&self) -> u64 {
        self.shared.permit_drift.load(Ordering::Relaxed)
    }

    /// The last look at the disk.
    #[must_use]
    pub fn disk(&self) -> Disk {
        *self.shared.disk.lock()
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
    while !shared.is_stopping() {
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

/// Starts the thread of the writer, which closes the store after the `reading` threads have
/// closed their views of it: the last one to close a database empties its write-ahead log into
/// it, and a read-only view cannot.
fn start_writer(
    shared: &Arc<Shared>,
    keeper: Keeper,
    work: Receiver<Work>,
    reading: Vec<JoinHandle<()>>,
) -> JoinHandle<()> {
    let told = shared.clone();
    spawn(shared, "writer", move || {
        let mut writer = Writer::new(keeper, || told.is_stopping());
        if let Err(error) = writer.run(&work) {
            told.fail(&error.to_string());
        }
        for thread in reading {
            // A thread that panicked has told so itself.
            let _ = thread.join();
        }
    })
}
