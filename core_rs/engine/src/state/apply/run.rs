//! Applies facts about runs.
//!
//! Owns how a fact changes a run, and the phase of its execution with it. Which actions a fact
//! stands for is said once, in [`actions_of`]: the rows of the actions follow from it too. Refuses
//! to know why a fact was decided.

use crate::fact::{
    Fact, Outcome, OutcomeKind, PauseAsked, Run, RunChange, RunFact, WaitEnd, WakeCause,
};
use crate::rules::id::Birth;
use crate::rules::limits::MAX_KEPT_INPUTS;
use crate::rules::run::Action;
use crate::rules::status::Phase;
use crate::rules::step::{StepId, StepState};
use crate::state::{Impossible, State};

/// The actions that a fact records, in order.
pub(crate) fn actions_of(change: &RunChange) -> Vec<Action> {
    match change {
        RunChange::TakenOver { actions, .. } | RunChange::Reported { actions, .. } => {
            actions.to_vec()
        }
        RunChange::Suspended {
            begun,
            active,
            reason,
            ..
        } => {
            let begins = begun.iter().map(|wait| Action::WaitStarted(wait.step));
            let waits = (!active.is_empty()).then_some(Action::Wait(*reason));
            begins.chain(waits).collect()
        }
        RunChange::Woken { over, by, .. } => {
            let ends = over.iter().map(|step| Action::StepCompleted(*step));
            let wakes = match by {
                WakeCause::Input | WakeCause::Time | WakeCause::Child => Action::InputReceived,
                WakeCause::Resume => Action::Resume,
            };
            ends.chain([wakes]).collect()
        }
        RunChange::InputKept { .. } => vec![Action::InputKept],
        RunChange::Paused { is_recorded: true } => vec![Action::Pause],
        RunChange::Unpaused { is_recorded: true } => vec![Action::Resume],
        RunChange::Carried(_)
        | RunChange::Paused { is_recorded: false }
        | RunChange::Unpaused { is_recorded: false } => Vec::new(),
    }
}

impl State {
    /// Checks whether the state allows the fact. Changes nothing.
    pub(super) fn check_run(&self, fact: &RunFact) -> Result<(), Impossible> {
        let birth = fact.birth;
        let phase = self.slots.get(birth).map(|slot| slot.phase);
        let Some(known) = phase else {
            return Err(Impossible::Unknown { birth });
        };
        let held = self.holdings.contains_key(&birth);
        let fits = match &fact.change {
            RunChange::Carried(run) => match self.run(birth) {
                Some(own) if !own.is_carried_as(run) => {
                    return Err(Impossible::CarriedDiffers { birth });
                }
                Some(_) | None => true,
            },
            RunChange::TakenOver { .. } => self.run(birth).is_none(),
            RunChange::Reported { .. } | RunChange::Suspended { .. } => held,
            RunChange::Woken { .. } => known == Phase::Suspended,
            RunChange::InputKept { .. } => true,
            RunChange::Paused { .. } => known != Phase::Suspended,
            RunChange::Unpaused { .. } => known != Phase::Suspended && self.is_paused(birth),
        };
        if fits && self.next_run(fact).is_some() {
            return Ok(());
        }
        Err(Impossible::NotAllowed { birth, phase })
    }

    /// The run after a fact; `None` if the run does not allow the fact.
    fn next_run(&self, fact: &RunFact) -> Option<Run> {
        let mut run = self.run_of(fact.birth);
        for action in actions_of(&fact.change) {
            run.course.take(action).ok()?;
            run.actions += 1;
        }
        match &fact.change {
            RunChange::Carried(carried) => {
                let pause = run.pause.take();
                run = (**carried).clone();
                run.pause = run.pause.or(pause);
            }
            RunChange::TakenOver { bytes, .. } => run.bytes = *bytes,
            RunChange::Reported {
                bytes, sequence, ..
            } => {
                run.bytes = run.bytes.saturating_add(*bytes);
                run.sequence = run.sequence.max(*sequence);
                // A worker may end a wait itself: its time came while other work went on.
                let course = &run.course;
                let goes_on = |id| {
                    course
                        .step(id)
                        .is_some_and(|mark| mark.state == StepState::Running)
                };
                run.waits.retain(|wait| goes_on(wait.step));
            }
            RunChange::Suspended {
                begun,
                active,
                bytes,
                left_ms,
                ..
            } => {
                run.waits.extend(begun.iter().cloned());
                for wait in &mut run.waits {
                    wait.is_active = active.contains(&wait.step);
                }
                run.bytes = run.bytes.saturating_add(*bytes);
                run.left_ms = Some(*left_ms);
            }
            RunChange::Woken { over, bytes, by } => {
                wake(&mut run, over);
                run.bytes = run.bytes.saturating_add(*bytes);
                if *by == WakeCause::Resume {
                    run.end_pause();
                }
            }
            RunChange::InputKept { key, bytes } => {
                let is_known = run.input(key).is_some();
                if is_known || run.inputs.len() >= MAX_KEPT_INPUTS {
                    return None;
                }
                run.keep_input(key);
                run.bytes = run.bytes.saturating_add(*bytes);
            }
            RunChange::Paused { .. } => run.is_paused = true,
            RunChange::Unpaused { .. } => run.end_pause(),
        }
        Some(run)
    }

    /// Applies a fact that was checked.
    pub(super) fn apply_run(&mut self, fact: &RunFact, whole: &Fact) {
        let (birth, at_ms) = (fact.birth, whole.at_ms);
        let Some(mut run) = self.next_run(fact) else {
            return;
        };
        if matches!(fact.change, RunChange::Paused { .. }) {
            let actor = whole.actor.clone();
            run.pause = Some(Box::new(PauseAsked { at_ms, actor }));
        }
        let before = self.next_instant(birth);
        self.put_run(birth, run);
        match &fact.change {
            // Steps that are taken over belong to the birth, which was counted.
            RunChange::Carried(_) | RunChange::TakenOver { .. } => {}
            RunChange::Reported { .. } | RunChange::InputKept { .. } => self.change(birth, at_ms),
            RunChange::Suspended { .. } => self.suspended(birth, at_ms),
            RunChange::Woken { .. } => self.queue_again(birth, at_ms),
            RunChange::Paused { .. } | RunChange::Unpaused { .. } => self.hold(birth, at_ms),
        }
        self.rearm(birth, before);
    }

    // Executions that recorded nothing and are not paused need no run in memory.
    fn put_run(&mut self, birth: Birth, run: Run) {
        if run.actions == 0 && !run.is_paused {
            self.runs.remove(&birth);
        } else {
            self.runs.insert(birth, Box::new(run));
        }
    }

    fn suspended(&mut self, birth: Birth, at_ms: u64) {
        let Some(holding) = self.holdings.remove(&birth) else {
            return;
        };
        self.move_to(birth, Phase::Suspended, at_ms, |_| ());
        let extras = self.extras.entry(birth).or_default();
        extras.last_worker = Some(holding.worker);
        extras.outcome = Some(Outcome {
            token: holding.token,
            kind: OutcomeKind::Suspended,
        });
    }

    fn queue_again(&mut self, birth: Birth, at_ms: u64) {
        let phase = self.ready_or_held(birth);
        self.move_to(birth, phase, at_ms, |_| ());
    }

    /// Follows a pause or its end: a due execution moves between ready and held.
    fn hold(&mut self, birth: Birth, at_ms: u64) {
        match self.slots.get(birth).map(|slot| slot.phase) {
            Some(Phase::Ready | Phase::Held) => self.queue_again(birth, at_ms),
            Some(
                Phase::Pending
                | Phase::Retrying
                | Phase::Running
                | Phase::Suspended
                | Phase::Blocked
                | Phase::Ending,
            )
            | None => self.change(birth, at_ms),
        }
    }

    /// The next time of the wall clock that ends a wait of a suspended execution.
    pub(super) fn next_wait_end(&self, birth: Birth, phase: Phase) -> Option<u64> {
        if phase != Phase::Suspended {
            return None;
        }
        let run = self.run(birth)?;
        let ends = run.active().filter_map(|wait| match wait.end {
            WaitEnd::At(at_ms) => Some(at_ms),
            WaitEnd::Never | WaitEnd::After(_) => None,
        });
        ends.min()
    }

    /// The phase of an execution that is due.
    pub(super) fn ready_or_held(&self, birth: Birth) -> Phase {
        if self.is_paused(birth) {
            Phase::Held
        } else {
            Phase::Ready
        }
    }

    /// Follows a lease. `continues` says whether the lease goes on with a suspended attempt.
    pub(super) fn run_leased(&mut self, birth: Birth, continues: bool, at_ms: u64) {
        let Some(run) = self.runs.get_mut(&birth) else {
            return;
        };
        // Only a run that was never leased is in a state that allows this.
        let _ = run.course.take(Action::Start);
        run.sequence = 0;
        if continues {
            run.resumes += 1;
            run.leased_at_ms = Some(at_ms);
        } else {
            run.left_ms = None;
            run.leased_at_ms = None;
        }
    }

    /// Follows the end of a lease that was not a suspension. After a lease that no worker got or
    /// began, a suspended attempt goes on with its time.
    pub(super) fn run_requeued(&mut self, birth: Birth, keeps_rest: bool) {
        if let Some(run) = self.runs.get_mut(&birth) {
            let _ = run.course.take(Action::AttemptEnded);
            if !keeps_rest {
                run.left_ms = None;
            }
        }
    }
}

/// Ends waits: those that are over leave, with the inputs that they took.
fn wake(run: &mut Run, over: &[StepId]) {
    let (ended, open): (Vec<_>, Vec<_>) = std::mem::take(&mut run.waits)
        .into_iter()
        .partition(|wait| over.contains(&wait.step));
    run.waits = open;
    for wait in &mut run.waits {
        wait.is_active = false;
    }
    let taken = |key: &str| ended.iter().any(|wait| wait.key.as_deref() == Some(key));
    run.inputs.retain(|input| !taken(&input.key));
}
