//! Suspensions: executions that wait without a worker.
//!
//! Owns how a suspension begins, and how a time or a kept input ends it. Refuses to know why a
//! worker waits.

use std::collections::BTreeSet;

use crate::command::{Held, Known, NewWait, NewWaitEnd, Suspension};
use crate::engine::{Decision, Engine};
use crate::error::{Invalid, Refusal};
use crate::fact::{Actor, Backoff, OutcomeKind, Run, RunChange, Wait, WaitEnd, WakeCause};
use crate::reply::Settled;
use crate::row::ActionContents;
use crate::rules::id::{Birth, ExecutionId};
use crate::rules::run::Action;
use crate::rules::status::{Phase, Status};
use crate::soft::Hold;
use crate::time::Now;

use super::dependency::Looks;
use super::report::{Lease, Speaker};
use super::run::{illegal, may_record, not_allowed, room_for, run_changes, woken};

/// The output of a wait that the end of a child has ended.
const CHILD_ENDED: &str = "ended";

impl Engine {
    /// Suspends an execution: its lease ends, and it waits without a worker. If one of the waits
    /// is over already, it is queued again at once. If a pause was requested, the execution pauses
    /// instead: a worker waits again after the pause.
    ///
    /// # Errors
    /// As [`Self::report_steps`].
    pub fn suspend(
        &mut self,
        held: &Held,
        suspension: &Suspension,
        speaker: Speaker<'_>,
        now: Now,
    ) -> Result<Settled, Refusal> {
        self.catch_up_visible(held, speaker, now);
        let kind = OutcomeKind::Suspended;
        if let Lease::Repeated(status) = self.live_lease(held, speaker, Some(kind))? {
            return Ok(Settled::at(status));
        }
        let birth = held.id.birth;
        let change = self.suspended(&held.id, suspension, speaker.known, now)?;
        self.acknowledge(held, now);
        if let Some(cancelled) = self.cancelled_by_flag(birth, Some(kind)) {
            self.commit(cancelled, now)?;
            // It goes on as running if it waits for its children first.
            let slot = self.state.slot(birth);
            let status = slot.map_or(Status::Cancelled, |slot| slot.phase.status());
            return Ok(Settled::at(status));
        }
        let (change, contents) = change;
        self.commit(run_changes(Actor::holder(), birth, change, contents), now)?;
        self.wake_if_over(birth, now)?;
        let phase = self
            .state
            .slot(birth)
            .map_or(Phase::Ready, |slot| slot.phase);
        Ok(Settled::at(phase.status()))
    }

    fn suspended(
        &self,
        id: &ExecutionId,
        suspension: &Suspension,
        known: &Known,
        now: Now,
    ) -> Result<(RunChange, Vec<ActionContents>), Refusal> {
        let run = self.state.run_of(id.birth);
        if run.course.open_step().is_some() {
            let (state, event) = (run.course.state, "suspended while a step runs");
            return Err(not_allowed(id, state, event));
        }
        let left_ms = self.left_ms(id.birth, now);
        if run.is_paused {
            let change = RunChange::Suspended {
                begun: Box::default(),
                active: Box::default(),
                reason: suspension.reason(),
                bytes: 0,
                left_ms,
            };
            return Ok((change, Vec::new()));
        }
        if suspension.waits.is_empty() {
            let rule = "must name a wait, unless a pause was requested";
            let field = format!("{}.waits", suspension.field);
            return Err(Invalid::new(field, rule).into());
        }
        may_record(&run, suspension.waits.len() + 1, &suspension.field)?;
        let mut looks = Looks::default();
        for (at, wait) in suspension.waits.iter().enumerate() {
            if let Some(child) = &wait.child {
                let field = format!("{}.waits[{at}].child_execution_id", suspension.field);
                self.may_await(id.birth, child, field, known, &mut looks)?;
            }
        }
        let (begun, contents) = begun(id, &run, suspension, now)?;
        let bytes = contents.iter().map(ActionContents::bytes);
        let change = RunChange::Suspended {
            begun: begun.into(),
            active: suspension.waits.iter().map(|wait| wait.step).collect(),
            reason: suspension.reason(),
            bytes: bytes.fold(0, u32::saturating_add),
            left_ms,
        };
        Ok((change, contents))
    }

    /// Refuses to wait for what is no child of the execution, or waits for the execution itself. A
    /// child that has finished is known by its tenant alone.
    fn may_await(
        &self,
        parent: Birth,
        child: &ExecutionId,
        field: String,
        known: &Known,
        looks: &mut Looks,
    ) -> Result<(), Refusal> {
        let slot = self.state.slot(parent);
        let tenant = slot.map(|slot| self.state.tenant_name(slot));
        let living = self.state.slot(child.birth);
        if living.is_none() || self.state.id(child.birth) != Some(*child) {
            let done = self.finished(child, known)?;
            let is_own = done.is_some_and(|done| Some(&done.tenant) == tenant);
            return must(is_own, field, "must be the id of a child of the execution");
        }
        let is_child = self.state.families().ancestors(child.birth).first() == Some(&parent);
        must(
            is_child,
            field.clone(),
            "must be the id of a child of the execution",
        )?;
        let is_blocked = living.is_some_and(|slot| slot.phase == Phase::Blocked);
        let waiting = BTreeSet::from([child.birth]);
        let is_circle = is_blocked && self.waits_for(&waiting, parent, looks);
        must(
            !is_circle,
            field,
            "must not depend on the execution that waits for it",
        )
    }

    /// The rest of the attempt's time, in milliseconds. At least one: an attempt without time left
    /// has timed out.
    fn left_ms(&self, birth: Birth, now: Now) -> u64 {
        let whole_ms = self.state.attempt_ms(birth);
        let hold = self.soft.holds.get(birth);
        let end = hold.and_then(Hold::attempt_end);
        end.map_or(whole_ms, |end| end.saturating_sub(now.mono_ms))
            .clamp(1, whole_ms.max(1))
    }

    /// Ends a suspension of which a wait is over: its time has come, or its input is there.
    fn wake_if_over(&mut self, birth: Birth, now: Now) -> Result<(), Refusal> {
        let run = self.state.run(birth);
        let kept = run.and_then(|run| {
            let mut active = run.active();
            active.find_map(|wait| {
                let input = run.input(wait.key.as_deref()?)?;
                Some((wait.step, input.action))
            })
        });
        if let Some((step, action)) = kept {
            let contents = ActionContents {
                body_of: Some(action),
                ..ActionContents::default()
            };
            let woken = woken(vec![step], WakeCause::Input, 0);
            return self.commit(
                run_changes(Actor::engine(), birth, woken, vec![contents]),
                now,
            );
        }
        self.catch_up(birth, now);
        Ok(())
    }

    /// The end of the waits of a suspended execution whose child or whose time has ended.
    pub(super) fn wait_over(&self, birth: Birth, now: Now) -> Option<Decision> {
        if self.state.slot(birth)?.phase != Phase::Suspended {
            return None;
        }
        let run = self.state.run(birth)?;
        let with_child = |wait: &&Wait| self.has_ended(wait.child);
        let over: Vec<_> = run
            .active()
            .filter(with_child)
            .map(|wait| wait.step)
            .collect();
        if !over.is_empty() {
            // A worker tells by this output that the child has ended, and not the time of the wait.
            let contents = ActionContents {
                body: Some(CHILD_ENDED.as_bytes().into()),
                ..ActionContents::default()
            };
            let contents = vec![contents; over.len()];
            let bytes = contents.iter().map(ActionContents::bytes).sum();
            let woken = woken(over, WakeCause::Child, bytes);
            return Some(run_changes(Actor::engine(), birth, woken, contents));
        }
        let over = |wait: &&Wait| match wait.end {
            WaitEnd::Never => false,
            WaitEnd::At(at_ms) => at_ms <= now.wall_ms,
            WaitEnd::After(pause) => self.is_first_end(birth, pause, &run, now),
        };
        let over: Vec<_> = run.active().filter(over).map(|wait| wait.step).collect();
        if over.is_empty() {
            return None;
        }
        let woken = woken(over, WakeCause::Time, 0);
        Some(run_changes(Actor::clock(), birth, woken, Vec::new()))
    }

    fn has_ended(&self, child: Option<Birth>) -> bool {
        child.is_some_and(|child| self.state.slot(child).is_none())
    }

    // The soft state keeps the first end of an execution's waits for a duration. A wait that ends
    // with it, by the wall clock of its begin, is over too.
    fn is_first_end(&self, birth: Birth, pause: Backoff, run: &Run, now: Now) -> bool {
        let reached = |end: u64| end <= now.mono_ms;
        if !self.soft.backoff(birth).is_none_or(reached) {
            return false;
        }
        let ends = run.active().filter_map(|wait| match wait.end {
            WaitEnd::After(other) => Some(other.until_ms),
            WaitEnd::Never | WaitEnd::At(_) => None,
        });
        ends.min().is_none_or(|first| pause.until_ms <= first)
    }
}

/// The waits that begin with a suspension, with their contents. A wait that an earlier suspension
/// began goes on as it was.
fn begun(
    id: &ExecutionId,
    run: &Run,
    suspension: &Suspension,
    now: Now,
) -> Result<(Vec<Wait>, Vec<ActionContents>), Refusal> {
    let mut after = run.clone();
    let (mut waits, mut contents, mut bytes) = (Vec::new(), Vec::new(), 0_u32);
    for (at, wait) in suspension.waits.iter().enumerate() {
        let field = format!("{}.waits[{at}].step_id", suspension.field);
        let is_repeated = suspension.waits[..at]
            .iter()
            .any(|one| one.step == wait.step);
        if is_repeated {
            return Err(Invalid::new(field, "names a step twice").into());
        }
        if run.wait(wait.step).is_some() {
            continue;
        }
        let taken = after.course.take(Action::WaitStarted(wait.step));
        taken.map_err(|why| illegal(id, &field, why))?;
        bytes = bytes.saturating_add(wait.contents.bytes());
        room_for(run, bytes, &field)?;
        waits.push(begins(wait, now));
        contents.push(wait.contents.clone());
    }
    let taken = after.course.take(Action::Wait(suspension.reason()));
    taken.map_err(|why| illegal(id, &suspension.field, why))?;
    Ok((waits, contents))
}

fn must(holds: bool, field: String, rule: &'static str) -> Result<(), Refusal> {
    if holds {
        return Ok(());
    }
    Err(Invalid::new(field, rule).into())
}

fn begins(wait: &NewWait, now: Now) -> Wait {
    Wait {
        step: wait.step,
        key: wait.key.clone(),
        end: match wait.end {
            NewWaitEnd::Never => WaitEnd::Never,
            NewWaitEnd::At(at_ms) => WaitEnd::At(at_ms),
            NewWaitEnd::After(ms) => WaitEnd::After(Backoff::from_now(ms, now)),
        },
        child: wait.child.map(|child| child.birth),
        is_active: true,
    }
}
