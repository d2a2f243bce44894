//! Commands about runs: step reports, suspensions, inputs, pauses.
//!
//! Owns the shape of validated commands. Refuses to know which of them a state allows.

use crate::command::Request;
use crate::fact::Actor;
use crate::row::{ActionContents, Bytes};
use crate::rules::access::VisibleTenant;
use crate::rules::id::ExecutionId;
use crate::rules::run::Action;
use crate::rules::step::{StepId, WaitReason};

/// A worker's report of what happened inside an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepReport {
    /// The actions, in order. Only a worker's: plans, and steps that began or ended.
    pub actions: Vec<NewAction>,
    /// Number of the report within its lease, from 1; 0 if it has none.
    pub sequence: u32,
}

/// An action that a worker reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAction {
    /// The action.
    pub action: Action,
    /// The contents of the action.
    pub contents: ActionContents,
    /// Path of the field that names the step, for error messages.
    pub field: Box<str>,
}

/// The step of the parent in which it spawns a child. The spawn records the whole step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpawnStep {
    /// The id of the step.
    pub step: StepId,
    /// The contents of the action that begins the step.
    pub contents: ActionContents,
}

/// A worker's request to wait without a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspension {
    /// What the execution waits for; none if the worker yields to a pause.
    pub waits: Vec<NewWait>,
    /// Path of the request, for error messages.
    pub field: Box<str>,
}

impl Suspension {
    /// The reason that the run shows: that of the first wait.
    #[must_use]
    pub fn reason(&self) -> WaitReason {
        self.waits
            .first()
            .map(|wait| wait.reason)
            .unwrap_or_default()
    }
}

/// A wait that begins, or that an earlier suspension began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWait {
    /// The step of the wait.
    pub step: StepId,
    /// What the execution waits for.
    pub reason: WaitReason,
    /// The key of the input that ends the wait.
    pub key: Option<Box<str>>,
    /// The time that ends the wait. It counts only where the wait begins.
    pub end: NewWaitEnd,
    /// The child whose end ends the wait.
    pub child: Option<ExecutionId>,
    /// The contents of the action that begins the wait.
    pub contents: ActionContents,
}

/// The time that ends a new wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewWaitEnd {
    /// No time ends the wait.
    Never,
    /// An instant of the wall clock, in milliseconds since the epoch.
    At(u64),
    /// A duration from now, in milliseconds.
    After(u64),
}

/// An input for an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewInput {
    /// The tenant of the execution.
    pub tenant: VisibleTenant,
    /// Id of the execution.
    pub id: ExecutionId,
    /// The key that a wait names.
    pub key: Box<str>,
    /// The key in encoded form, for the row of an input that is kept.
    pub details: Box<[u8]>,
    /// The value.
    pub value: Bytes,
    /// The request id that the client sent.
    pub request: Option<Request>,
    /// The caller.
    pub actor: Actor,
}

/// A request to pause or to resume an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// The tenant of the execution.
    pub tenant: VisibleTenant,
    /// Id of the execution.
    pub id: ExecutionId,
    /// The caller.
    pub actor: Actor,
}

/// A step that a redrive takes over from the execution that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenStep {
    /// The id of the step.
    pub step: StepId,
    /// Whether the step is completed. Otherwise only its place is taken over.
    pub is_completed: bool,
    /// The contents of the action that records the step.
    pub contents: ActionContents,
}

impl TakenStep {
    /// The action that records the step.
    #[must_use]
    pub const fn action(&self) -> Action {
        if self.is_completed {
            Action::StepCarried(self.step)
        } else {
            Action::PlaceCarried(self.step)
        }
    }
}
