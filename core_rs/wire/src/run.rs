//! The run of an execution, as replies and leases show it.
//!
//! Owns the fold of the recorded actions with their contents, and its form as the API's `Execution`
//! and `Step`. Refuses to decide which action may follow which: the engine's [`Course`] does, here
//! as in every decision.

use backlane_engine::fact::RequeueCause;
use backlane_engine::row::{ActionRow, AttemptRow, Bytes, EndingRow};
use backlane_engine::rules::retry::Category;
use backlane_engine::rules::run::{Action, Course, Illegal, RunState};
use backlane_engine::rules::status::Status;
use backlane_engine::rules::step::{StepId, StepState, WaitReason};
use prost::Message as _;
use thiserror::Error;

use crate::generated::backlane::v1;
use crate::record::put_error;
use crate::row::action;
use crate::{DecodeError, json, put};

/// The code of the error of a step that ran when its attempt ended.
const ATTEMPT_ENDED: &str = "ATTEMPT_ENDED";

/// Why recorded actions make no run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Broken {
    /// An action cannot be decoded.
    #[error("action {ordinal} cannot be decoded: {problem}")]
    Undecodable {
        /// Number of the action.
        ordinal: u32,
        /// The problem.
        problem: DecodeError,
    },
    /// An action is missing: the numbers of actions have no gaps.
    #[error("action {ordinal} is missing")]
    Missing {
        /// Number of the action.
        ordinal: u32,
    },
    /// An action cannot follow the actions before it.
    #[error("action {ordinal} cannot follow: {why}")]
    Illegal {
        /// Number of the action.
        ordinal: u32,
        /// The reason.
        why: Illegal,
    },
}

/// A run: its state, and its steps with their contents.
#[derive(Debug, Clone, Default)]
pub struct Story {
    course: Course,
    // In the order of the course's steps.
    steps: Vec<v1::Step>,
    schema_version: String,
    reason: WaitReason,
    attempt: u32,
    attempt_is_over: bool,
}

/// Folds the recorded actions of an execution, in order, with the leases that ended before it did.
/// `attempt` is the ordinal of the newest attempt, 0 before the first.
///
/// # Errors
/// [`Broken`] naming the first action that is missing, unreadable or not legal.
pub fn fold(actions: &[ActionRow], ends: &[AttemptRow], attempt: u32) -> Result<Story, Broken> {
    let mut story = Story::default();
    let is_end = |end: &&AttemptRow| end.cause != RequeueCause::Suspended;
    let mut ends = ends.iter().filter(is_end).peekable();
    for (row, ordinal) in actions.iter().zip(1..) {
        if row.ordinal != ordinal {
            return Err(Broken::Missing { ordinal });
        }
        while let Some(end) = ends.next_if(|end| end.actions < ordinal) {
            story.attempt_ended(end);
        }
        story.reach(row.attempt, row.at_ms);
        let taken = story.course.take(row.action);
        taken.map_err(|why| Broken::Illegal { ordinal, why })?;
        let shown = story.show(row, actions);
        shown.map_err(|problem| Broken::Undecodable { ordinal, problem })?;
    }
    for end in ends {
        story.attempt_ended(end);
    }
    let last_ms = actions.last().map_or(0, |row| row.at_ms);
    story.reach(attempt, last_ms);
    Ok(story)
}

impl Story {
    /// The state of the run and of its steps.
    #[must_use]
    pub const fn course(&self) -> &Course {
        &self.course
    }

    /// The version of the callable that recorded the steps; empty if there is none.
    #[must_use]
    pub fn schema_version(&self) -> &str {
        &self.schema_version
    }

    /// The steps with their contents, in the order in which they were recorded.
    pub(crate) fn steps(&self) -> &[v1::Step] {
        &self.steps
    }

    /// The encoded steps that a lease carries: those that have ended, and the waits that are not
    /// over.
    pub fn known_steps(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        let is_known = |step: &&v1::Step| {
            use v1::StepState as S;
            matches!(step.state(), S::Completed | S::Failed | S::Running)
        };
        self.steps
            .iter()
            .filter(is_known)
            .map(v1::Step::encode_to_vec)
    }

    /// Follows the lease of an attempt. The attempt before it is over, also if the row of its end
    /// was dropped.
    fn reach(&mut self, attempt: u32, at_ms: u64) {
        if attempt <= self.attempt {
            return;
        }
        if self.attempt > 0 && !self.attempt_is_over {
            self.close(Action::AttemptEnded, at_ms);
        }
        // Only a run that was never leased, or that is being planned, is in a state for this.
        let _ = self.course.take(Action::Start);
        self.attempt = attempt;
        self.attempt_is_over = false;
    }

    fn attempt_ended(&mut self, end: &AttemptRow) {
        self.reach(end.attempt, end.started_at_ms);
        self.lease_ended(end.ended_at_ms);
    }

    /// Follows the end of the newest lease, at a time in milliseconds since the epoch.
    pub fn lease_ended(&mut self, at_ms: u64) {
        self.close(Action::AttemptEnded, at_ms);
        self.attempt_is_over = true;
    }

    /// Follows the end of the execution.
    pub fn ended(&mut self, ending: &EndingRow) {
        self.reach(ending.progress.attempt, ending.ended_at_ms);
        let action = match ending.status {
            Status::Completed => Action::Complete,
            Status::Cancelled => Action::Cancel,
            Status::Failed | Status::Timeout | Status::Queued | Status::Running => Action::Fail,
        };
        self.close(action, ending.ended_at_ms);
    }

    /// Applies an action of the engine that may end steps.
    fn close(&mut self, action: Action, at_ms: u64) {
        let _ = self.course.take(action);
        for (mark, step) in self.course.steps.iter().zip(&mut self.steps) {
            if step.state == mark.state as i32 {
                continue;
            }
            step.state = mark.state as i32;
            if mark.state == StepState::Failed {
                end(step, at_ms);
                step.error = Some(attempt_ended(self.attempt, at_ms));
            }
        }
    }

    /// Adds the contents of a recorded action that was taken.
    fn show(&mut self, row: &ActionRow, all: &[ActionRow]) -> Result<(), DecodeError> {
        if let Action::Wait(reason) = row.action {
            self.reason = reason;
        }
        let Some(id) = row.action.step() else {
            return Ok(());
        };
        let details = action::details(&row.contents.details)?;
        if self.schema_version.is_empty() {
            self.schema_version = details.schema_version;
        }
        let marks = self.course.steps.iter();
        let Some(at) = marks.clone().position(|mark| mark.id == id) else {
            return Ok(());
        };
        let state = self.course.steps[at].state;
        if at == self.steps.len() {
            self.steps.push(v1::Step::default());
        }
        let step = &mut self.steps[at];
        if let Action::StepCarried(_) | Action::PlaceCarried(_) = row.action {
            let carried = action::carried(details.step, row.contents.body.as_deref())?;
            *step = v1::Step {
                id: id.to_string(),
                state: state as i32,
                ..carried
            };
            return Ok(());
        }
        let text = text(body_of(row, all))?;
        match row.action {
            Action::StepAdded(_) => *step = new(id, details.step, text),
            Action::StepStarted(_) | Action::WaitStarted(_) => {
                let input = text.or_else(|| step.input.take());
                *step = new(id, details.step, input);
                step.started_at = Some(row.at_ms);
                step.attempt = row.attempt;
            }
            _ => {
                step.output = text;
                let child = row.contents.child.map(|child| child.to_string());
                step.child_execution_id = child.or(step.child_execution_id.take());
                step.error = details.step.error.map(|error| v1::ExecutionError {
                    attempt: row.attempt,
                    occurred_at_ms: row.at_ms,
                    ..error
                });
                end(step, row.at_ms);
            }
        }
        step.state = state as i32;
        Ok(())
    }

    /// Encodes a `GetExecutionRunResponse`.
    #[must_use]
    pub fn response(&self, shown: &RunShown<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        put::message(&mut out, 1, |out| self.put(out, shown));
        out
    }

    /// The state of the run as it is shown, with the reason for which it waits.
    const fn state(&self, shown: &RunShown<'_>) -> (RunState, WaitReason) {
        let state = match self.course.state {
            _ if shown.awaits_children => return (RunState::Waiting, WaitReason::SubAgent),
            state if state.is_terminal() || !shown.is_paused => state,
            _ => RunState::Paused,
        };
        (state, self.reason)
    }

    fn put(&self, out: &mut Vec<u8>, shown: &RunShown<'_>) {
        let (state, reason) = self.state(shown);
        put::text(out, 1, shown.id);
        put::text(out, 2, shown.tenant);
        put::uint(out, 3, state as u32);
        if state == RunState::Waiting {
            put::uint(out, 4, reason as u32);
        }
        for step in &self.steps {
            put::message(out, 6, |out| {
                put::text(out, 1, &step.id);
                put::bytes(out, 2, &step.encode_to_vec());
            });
        }
        for step in &self.steps {
            put::text(out, 7, &step.id);
        }
        let version = Some(&*self.schema_version).filter(|version| !version.is_empty());
        put::some_text(out, 8, version);
        put::some_uint(out, 9, shown.started_at_ms);
        if let Some(ending) = shown.ending {
            put::some_uint(out, 10, Some(ending.ended_at_ms));
            let output = ending.output.as_deref().and_then(|it| json::text(it).ok());
            let has_room = |output: &&str| out.len() + output.len() <= shown.most_bytes;
            put::some_text(out, 11, output.as_deref().filter(has_room));
            if let Some(error) = ending.error.as_ref().filter(|_| state == RunState::Failed) {
                put_error(out, 12, error);
            }
        }
    }
}

/// What a reply shows of an execution besides its recorded actions.
#[derive(Debug, Clone, Copy)]
pub struct RunShown<'a> {
    /// The id of the execution.
    pub id: &'a str,
    /// The tenant's name.
    pub tenant: &'a str,
    /// Whether a client paused the execution.
    pub is_paused: bool,
    /// Whether the end of the execution is decided, so that it waits for its children alone.
    pub awaits_children: bool,
    /// Begin of the first lease, in milliseconds since the epoch.
    pub started_at_ms: Option<u64>,
    /// How the execution ended.
    pub ending: Option<&'a EndingRow>,
    /// Largest reply, in bytes. An output that does not fit is left out.
    pub most_bytes: usize,
}

fn new(id: StepId, from: v1::Step, input: Option<String>) -> v1::Step {
    let id = id.to_string();
    v1::Step { id, input, ..from }
}

fn end(step: &mut v1::Step, at_ms: u64) {
    step.ended_at = Some(at_ms);
    step.duration_ms = step.started_at.map(|started| at_ms.saturating_sub(started));
}

fn attempt_ended(attempt: u32, at_ms: u64) -> v1::ExecutionError {
    v1::ExecutionError {
        category: Category::KernelInternal as i32,
        message: "the attempt ended before the step".into(),
        code: Some(ATTEMPT_ENDED.into()),
        attempt,
        occurred_at_ms: at_ms,
        ..v1::ExecutionError::default()
    }
}

/// The body of an action: its own, or that of the action that has it instead.
fn body_of<'a>(row: &'a ActionRow, all: &'a [ActionRow]) -> Option<&'a Bytes> {
    let Some(other) = row.contents.body_of else {
        return row.contents.body.as_ref();
    };
    let at = usize::try_from(other).ok()?.checked_sub(1)?;
    all.get(at)?.contents.body.as_ref()
}

fn text(body: Option<&Bytes>) -> Result<Option<String>, DecodeError> {
    let text = body.map(|body| String::from_utf8(body.to_vec()));
    let text = text.transpose();
    text.map_err(|error| DecodeError::malformed("the body", &error))
}

#[cfg(test)]
mod tests;
