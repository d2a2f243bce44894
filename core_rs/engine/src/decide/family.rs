//! Families: spawning children, and what the end of an execution means for its descendants.
//!
//! Owns who may spawn, the cascade over descendants, and the wait of an execution for them. Refuses
//! to decide how an execution ends.

use crate::command::{DedupPolicy, Held, NewExecution, SpawnStep};
use crate::engine::{Decision, Engine};
use crate::error::{Invalid, Refusal};
use crate::fact::{Actor, Ended, Entity, ExecutionChange, FactKind, RunChange, Verdict};
use crate::reply::Made;
use crate::row::ActionContents;
use crate::rules::id::{Birth, ExecutionId};
use crate::rules::limits::MAX_ANCESTORS;
use crate::rules::run::Action;
use crate::rules::status::{Cancellation, EndReason, Phase, Status};
use crate::rules::step::StepId;
use crate::time::Now;

use super::agenda::{Progress, end_in};
use super::report::Speaker;
use super::run::{illegal, may_record, room_for, run_changes};
use super::tick::ends;

/// Path of a spawn's step in its request.
const STEP_FIELD: &str = "step.step_id";
/// Why a descendant of an execution whose end cascades cannot spawn.
const IN_CASCADE: &str = "spawned from: an ancestor ended, and its end cancels its descendants";

impl Engine {
    /// Enqueues a child of an execution, or finds the one that its request id or dedup key stands
    /// for. `parent` shows the live lease of the parent. A `step` of the parent is recorded with
    /// the child, in one commit: the parent finds the child in it, whatever happens to its worker.
    ///
    /// # Errors
    /// [`Refusal::LeaseLost`] or [`Refusal::ExecutionNotFound`] for the parent;
    /// [`Refusal::TransitionNotAllowed`] once its cancellation was requested, or that of an
    /// ancestor began; all refusals of [`Self::enqueue`], and those of [`Self::report_steps`] for
    /// the step. Then nothing has changed.
    pub fn spawn(
        &mut self,
        new: NewExecution,
        parent: &Held,
        step: Option<SpawnStep>,
        speaker: Speaker<'_>,
        now: Now,
    ) -> Result<Made, Refusal> {
        if let Some(made) = self.repeated_one(&new, speaker.known)? {
            return Ok(made);
        }
        // What is due for an ancestor that holds the dedup key may stop the parent.
        self.catch_up_for(&new, now);
        self.may_spawn(&new, parent, speaker, now)?;
        if let Some(step) = &step {
            self.may_take_step(&parent.id, step)?;
        }
        let birth = parent.id.birth;
        let parent = Some(birth);
        let made = self.enqueue(NewExecution { parent, ..new }, speaker.known, now)?;
        if let Some(step) = step {
            self.record_spawn(birth, step, made.birth, now)?;
        }
        Ok(made)
    }

    fn may_take_step(&self, parent: &ExecutionId, step: &SpawnStep) -> Result<(), Refusal> {
        let mut run = self.state.run_of(parent.birth);
        may_record(&run, 2, STEP_FIELD)?;
        for action in spawns(step.step) {
            let taken = run.course.take(action);
            taken.map_err(|why| illegal(parent, STEP_FIELD, why))?;
        }
        room_for(&run, step.contents.bytes(), STEP_FIELD)
    }

    fn record_spawn(
        &mut self,
        parent: Birth,
        step: SpawnStep,
        child: Birth,
        now: Now,
    ) -> Result<(), Refusal> {
        // A child whose dependency has failed has ended already.
        let ended = self.just_ended(child).map(|ending| ending.id);
        let change = RunChange::Reported {
            actions: spawns(step.step).into(),
            bytes: step.contents.bytes(),
            sequence: 0,
        };
        let completed = ActionContents {
            child: self.state.id(child).or(ended),
            ..ActionContents::default()
        };
        let contents = vec![step.contents, completed];
        self.commit(run_changes(Actor::holder(), parent, change, contents), now)
    }

    fn may_spawn(
        &mut self,
        new: &NewExecution,
        parent: &Held,
        speaker: Speaker<'_>,
        now: Now,
    ) -> Result<(), Refusal> {
        self.must_hold(parent, speaker, now)?;
        self.acknowledge(parent, now);
        let birth = parent.id.birth;
        if self.state.find(&new.tenant, &parent.id).is_none() {
            return Err(Refusal::ExecutionNotFound {
                execution_id: parent.id.to_string(),
                tenant: new.tenant.to_string(),
            });
        }
        if let Some(event) = self.stops_spawns(birth) {
            return Err(Refusal::TransitionNotAllowed {
                execution_id: parent.id.to_string(),
                status: Status::Running,
                event,
            });
        }
        let ancestors = self.ancestors_of_child(Some(birth));
        if ancestors.len() > MAX_ANCESTORS {
            let rule = format!("must have less than {MAX_ANCESTORS} unfinished ancestors");
            return Err(Invalid::new("parent_execution_id", rule).into());
        }
        let holder = self.dedup_holder(new);
        let replaces = new.dedup_policy == DedupPolicy::ReplaceQueued;
        if replaces && holder.is_some_and(|holder| ancestors.contains(&holder)) {
            // The child would be cancelled with the ancestor that it replaces, or outlive it.
            let rule = "must not be that of an ancestor, which the child would replace";
            return Err(Invalid::new("enqueue.dedup_key", rule).into());
        }
        Ok(())
    }

    /// Why an execution that is being stopped cannot spawn, in the words of an error message.
    fn stops_spawns(&self, birth: Birth) -> Option<&'static str> {
        let agenda = self.state.agenda();
        let mut family = self.state.families().ancestors(birth).iter();
        let extras = self.state.extras(birth);
        let asked = extras.as_deref().and_then(|extras| extras.cancel.as_ref());
        match asked.map(|asked| asked.reason) {
            Some(EndReason::Cascade) => Some(IN_CASCADE),
            Some(_) => Some("spawned from: its cancellation was requested"),
            None => family
                .any(|one| agenda.is_cancelling(*one))
                .then_some(IN_CASCADE),
        }
    }

    /// The unfinished ancestors of a child, the nearest first.
    pub(super) fn ancestors_of_child(&self, parent: Option<Birth>) -> Vec<Birth> {
        let of_parent = parent.map_or(&[][..], |parent| self.state.families().ancestors(parent));
        let all = parent.into_iter().chain(of_parent.iter().copied());
        all.filter(|birth| self.state.slot(*birth).is_some())
            .collect()
    }

    /// Whether an end is followed by the cancellation of the descendants. The descendants of one
    /// that a cascade has cancelled are descendants of its ancestor, too.
    pub(super) fn cascades(&self, birth: Birth, ended: Ended) -> bool {
        let policy = self.cancellation(birth);
        policy == Some(Cancellation::Cascade)
            && !ended.status.is_success()
            && ended.reason != EndReason::Cascade
            && self.state.families().has_descendants(birth)
    }

    fn cancellation(&self, birth: Birth) -> Option<Cancellation> {
        let slot = self.state.slot(birth)?;
        Some(self.state.policy(slot).cancellation)
    }

    /// Turns the end of an execution that waits for its children into the wait, while descendants
    /// are unfinished. A deadline ends it all the same, and so does a replacement: its successor
    /// takes its place now.
    pub(crate) fn await_descendants(&self, decision: Decision) -> Decision {
        let Some((birth, ended)) = end_in(&decision.kind) else {
            return decision;
        };
        let is_final = matches!(ended.reason, EndReason::Deadline | EndReason::Replaced);
        let waits = !is_final
            && !ended.status.is_success()
            && self.cancellation(birth) == Some(Cancellation::WaitForChildren)
            && self.state.families().has_descendants(birth);
        let phase = self.state.slot(birth).map(|slot| slot.phase);
        if !waits || phase == Some(Phase::Ending) {
            return decision;
        }
        let verdict = Verdict {
            ended,
            actor: decision.actor.clone(),
            ended_lease: self.state.holding(birth).is_some(),
            error: decision.contents.error.as_deref().cloned(),
        };
        let change = ExecutionChange::Concluded(Box::new(verdict));
        let concluded = Decision::of(decision.actor, FactKind::execution(birth, change));
        Decision {
            cause: decision.cause,
            ..concluded
        }
    }

    /// The end of an execution whose end was decided, once its last descendant has ended.
    pub(super) fn verdict(&self, birth: Birth) -> Option<Decision> {
        if self.state.families().has_descendants(birth) {
            return None;
        }
        let extras = self.state.extras(birth)?;
        let verdict = extras.verdict.as_deref()?;
        // The worker that reported is named by the record alone: the lease is over.
        let ended = Ended {
            outcome: None,
            ..verdict.ended
        };
        let decision = ends(verdict.actor.clone(), birth, ended);
        Some(match verdict.error.clone() {
            Some(error) => decision.with_error(error),
            None => decision,
        })
    }

    /// The ancestors that wait for descendants, if the fact ends one of these.
    pub(crate) fn concluding_after(&self, kind: &FactKind) -> Vec<Birth> {
        let Some((birth, _)) = end_in(kind) else {
            return Vec::new();
        };
        let ancestors = self.state.families().ancestors(birth).iter().copied();
        let waits = |ancestor: &Birth| {
            let slot = self.state.slot(*ancestor);
            slot.is_some_and(|slot| match slot.phase {
                Phase::Ending => true,
                Phase::Suspended => self.awaits(*ancestor, birth),
                _ => false,
            })
        };
        ancestors.filter(waits).collect()
    }

    fn awaits(&self, parent: Birth, child: Birth) -> bool {
        let run = self.state.run(parent);
        run.is_some_and(|run| run.active().any(|wait| wait.child == Some(child)))
    }

    /// Ends the executions that waited for descendants of which the last has ended, and the
    /// suspensions that waited for a child that has.
    pub(super) fn conclude(&mut self, now: Now) {
        while let Some(birth) = self.concluding.pop() {
            let suspended = || self.wait_over(birth, now);
            if let Some(decision) = self.verdict(birth).or_else(suspended) {
                // One that is set aside is looked at again after the next start.
                let _ = self.commit_alone(decision, now);
            }
        }
    }

    /// Cancels the descendants of an execution that ended.
    pub(super) fn cancel_family(
        &mut self,
        ancestor: Birth,
        after: Birth,
        left: &mut usize,
        now: Now,
    ) -> Progress {
        let descendants = self.state.families().descendants(ancestor, after);
        let descendants: Vec<Birth> = descendants.take(left.saturating_add(1)).collect();
        let mut progress = Progress::default();
        let mut last = after;
        for birth in descendants {
            if *left == 0 {
                progress.stopped_after = Some(last);
                break;
            }
            *left -= 1;
            last = birth;
            let Some(decision) = self.cascaded(birth) else {
                continue;
            };
            let decision = decision.because_of(Entity::Execution(ancestor));
            progress.troubled |= self.commit_alone(decision, now).is_err();
        }
        progress
    }

    /// The cancellation of a descendant: one that a worker holds is asked to stop.
    fn cascaded(&self, birth: Birth) -> Option<Decision> {
        let reason = EndReason::Cascade;
        let slot = self.state.slot(birth)?;
        if slot.phase == Phase::Ending || self.state.is_cancel_requested(birth) {
            return None;
        }
        if self.state.holding(birth).is_some() {
            let change = ExecutionChange::CancelRequested { reason };
            let kind = FactKind::execution(birth, change);
            return Some(Decision::of(Actor::engine(), kind));
        }
        let ended = Ended {
            status: Status::Cancelled,
            reason,
            outcome: None,
        };
        Some(ends(Actor::engine(), birth, ended))
    }
}

/// The actions of a step that spawns: it ends at once.
const fn spawns(step: StepId) -> [Action; 2] {
    [Action::StepStarted(step), Action::StepCompleted(step)]
}
