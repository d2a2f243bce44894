//! What the threads of a server share: inbox, outbox, and the failure that ends them.
//!
//! Owns the signals between the threads and towards the transport. Refuses to know what the inputs
//! and completions mean.

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};

use parking_lot::{Condvar, Mutex};

use crate::flow::Flow;
use crate::keeper::{Disk, Surroundings};
use crate::message::{Completion, CompletionKind, Input};

/// The state that the transport and all threads of a server share.
pub(super) struct Shared {
    pub(super) inbox: Mutex<Vec<Input>>,
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

impl Surroundings for Arc<Shared> {
    fn tell(&self, input: Input) {
        Shared::tell(self, input);
    }

    fn say(&self, line: String) {
        let kind = CompletionKind::Notice(line);
        self.publish(vec![Completion { ticket: 0, kind }]);
    }

    fn show(&self, disk: Disk) {
        *self.disk.lock() = disk;
    }
}

impl Shared {
    /// Whether the process is to end.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Puts an input in the inbox and wakes the shard.
    pub(super) fn tell(&self, input: Input) {
        self.put(input);
        self.came.notify_one();
    }

    /// Puts an input in the inbox without waking the shard.
    pub(super) fn put(&self, input: Input) {
        self.inbox.lock().push(input);
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
