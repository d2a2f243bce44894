//! Facts about runs: what happened inside an execution.
//!
//! Owns the data of a run that decisions need, and every change of a run. Refuses to hold what
//! steps contain: that is in [`crate::row::ActionRow`].

use crate::fact::{Actor, Backoff};
use crate::rules::id::Birth;
use crate::rules::run::{Action, Course};
use crate::rules::step::{StepId, WaitReason};

/// A change of the run of one execution.
#[derive(Debug, Clone, PartialEq)]
pub struct RunFact {
    /// Birth number of the execution.
    pub birth: Birth,
    /// The change of the run.
    pub change: RunChange,
}

/// The changes of a run.
#[derive(Debug, Clone, PartialEq)]
pub enum RunChange {
    /// A round wrote the run to the log again; nothing changed.
    Carried(Box<Run>),
    /// The execution was born as the redrive of another one, and took over its steps.
    TakenOver {
        /// The actions, in order: one for each step.
        actions: Box<[Action]>,
        /// Bytes of the contents of the actions.
        bytes: u32,
    },
    /// The worker reported actions.
    Reported {
        /// The actions, in order.
        actions: Box<[Action]>,
        /// Bytes of the contents of the actions.
        bytes: u32,
        /// The number of the report within its lease; 0 if it has none.
        sequence: u32,
    },
    /// The worker gave the lease back, and the execution waits without a worker.
    Suspended {
        /// The waits that began now.
        begun: Box<[Wait]>,
        /// The steps whose waits end the suspension. Empty if the worker yielded to a pause.
        active: Box<[StepId]>,
        /// The reason of the suspension.
        reason: WaitReason,
        /// Bytes of the contents of the waits.
        bytes: u32,
        /// The rest of the attempt's time, in milliseconds.
        left_ms: u64,
    },
    /// Waits are over, or a client resumed the execution: it is queued again.
    Woken {
        /// The steps of the waits that are over.
        over: Box<[StepId]>,
        /// The cause.
        by: WakeCause,
        /// Bytes of the input that ended a wait.
        bytes: u32,
    },
    /// An input came before its wait.
    InputKept {
        /// The key of the input.
        key: Box<str>,
        /// Bytes of the input.
        bytes: u32,
    },
    /// A client paused the execution.
    Paused {
        /// Whether the run records the pause: it was leased before.
        is_recorded: bool,
    },
    /// A client resumed a paused execution that was not suspended.
    Unpaused {
        /// Whether the run records the end of the pause.
        is_recorded: bool,
    },
}

/// What ended a suspension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WakeCause {
    /// An input.
    Input,
    /// The time of a wait.
    Time,
    /// The end of a child.
    Child,
    /// A client resumed the execution.
    Resume,
}

/// Everything that the engine keeps of a run. Only executions that recorded something have one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Run {
    /// The state of the run and of its steps.
    pub course: Course,
    /// Number of recorded actions. The rows of the actions are numbered from 1.
    pub actions: u32,
    /// Bytes of names, inputs, outputs and errors.
    pub bytes: u32,
    /// The waits that are not over.
    pub waits: Vec<Wait>,
    /// The inputs that no wait has taken.
    pub inputs: Vec<KeptInput>,
    /// How often a suspended attempt was leased again.
    pub resumes: u32,
    /// The rest of the attempt's time, in milliseconds, if the attempt was suspended.
    pub left_ms: Option<u64>,
    /// Begin of the newest lease, in milliseconds since the epoch, if that lease continued an
    /// attempt.
    pub leased_at_ms: Option<u64>,
    /// The number of the newest report within the live lease.
    pub sequence: u32,
    /// Whether a client paused the execution.
    pub is_paused: bool,
    /// Who paused it, and when. Unknown if an earlier program version carried the pause over.
    pub pause: Option<Box<PauseAsked>>,
}

/// A pause that a client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PauseAsked {
    /// Time of the pause, in milliseconds since the epoch.
    pub at_ms: u64,
    /// The party that asked.
    pub actor: Actor,
}

/// A wait that is not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// The step of the wait.
    pub step: StepId,
    /// The key of the input that ends the wait.
    pub key: Option<Box<str>>,
    /// The time that ends the wait.
    pub end: WaitEnd,
    /// The child whose end ends the wait.
    pub child: Option<Birth>,
    /// Whether the suspension rests on this wait. False while a worker holds the execution.
    pub is_active: bool,
}

/// The time at which a wait ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitEnd {
    /// No time ends the wait.
    Never,
    /// An instant of the wall clock, in milliseconds since the epoch.
    At(u64),
    /// A duration on the monotonic clock.
    After(Backoff),
}

/// An input that came before its wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptInput {
    /// The key of the input.
    pub key: Box<str>,
    /// The number of the action that has the value.
    pub action: u32,
}

impl Run {
    /// The run of an execution that recorded nothing so far.
    #[must_use]
    pub fn unrecorded(was_leased: bool) -> Self {
        Self {
            course: Course::unrecorded(was_leased),
            ..Self::default()
        }
    }

    /// The kept input with this key.
    #[must_use]
    pub fn input(&self, key: &str) -> Option<&KeptInput> {
        self.inputs.iter().find(|input| *input.key == *key)
    }

    /// Ends the pause, if there is one.
    pub(crate) fn end_pause(&mut self) {
        self.is_paused = false;
        self.pause = None;
    }

    /// Whether a round of any program version may have written this run as `carried`. Earlier
    /// versions did not write who paused an execution.
    pub(crate) fn is_carried_as(&self, carried: &Self) -> bool {
        if *self == *carried {
            return true;
        }
        // An earlier version may have carried the run before this one did, so either may lack it.
        let without = |run: &Self| Self {
            pause: None,
            ..run.clone()
        };
        let lacks = self.pause.is_none() || carried.pause.is_none();
        carried.is_paused && lacks && without(self) == without(carried)
    }

    /// Keeps the input of the newest action.
    pub(crate) fn keep_input(&mut self, key: &str) {
        self.inputs.push(KeptInput {
            key: key.into(),
            action: self.actions,
        });
    }

    /// The wait of a step, if it is not over.
    #[must_use]
    pub fn wait(&self, step: StepId) -> Option<&Wait> {
        self.waits.iter().find(|wait| wait.step == step)
    }

    /// The waits on which the suspension rests.
    pub fn active(&self) -> impl Iterator<Item = &Wait> {
        self.waits.iter().filter(|wait| wait.is_active)
    }
}
