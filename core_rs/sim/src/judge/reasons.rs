//! Replies to `Explain`.
//!
//! Owns which reasons fit the state of an execution. Refuses to know why the server gave them.

use backlane_engine::fact::Living;
use backlane_engine::rules::status::Phase;

use crate::api::v1::{self, reason::Kind};
use crate::check::{Checked, birth_of, must};

use super::{ANSWERED, Judge};

const REASONS: &str = "an explanation agrees with the state";
/// Most holders of a limit that a reason names.
const MOST_HOLDERS: u64 = 10;

impl Judge<'_> {
    /// Judges an explanation. Where the execution has not changed since, the first reason must be
    /// that of its phase.
    pub(super) fn explained(
        &self,
        asked: &v1::ExplainRequest,
        reply: &v1::ExplainResponse,
    ) -> Checked {
        let wrong = || format!("{asked:?}: {reply:?}");
        let worded = reply.reasons.iter().all(|reason| !reason.text.is_empty());
        must(worded && reply.version > 0, ANSWERED, wrong)?;
        for reason in &reply.reasons {
            must(reason.kind.as_ref().is_some_and(is_sound), REASONS, wrong)?;
        }
        let birth = birth_of(&asked.execution_id)?;
        let first = reply
            .reasons
            .first()
            .and_then(|reason| reason.kind.as_ref());
        let Some(living) = self.log.emitted().living(birth) else {
            // It ended, or ends in the commit that the reply waited for.
            return Ok(());
        };
        let same = u64::from(living.progress.version) == reply.version;
        let fits = !same || fits(first, &living);
        must(fits, REASONS, || format!("{living:?}: {}", wrong()))
    }
}

/// Whether a reason contradicts itself. No execution is set aside in a run.
fn is_sound(kind: &Kind) -> bool {
    match kind {
        Kind::SetAside(_) => false,
        Kind::TenantLimit(limit) | Kind::CallableLimit(limit) => {
            let named = limit.holder_ids.len() as u64;
            limit.running >= limit.limit && named == limit.running.min(MOST_HOLDERS)
        }
        Kind::Ahead(ahead) => ahead.count > 0,
        Kind::Turn(turn) => turn.tenants > 0,
        Kind::SlotsTaken(slots) => slots.workers > 0,
        Kind::UnmetDependencies(one) => one.unmet.len() as u64 == one.count.min(100),
        Kind::AwaitsDescendants(_)
        | Kind::BackingOff(_)
        | Kind::Finished(_)
        | Kind::NoWorker(_)
        | Kind::NotDue(_)
        | Kind::Paused(_)
        | Kind::Running(_)
        | Kind::Suspended(_)
        | Kind::Withheld(_) => true,
    }
}

/// Whether the first reason is that of the phase.
fn fits(first: Option<&Kind>, living: &Living) -> bool {
    let progress = &living.progress;
    match progress.phase {
        Phase::Pending => matches!(first, Some(Kind::NotDue(_))),
        Phase::Blocked => matches!(first, Some(Kind::UnmetDependencies(_))),
        Phase::Retrying => matches!(first, Some(Kind::BackingOff(_))),
        Phase::Held => matches!(first, Some(Kind::Paused(_))),
        Phase::Suspended => matches!(first, Some(Kind::Suspended(_) | Kind::Paused(_))),
        Phase::Ending => matches!(first, Some(Kind::AwaitsDescendants(_))),
        Phase::Running => match (first, &progress.holding) {
            (Some(Kind::Running(one)), Some(holding)) => {
                one.worker_id == *holding.worker && one.attempt == progress.attempt
            }
            _ => false,
        },
        Phase::Ready => matches!(
            first,
            None | Some(
                Kind::TenantLimit(_)
                    | Kind::CallableLimit(_)
                    | Kind::NoWorker(_)
                    | Kind::Withheld(_)
                    | Kind::SlotsTaken(_)
                    | Kind::Ahead(_)
                    | Kind::Turn(_)
            )
        ),
    }
}
