//! The compact form of a suspended execution: its extras and its run in one string of bytes.
//!
//! Owns the form, which is in memory only: no version of the program reads the bytes of another.
//! Refuses to know where the bytes are kept. An id of a step is in them once, where the plain form
//! has it twice for a wait.

use std::sync::Arc;

use crate::fact::{
    Actor, Backoff, KeptInput, Outcome, OutcomeKind, PauseAsked, Run, Wait, WaitEnd,
};
use crate::rules::id::LeaseToken;
use crate::rules::run::{Course, Mark, RunState};
use crate::rules::status::ActorKind;
use crate::rules::step::{StepId, StepState};
use crate::state::Extras;
use crate::state::bytes::{Reader, Writer};

const WAIT_BIT: u8 = 8;

const ACTIVE_BIT: u8 = 1;
const KEY_BIT: u8 = 2;
const AT_BIT: u8 = 4;
const AFTER_BIT: u8 = 8;
const CHILD_BIT: u8 = 16;

/// Whether the compact form can hold these extras. It leaves out what no suspended execution has.
pub(super) fn fits(extras: &Extras) -> bool {
    extras.cancel.is_none() && extras.verdict.is_none()
}

/// The compact form. `worker` stands for the name in `extras.last_worker`.
pub(super) fn pack(extras: &Extras, run: Option<&Run>, worker: Option<u32>) -> Vec<u8> {
    let mut out = Writer::default();
    out.some(worker.map(u64::from));
    put_extras(&mut out, extras);
    out.flag(run.is_some());
    if let Some(run) = run {
        put_run(&mut out, run);
    }
    out.end()
}

/// The extras and the run that [`pack`] was given. `name` gives the name of a worker.
pub(super) fn unpack(bytes: &[u8], name: impl Fn(u32) -> Arc<str>) -> (Extras, Option<Box<Run>>) {
    let mut from = Reader::new(bytes);
    let last_worker = from.some().map(narrow).map(name);
    let extras = Extras {
        last_worker,
        ..extras(&mut from)
    };
    let run = from.flag().then(|| Box::new(run(&mut from)));
    (extras, run)
}

/// The number that [`pack`] was given for the worker.
pub(super) fn worker(bytes: &[u8]) -> Option<u32> {
    Reader::new(bytes).some().map(narrow)
}

/// Numbers come back in the width in which they were written.
fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn put_extras(out: &mut Writer, extras: &Extras) {
    let Extras {
        not_before_ms,
        start_deadline_ms,
        deadline_ms,
        dedup_key,
        backoff,
        last_worker: _,
        last_failed,
        cancel: _,
        outcome,
        retried_from,
        verdict: _,
    } = extras;
    out.some(*not_before_ms);
    out.some(*start_deadline_ms);
    out.some(*deadline_ms);
    out.some(last_failed.map(u64::from));
    out.some(*retried_from);
    out.flag(dedup_key.is_some());
    if let Some(key) = dedup_key {
        out.text(key);
    }
    out.flag(backoff.is_some());
    if let Some(Backoff { delay_ms, until_ms }) = backoff {
        out.uint(*delay_ms);
        out.uint(*until_ms);
    }
    out.flag(outcome.is_some());
    if let Some(Outcome { token, kind }) = outcome {
        out.byte(*kind as u8);
        out.uint(token.shard.into());
        out.uint(token.epoch);
        out.uint(token.counter);
        out.bytes(&token.random.to_le_bytes());
    }
}

fn extras(from: &mut Reader<'_>) -> Extras {
    Extras {
        not_before_ms: from.some(),
        start_deadline_ms: from.some(),
        deadline_ms: from.some(),
        last_failed: from.some().map(narrow),
        retried_from: from.some(),
        dedup_key: from.flag().then(|| from.text()),
        backoff: from.flag().then(|| Backoff {
            delay_ms: from.uint(),
            until_ms: from.uint(),
        }),
        outcome: from.flag().then(|| outcome(from)),
        last_worker: None,
        cancel: None,
        verdict: None,
    }
}

fn outcome(from: &mut Reader<'_>) -> Outcome {
    Outcome {
        kind: OutcomeKind::from_number(from.byte().into()).expect("the kind of a report"),
        token: LeaseToken {
            shard: u16::try_from(from.uint()).unwrap_or(u16::MAX),
            epoch: from.uint(),
            counter: from.uint(),
            random: u64::from_le_bytes(from.array()),
        },
    }
}

fn put_run(out: &mut Writer, run: &Run) {
    let Run {
        course: Course { state, steps },
        actions,
        bytes,
        waits,
        inputs,
        resumes,
        left_ms,
        leased_at_ms,
        sequence,
        is_paused,
        pause,
    } = run;
    put_pause(out, *is_paused, pause.as_deref());
    out.some(*left_ms);
    out.some(*leased_at_ms);
    out.byte(*state as u8);
    out.uint((*actions).into());
    out.uint((*bytes).into());
    out.some_but_zero((*resumes).into());
    out.some_but_zero((*sequence).into());
    out.uint(steps.len() as u64);
    for Mark { id, state, is_wait } in steps {
        out.bytes(&id.0);
        out.byte(*state as u8 | if *is_wait { WAIT_BIT } else { 0 });
    }
    out.uint(waits.len() as u64);
    for wait in waits {
        put_wait(out, steps, wait);
    }
    out.some_but_zero(inputs.len() as u64);
    for KeptInput { key, action } in inputs {
        out.text(key);
        out.uint((*action).into());
    }
}

fn run(from: &mut Reader<'_>) -> Run {
    let (is_paused, pause) = pause(from);
    let (left_ms, leased_at_ms) = (from.some(), from.some());
    let state = RunState::from_number(from.byte().into()).expect("the state of a run");
    let (actions, bytes) = (narrow(from.uint()), narrow(from.uint()));
    let resumes = narrow(from.some().unwrap_or(0));
    let sequence = narrow(from.some().unwrap_or(0));
    let steps: Vec<_> = (0..from.uint()).map(|_| mark(from)).collect();
    let waits = (0..from.uint()).map(|_| wait(from, &steps)).collect();
    let inputs = (0..from.some().unwrap_or(0)).map(|_| KeptInput {
        key: from.text(),
        action: narrow(from.uint()),
    });
    Run {
        inputs: inputs.collect(),
        course: Course { state, steps },
        actions,
        bytes,
        waits,
        resumes,
        left_ms,
        leased_at_ms,
        sequence,
        is_paused,
        pause,
    }
}

fn put_pause(out: &mut Writer, is_paused: bool, pause: Option<&PauseAsked>) {
    out.flag(is_paused);
    if is_paused {
        // A flag would take room from those that are set more often.
        out.byte(u8::from(pause.is_some()));
    }
    if let Some(PauseAsked { at_ms, actor }) = pause {
        out.uint(*at_ms);
        out.byte(actor.kind as u8);
        out.text(&actor.id);
    }
}

fn pause(from: &mut Reader<'_>) -> (bool, Option<Box<PauseAsked>>) {
    let is_paused = from.flag();
    let is_known = is_paused && from.byte() > 0;
    let pause = is_known.then(|| {
        let at_ms = from.uint();
        let kind = ActorKind::from_number(from.byte().into()).expect("the kind of an actor");
        let id = from.text();
        let actor = Actor { kind, id };
        Box::new(PauseAsked { at_ms, actor })
    });
    (is_paused, pause)
}

fn mark(from: &mut Reader<'_>) -> Mark {
    let (id, byte) = (StepId(from.array()), from.byte());
    Mark {
        id,
        state: StepState::from_number((byte & !WAIT_BIT).into()).expect("the state of a step"),
        is_wait: byte & WAIT_BIT != 0,
    }
}

/// Writes a wait. The place of its step among the steps stands for the id.
fn put_wait(out: &mut Writer, steps: &[Mark], wait: &Wait) {
    let Wait {
        step,
        key,
        end,
        child,
        is_active,
    } = wait;
    let bit = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
    let end_bit = match end {
        WaitEnd::Never => 0,
        WaitEnd::At(_) => AT_BIT,
        WaitEnd::After(_) => AFTER_BIT,
    };
    let child_bit = bit(child.is_some(), CHILD_BIT);
    out.byte(bit(*is_active, ACTIVE_BIT) | bit(key.is_some(), KEY_BIT) | end_bit | child_bit);
    let place = steps.iter().position(|mark| mark.id == *step);
    out.uint(place.unwrap_or(steps.len()) as u64);
    if place.is_none() {
        out.bytes(&step.0);
    }
    if let Some(key) = key {
        out.text(key);
    }
    match end {
        WaitEnd::Never => {}
        WaitEnd::At(at_ms) => out.uint(*at_ms),
        WaitEnd::After(Backoff { delay_ms, until_ms }) => {
            out.uint(*delay_ms);
            out.uint(*until_ms);
        }
    }
    if let Some(child) = child {
        out.uint(*child);
    }
}

fn wait(from: &mut Reader<'_>, steps: &[Mark]) -> Wait {
    let bits = from.byte();
    let place = usize::try_from(from.uint()).unwrap_or(usize::MAX);
    let step = match steps.get(place) {
        Some(mark) => mark.id,
        None => StepId(from.array()),
    };
    Wait {
        step,
        key: (bits & KEY_BIT != 0).then(|| from.text()),
        end: match bits & (AT_BIT | AFTER_BIT) {
            AT_BIT => WaitEnd::At(from.uint()),
            AFTER_BIT => WaitEnd::After(Backoff {
                delay_ms: from.uint(),
                until_ms: from.uint(),
            }),
            _ => WaitEnd::Never,
        },
        child: (bits & CHILD_BIT != 0).then(|| from.uint()),
        is_active: bits & ACTIVE_BIT != 0,
    }
}

#[cfg(test)]
mod tests;
