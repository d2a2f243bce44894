//! The status machine: modes, statuses, the engine's own phase, and the views derived from it.
//!
//! Owns which state may follow which. Refuses to know what moves them: that is `decide`'s.

/// Who waits for an execution and what is streamed of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// Nobody waits; no streamed events.
    #[default]
    FireAndForget = 1,
    /// A caller waits; no streamed events.
    Silent = 2,
    /// Queued for later; events are streamed.
    Deferred = 3,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::FireAndForget, Self::Silent, Self::Deferred];

    /// Whether watchers see nothing of it.
    #[must_use]
    pub const fn is_silent(self) -> bool {
        matches!(self, Self::FireAndForget | Self::Silent)
    }

    /// Whether somebody needs the result.
    #[must_use]
    pub const fn requires_result(self) -> bool {
        matches!(self, Self::Silent)
    }

    /// The mode of that number on the wire and on disk.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| *mode as u32 == number)
    }
}

/// Where an execution stands, as users see it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Status {
    /// Waits for its time or for a worker.
    #[default]
    Queued = 1,
    /// Held under a lease.
    Running = 2,
    /// A result was accepted.
    Completed = 3,
    /// Failed for good.
    Failed = 4,
    /// Ended on request.
    Cancelled = 5,
    /// Ended by a clock.
    Timeout = 6,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 6] = [
        Self::Queued,
        Self::Running,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Timeout,
    ];

    /// Whether nothing follows it.
    #[must_use]
    pub const fn is_finished(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    /// Whether it is the one good end.
    #[must_use]
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Completed)
    }

    /// The schema's word for it.
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

    /// The status of that number on the wire and on disk.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|status| *status as u32 == number)
    }
}

/// The engine's one state of an unfinished execution; every view is derived from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Not due. The clock moves it on.
    Pending = 1,
    /// Due. A worker moves it on.
    Ready = 2,
    /// Backing off. The clock moves it on.
    Retrying = 3,
    /// Under a lease. Its holder or the clock moves it on.
    Running = 4,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Ready, Self::Retrying, Self::Running];

    /// What users see of it.
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Self::Running => Status::Running,
            _ => Status::Queued,
        }
    }

    /// The unit of durability's state.
    #[must_use]
    pub const fn task_state(self) -> TaskState {
        match self {
            Self::Pending => TaskState::Pending,
            Self::Ready => TaskState::Ready,
            Self::Retrying => TaskState::Retrying,
            Self::Running => TaskState::Running,
        }
    }

    /// The phase of that number on disk.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| *phase as u32 == number)
    }
}

/// The state of a `TaskRecord`, the durable unit behind an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskState {
    /// Waits for its time or a dependency.
    Pending,
    /// May be leased.
    Ready,
    /// Under a lease.
    Running,
    /// Backs off.
    Retrying,
    /// Ended well.
    Completed,
    /// Failed for good; always on its way to `DeadLettered` in the same commit.
    Failed,
    /// Ended on request.
    Cancelled,
    /// A dependency ended otherwise than completed.
    Skipped,
    /// Kept for a person to look at.
    DeadLettered,
}

impl TaskState {
    /// Every state.
    pub const ALL: [Self; 9] = [
        Self::Pending,
        Self::Ready,
        Self::Running,
        Self::Retrying,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Skipped,
        Self::DeadLettered,
    ];

    /// The only authority on what may follow what. No state follows itself.
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

    /// Whether nothing follows it.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Completed | Self::Cancelled | Self::Skipped | Self::DeadLettered
        )
    }

    /// The state an ended execution's record stands in. A failure passes through `Failed` on the
    /// way, within the same commit.
    #[must_use]
    pub const fn of_end(status: Status) -> Self {
        match status {
            Status::Completed => Self::Completed,
            Status::Cancelled => Self::Cancelled,
            _ => Self::DeadLettered,
        }
    }
}

/// Why an execution ended, or was asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum EndReason {
    /// The holder's result was accepted.
    Completed = 1,
    /// The holder's error, no retry due.
    Failed = 2,
    /// An attempt ran too long, no retry due.
    AttemptTimeout = 3,
    /// Its lease was lost too often.
    WorkerLost = 4,
    /// `start_deadline` passed before the first lease.
    StartDeadline = 5,
    /// `deadline` passed.
    Deadline = 6,
    /// A client asked for it.
    CancelRequested = 7,
    /// An ancestor ended and cascades.
    Cascade = 8,
    /// Another of the same dedup key took its place.
    Replaced = 9,
    /// A dependency ended otherwise than completed.
    DependencyFailed = 10,
    /// The payload is damaged on the disk.
    DataDamaged = 11,
}

impl EndReason {
    /// Every reason.
    pub const ALL: [Self; 11] = [
        Self::Completed,
        Self::Failed,
        Self::AttemptTimeout,
        Self::WorkerLost,
        Self::StartDeadline,
        Self::Deadline,
        Self::CancelRequested,
        Self::Cascade,
        Self::Replaced,
        Self::DependencyFailed,
        Self::DataDamaged,
    ];

    /// The reason of that number on the wire and on disk.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|reason| *reason as u32 == number)
    }
}

/// What kind of party did something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ActorKind {
    /// A producer.
    Client = 1,
    /// The holder of a lease.
    Worker = 2,
    /// A deadline or timeout.
    Clock = 3,
    /// A consequence of something else.
    Engine = 4,
    /// A person at the controls.
    Operator = 5,
}

impl ActorKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Client,
        Self::Worker,
        Self::Clock,
        Self::Engine,
        Self::Operator,
    ];

    /// The kind of that number on the wire and on disk.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u32 == number)
    }
}

/// `completed − started`, absent unless both are set, never negative. Milliseconds.
#[must_use]
pub fn duration_ms(started_ms: Option<u64>, completed_ms: Option<u64>) -> Option<u64> {
    Some(completed_ms?.saturating_sub(started_ms?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_table_is_the_schemas() {
        let table = Mode::ALL.map(|mode| (mode.is_silent(), mode.requires_result()));
        assert_eq!([(true, false), (true, true), (false, false)], table);
        assert_eq!(Mode::FireAndForget, Mode::default());
    }

    #[test]
    fn queued_is_the_default_and_completed_the_only_success() {
        assert_eq!(Status::Queued, Status::default());
        let finished = Status::ALL.map(Status::is_finished);
        assert_eq!([false, false, true, true, true, true], finished);
        let success = Status::ALL.map(Status::is_success);
        assert_eq!([false, false, true, false, false, false], success);
    }

    #[test]
    fn nothing_follows_itself_or_a_terminal_state() {
        for from in TaskState::ALL {
            assert!(!from.can_transition_to(from), "{from:?}");
            let followed = TaskState::ALL
                .iter()
                .any(|next| from.can_transition_to(*next));
            assert_eq!(!from.is_terminal(), followed, "{from:?}");
        }
    }

    #[test]
    fn there_are_eighteen_legal_transitions() {
        let legal = TaskState::ALL
            .iter()
            .flat_map(|from| TaskState::ALL.map(|next| from.can_transition_to(next)))
            .filter(|legal| *legal)
            .count();
        assert_eq!(18, legal);
    }

    #[test]
    fn durations_need_both_ends_and_are_never_negative() {
        assert_eq!(Some(5), duration_ms(Some(10), Some(15)));
        assert_eq!(Some(0), duration_ms(Some(15), Some(10)));
        assert_eq!(None, duration_ms(None, Some(10)));
        assert_eq!(None, duration_ms(Some(10), None));
    }
}
