//! Rows: the rows that a commit writes together with its facts.
//!
//! Owns the check that every fact comes with the rows that it needs, and that an ending is
//! complete. Refuses to apply facts.

use backlane_engine::fact::{ExecutionChange, Fact, FactKind, RunChange};
use backlane_engine::rules::status::Status;
use backlane_store::{ACTION, ATTEMPT, Change, Commit, DEAD_LETTER, ENDING, Key, PAYLOAD, REQUEST};
use backlane_wire::row;

use super::{Checked, broken, must};

const ACKNOWLEDGED: &str = "nothing acknowledged is ever lost";

/// The rows that the facts of a commit need, by family and birth number.
fn called_for(facts: &[Fact]) -> Vec<(u16, Option<u64>)> {
    let mut rows = Vec::new();
    for fact in facts {
        match &fact.kind {
            FactKind::Execution(fact) => match &fact.change {
                ExecutionChange::Enqueued(living) => {
                    rows.push((PAYLOAD.number, Some(fact.birth)));
                    rows.extend(living.request.map(|_| (REQUEST.number, None)));
                }
                ExecutionChange::Ended(ended) => {
                    rows.push((ENDING.number, Some(fact.birth)));
                    let dead = ended.status.is_dead_letter();
                    rows.extend(dead.then_some((DEAD_LETTER.number, Some(fact.birth))));
                }
                ExecutionChange::Requeued { .. } => {
                    rows.push((ATTEMPT.number, Some(fact.birth)));
                }
                ExecutionChange::Concluded(verdict) => {
                    let attempt = (ATTEMPT.number, Some(fact.birth));
                    rows.extend(verdict.ended_lease.then_some(attempt));
                }
                ExecutionChange::Carried(_)
                | ExecutionChange::Due
                | ExecutionChange::Leased { .. }
                | ExecutionChange::Promoted { .. }
                | ExecutionChange::CancelRequested { .. }
                | ExecutionChange::Discarded
                | ExecutionChange::Deleted => {}
            },
            FactKind::Request(_) => rows.push((REQUEST.number, None)),
            FactKind::Run(fact) => {
                let actions = vec![(ACTION.number, Some(fact.birth)); recorded(&fact.change)];
                rows.extend(actions);
                let ends = matches!(fact.change, RunChange::Suspended { .. });
                rows.extend(ends.then_some((ATTEMPT.number, Some(fact.birth))));
            }
            FactKind::Tenant(_) | FactKind::Log(_) | FactKind::Agenda(_) => {}
        }
    }
    rows
}

/// Number of actions that a fact records.
fn recorded(change: &RunChange) -> usize {
    match change {
        RunChange::TakenOver { actions, .. } | RunChange::Reported { actions, .. } => actions.len(),
        // The beginning of each wait, and the suspension.
        RunChange::Suspended { begun, active, .. } => begun.len() + usize::from(!active.is_empty()),
        // The end of each wait, and its cause.
        RunChange::Woken { over, .. } => over.len() + 1,
        RunChange::InputKept { .. } => 1,
        RunChange::Paused { is_recorded } | RunChange::Unpaused { is_recorded } => {
            usize::from(*is_recorded)
        }
        RunChange::Carried(_) => 0,
    }
}

/// Checks that a commit writes the rows that its facts need, in their order.
pub(super) fn rows_fit(commit: &Commit, facts: &[Fact]) -> Checked {
    // Removed rows are not checked: they depend on how many rows exist, which one commit does not
    // show.
    let puts = commit
        .rows
        .iter()
        .filter(|row| matches!(row.change, Change::Put(_)));
    let brought: Vec<_> = puts
        .map(|row| match row.key {
            Key::Number(birth) | Key::Ordinal(birth, _) => (row.family.number, Some(birth)),
            Key::Name(..) | Key::Digest { .. } => (row.family.number, None),
        })
        .collect();
    let called_for = called_for(facts);
    must(called_for == brought, ACKNOWLEDGED, || {
        format!("needed {called_for:?}, written {brought:?}")
    })?;
    commit.rows.iter().try_for_each(|row| match &row.change {
        Change::Put(put) if row.family == &ENDING => is_whole(&row.key, put),
        Change::Put(_) | Change::Delete | Change::Erase => Ok(()),
    })
}

fn is_whole(key: &Key, put: &backlane_store::Put) -> Checked {
    let Key::Number(birth) = *key else {
        return Err(broken(ACKNOWLEDGED, format!("an ending at {key}")));
    };
    let tenant = put.listing.as_ref().map(|listing| &*listing.tenant);
    let ending = row::ending::read(
        birth,
        tenant.unwrap_or_default(),
        &put.head,
        put.body.clone(),
    );
    let ending = ending.map_err(|error| broken(ACKNOWLEDGED, error))?;
    let failed = matches!(ending.status, Status::Failed | Status::Timeout);
    let started = ending.progress.started_at_ms;
    let holds = ending.status.is_finished()
        && (ending.status == Status::Completed) == ending.output.is_some()
        && failed == ending.error.is_some()
        && started.is_none_or(|started| started <= ending.ended_at_ms);
    must(holds, "an ending has either an output or an error", || {
        format!("{ending:?}")
    })
}
