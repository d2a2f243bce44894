//! The thread of the shard: gathers inputs, steps the shard, and carries out its outputs.
//!
//! Owns when the shard takes its next step. Refuses to decide anything: the shard does.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::Duration;

use super::shared::{Shared, spawn};
use crate::clock::{Clock, LOOK_EVERY_MS};
use crate::message::{Completion, CompletionKind, Input, Output, Query, ReadId};
use crate::shard::Shard;
use crate::writer::{Work, WriterDoor};

pub(super) struct Stepper {
    // Dropping the shard's loop ends the readers and the writer, because it holds the only senders
    // to them.
    pub(super) shard: Shard,
    pub(super) clock: Clock,
    pub(super) readers: Vec<Sender<(ReadId, Query)>>,
    pub(super) writer: WriterDoor,
    pub(super) next_reader: usize,
}

pub(super) fn start_stepper(shared: &Arc<Shared>, mut stepper: Stepper) -> JoinHandle<()> {
    let told = shared.clone();
    spawn(shared, "shard", move || stepper.run(&told))
}

impl Stepper {
    fn run(&mut self, shared: &Shared) {
        loop {
            let inputs = self.gather(shared);
            let stopping = shared.is_stopping();
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
                Output::CallDecided(size) => shared.flow.call_decided(size),
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
