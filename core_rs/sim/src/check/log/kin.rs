//! Facts about executions that others caused: promotions, skips and cascades.
//!
//! Owns which ends a fact is checked against. Refuses to know edges and families: each has a check
//! of its own.

use backlane_engine::fact::{Ended, Entity};
use backlane_engine::rules::id::Birth;
use backlane_engine::rules::status::{EndReason, Phase};

use super::{LEGAL, LogCheck};
use crate::check::{Checked, families, must};

impl LogCheck {
    pub(super) fn may_be_promoted(&self, birth: Birth, is_due: bool) -> Checked {
        let end_of = |birth| self.end_of(birth).map(|(_, status)| status);
        self.edges.may_run(birth, end_of)?;
        let extras = self.emitted.extras(birth).filter(|_| is_due);
        self.has_come(extras.and_then(|extras| extras.not_before_ms))
    }

    pub(super) fn may_cascade(
        &self,
        birth: Birth,
        reason: EndReason,
        cause: Option<Entity>,
    ) -> Checked {
        let is_flagged = self.emitted.is_cancel_requested(birth);
        let end_of = |birth| self.end_of(birth).map(|(_, status)| status);
        families::may_cascade(birth, reason, cause, is_flagged, end_of)
    }

    pub(super) fn may_be_skipped(
        &self,
        birth: Birth,
        ended: Ended,
        cause: Option<Entity>,
    ) -> Checked {
        let skipped = ended.reason == EndReason::DependencyFailed;
        let blocked = self.emitted.slot(birth).map(|slot| slot.phase) == Some(Phase::Blocked);
        must(!skipped || blocked, LEGAL, || {
            format!("{birth} was skipped and not blocked")
        })?;
        if !skipped {
            return Ok(());
        }
        let cause = cause.and_then(|cause| match cause {
            Entity::Execution(cause) => Some(cause),
            Entity::Agenda(_) => None,
        });
        // A dependency whose end is decided fails its dependents before its descendants have ended.
        let decided = |birth| Some(self.emitted.extras(birth)?.verdict.as_ref()?.ended.status);
        let end_of = |birth| self.end_of(birth).map(|(_, status)| status);
        let end_of = |birth| end_of(birth).or_else(|| decided(birth));
        self.edges.may_be_skipped(birth, cause, end_of)
    }
}
