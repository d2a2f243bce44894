//! Facts about runs: encoding and decoding.
//!
//! Owns the encoding of `RunFact`, and the numbers of actions on disk, which rows share. Refuses to
//! know which action may follow which: the engine does.

use backlane_engine::fact::{
    Backoff, KeptInput, PauseAsked, Run, RunChange, RunFact, Wait, WaitEnd, WakeCause,
};
use backlane_engine::rules::run::{Action, Course, Mark, RunState};
use backlane_engine::rules::step::{StepId, StepState, WaitReason};

use super::parts;
use crate::generated::backlane::log::v1;
use crate::{DecodeError, put};

/// The bit of a mark that says that the step is a wait.
const WAIT_BIT: u8 = 0x80;

/// The number of an action's kind on disk. A number is never reused.
pub(crate) const fn number_of(action: Action) -> u32 {
    match action {
        Action::Start => 1,
        Action::Plan => 2,
        Action::StepAdded(_) => 3,
        Action::StepStarted(_) => 4,
        Action::WaitStarted(_) => 5,
        Action::StepCompleted(_) => 6,
        Action::StepFailed(_) => 7,
        Action::StepSkipped(_) => 8,
        Action::AttemptEnded => 9,
        Action::Pause => 10,
        Action::Resume => 11,
        Action::Wait(_) => 12,
        Action::InputKept => 13,
        Action::InputReceived => 14,
        Action::Complete => 15,
        Action::Fail => 16,
        Action::Cancel => 17,
        Action::StepCarried(_) => 18,
        Action::PlaceCarried(_) => 19,
    }
}

/// The action with this number. `step` gives the id of the step, and is called only for an action
/// about a step.
pub(crate) fn action(
    what: &'static str,
    number: u32,
    step: impl FnOnce() -> Result<StepId, DecodeError>,
    reason: WaitReason,
) -> Result<Action, DecodeError> {
    Ok(match number {
        1 => Action::Start,
        2 => Action::Plan,
        3 => Action::StepAdded(step()?),
        4 => Action::StepStarted(step()?),
        5 => Action::WaitStarted(step()?),
        6 => Action::StepCompleted(step()?),
        7 => Action::StepFailed(step()?),
        8 => Action::StepSkipped(step()?),
        9 => Action::AttemptEnded,
        10 => Action::Pause,
        11 => Action::Resume,
        12 => Action::Wait(reason),
        13 => Action::InputKept,
        14 => Action::InputReceived,
        15 => Action::Complete,
        16 => Action::Fail,
        17 => Action::Cancel,
        18 => Action::StepCarried(step()?),
        19 => Action::PlaceCarried(step()?),
        number => {
            let number = number.into();
            return Err(DecodeError::UnknownNumber { what, number });
        }
    })
}

/// The reason of a wait with this number.
pub(crate) fn reason(what: &'static str, number: u32) -> Result<WaitReason, DecodeError> {
    parts::known(what, number, WaitReason::from_number)
}

/// The id of a step, which must have 20 bytes.
pub(crate) fn step(what: &'static str, bytes: &[u8]) -> Result<StepId, DecodeError> {
    let wrong = |_| DecodeError::malformed(what, &"it must have 20 bytes");
    bytes.try_into().map(StepId).map_err(wrong)
}

fn steps(what: &'static str, bytes: &[u8]) -> Result<Vec<StepId>, DecodeError> {
    bytes.chunks(20).map(|id| step(what, id)).collect()
}

fn put_steps(out: &mut Vec<u8>, tag: u32, steps: impl Iterator<Item = StepId>) {
    let ids: Vec<u8> = steps.flat_map(|step| step.0).collect();
    put::filled(out, tag, &ids);
}

/// Writes the fields of a `RunFact`.
pub(super) fn put_fact(out: &mut Vec<u8>, fact: &RunFact) {
    put::uint(out, 1, fact.birth);
    match &fact.change {
        RunChange::Carried(run) => put::message(out, 2, |out| put_run(out, run)),
        RunChange::Reported {
            actions,
            bytes,
            sequence,
        } => put::message(out, 3, |out| {
            put_actions(out, actions, *bytes);
            put::uint(out, 4, *sequence);
        }),
        RunChange::TakenOver { actions, bytes } => {
            put::message(out, 9, |out| put_actions(out, actions, *bytes));
        }
        RunChange::Suspended {
            begun,
            active,
            reason,
            bytes,
            left_ms,
        } => put::message(out, 4, |out| {
            for wait in begun {
                put_wait(out, 1, wait);
            }
            put_steps(out, 2, active.iter().copied());
            put::uint(out, 3, *reason as u32);
            put::uint(out, 4, *bytes);
            put::uint(out, 5, *left_ms);
        }),
        RunChange::Woken { over, by, bytes } => put::message(out, 5, |out| {
            put_steps(out, 1, over.iter().copied());
            put::uint(out, 2, number_of_cause(*by));
            put::uint(out, 3, *bytes);
        }),
        RunChange::InputKept { key, bytes } => put::message(out, 6, |out| {
            put::text(out, 1, key);
            put::uint(out, 2, *bytes);
        }),
        RunChange::Paused { is_recorded } => {
            put::message(out, 7, |out| put::uint(out, 1, *is_recorded));
        }
        RunChange::Unpaused { is_recorded } => {
            put::message(out, 8, |out| put::uint(out, 1, *is_recorded));
        }
    }
}

// The fields that `Reported` and `TakenOver` have in common.
fn put_actions(out: &mut Vec<u8>, actions: &[Action], bytes: u32) {
    let mut kinds = Vec::with_capacity(actions.len());
    for action in actions {
        put::varint(&mut kinds, number_of(*action).into());
    }
    put::filled(out, 1, &kinds);
    put_steps(out, 2, actions.iter().filter_map(|action| action.step()));
    put::uint(out, 3, bytes);
}

fn put_run(out: &mut Vec<u8>, run: &Run) {
    let steps = &run.course.steps;
    put::uint(out, 1, run.course.state as u32);
    put_steps(out, 2, steps.iter().map(|mark| mark.id));
    let marks: Vec<u8> = steps.iter().map(mark_byte).collect();
    put::filled(out, 3, &marks);
    put::uint(out, 4, run.actions);
    put::uint(out, 5, run.bytes);
    for wait in &run.waits {
        put_wait(out, 6, wait);
    }
    for input in &run.inputs {
        put::message(out, 7, |out| {
            put::text(out, 1, &input.key);
            put::uint(out, 2, input.action);
        });
    }
    put::uint(out, 8, run.resumes);
    put::some_uint(out, 9, run.left_ms);
    put::some_uint(out, 10, run.leased_at_ms);
    put::uint(out, 11, run.sequence);
    put::uint(out, 12, run.is_paused);
    if let Some(PauseAsked { at_ms, actor }) = run.pause.as_deref() {
        put::message(out, 13, |out| {
            put::uint(out, 1, *at_ms);
            parts::put_actor(out, 2, actor);
        });
    }
}

const fn mark_byte(mark: &Mark) -> u8 {
    let wait = if mark.is_wait { WAIT_BIT } else { 0 };
    mark.state as u8 | wait
}

fn put_wait(out: &mut Vec<u8>, tag: u32, wait: &Wait) {
    let (until_ms, delay_ms) = match wait.end {
        WaitEnd::Never => (None, None),
        WaitEnd::At(at_ms) => (Some(at_ms), None),
        WaitEnd::After(pause) => (Some(pause.until_ms), Some(pause.delay_ms)),
    };
    put::message(out, tag, |out| {
        put::bytes(out, 1, &wait.step.0);
        put::some_text(out, 2, wait.key.as_deref());
        put::some_uint(out, 3, until_ms);
        put::some_uint(out, 4, delay_ms);
        put::uint(out, 5, wait.is_active);
        put::some_uint(out, 6, wait.child);
    });
}

const fn number_of_cause(by: WakeCause) -> u32 {
    match by {
        WakeCause::Input => 1,
        WakeCause::Time => 2,
        WakeCause::Resume => 3,
        WakeCause::Child => 4,
    }
}

const fn cause(number: u32) -> Option<WakeCause> {
    match number {
        1 => Some(WakeCause::Input),
        2 => Some(WakeCause::Time),
        3 => Some(WakeCause::Resume),
        4 => Some(WakeCause::Child),
        _ => None,
    }
}

/// The engine's fact for a decoded message.
pub(super) fn fact(from: v1::RunFact) -> Result<RunFact, DecodeError> {
    use v1::run_fact::Change;
    let birth = from.birth;
    let change = match parts::change("RunFact", from.change)? {
        Change::Carried(from) => RunChange::Carried(Box::new(run(from)?)),
        Change::Reported(from) => RunChange::Reported {
            actions: actions("Reported", &from.kinds, &from.steps)?.into(),
            bytes: from.bytes,
            sequence: from.sequence,
        },
        Change::TakenOver(from) => RunChange::TakenOver {
            actions: actions("TakenOver", &from.kinds, &from.steps)?.into(),
            bytes: from.bytes,
        },
        Change::Suspended(from) => RunChange::Suspended {
            begun: from.begun.into_iter().map(wait).collect::<Result<_, _>>()?,
            active: steps("Suspended.active", &from.active)?.into(),
            reason: reason("Suspended.reason", from.reason)?,
            bytes: from.bytes,
            left_ms: from.left_ms,
        },
        Change::Woken(from) => RunChange::Woken {
            over: steps("Woken.over", &from.over)?.into(),
            by: parts::known("Woken.by", from.by, cause)?,
            bytes: from.bytes,
        },
        Change::InputKept(from) => RunChange::InputKept {
            key: from.key.into(),
            bytes: from.bytes,
        },
        Change::Paused(from) => RunChange::Paused {
            is_recorded: from.recorded,
        },
        Change::Unpaused(from) => RunChange::Unpaused {
            is_recorded: from.recorded,
        },
    };
    Ok(RunFact { birth, change })
}

/// The actions of a fact. `what` names it in errors.
fn actions(what: &'static str, kinds: &[u32], ids: &[u8]) -> Result<Vec<Action>, DecodeError> {
    let mut steps = steps(what, ids)?.into_iter();
    let read = kinds.iter().map(|kind| {
        let next = || steps.next().ok_or(DecodeError::Missing { what });
        action(what, *kind, next, WaitReason::default())
    });
    read.collect()
}

fn run(from: v1::Run) -> Result<Run, DecodeError> {
    let ids = steps("Run.steps", &from.steps)?;
    if ids.len() != from.marks.len() {
        return Err(DecodeError::malformed("Run.marks", &"one for each step"));
    }
    let marks = ids.into_iter().zip(from.marks);
    Ok(Run {
        course: Course {
            state: parts::known("Run.state", from.state, RunState::from_number)?,
            steps: marks.map(mark).collect::<Result<_, _>>()?,
        },
        actions: from.actions,
        bytes: from.bytes,
        waits: from.waits.into_iter().map(wait).collect::<Result<_, _>>()?,
        inputs: from.inputs.into_iter().map(input).collect(),
        resumes: from.resumes,
        left_ms: from.left_ms,
        leased_at_ms: from.leased_at_ms,
        sequence: from.sequence,
        is_paused: from.paused,
        pause: from.pause.map(pause).transpose()?,
    })
}

fn pause(from: v1::PauseAsked) -> Result<Box<PauseAsked>, DecodeError> {
    let actor = parts::actor(parts::present("PauseAsked.actor", from.actor)?)?;
    let at_ms = from.at_ms;
    Ok(Box::new(PauseAsked { at_ms, actor }))
}

fn mark((id, byte): (StepId, u8)) -> Result<Mark, DecodeError> {
    let state = u32::from(byte & !WAIT_BIT);
    Ok(Mark {
        id,
        state: parts::known("Run.marks", state, StepState::from_number)?,
        is_wait: byte & WAIT_BIT != 0,
    })
}

fn input(from: v1::KeptInput) -> KeptInput {
    KeptInput {
        key: from.key.into(),
        action: from.action,
    }
}

fn wait(from: v1::Wait) -> Result<Wait, DecodeError> {
    let end = match (from.until_ms, from.delay_ms) {
        (None, None) => WaitEnd::Never,
        (Some(at_ms), None) => WaitEnd::At(at_ms),
        (Some(until_ms), Some(delay_ms)) => WaitEnd::After(Backoff { delay_ms, until_ms }),
        (None, Some(_)) => {
            return Err(DecodeError::Missing {
                what: "Wait.until_ms",
            });
        }
    };
    Ok(Wait {
        step: step("Wait.step", &from.step)?,
        key: from.key.map(String::into_boxed_str),
        end,
        child: from.child,
        is_active: from.active,
    })
}
