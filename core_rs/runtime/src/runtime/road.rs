//! The road of inputs to the shard: by way of its own thread, or directly.
//!
//! Owns the lock on the shard and the choice of the thread that takes the next step. The thread of
//! the shard takes the steps that timers or heavy inputs need. A few small calls are decided by the
//! thread that brings them, and the writer's news of a commit by the writer, so that no other
//! thread has to wake up first. All take their inputs from the inbox while they hold the lock, so
//! that the shard gets them in the order in which they came. Refuses to wait for the lock on any
//! thread but the shard's, and to know what is decided.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use backlane_engine::time::Now;
use backlane_wire::Method;
use parking_lot::Mutex;

use super::shared::{Shared, spawn};
use super::stepper::Stepper;
use crate::keeper::{Disk, Surroundings};
use crate::message::{Completion, CompletionKind, Input};

#[cfg(test)]
mod tests;

/// Most inputs that are decided directly. With more of them, another thread is worth its waking.
const DIRECT_INPUTS: usize = 32;
/// Most bytes of calls that are decided directly.
const DIRECT_BYTES: usize = 64 << 10;

/// The shard, and the way to it.
pub(super) struct Road {
    shared: Arc<Shared>,
    /// `None` before the start and after the end.
    held: Mutex<Option<Held>>,
    direct_steps: AtomicU64,
}

struct Held {
    stepper: Stepper,
    /// Until when the thread of the shard sleeps, in monotonic milliseconds.
    sleeps_until_ms: u64,
}

/// Starts the thread of the shard.
pub(super) fn start(shared: &Arc<Shared>, road: Arc<Road>) -> JoinHandle<()> {
    spawn(shared, "shard", move || road.run())
}

impl Surroundings for Arc<Road> {
    fn tell(&self, input: Input) {
        self.shared.inbox.lock().add(input);
        self.go_on();
    }

    fn say(&self, line: String) {
        let kind = CompletionKind::Notice(line);
        self.shared.publish(vec![Completion { ticket: 0, kind }]);
    }

    fn show(&self, disk: Disk) {
        *self.shared.disk.lock() = disk;
    }
}

impl Road {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            held: Mutex::default(),
            direct_steps: AtomicU64::new(0),
        }
    }

    /// Lets inputs reach the shard from now on.
    pub(super) fn open(&self, stepper: Stepper) {
        *self.held.lock() = Some(Held {
            stepper,
            sleeps_until_ms: 0,
        });
    }

    /// Number of steps that were taken directly.
    pub(super) fn direct_steps(&self) -> u64 {
        self.direct_steps.load(Ordering::Relaxed)
    }

    /// Has the inputs in the inbox decided: on this thread if that is quick, and else on the thread
    /// of the shard. Never waits.
    pub(super) fn go_on(&self) {
        if !self.step_here() {
            self.shared.came.notify_one();
        }
    }

    /// Decides the inputs in the inbox on this thread. Returns false, with nothing done, if the
    /// thread of the shard has to do it.
    fn step_here(&self) -> bool {
        let Some(mut lock) = self.held.try_lock() else {
            return false;
        };
        let Some(held) = lock.as_mut() else {
            return false;
        };
        // The thread of the shard has to see that the last decision is durable.
        if self.shared.is_stopping() {
            return false;
        }
        let mut inbox = self.shared.inbox.lock();
        let now = held.stepper.now();
        if !is_quick(inbox.due()) || !held.stepper.is_at_ease(now) {
            return false;
        }
        let inputs = inbox.take();
        drop(inbox);
        if inputs.is_empty() {
            return true;
        }
        self.direct_steps.fetch_add(1, Ordering::Relaxed);
        if self.step(held, inputs, now) {
            self.shared.notify();
        }
        true
    }

    /// Steps the shard. Returns whether its thread would oversleep a timer. A panic fails the
    /// server before anybody else gets the lock.
    fn step(&self, held: &mut Held, inputs: Vec<Input>, now: Now) -> bool {
        let stepped = catch_unwind(AssertUnwindSafe(|| {
            held.stepper.step(&self.shared, inputs, now);
            now.mono_ms + held.stepper.wait_ms(now)
        }));
        let Ok(due_ms) = stepped else {
            self.shared.fail("the shard of the core panicked");
            return false;
        };
        due_ms < held.sleeps_until_ms
    }

    /// Takes all steps that are not taken directly, until the server ends.
    fn run(&self) {
        let _closing = Closing(self);
        while self.turn() {}
    }

    /// Waits until a step is due, and takes it. Returns whether there is to be another one.
    fn turn(&self) -> bool {
        self.sleep();
        let mut lock = self.held.lock();
        let Some(held) = lock.as_mut() else {
            return false;
        };
        let stopping = self.shared.is_stopping();
        if self.shared.has_failed() {
            return false;
        }
        held.sleeps_until_ms = 0;
        let now = held.stepper.now();
        let inputs = {
            let mut inbox = self.shared.inbox.lock();
            inbox.release();
            inbox.take()
        };
        self.step(held, inputs, now);
        if self.shared.has_failed() {
            return false;
        }
        !(stopping && held.stepper.is_settled() && self.shared.inbox.lock().is_empty())
    }

    /// Waits for inputs, or for the time at which the shard asked for its next step.
    fn sleep(&self) {
        let mut lock = self.held.lock();
        let Some(held) = lock.as_mut() else {
            return;
        };
        // Always in this order: first the shard, then the inbox. Whoever signals with the lock on
        // the inbox finds this thread asleep, or still to look at inbox and timers.
        let mut inbox = self.shared.inbox.lock();
        if !inbox.due().is_empty() || self.shared.has_failed() {
            return;
        }
        let now = held.stepper.now();
        let wait_ms = held.stepper.wait_ms(now);
        if wait_ms > 0 {
            held.sleeps_until_ms = now.mono_ms + wait_ms;
            drop(lock);
            let wait = Duration::from_millis(wait_ms);
            self.shared.came.wait_for(&mut inbox, wait);
        }
    }
}

/// Drops the shard when its thread ends, which ends the readers and the writer.
struct Closing<'a>(&'a Road);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        *self.0.held.lock() = None;
    }
}

/// Whether these inputs take so little time that any thread can decide them.
fn is_quick(inputs: &[Input]) -> bool {
    let mut bytes = 0;
    inputs.len() <= DIRECT_INPUTS
        && inputs.iter().all(|input| match input {
            Input::Call(call) => {
                bytes += call.bytes.len();
                bytes <= DIRECT_BYTES && is_about_one(call.method)
            }
            Input::Abandon(_) | Input::Written(..) | Input::Committed(_) | Input::Room(_) => true,
            _ => false,
        })
}

/// Whether a call is about one execution, or about those that its request names.
const fn is_about_one(method: Method) -> bool {
    matches!(
        method,
        Method::Enqueue
            | Method::Run
            | Method::Get
            | Method::Wait
            | Method::Cancel
            | Method::Delete
            | Method::GetTaskRecord
            | Method::Redrive
            | Method::RenewLeases
            | Method::Complete
            | Method::Fail
            | Method::Release
            | Method::ReportSteps
            | Method::Suspend
            | Method::ProvideInput
            | Method::Pause
            | Method::Resume
            | Method::ReportProgress
    )
}
