//! Status of an execution: modes, statuses, the engine's own phase, and the task states derived
//! from the phase.
//!
//! Owns which state may follow which. Refuses to know what causes a change of state: that is in
//! `decide`.

use strum::VariantArray;

/// Whether a caller waits for an execution, and whether its events are streamed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, VariantArray)]
#[repr(u8)]
pub enum Mode {
    /// No caller waits; no events are streamed.
    #[default]
    FireAndForget = 1,
    /// A caller waits; no events are streamed.
    Silent = 2,
    /// Queued for later; events are streamed.
    Deferred = 3,
}

impl Mode {
    /// Every mode.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// Whether no events are streamed.
    #[must_use]
    pub const fn is_silent(self) -> bool {
        matches!(self, Self::FireAndForget | Self::Silent)
    }

    /// Whether a caller needs the output.
    #[must_use]
    pub const fn requires_result(self) -> bool {
        matches!(self, Self::Silent)
    }

    /// The mode with this number in the API and on disk; `None` for any other number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| *one as u32 == number)
    }
}

/// The status of an execution, as users see it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, VariantArray)]
#[repr(u8)]
pub enum Status {
    /// The execution waits for its time or for a worker.
    #[default]
    Queued = 1,
    /// A worker holds the execution.
    Running = 2,
    /// The execution ended with an output.
    Completed = 3,
    /// The execution ended with an error.
    Failed = 4,
    /// The execution ended on request.
    Cancelled = 5,
    /// The execution ended because its time was over.
    Timeout = 6,
}

impl Status {
    /// Every status.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// Whether the status is final.
    #[must_use]
    pub const fn is_finished(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    /// Whether the status is the successful end.
    #[must_use]
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Completed)
    }

    /// Whether an execution that ended with this status is in its tenant's dead letters.
    #[must_use]
    pub const fn is_dead_letter(self) -> bool {
        matches!(self, Self::Failed | Self::Timeout)
    }

    /// Whether an execution that ended with this status may be redriven.
    #[must_use]
    pub const fn may_be_redriven(self) -> bool {
        matches!(self, Self::Failed | Self::Timeout | Self::Cancelled)
    }

    /// The name of the status in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Timeout => "timeout",
        }
    }

    /// The status with this number in the API and on disk; `None` for any other number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| *one as u32 == number)
    }
}

/// The state of an unfinished execution in the engine. All other states are derived from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
#[repr(u8)]
pub enum Phase {
    /// Scheduled for later. The clock ends this phase.
    Pending = 1,
    /// Due. A worker's lease ends this phase.
    Ready = 2,
    /// Backing off. The clock ends this phase.
    Retrying = 3,
    /// Leased. The worker or the clock ends this phase.
    Running = 4,
    /// Waits without a worker. An input, the clock or a client ends this phase.
    Suspended = 5,
    /// Due, and paused. A client ends this phase.
    Held = 6,
    /// Waits for its dependencies. The end of the last one ends this phase.
    Blocked = 7,
    /// The end is decided, and descendants are unfinished. The end of the last one ends this phase.
    Ending = 8,
}

impl Phase {
    /// Every phase.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The status that users see in this phase.
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Self::Running | Self::Suspended | Self::Ending => Status::Running,
            Self::Pending | Self::Ready | Self::Retrying | Self::Held | Self::Blocked => {
                Status::Queued
            }
        }
    }

    /// The task state in this phase.
    #[must_use]
    pub const fn task_state(self) -> TaskState {
        match self {
            Self::Pending | Self::Blocked => TaskState::Pending,
            Self::Ready | Self::Held => TaskState::Ready,
            Self::Retrying => TaskState::Retrying,
            Self::Running | Self::Suspended | Self::Ending => TaskState::Running,
        }
    }

    /// The phase with this number on disk; `None` for any other number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| *one as u32 == number)
    }
}

/// What the end of an execution means for its unfinished descendants, if it ends otherwise than
/// completed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, VariantArray)]
#[repr(u8)]
pub enum Cancellation {
    /// They are cancelled.
    #[default]
    Cascade = 1,
    /// The execution ends once they have ended.
    WaitForChildren = 2,
    /// Nothing.
    Detach = 3,
}

impl Cancellation {
    /// Every policy.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The policy with this number in the API and on disk; `None` for any other number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| *one as u32 == number)
    }
}

/// The state of a `TaskRecord`, the durable unit behind an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
#[repr(u8)]
pub enum TaskState {
    /// Waits for its time or for a dependency.
    Pending = 1,
    /// Can be leased.
    Ready = 2,
    /// A worker holds the lease.
    Running = 3,
    /// Backs off before the next attempt.
    Retrying = 4,
    /// Ended with an output.
    Completed = 5,
    /// Failed for good. The same commit moves it on to `DeadLettered`.
    Failed = 6,
    /// Ended on request.
    Cancelled = 7,
    /// Not run, because a dependency did not complete.
    Skipped = 8,
    /// Failed, and kept for a person to look at.
    DeadLettered = 9,
}

impl TaskState {
    /// Every state.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// Whether `next` may follow. This function alone decides that. No state follows itself.
    #[must_use]
    pub const fn can_transition_to(self, next: Self) -> bool {
        use TaskState as T;
        match self {
            T::Pending => matches!(next, T::Ready | T::Skipped | T::Cancelled | T::Failed),
            T::Ready => matches!(
                next,
                T::Pending | T::Running | T::Skipped | T::Cancelled | T::Failed
            ),
            T::Running => matches!(
                next,
                T::Completed | T::Failed | T::Retrying | T::Ready | T::Cancelled
            ),
            T::Retrying => matches!(next, T::Ready | T::Cancelled | T::Failed),
            T::Failed => matches!(next, T::DeadLettered),
            T::Completed | T::Cancelled | T::Skipped | T::DeadLettered => false,
        }
    }

    /// Whether no state may follow.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Completed | Self::Cancelled | Self::Skipped | Self::DeadLettered
        )
    }

    /// Whether the state is the successful end.
    #[must_use]
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Completed)
    }

    /// Whether the state is a failure.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::DeadLettered)
    }

    /// The task state of an execution that ended with `status` for `reason`. A failure passes
    /// through `Failed` to the dead letters within the same commit.
    #[must_use]
    pub const fn of_end(status: Status, reason: EndReason) -> Self {
        match (status, reason) {
            (Status::Completed, _) => Self::Completed,
            (Status::Cancelled, EndReason::DependencyFailed) => Self::Skipped,
            (Status::Cancelled, _) => Self::Cancelled,
            _ => Self::DeadLettered,
        }
    }
}

/// The state of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, VariantArray)]
#[repr(u8)]
pub enum RunState {
    /// No worker has leased the execution yet.
    #[default]
    Created = 1,
    /// The worker plans the steps.
    Planning = 2,
    /// The run goes on, or waits for a worker.
    Running = 3,
    /// Paused on request.
    Paused = 4,
    /// Waits without a worker.
    Waiting = 5,
    /// Ended with an output.
    Completed = 6,
    /// Ended with an error.
    Failed = 7,
    /// Ended on request.
    Cancelled = 8,
}

impl RunState {
    /// Every state.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// Whether no action may follow.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// Whether a resume may follow.
    #[must_use]
    pub const fn can_resume(self) -> bool {
        matches!(self, Self::Paused | Self::Waiting)
    }

    /// The name of the state in the schema.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "Created",
            Self::Planning => "Planning",
            Self::Running => "Running",
            Self::Paused => "Paused",
            Self::Waiting => "Waiting",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
            Self::Cancelled => "Cancelled",
        }
    }

    /// The state with this number in the API and on disk; `None` for any other number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| *one as u32 == number)
    }
}

/// Why an execution ended, or was asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
#[repr(u8)]
pub enum EndReason {
    /// The worker's output was accepted.
    Completed = 1,
    /// The worker reported an error, and no retry followed.
    Failed = 2,
    /// An attempt ran longer than its timeout, and no retry followed.
    AttemptTimeout = 3,
    /// The lease was lost too often.
    WorkerLost = 4,
    /// `start_deadline` passed before the first lease.
    StartDeadline = 5,
    /// `deadline` passed before the execution finished.
    Deadline = 6,
    /// A client cancelled the execution.
    CancelRequested = 7,
    /// An ancestor ended, and its end cascades.
    Cascade = 8,
    /// Another execution with the same dedup key replaced it.
    Replaced = 9,
    /// A dependency did not complete.
    DependencyFailed = 10,
    /// The payload is damaged on the disk.
    DataDamaged = 11,
}

impl EndReason {
    /// Every reason.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The reason with this number in the API and on disk; `None` for any other number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| *one as u32 == number)
    }
}

/// The kinds of parties that cause changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
#[repr(u8)]
pub enum ActorKind {
    /// A producer.
    Client = 1,
    /// A worker that holds a lease.
    Worker = 2,
    /// The clock: a deadline or timeout.
    Clock = 3,
    /// The engine, as a consequence of another change.
    Engine = 4,
    /// A person who operates the server.
    Operator = 5,
}

impl ActorKind {
    /// Every kind.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The kind with this number in the API and on disk; `None` for any other number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| *one as u32 == number)
    }
}

/// The time from start to end, in milliseconds; absent unless both are known, and never negative.
#[must_use]
pub fn duration_ms(started_ms: Option<u64>, completed_ms: Option<u64>) -> Option<u64> {
    Some(completed_ms?.saturating_sub(started_ms?))
}

#[cfg(test)]
mod tests;
