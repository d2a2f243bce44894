//! Pauses: a client holds an execution back, and lets it go on.
//!
//! Owns what pausing and resuming change in each phase. Refuses to stop a worker: it is asked to
//! yield.

use crate::command::{Control, Finished, Known};
use crate::engine::Engine;
use crate::error::Refusal;
use crate::fact::{RunChange, WakeCause};
use crate::rules::access::VisibleTenant;
use crate::rules::id::ExecutionId;
use crate::rules::run::Action;
use crate::rules::status::Phase;
use crate::state::Slot;
use crate::time::Now;

use super::run::{end_decided, may_record, not_allowed, run_changes, woken};

impl Engine {
    /// Pauses an execution: no worker gets it, and a worker that holds it is asked to yield.
    /// Pausing it again changes nothing.
    ///
    /// # Errors
    /// [`Refusal::TransitionNotAllowed`] where the execution has finished, [`Refusal::EndDecided`],
    /// [`Refusal::RunTransitionNotAllowed`] where it waits, [`Refusal::ExecutionNotFound`].
    pub fn pause(&mut self, control: &Control, known: &Known, now: Now) -> Result<(), Refusal> {
        let phase = self.undecided(control, "paused", known, now)?.phase;
        let birth = control.id.birth;
        let run = self.state.run_of(birth);
        if run.is_paused {
            return Ok(());
        }
        if phase == Phase::Suspended {
            return Err(not_allowed(&control.id, run.course.state, "paused"));
        }
        may_record(&run, 1, "execution_id")?;
        let is_recorded = run.course.clone().take(Action::Pause).is_ok();
        let change = RunChange::Paused { is_recorded };
        let decision = run_changes(control.actor.clone(), birth, change, Vec::new());
        self.commit(decision, now)
    }

    /// Resumes a paused execution, or ends all waits of a suspended one. It is queued again at its
    /// old position.
    ///
    /// # Errors
    /// [`Refusal::TransitionNotAllowed`] where the execution has finished, [`Refusal::EndDecided`],
    /// [`Refusal::RunTransitionNotAllowed`] where it is neither paused nor suspended,
    /// [`Refusal::ExecutionNotFound`].
    pub fn resume(&mut self, control: &Control, known: &Known, now: Now) -> Result<(), Refusal> {
        let phase = self.undecided(control, "resumed", known, now)?.phase;
        let birth = control.id.birth;
        let run = self.state.run_of(birth);
        let change = if phase == Phase::Suspended {
            let over = run.active().map(|wait| wait.step).collect();
            woken(over, WakeCause::Resume, 0)
        } else if run.is_paused {
            let is_recorded = run.course.clone().take(Action::Resume).is_ok();
            RunChange::Unpaused { is_recorded }
        } else {
            return Err(not_allowed(&control.id, run.course.state, "resumed"));
        };
        let decision = run_changes(control.actor.clone(), birth, change, Vec::new());
        self.commit(decision, now)
    }

    /// The slot of an execution whose end is not decided, after what is due for it.
    pub(super) fn undecided(
        &mut self,
        control: &Control,
        event: &'static str,
        known: &Known,
        now: Now,
    ) -> Result<Slot, Refusal> {
        let slot = self.unfinished(&control.tenant, &control.id, event, known, now)?;
        if slot.phase == Phase::Ending {
            return Err(end_decided(&control.id, event));
        }
        Ok(slot)
    }

    /// The slot of a tenant's execution that is unfinished after what is due for it.
    pub(super) fn current(
        &mut self,
        tenant: &VisibleTenant,
        id: &ExecutionId,
        now: Now,
    ) -> Option<Slot> {
        if self.state.find(tenant, id).is_some() {
            self.catch_up(id.birth, now);
        }
        self.state.find(tenant, id).copied()
    }

    /// The slot of an unfinished execution, after what is due for it. The refusal of a finished one
    /// names the event that it does not allow.
    pub(super) fn unfinished(
        &mut self,
        tenant: &VisibleTenant,
        id: &ExecutionId,
        event: &'static str,
        known: &Known,
        now: Now,
    ) -> Result<Slot, Refusal> {
        if let Some(slot) = self.current(tenant, id, now) {
            return Ok(slot);
        }
        let execution_id = id.to_string();
        let finished = self.finished(id, known)?;
        Err(match finished.filter(|done| *done.tenant == **tenant) {
            Some(Finished { status, .. }) => Refusal::TransitionNotAllowed {
                execution_id,
                status,
                event,
            },
            None => Refusal::ExecutionNotFound {
                execution_id,
                tenant: tenant.to_string(),
            },
        })
    }
}
