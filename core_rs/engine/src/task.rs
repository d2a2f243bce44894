//! Tasks: an execution as a unit of durability, a view that is derived and never stored.
//!
//! Owns the fields of a task record that the engine knows, and its one way to change: a transition.
//! Refuses to know metadata, which the engine does not look at, and the encoding of outputs.

use crate::fact::{Living, Progress};
use crate::row::{Bytes, EndingRow};
use crate::rules::id::ExecutionId;
use crate::rules::status::TaskState;

/// An execution as a task. Times are milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRecord {
    /// The id of the execution.
    pub id: ExecutionId,
    /// The state of the task.
    pub state: TaskState,
    /// Ordinal of the newest attempt, 0 before the first.
    pub attempts: u32,
    /// Time of the enqueue.
    pub created_at_ms: u64,
    /// Time of the newest change.
    pub updated_at_ms: u64,
    /// Start of the newest attempt.
    pub started_at_ms: Option<u64>,
    /// Time of the end.
    pub finished_at_ms: Option<u64>,
    /// The encoded output; present only where the execution completed.
    pub output: Option<Bytes>,
    /// The message of the newest error, that of an attempt which another followed included.
    pub error: Option<Box<str>>,
}

impl TaskRecord {
    /// The task of an unfinished execution. `last_error` is the message of the newest attempt that
    /// went wrong with an error. An end that is decided and waits for descendants has its own.
    #[must_use]
    pub fn of_living(living: &Living, last_error: Option<&str>) -> Self {
        let state = living.progress.phase.task_state();
        let record = Self::new(living.id, living.queued_at_ms, state, &living.progress);
        let decided = living.verdict_error().map(|error| &*error.message);
        Self {
            error: decided.or(last_error).map(Into::into),
            ..record
        }
    }

    /// The task of an execution that has ended. `last_error` as in [`Self::of_living`].
    #[must_use]
    pub fn of_ending(ending: &EndingRow, queued_at_ms: u64, last_error: Option<&str>) -> Self {
        let state = TaskState::of_end(ending.status, ending.reason);
        let record = Self::new(ending.id, queued_at_ms, state, &ending.progress);
        let error = ending.error.as_ref().map(|error| &*error.message);
        Self {
            finished_at_ms: Some(ending.ended_at_ms),
            output: ending.output.clone(),
            error: error.or(last_error).map(Into::into),
            ..record
        }
    }

    const fn new(
        id: ExecutionId,
        created_at_ms: u64,
        state: TaskState,
        progress: &Progress,
    ) -> Self {
        Self {
            id,
            state,
            attempts: progress.attempt,
            created_at_ms,
            updated_at_ms: progress.updated_at_ms,
            started_at_ms: progress.started_at_ms,
            finished_at_ms: None,
            output: None,
            error: None,
        }
    }

    /// Moves the task to another state. Returns false and leaves the record as it is where the
    /// state does not allow that. A task that begins to run starts at `at_ms`, and one that comes
    /// to a failure or a terminal state is finished then. The ordinal of the attempt stays: only
    /// the lease knows whether it begins a new attempt.
    pub const fn transition(&mut self, next: TaskState, at_ms: u64) -> bool {
        if !self.state.can_transition_to(next) {
            return false;
        }
        self.state = next;
        self.updated_at_ms = at_ms;
        if matches!(next, TaskState::Running) {
            self.started_at_ms = Some(at_ms);
        }
        if next.is_terminal() || next.is_failure() {
            self.finished_at_ms = Some(at_ms);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREATED_MS: u64 = 1_000;
    const MOVED_MS: u64 = 5_000;

    fn in_state(state: TaskState) -> TaskRecord {
        TaskRecord {
            id: ExecutionId::from_bytes([7; 20]),
            state,
            attempts: 2,
            created_at_ms: CREATED_MS,
            updated_at_ms: 2_000,
            started_at_ms: None,
            finished_at_ms: None,
            output: None,
            error: Some("boom".into()),
        }
    }

    /// The states that may follow each state, as the specification lists them.
    fn legal(from: TaskState) -> &'static [TaskState] {
        use TaskState as T;
        match from {
            T::Pending => &[T::Ready, T::Skipped, T::Cancelled, T::Failed],
            T::Ready => &[T::Pending, T::Running, T::Skipped, T::Cancelled, T::Failed],
            T::Running => &[T::Completed, T::Failed, T::Retrying, T::Ready, T::Cancelled],
            T::Retrying => &[T::Ready, T::Cancelled, T::Failed],
            T::Failed => &[T::DeadLettered],
            T::Completed | T::Cancelled | T::Skipped | T::DeadLettered => &[],
        }
    }

    fn pairs() -> impl Iterator<Item = (TaskState, TaskState)> {
        let states = TaskState::ALL.iter().copied();
        states
            .clone()
            .flat_map(move |from| states.clone().map(move |next| (from, next)))
    }

    #[test]
    fn of_all_81_pairs_exactly_the_listed_ones_are_transitions() {
        assert_eq!(81, pairs().count());
        for (from, next) in pairs() {
            let mut record = in_state(from);
            let moved = record.transition(next, MOVED_MS);
            assert_eq!(legal(from).contains(&next), moved, "{from:?} to {next:?}");
            assert_eq!(from.can_transition_to(next), moved, "{from:?} to {next:?}");
        }
    }

    #[test]
    fn an_illegal_transition_leaves_the_record_untouched() {
        for (from, next) in pairs().filter(|(from, next)| !legal(*from).contains(next)) {
            let mut record = in_state(from);
            record.transition(next, MOVED_MS);
            assert_eq!(in_state(from), record, "{from:?} to {next:?}");
        }
    }

    #[test]
    fn a_legal_transition_sets_the_times_that_it_means_and_nothing_else() {
        for (from, next) in pairs().filter(|(from, next)| legal(*from).contains(next)) {
            let mut record = in_state(from);
            record.transition(next, MOVED_MS);
            let starts = next == TaskState::Running;
            let ends = next.is_terminal() || next == TaskState::Failed;
            let expected = TaskRecord {
                state: next,
                updated_at_ms: MOVED_MS,
                started_at_ms: starts.then_some(MOVED_MS),
                finished_at_ms: ends.then_some(MOVED_MS),
                ..in_state(from)
            };
            assert_eq!(expected, record, "{from:?} to {next:?}");
        }
    }
}
