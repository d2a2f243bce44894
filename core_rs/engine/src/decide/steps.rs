//! Steps: what workers record about the steps of an execution.
//!
//! Owns what follows from a step report. Refuses to know what steps contain, and which action may
//! follow which: [`crate::rules::run`] does.

use crate::command::{Held, StepReport};
use crate::engine::Engine;
use crate::error::Refusal;
use crate::fact::{Actor, RunChange};
use crate::reply::Settled;
use crate::rules::id::Birth;
use crate::rules::status::Status;
use crate::time::Now;

use super::report::Speaker;
use super::run::{illegal, may_record, room_for, run_changes};

impl Engine {
    /// Records what a worker reports about the steps of an execution. A report with a number that
    /// is not above the last one of its lease is a repetition, and changes nothing.
    ///
    /// # Errors
    /// [`Refusal::LeaseLost`], [`Refusal::RunTransitionNotAllowed`], [`Refusal::Invalid`] naming a
    /// step, [`Refusal::RunTooLarge`]; then nothing has changed.
    pub fn report_steps(
        &mut self,
        held: &Held,
        report: StepReport,
        speaker: Speaker<'_>,
        now: Now,
    ) -> Result<Settled, Refusal> {
        self.catch_up_visible(held, speaker, now);
        self.live_lease(held, speaker, None)?;
        self.acknowledge(held, now);
        let birth = held.id.birth;
        let mut run = self.state.run_of(birth);
        if report.sequence != 0 && report.sequence <= run.sequence {
            return Ok(self.under_lease(birth));
        }
        let mut bytes = 0_u32;
        if let Some(last) = report.actions.last() {
            may_record(&run, report.actions.len(), &last.field)?;
        }
        for action in &report.actions {
            let taken = run.course.take(action.action);
            taken.map_err(|why| illegal(&held.id, &action.field, why))?;
            bytes = bytes.saturating_add(action.contents.bytes());
            room_for(&run, bytes, &action.field)?;
        }
        let (actions, contents): (Vec<_>, Vec<_>) = report
            .actions
            .into_iter()
            .map(|action| (action.action, action.contents))
            .unzip();
        let change = RunChange::Reported {
            actions: actions.into(),
            bytes,
            sequence: report.sequence,
        };
        self.commit(run_changes(Actor::holder(), birth, change, contents), now)?;
        Ok(self.under_lease(birth))
    }

    fn under_lease(&self, birth: Birth) -> Settled {
        Settled {
            cancel_requested: self.state.is_cancel_requested(birth),
            pause_requested: self.state.is_paused(birth),
            ..Settled::at(Status::Running)
        }
    }
}
