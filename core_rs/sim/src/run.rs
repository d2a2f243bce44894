//! A run: steps with faults, then a phase without faults in which every execution must end.
//!
//! Owns the course of a run and the report of a failed one. Refuses to know the actions of clients.

use std::fmt;

use backlane_engine::fact::OutcomeKind;
use backlane_runtime::Input;
use backlane_store::{Fault, FaultPlan, Volume};

use crate::api::v1::{self, work_request::Message as Up};
use crate::check::{Checked, Violation, broken, must};
use crate::requests::result;
use crate::sabotage::Sabotage;
use crate::workers::worker;
use crate::world::World;

/// Default number of steps with faults.
pub const STEPS: u64 = 600;
/// Most steps without faults in which every execution must end.
const PEACE: u64 = 40_000;
/// Probability in a thousand that a server which drains ends in a step.
const DRAINED: u64 = 30;
/// Steps between two comparisons of memory with the whole log.
const CHECKPOINT: u64 = 97;

/// The parameters of a run.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// The seed, which decides everything in the run.
    pub seed: u64,
    /// Number of steps with faults.
    pub steps: u64,
    /// A mistake that the checker must notice.
    pub sabotage: Sabotage,
    /// Whether every event is printed.
    pub aloud: bool,
}

impl Run {
    /// A run of a seed with default parameters.
    #[must_use]
    pub const fn of(seed: u64) -> Self {
        Self {
            seed,
            steps: STEPS,
            sabotage: Sabotage::None,
            aloud: false,
        }
    }
}

/// The result of a run in which every invariant held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Course {
    /// Hash of all events.
    pub trace: u64,
    /// Number of executions that were enqueued.
    pub executions: u64,
    /// Number of server processes.
    pub lives: u64,
    /// Number of requests that were refused because the disk was full.
    pub refused_as_full: u64,
    /// Number of outputs that were accepted after the first of these refusals.
    pub completed_when_full: u64,
    /// Number of executions that were redriven.
    pub redriven: u64,
    /// Number of suspensions that the end of a child ended.
    pub awaited: u64,
    /// Number of executions that were taken out of the dead letters.
    pub discarded: u64,
    /// Number of executions that were deleted.
    pub deleted: u64,
}

/// A run in which an invariant was violated.
#[derive(Debug)]
pub struct Failure {
    run: Run,
    step: u64,
    /// The violation.
    pub violation: Violation,
    last: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Run { seed, steps, .. } = self.run;
        writeln!(out, "seed {seed}, step {}\n{}", self.step, self.violation)?;
        self.last
            .iter()
            .try_for_each(|line| writeln!(out, "  {line}"))?;
        write!(
            out,
            "cargo run -p backlane-sim --release -- --seed {seed} --steps {steps}"
        )
    }
}

/// Runs the simulator once.
///
/// # Errors
/// The first violation, and the events before it.
pub fn run(run: Run) -> Result<Course, Box<Failure>> {
    let failed = |step, violation, last| {
        Box::new(Failure {
            run,
            step,
            violation,
            last,
        })
    };
    let world = World::new(run.seed, run.sabotage, run.aloud);
    let mut world = world.map_err(|violation| failed(0, violation, Vec::new()))?;
    match world.live(run.steps) {
        Ok(()) => {
            let (refused_as_full, completed_when_full) = world.ledger.on_a_full_disk();
            Ok(Course {
                trace: world.trace.hash(),
                executions: world.log.durable().next_birth() - 1,
                lives: world.lives,
                refused_as_full,
                completed_when_full,
                redriven: world.log.redriven.len() as u64,
                awaited: world.log.awaited,
                discarded: world.log.discards(),
                deleted: world.log.deletions(),
            })
        }
        Err(violation) => {
            let last = world.trace.last().map(str::to_owned).collect();
            Err(failed(world.step, violation, last))
        }
    }
}

impl World {
    fn live(&mut self, steps: u64) -> Checked {
        self.note(&format!("{:?}", self.plan.scene));
        for _ in 0..steps * self.plan.percent / 100 {
            self.pass_time();
            self.disturb()?;
            self.play()?;
            for _ in 0..self.dice.between(0, self.plan.actions) {
                if self.dice.chance(400) {
                    self.produce();
                } else {
                    self.work();
                }
            }
            self.repeat();
            self.turn()?;
            if self.step.is_multiple_of(CHECKPOINT) {
                self.server.checkpoint(&self.log)?;
            }
        }
        self.peace()?;
        self.end()
    }

    fn pass_time(&mut self) {
        let leap = self.dice.chance(self.plan.leap);
        let ms = if leap {
            self.dice.below(70_000)
        } else {
            self.dice.below(60)
        };
        self.advance(ms);
        if self.dice.chance(self.plan.jump) {
            let before = self.now.wall_ms;
            let ms = self.dice.below(7_200_000);
            self.now.wall_ms = if self.dice.chance(700) {
                before + ms
            } else {
                before.saturating_sub(ms)
            };
            self.latest_wall_ms = self.latest_wall_ms.max(self.now.wall_ms);
            self.log
                .clock_jumped(before.max(self.now.wall_ms).max(self.latest_wall_ms));
            self.note("the wall clock jumped");
        }
    }

    fn advance(&mut self, ms: u64) {
        self.now.wall_ms += ms;
        self.now.mono_ms += ms;
        self.latest_wall_ms = self.latest_wall_ms.max(self.now.wall_ms);
        if self.now.wall_ms < self.latest_wall_ms {
            // Logged time stands still until the clock has caught up.
            self.log.clock_jumped(self.latest_wall_ms);
        }
    }

    fn disturb(&mut self) -> Checked {
        if self.dice.chance(self.plan.fault) {
            let faults = [
                Fault::FatalLost,
                Fault::FatalWritten,
                Fault::UnknownLost,
                Fault::UnknownWritten,
            ];
            let fault = *self.dice.pick(&faults);
            let plan = if self.dice.chance(800) {
                FaultPlan::default().at(self.dice.between(1, 5), fault)
            } else {
                FaultPlan::default().in_maintenance(fault)
            };
            self.server.disk.plan(plan);
        }
        if self.dice.chance(self.plan.meddle) {
            self.meddle();
        }
        // A drain ends with the process.
        let stops = self.draining && self.dice.chance(DRAINED);
        if stops || self.dice.chance(self.plan.crash) {
            self.crash()
        } else {
            Ok(())
        }
    }

    fn meddle(&mut self) {
        match self.dice.below(10) {
            0..3 => {
                let full = self.dice.chance(500);
                self.server.disk.set_full(full);
            }
            3 if !self.draining => {
                self.draining = true;
                self.note("drain");
                self.send_to_server(Input::Drain);
            }
            _ => {
                let (names, dice) = (&self.plan.names, &mut self.dice);
                let callable = dice.chance(500).then(|| names.callable(dice));
                let most = dice.chance(700).then(|| dice.below(5));
                let tenant = names.tenant(dice);
                let most = most.and_then(|most| u32::try_from(most).ok());
                self.set_limit((tenant, callable), most);
            }
        }
    }

    fn set_limit(&mut self, of: (String, Option<String>), most: Option<u32>) {
        self.note(&format!("limit of {of:?}: {most:?}"));
        self.limited.insert(of.clone());
        let engine = self.server.shard().engine_mut();
        let (tenant, callable) = (of.0.into(), of.1.map(Into::into));
        // A limit can be set in every state.
        let _ = engine.set_limit(
            backlane_engine::fact::Actor::engine(),
            tenant,
            callable,
            most,
            self.now,
        );
    }

    /// Ends all faults, and lets healthy workers complete all executions.
    fn peace(&mut self) -> Checked {
        self.note("peace");
        self.plan.drop = 0;
        self.plan.delay = 0;
        self.plan.misread = 0;
        self.server.disk.plan(FaultPlan::default());
        self.server.disk.set_full(false);
        self.server.disk.resize(Volume::default());
        self.server.look()?;
        if self.draining {
            self.crash()?;
        }
        for of in std::mem::take(&mut self.limited) {
            self.set_limit(of, None);
        }
        for at in 0..self.workers.len() {
            self.workers[at].held.clear();
            if let Some(ticket) = self.workers[at].stream {
                self.on_stream(ticket, Input::Close(ticket));
                self.stream_over(ticket);
            }
        }
        let everything = (vec!["*".to_owned()], Vec::new());
        let healthy = worker("healthy", everything, true, &mut self.log.offers);
        self.workers.push(healthy);
        for _ in 0..PEACE {
            self.serve();
            self.free();
            self.turn()?;
            if self.is_over() {
                return Ok(());
            }
            let wake = self.server.shard().wake_in_ms(self.now);
            if self.is_silent() && self.server.is_quiet() {
                self.advance(wake.unwrap_or(1).clamp(1, 10_000));
            }
        }
        let living = self.log.emitted().slots().births_from(0).next();
        let living = living.and_then(|birth| self.log.emitted().living(birth));
        let calls = self.calls.values().find(|call| !call.lost);
        Err(broken(
            "when faults stop, every admissible execution ends",
            format!("unfinished: {living:?}; waiting calls: {calls:?}"),
        ))
    }

    fn is_over(&mut self) -> bool {
        self.log.emitted().slots().is_empty()
            && self.calls.values().all(|call| call.lost)
            && self.is_silent()
            && self.server.is_quiet()
    }

    /// Does the step of the healthy worker, which completes all its leases.
    fn serve(&mut self) {
        let at = self.workers.len() - 1;
        let Some(ticket) = self.workers[at].stream else {
            return self.greet(at);
        };
        let held = std::mem::take(&mut self.workers[at].held);
        if held.is_empty() {
            if self.step.is_multiple_of(10) {
                self.give_credit(ticket);
            }
            return;
        }
        let results = held
            .iter()
            .map(|lease| result(&self.plan, lease, &mut self.dice))
            .collect();
        self.expect_outcomes(ticket, OutcomeKind::Completed, held);
        self.up(ticket, Up::Complete(v1::CompleteRequest { results }));
    }

    fn end(&mut self) -> Checked {
        self.server.checkpoint(&self.log)?;
        self.survives()?;
        self.server.forget_all()?;
        let kept = self.server.facts_kept()?;
        let living = self.log.most_living as u64;
        let most = 3 * (self.plan.settings.round_after_facts + 4 * living) + 500;
        must(kept <= most, "the log stays bounded", || {
            format!("{kept} facts are kept; {living} unfinished executions allow at most {most}")
        })
    }
}
