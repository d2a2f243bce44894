//! What the threads of a server share: inbox, outbox, and the failure that ends them.
//!
//! Owns the signals between the threads and towards the transport. Refuses to know what the inputs
//! and completions mean.

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};

use backlane_store::StoreError;
use parking_lot::{Condvar, Mutex};

use crate::flow::Flow;
use crate::keeper::Disk;
use crate::message::{Completion, Input};

/// Inputs in the order in which the shard takes them. The last ones may wait for company.
#[derive(Default)]
pub(super) struct Inbox {
    inputs: Vec<Input>,
    /// Number of inputs that do not wait.
    due: usize,
}

impl Inbox {
    /// Adds an input before those that wait.
    pub(super) fn add(&mut self, input: Input) {
        self.inputs.insert(self.due, input);
        self.due += 1;
    }

    /// Adds an input that waits, until the transport says that it came with all its company.
    pub(super) fn add_waiting(&mut self, input: Input) {
        self.inputs.push(input);
    }

    /// Lets no input wait any more.
    pub(super) fn release(&mut self) {
        self.due = self.inputs.len();
    }

    /// The inputs that do not wait.
    pub(super) fn due(&self) -> &[Input] {
        &self.inputs[..self.due]
    }

    /// Takes the inputs that do not wait.
    pub(super) fn take(&mut self) -> Vec<Input> {
        let waiting = self.inputs.split_off(self.due);
        self.due = 0;
        std::mem::replace(&mut self.inputs, waiting)
    }

    /// Whether there is no input at all.
    pub(super) fn is_empty(&self) -> bool {
        self.inputs.is_empty()
    }
}

/// The state that the transport and all threads of a server share.
pub(super) struct Shared {
    pub(super) inbox: Mutex<Inbox>,
    pub(super) came: Condvar,
    pub(super) outbox: Mutex<Vec<Completion>>,
    pub(super) bell: File,
    pub(super) flow: Flow,
    pub(super) failure: Mutex<Option<String>>,
    pub(super) stopping: AtomicBool,
    pub(super) steps: AtomicU64,
    pub(super) permit_drift: AtomicU64,
    pub(super) disk: Mutex<Disk>,
}

impl Shared {
    /// The state before the first input.
    ///
    /// # Errors
    /// `Io` if the system gives no eventfd.
    pub(super) fn new() -> Result<Self, StoreError> {
        Ok(Self {
            inbox: Mutex::default(),
            came: Condvar::new(),
            outbox: Mutex::default(),
            bell: eventfd()?,
            flow: Flow::default(),
            failure: Mutex::default(),
            stopping: AtomicBool::new(false),
            steps: AtomicU64::new(0),
            permit_drift: AtomicU64::new(0),
            disk: Mutex::default(),
        })
    }

    /// Whether the server is to end, because it was told to or because it failed.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Whether the server has failed, so that nothing may be decided and no reply may leave.
    pub(super) fn has_failed(&self) -> bool {
        self.failure.lock().is_some()
    }

    /// Wakes the thread of the shard even if it is about to fall asleep.
    pub(super) fn notify(&self) {
        let inbox = self.inbox.lock();
        self.came.notify_one();
        drop(inbox);
    }

    /// Puts an input in the inbox and wakes the shard.
    pub(super) fn tell(&self, input: Input) {
        self.inbox.lock().add(input);
        self.came.notify_one();
    }

    /// Puts completions in the outbox. The eventfd becomes readable.
    pub(super) fn publish(&self, mut completions: Vec<Completion>) {
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
    pub(super) fn fail(&self, why: &str) {
        self.failure.lock().get_or_insert_with(|| why.to_owned());
        self.stopping.store(true, Ordering::SeqCst);
        self.came.notify_one();
        self.ring();
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
pub(super) fn spawn(
    shared: &Arc<Shared>,
    name: &str,
    body: impl FnOnce() + Send + 'static,
) -> JoinHandle<()> {
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
