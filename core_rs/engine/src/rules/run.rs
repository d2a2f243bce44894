//! The run of an execution: which action may follow which, and what it changes.
//!
//! Owns the one reducer of runs: the engine decides with it, and every view of a run is the same
//! reducer with the contents of the recorded actions. Refuses to know what steps contain, and who
//! waits for what.

use thiserror::Error;

pub use crate::rules::status::RunState;
use crate::rules::step::{StepId, StepState, WaitReason};

/// A change of a run, without contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The first lease.
    Start,
    /// The worker plans.
    Plan,
    /// A step was planned.
    StepAdded(StepId),
    /// A step began: a planned one, or a new one.
    StepStarted(StepId),
    /// A wait began. It is a step that outlives its attempt.
    WaitStarted(StepId),
    /// A step ended with its output.
    StepCompleted(StepId),
    /// A step ended with an error.
    StepFailed(StepId),
    /// A planned step will not run.
    StepSkipped(StepId),
    /// The lease ended: steps that run have failed, except waits.
    AttemptEnded,
    /// A client paused the run.
    Pause,
    /// A client resumed the run.
    Resume,
    /// The worker gave the lease back to wait.
    Wait(WaitReason),
    /// An input was provided that no wait has taken yet.
    InputKept,
    /// A wait is over.
    InputReceived,
    /// The output of the execution was accepted.
    Complete,
    /// The execution failed or timed out.
    Fail,
    /// The execution was cancelled.
    Cancel,
    /// A redrive took over a step that the execution before it had completed.
    StepCarried(StepId),
    /// A redrive took over the place of a step that the execution before it had not completed, so
    /// that the steps after it are found in their places. The step will be taken anew.
    PlaceCarried(StepId),
}

impl Action {
    /// The step that the action is about.
    #[must_use]
    pub const fn step(self) -> Option<StepId> {
        match self {
            Self::StepAdded(id)
            | Self::StepStarted(id)
            | Self::WaitStarted(id)
            | Self::StepCompleted(id)
            | Self::StepFailed(id)
            | Self::StepSkipped(id)
            | Self::StepCarried(id)
            | Self::PlaceCarried(id) => Some(id),
            Self::Start
            | Self::Plan
            | Self::AttemptEnded
            | Self::Pause
            | Self::Resume
            | Self::Wait(_)
            | Self::InputKept
            | Self::InputReceived
            | Self::Complete
            | Self::Fail
            | Self::Cancel => None,
        }
    }

    /// The event in the words of an error message: "a run cannot be ...".
    #[must_use]
    pub const fn event(self) -> &'static str {
        match self {
            Self::Start => "started",
            Self::Plan | Self::StepAdded(_) => "planned",
            Self::StepStarted(_) | Self::WaitStarted(_) => "given a new step",
            Self::StepCompleted(_) | Self::StepFailed(_) => "given the end of a step",
            Self::StepSkipped(_) => "given a skipped step",
            Self::AttemptEnded => "given the end of an attempt",
            Self::Pause => "paused",
            Self::Resume => "resumed",
            Self::Wait(_) => "suspended",
            Self::InputKept | Self::InputReceived => "given an input",
            Self::Complete => "completed",
            Self::Fail => "failed",
            Self::Cancel => "cancelled",
            Self::StepCarried(_) | Self::PlaceCarried(_) => "given the steps of another",
        }
    }
}

/// Why an action is not legal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Illegal {
    /// The state of the run does not allow the action.
    #[error("the run is {} and cannot be {event}", state.name())]
    State {
        /// The state of the run.
        state: RunState,
        /// The action, as [`Action::event`] words it.
        event: &'static str,
    },
    /// No step of the run has this id.
    #[error("names no step of this run")]
    UnknownStep,
    /// The step is in a state that does not allow the action.
    #[error("names a step that is {0:?}")]
    StepState(StepState),
    /// The run has as many steps as it may have.
    #[error("is one step too many: a run may have {MAX_STEPS}")]
    TooManySteps,
}

/// Most steps of a run.
pub const MAX_STEPS: usize = 100;

/// A step as decisions know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The id of the step.
    pub id: StepId,
    /// The state of the step.
    pub state: StepState,
    /// Whether the step is a wait. It then stays open when its attempt ends. Not kept of a wait
    /// that was over when it was recorded: a redrive took it over.
    pub is_wait: bool,
}

/// The state of a run and of its steps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Course {
    /// The state of the run.
    pub state: RunState,
    /// The steps, in the order in which they were recorded.
    pub steps: Vec<Mark>,
}

impl Course {
    /// The course of a run in which nothing was recorded.
    #[must_use]
    pub const fn unrecorded(was_leased: bool) -> Self {
        Self {
            state: if was_leased {
                RunState::Running
            } else {
                RunState::Created
            },
            steps: Vec::new(),
        }
    }

    /// The step with this id.
    #[must_use]
    pub fn step(&self, id: StepId) -> Option<&Mark> {
        self.steps.iter().find(|mark| mark.id == id)
    }

    /// The first step that runs and is not a wait.
    #[must_use]
    pub fn open_step(&self) -> Option<StepId> {
        let mut steps = self.steps.iter();
        let open = |mark: &&Mark| mark.state == StepState::Running && !mark.is_wait;
        steps.find(open).map(|mark| mark.id)
    }

    /// Applies an action.
    ///
    /// # Errors
    /// [`Illegal`]; then nothing has changed.
    pub fn take(&mut self, action: Action) -> Result<(), Illegal> {
        self.check(action)?;
        self.apply(action);
        Ok(())
    }

    fn check(&self, action: Action) -> Result<(), Illegal> {
        if !allows(self.state, action) {
            let (state, event) = (self.state, action.event());
            return Err(Illegal::State { state, event });
        }
        let known = action.step().and_then(|id| self.step(id)).map(|m| m.state);
        match action {
            Action::Plan if self.has_begun() => Err(Illegal::State {
                state: self.state,
                event: action.event(),
            }),
            Action::StepStarted(_) if known == Some(StepState::Pending) => Ok(()),
            Action::StepStarted(_)
            | Action::StepAdded(_)
            | Action::WaitStarted(_)
            | Action::StepCarried(_)
            | Action::PlaceCarried(_) => self.check_new(known),
            Action::StepCompleted(_) | Action::StepFailed(_) => in_state(known, StepState::Running),
            Action::StepSkipped(_) => in_state(known, StepState::Pending),
            Action::Start
            | Action::Plan
            | Action::AttemptEnded
            | Action::Pause
            | Action::Resume
            | Action::Wait(_)
            | Action::InputKept
            | Action::InputReceived
            | Action::Complete
            | Action::Fail
            | Action::Cancel => Ok(()),
        }
    }

    /// Whether a step has started: only before it may the run be planned.
    fn has_begun(&self) -> bool {
        let mut steps = self.steps.iter();
        steps.any(|mark| !matches!(mark.state, StepState::Pending | StepState::Skipped))
    }

    fn check_new(&self, known: Option<StepState>) -> Result<(), Illegal> {
        match known {
            Some(state) => Err(Illegal::StepState(state)),
            None if self.steps.len() >= MAX_STEPS => Err(Illegal::TooManySteps),
            None => Ok(()),
        }
    }

    fn apply(&mut self, action: Action) {
        match action {
            Action::Start | Action::Resume | Action::InputReceived => {
                self.state = RunState::Running;
            }
            Action::Plan => self.state = RunState::Planning,
            Action::StepAdded(id) => self.add(id, StepState::Pending, false),
            Action::StepStarted(id) => {
                self.begin();
                if self.step(id).is_some() {
                    self.set(id, StepState::Running);
                } else {
                    self.add(id, StepState::Running, false);
                }
            }
            Action::WaitStarted(id) => {
                self.begin();
                self.add(id, StepState::Running, true);
            }
            Action::StepCompleted(id) => self.set(id, StepState::Completed),
            Action::StepFailed(id) => self.set(id, StepState::Failed),
            Action::StepSkipped(id) => self.set(id, StepState::Skipped),
            Action::AttemptEnded => self.close(|mark| !mark.is_wait, None),
            Action::Pause => self.state = RunState::Paused,
            Action::Wait(_) => self.state = RunState::Waiting,
            Action::InputKept => {}
            Action::Complete => self.end(RunState::Completed),
            Action::Fail => self.end(RunState::Failed),
            Action::Cancel => self.end(RunState::Cancelled),
            Action::StepCarried(id) => self.add(id, StepState::Completed, false),
            Action::PlaceCarried(id) => self.add(id, StepState::Failed, false),
        }
    }

    // The first step ends the planning.
    fn begin(&mut self) {
        if self.state == RunState::Planning {
            self.state = RunState::Running;
        }
    }

    fn add(&mut self, id: StepId, state: StepState, is_wait: bool) {
        self.steps.push(Mark { id, state, is_wait });
    }

    fn set(&mut self, id: StepId, state: StepState) {
        if let Some(mark) = self.steps.iter_mut().find(|mark| mark.id == id) {
            mark.state = state;
        }
    }

    fn end(&mut self, state: RunState) {
        self.close(|_| true, Some(StepState::Skipped));
        self.state = state;
    }

    fn close(&mut self, fails: impl Fn(&Mark) -> bool, pending: Option<StepState>) {
        for mark in &mut self.steps {
            match mark.state {
                StepState::Running if fails(mark) => mark.state = StepState::Failed,
                StepState::Pending => mark.state = pending.unwrap_or(StepState::Pending),
                StepState::Running
                | StepState::Completed
                | StepState::Failed
                | StepState::Skipped => {}
            }
        }
    }
}

fn in_state(known: Option<StepState>, needed: StepState) -> Result<(), Illegal> {
    match known {
        None => Err(Illegal::UnknownStep),
        Some(state) if state == needed => Ok(()),
        Some(state) => Err(Illegal::StepState(state)),
    }
}

/// Whether an action is legal in a state of the run.
///
/// A step may start in a paused run: the worker has not heard of the pause yet, and a step that is
/// done but not recorded would be done twice.
const fn allows(state: RunState, action: Action) -> bool {
    use RunState as S;
    match action {
        Action::Start => matches!(state, S::Created | S::Planning),
        Action::Plan => matches!(state, S::Created | S::Running | S::Planning),
        Action::StepAdded(_) => matches!(state, S::Planning),
        Action::StepStarted(_) => matches!(state, S::Planning | S::Running | S::Paused),
        Action::StepSkipped(_) | Action::WaitStarted(_) => {
            matches!(state, S::Planning | S::Running)
        }
        Action::StepCompleted(_) | Action::StepFailed(_) => {
            matches!(state, S::Running | S::Paused | S::Waiting)
        }
        Action::AttemptEnded => matches!(state, S::Planning | S::Running | S::Paused),
        Action::Pause => matches!(state, S::Planning | S::Running),
        Action::Resume => state.can_resume(),
        Action::Wait(_) => matches!(state, S::Running),
        Action::InputReceived => matches!(state, S::Waiting),
        Action::InputKept | Action::Complete | Action::Fail | Action::Cancel => {
            !state.is_terminal()
        }
        // At the birth of the execution, before anything else.
        Action::StepCarried(_) | Action::PlaceCarried(_) => matches!(state, S::Created),
    }
}

#[cfg(test)]
mod tests;
