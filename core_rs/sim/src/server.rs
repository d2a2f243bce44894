//! The server: one shard over a store in memory, and the driver that does what the shard asks for.
//!
//! Owns when a commit is written and acknowledged, when a read is answered, and what remains after
//! a crash. Refuses to know clients.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backlane_engine::rules::limits::MAX_PAUSES;
use backlane_engine::time::Now;
use backlane_runtime::{
    Appended, Completion, Disk, Input, Keeper, Output, Shard, Surroundings, recover, request_hours,
};
use backlane_store::{Commit, MemoryDisk, Reader, Store, StoreError};

use crate::check::{Checked, LogCheck, Violation, broken, must, no_longer, same_state, sound};
use crate::dice::Dice;
use crate::plan::{Plan, Scene};
use crate::reading::Reading;
use crate::sabotage::Sabotage;

const FITS: &str = "what is decided fits on the disk";
const LOOKS: &str = "a choice for a lease looks at few executions";

#[derive(Debug)]
struct Flight {
    commit: Commit,
    written: bool,
}

/// What the keeper of the store told.
#[derive(Clone, Default)]
struct News(Arc<Mutex<Told>>);

#[derive(Default)]
struct Told {
    rooms: Vec<Input>,
    lines: Vec<String>,
}

impl News {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Surroundings for News {
    fn tell(&self, input: Input) {
        // The driver says itself when a commit counts as durable.
        if matches!(input, Input::Room(_)) {
            self.told().rooms.push(input);
        }
    }

    fn say(&self, line: String) {
        self.told().lines.push(line);
    }

    fn show(&self, _disk: Disk) {}
}

/// A server that can crash.
pub(crate) struct Server {
    /// The disk, which survives a crash.
    pub(crate) disk: MemoryDisk,
    keeper: Keeper,
    news: News,
    reading: Reading,
    shard: Shard,
    sabotage: Sabotage,
    flight: Option<Flight>,
    held_back: Option<Commit>,
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

/// What a process has right after its start.
struct Started {
    shard: Shard,
    keeper: Keeper,
    news: News,
    reading: Reading,
}

fn start(disk: &MemoryDisk, plan: &Plan, dice: &mut Dice, now: Now) -> Result<Started, Violation> {
    let mut store: Box<dyn Store> = Box::new(disk.store());
    let shard = recover(&mut *store, "sim", plan.settings.clone(), random(dice), now);
    let shard = shard.map_err(store_failed)?;
    let reader = store.reader().map_err(store_failed)?;
    let reading = Reading::new(reader, request_hours(&shard, now));
    let news = News::default();
    let mut keeper = Keeper::new(store, shard.epoch(), Box::new(news.clone()));
    keeper.look().map_err(store_failed)?;
    Ok(Started {
        shard,
        keeper,
        news,
        reading,
    })
}

impl Server {
    /// Starts on an empty disk.
    ///
    /// # Errors
    /// The violation, if even an empty disk cannot be opened.
    pub(crate) fn start(
        plan: &Plan,
        sabotage: Sabotage,
        dice: &mut Dice,
        now: Now,
    ) -> Result<Self, Violation> {
        let disk = MemoryDisk::new();
        disk.resize(plan.volume());
        let Started {
            shard,
            keeper,
            news,
            reading,
        } = start(&disk, plan, dice, now)?;
        Ok(Self {
            disk,
            keeper,
            news,
            reading,
            shard,
            sabotage,
            flight: None,
            held_back: None,
            all_emitted: true,
            mono_ms: 0,
        })
    }

    /// The shard, for reading and for commands that no call gives.
    pub(crate) const fn shard(&mut self) -> &mut Shard {
        &mut self.shard
    }

    /// A reader of the store.
    pub(crate) fn reader(&mut self) -> &mut dyn Reader {
        self.reading.reader()
    }

    /// Whether nothing is in progress between shard and store.
    #[must_use]
    pub(crate) fn is_quiet(&self) -> bool {
        let idle = self.flight.is_none() && self.reading.is_quiet();
        idle && self.shard.is_settled()
    }

    /// Looks at the disk, as the writer does after each commit and when it is idle.
    ///
    /// # Errors
    /// The violation, if the store breaks a promise.
    pub(crate) fn look(&mut self) -> Checked {
        self.keeper.look().map_err(store_failed)
    }

    /// The lines about the disk for the log, since the last call.
    pub(crate) fn lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.news.told().lines)
    }

    /// Does some of the work that the shard asked for.
    ///
    /// # Errors
    /// The violation, if the store breaks a promise.
    pub(crate) fn drive(
        &mut self,
        plan: &Plan,
        dice: &mut Dice,
        log: &mut LogCheck,
    ) -> Result<Driven, Violation> {
        if let Err(died) = self.write_some(plan, dice, log)? {
            return Ok(Driven::Died(died));
        }
        let mut inputs = std::mem::take(&mut self.news.told().rooms);
        let durable = self
            .flight
            .take_if(|flight| flight.written && dice.chance(700));
        inputs.extend(durable.map(|done| Input::Committed(done.commit.next_sequence())));
        inputs.extend(self.reading.go_on(plan, dice));
        let learned = self.reading.learn(plan, dice).map_err(store_failed)?;
        inputs.extend(learned);
        Ok(self
            .upkeep(dice)
            .map_or_else(Driven::Died, |()| Driven::Inputs(inputs)))
    }

    /// Removes old data, or looks at the disk.
    fn upkeep(&mut self, dice: &mut Dice) -> Result<(), StoreError> {
        if self.keeper.is_behind() && dice.chance(300) {
            return self.keeper.forget();
        }
        if dice.chance(30) {
            return self.keeper.idle();
        }
        Ok(())
    }

    fn write_some(
        &mut self,
        plan: &Plan,
        dice: &mut Dice,
        log: &mut LogCheck,
    ) -> Result<Result<(), StoreError>, Violation> {
        let Some(flight) = self.flight.as_ref() else {
            return Ok(Ok(()));
        };
        if flight.written || !dice.chance(700) {
            return Ok(Ok(()));
        }
        let commit = flight.commit.clone();
        match self.write(&commit) {
            Ok(Appended::Durable) => {}
            Ok(Appended::NoRoom(full)) => {
                let by_others = plan.scene == Scene::FullDisk;
                return must(by_others, FITS, || full.to_string()).map(Ok);
            }
            Err(died) => return Ok(Err(died)),
        }
        log.took(commit.next_sequence())?;
        if let Some(flight) = &mut self.flight {
            flight.written = true;
        }
        Ok(Ok(()))
    }

    fn write(&mut self, commit: &Commit) -> Result<Appended, StoreError> {
        let written = self.sabotage.spoil(commit, &mut self.held_back);
        written.map_or(Ok(Appended::Durable), |commit| self.keeper.append(&commit))
    }

    /// Removes all data that may be removed.
    ///
    /// # Errors
    /// The violation, if the store breaks a promise.
    pub(crate) fn forget_all(&mut self) -> Checked {
        while self.keeper.is_behind() {
            self.keeper.forget().map_err(store_failed)?;
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
        self.looked_at_few()?;
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
                Output::Read(id, query) => self.reading.ask(id, query),
                Output::Maintain(goal) => self.keeper.aim(goal),
                Output::Complete(completion) => completions.push(completion),
                Output::Decided(..) | Output::CallDecided(_) => {}
            }
        }
        self.all_emitted = appended || self.flight.is_none();
        Ok(completions)
    }

    /// Checks that each choice for a lease looked at one execution of each queue, and at those
    /// that are withheld from the worker, which are few.
    fn looked_at_few(&mut self) -> Checked {
        let examined = self.shard.engine_mut().take_most_examined();
        if examined < MAX_PAUSES {
            return Ok(());
        }
        let queues = self.shard.engine().state().tenants().queues().count();
        must(examined < MAX_PAUSES + queues, LOOKS, || {
            format!("{examined} executions in {queues} queues")
        })
    }

    fn append(&mut self, commit: Commit, log: &mut LogCheck) -> Checked {
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

    /// Compares memory with the log, if all decisions were handed over.
    ///
    /// # Errors
    /// The first difference.
    pub(crate) fn checkpoint(&mut self, log: &LogCheck) -> Checked {
        sound(self.shard.engine())?;
        no_longer(self.shard.engine(), self.mono_ms)?;
        if self.all_emitted {
            same_state(log.emitted(), self.shard.engine().state())?;
        }
        log.refold(self.keeper.store())
    }

    /// Ends the process and starts another. Work in progress is lost, or was done without anyone
    /// noticing. An old writer that continues must be refused.
    ///
    /// # Errors
    /// The violation, if durable data is missing or the old writer is not refused.
    pub(crate) fn crash(
        &mut self,
        plan: &Plan,
        dice: &mut Dice,
        log: &mut LogCheck,
        now: Now,
    ) -> Checked {
        let flight = self.flight.take().filter(|flight| !flight.written);
        let hangs_on = dice.chance(300);
        if let Some(flight) = flight.as_ref().filter(|_| !hangs_on && dice.chance(500)) {
            // The last write of the old process may succeed or fail.
            let _ = self.keeper.append(&flight.commit);
        }
        let before = self.shard.epoch();
        let started = start(&self.disk, plan, dice, now)?;
        let grown = started.shard.epoch() > before;
        must(grown, "a stale epoch changes nothing", || {
            format!("{before} did not grow")
        })?;
        if let Some(flight) = flight.filter(|_| hangs_on) {
            let written = self.keeper.append(&flight.commit);
            must(written.is_err(), "a stale epoch changes nothing", || {
                "it wrote".into()
            })?;
        }
        self.shard = started.shard;
        self.keeper = started.keeper;
        self.news = started.news;
        self.reading = started.reading;
        self.held_back = None;
        self.mono_ms = now.mono_ms;
        self.all_emitted = true;
        log.restart(self.keeper.store())?;
        same_state(log.emitted(), self.shard.engine().state())
    }

    /// The number of facts in the store.
    ///
    /// # Errors
    /// The violation, if the log cannot be read.
    pub(crate) fn facts_kept(&mut self) -> Result<u64, Violation> {
        let mut kept = 0;
        let counted = self.keeper.store().replay(&mut |frame| {
            kept += u64::from(frame.count);
            Ok(())
        });
        counted.map_err(store_failed)?;
        Ok(kept)
    }
}
