//! The server: one shard over a store in memory, and the driver that does what the shard asks for.
//!
//! Owns when a commit is written and acknowledged, when a read is answered, and what remains after
//! a crash. Refuses to know clients.

use backlane_engine::time::Now;
use backlane_runtime::message::{Query, ReadId};
use backlane_runtime::{
    Completion, Input, Output, Settings, Shard, reader, recover, request_hours,
};
use backlane_store::{Commit, Maintenance, MemoryDisk, REQUEST, Reader, Store, StoreError};

use crate::check::{LogCheck, Violation, broken, must, no_longer, same_state, sound};
use crate::dice::Dice;
use crate::sabotage::Sabotage;

#[derive(Debug)]
struct Flight {
    commit: Commit,
    written: bool,
}

#[derive(Debug)]
struct Reading {
    id: ReadId,
    query: Query,
    found: Option<backlane_runtime::message::Found>,
}

/// A server that can crash.
pub(crate) struct Server {
    /// The disk, which survives a crash.
    pub(crate) disk: MemoryDisk,
    store: Box<dyn Store>,
    reader: Box<dyn Reader>,
    shard: Shard,
    settings: Settings,
    sabotage: Sabotage,
    flight: Option<Flight>,
    held_back: Option<Commit>,
    reads: Vec<Reading>,
    goal: Maintenance,
    behind: bool,
    hours: Vec<(u32, u64)>,
    all_emitted: bool,
    // Monotonic time of the newest step.
    mono_ms: u64,
}

/// The result of one turn of the driver.
pub(crate) enum Driven {
    /// Inputs for the shard.
    Inputs(Vec<Input>),
    /// The store failed, so the process ends.
    Died(StoreError),
}

fn store_failed(error: impl std::fmt::Display) -> Violation {
    broken("the store keeps its promises", error)
}

fn random(dice: &mut Dice) -> backlane_runtime::Random {
    let mut own = dice.fork();
    Box::new(move || own.roll())
}

impl Server {
    /// Starts on an empty disk.
    ///
    /// # Errors
    /// The violation, if even an empty disk cannot be opened.
    pub(crate) fn start(
        settings: Settings,
        sabotage: Sabotage,
        dice: &mut Dice,
        now: Now,
    ) -> Result<Self, Violation> {
        let disk = MemoryDisk::new();
        let mut store: Box<dyn Store> = Box::new(disk.store());
        let shard = recover(&mut *store, "sim", settings.clone(), random(dice), now);
        let shard = shard.map_err(store_failed)?;
        let reader = store.reader().map_err(store_failed)?;
        let mut server = Self {
            disk,
            store,
            reader,
            shard,
            settings,
            sabotage,
            flight: None,
            held_back: None,
            reads: Vec::new(),
            goal: Maintenance::default(),
            behind: false,
            hours: Vec::new(),
            all_emitted: true,
            mono_ms: 0,
        };
        server.expect_hours(now);
        Ok(server)
    }

    /// The shard, for reading and for commands that no call gives.
    pub(crate) const fn shard(&mut self) -> &mut Shard {
        &mut self.shard
    }

    /// A reader of the store.
    pub(crate) fn reader(&mut self) -> &mut dyn Reader {
        &mut *self.reader
    }

    /// Whether nothing is in progress between shard and store.
    #[must_use]
    pub(crate) fn is_quiet(&self) -> bool {
        let idle = self.flight.is_none() && self.reads.is_empty() && self.hours.is_empty();
        idle && self.shard.is_settled()
    }

    fn expect_hours(&mut self, now: Now) {
        let hours = request_hours(&self.shard, now);
        self.hours = hours.map(|hour| (hour, 0)).collect();
    }

    /// Does some of the work that the shard asked for.
    ///
    /// # Errors
    /// The violation, if the store breaks a promise.
    pub(crate) fn drive(
        &mut self,
        dice: &mut Dice,
        log: &mut LogCheck,
    ) -> Result<Driven, Violation> {
        let mut inputs = Vec::new();
        match self.commit(dice, log)? {
            Ok(committed) => inputs.extend(committed),
            Err(died) => return Ok(Driven::Died(died)),
        }
        self.read(dice, &mut inputs);
        self.learn(dice, &mut inputs)?;
        if dice.chance(100) {
            let headroom = self.store.headroom().map_err(store_failed)?;
            inputs.push(Input::Room(headroom.room_bytes));
        }
        if self.behind && dice.chance(300) {
            self.forget()?;
        }
        Ok(Driven::Inputs(inputs))
    }

    fn commit(
        &mut self,
        dice: &mut Dice,
        log: &mut LogCheck,
    ) -> Result<Result<Option<Input>, StoreError>, Violation> {
        let Some(flight) = &mut self.flight else {
            return Ok(Ok(None));
        };
        if !flight.written && dice.chance(700) {
            let commit = flight.commit.clone();
            flight.written = true;
            if let Err(died) = self.write(&commit) {
                return Ok(Err(died));
            }
            log.took(commit.next_sequence())?;
        }
        let Some(flight) = self
            .flight
            .take_if(|flight| flight.written && dice.chance(700))
        else {
            return Ok(Ok(None));
        };
        Ok(Ok(Some(Input::Committed(flight.commit.next_sequence()))))
    }

    fn write(&mut self, commit: &Commit) -> Result<(), StoreError> {
        let written = self.sabotage.spoil(commit, &mut self.held_back);
        written.map_or(Ok(()), |commit| {
            self.store.append(self.shard.epoch(), &commit)
        })
    }

    fn read(&mut self, dice: &mut Dice, inputs: &mut Vec<Input>) {
        // Each read is answered when the reader reaches it. The results arrive in any order.
        for reading in self
            .reads
            .iter_mut()
            .filter(|reading| reading.found.is_none())
        {
            if dice.chance(600) {
                reading.found = Some(reader::answer(&mut *self.reader, &reading.query));
            }
        }
        let mut at = 0;
        while at < self.reads.len() {
            if self.reads[at].found.is_some() && dice.chance(600) {
                let done = self.reads.swap_remove(at);
                inputs.extend(done.found.map(|found| Input::Read(done.id, found)));
            } else {
                at += 1;
            }
        }
    }

    fn learn(&mut self, dice: &mut Dice, inputs: &mut Vec<Input>) -> Result<(), Violation> {
        if !dice.chance(500) {
            return Ok(());
        }
        let Some((hour, after)) = self.hours.pop() else {
            return Ok(());
        };
        let read = self.reader.digests_of_hour(&REQUEST, hour, after, 5);
        let (keys, next) = read.map_err(store_failed)?;
        self.hours.extend(next.map(|next| (hour, next)));
        inputs.push(Input::Requests {
            hour,
            keys,
            last: next.is_none(),
        });
        Ok(())
    }

    fn forget(&mut self) -> Result<(), Violation> {
        let used = self
            .store
            .maintain(self.shard.epoch(), &self.goal)
            .map_err(store_failed)?;
        self.behind = used >= self.goal.limit;
        Ok(())
    }

    /// Removes all data that may be removed.
    ///
    /// # Errors
    /// The violation, if the store breaks a promise.
    pub(crate) fn forget_all(&mut self) -> Result<(), Violation> {
        while self.behind {
            self.forget()?;
        }
        Ok(())
    }

    /// Steps the shard and takes its outputs. Returns the completions for clients.
    ///
    /// # Errors
    /// The invariant that a fact violates.
    pub(crate) fn step(
        &mut self,
        inputs: Vec<Input>,
        now: Now,
        log: &mut LogCheck,
    ) -> Result<Vec<Completion>, Violation> {
        let mut completions = Vec::new();
        log.step_at(now.wall_ms);
        self.mono_ms = now.mono_ms;
        let outputs = self.shard.step(inputs, now);
        let mut queue: std::collections::VecDeque<_> = outputs.into();
        let mut appended = false;
        while let Some(output) = queue.pop_front() {
            match output {
                Output::Append(commit) => {
                    appended = true;
                    let next = commit.next_sequence();
                    self.append(commit, log)?;
                    if self.sabotage == Sabotage::AcknowledgeEarly {
                        queue.extend(self.shard.step([Input::Committed(next)], now));
                    }
                }
                Output::Read(id, query) => self.reads.push(Reading {
                    id,
                    query,
                    found: None,
                }),
                Output::Maintain(goal) => self.aim(goal),
                Output::Complete(completion) => completions.push(completion),
                Output::Decided(..) | Output::CallDecided(_) => {}
            }
        }
        self.all_emitted = appended || self.flight.is_none();
        Ok(completions)
    }

    fn append(&mut self, commit: Commit, log: &mut LogCheck) -> Result<(), Violation> {
        let early = self.sabotage == Sabotage::AcknowledgeEarly;
        must(
            self.flight.is_none() || early,
            "one commit is under way at a time",
            || format!("{} came too early", commit.first_sequence),
        )?;
        log.emit(&commit)?;
        if let Some(before) = self.flight.take() {
            let written = before.written || self.write(&before.commit).is_ok();
            must(written, "the harness writes", String::new)?;
            log.took(before.commit.next_sequence())?;
        }
        self.flight = Some(Flight {
            commit,
            written: false,
        });
        Ok(())
    }

    fn aim(&mut self, goal: Maintenance) {
        let trim = self.goal.trim_below_sequence.max(goal.trim_below_sequence);
        self.goal = Maintenance {
            trim_below_sequence: trim,
            ..goal
        };
        self.behind = true;
    }

    /// Compares memory with the log, if all decisions were handed over.
    ///
    /// # Errors
    /// The first difference.
    pub(crate) fn checkpoint(&mut self, log: &LogCheck) -> Result<(), Violation> {
        sound(self.shard.engine())?;
        no_longer(self.shard.engine(), self.mono_ms)?;
        if self.all_emitted {
            same_state(log.emitted(), self.shard.engine().state())?;
        }
        log.refold(&mut *self.store)
    }

    /// Ends the process and starts another. Work in progress is lost, or was done without anyone
    /// noticing. An old writer that continues must be refused.
    ///
    /// # Errors
    /// The violation, if durable data is missing or the old writer is not refused.
    pub(crate) fn crash(
        &mut self,
        dice: &mut Dice,
        log: &mut LogCheck,
        now: Now,
    ) -> Result<(), Violation> {
        let flight = self.flight.take().filter(|flight| !flight.written);
        let (mut old, before) = (
            std::mem::replace(&mut self.store, Box::new(self.disk.store())),
            self.shard.epoch(),
        );
        let hangs_on = dice.chance(300);
        if let Some(flight) = flight.as_ref().filter(|_| !hangs_on && dice.chance(500)) {
            // The last write of the old process may succeed or fail.
            let _ = old.append(before, &flight.commit);
        }
        let shard = recover(
            &mut *self.store,
            "sim",
            self.settings.clone(),
            random(dice),
            now,
        );
        self.shard = shard.map_err(store_failed)?;
        let grown = self.shard.epoch() > before;
        must(grown, "a stale epoch changes nothing", || {
            format!("{before} did not grow")
        })?;
        if let Some(flight) = flight.filter(|_| hangs_on) {
            let written = old.append(before, &flight.commit);
            must(written.is_err(), "a stale epoch changes nothing", || {
                "it wrote".into()
            })?;
        }
        self.reader = self.store.reader().map_err(store_failed)?;
        self.held_back = None;
        self.reads.clear();
        self.behind = false;
        self.goal = Maintenance::default();
        self.mono_ms = now.mono_ms;
        self.all_emitted = true;
        self.expect_hours(now);
        log.restart(&mut *self.store)?;
        same_state(log.emitted(), self.shard.engine().state())
    }

    /// The number of facts in the store.
    ///
    /// # Errors
    /// The violation, if the log cannot be read.
    pub(crate) fn facts_kept(&mut self) -> Result<u64, Violation> {
        let mut kept = 0;
        let counted = self.store.replay(&mut |frame| {
            kept += u64::from(frame.count);
            Ok(())
        });
        counted.map_err(store_failed)?;
        Ok(kept)
    }
}
