//! The stepper: the shard with its clock, and the doors to the threads that do its work.
//!
//! Owns how the outputs of a step are carried out. Refuses to decide anything: the shard does.
//! Refuses to know which thread takes the step.

use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;

use backlane_engine::time::Now;

use super::shared::Shared;
use crate::clock::{Clock, LOOK_EVERY_MS};
use crate::message::{Completion, CompletionKind, Input, Output, Query, ReadId};
use crate::shard::Shard;
use crate::writer::{Work, WriterDoor};

/// Dropping it ends the readers and the writer, because it holds the only senders to them.
pub(super) struct Stepper {
    shard: Shard,
    clock: Clock,
    readers: Vec<Sender<(ReadId, Query)>>,
    writer: WriterDoor,
    next_reader: usize,
}

impl Stepper {
    pub(super) const fn new(
        shard: Shard,
        clock: Clock,
        readers: Vec<Sender<(ReadId, Query)>>,
        writer: WriterDoor,
    ) -> Self {
        Self {
            shard,
            clock,
            readers,
            writer,
            next_reader: 0,
        }
    }

    /// Reads the current time.
    pub(super) fn now(&mut self) -> Now {
        self.clock.now()
    }

    /// Milliseconds until the next step is due even if no input comes.
    pub(super) fn wait_ms(&self, now: Now) -> u64 {
        let wake_ms = self.shard.wake_in_ms(now);
        wake_ms.unwrap_or(LOOK_EVERY_MS).min(LOOK_EVERY_MS)
    }

    /// Whether a step now does no more than its inputs ask for.
    pub(super) fn is_at_ease(&self, now: Now) -> bool {
        self.shard.is_at_ease(now)
    }

    /// Whether all decisions are durable and nothing waits for the store.
    pub(super) fn is_settled(&self) -> bool {
        self.shard.is_settled()
    }

    /// Steps the shard and carries out its outputs.
    pub(super) fn step(&mut self, shared: &Shared, inputs: Vec<Input>, now: Now) {
        let outputs = self.shard.step(inputs, now);
        self.carry_out(shared, outputs);
        shared.steps.fetch_add(1, Ordering::Relaxed);
        shared
            .permit_drift
            .store(self.shard.permit_drift(), Ordering::Relaxed);
    }

    fn carry_out(&mut self, shared: &Shared, outputs: Vec<Output>) {
        let mut completions = Vec::new();
        for output in outputs {
            // A thread that is gone has recorded its failure, which ends the server.
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
