//! The rows of decisions: each fact comes with exactly the rows that it needs.

use backlane_engine::Decided;
use backlane_engine::fact::{
    Ended, ExecutionChange, FactKind, Living, RequeueCause, RunChange, Verdict,
};
use backlane_engine::row::{AttemptOutcome, AttemptRow, EndingRow, KEPT_ATTEMPTS, Row};
use backlane_engine::rules::status::Status;

/// Checks that a decision has exactly the rows that its fact needs.
pub(super) fn check(decided: &Decided, before: Option<&Living>, last: Option<&Living>) {
    let rows = &decided.rows;
    match &decided.fact.kind {
        FactKind::Execution(fact) => match &fact.change {
            ExecutionChange::Enqueued(living) => {
                assert!(matches!(rows[0], Row::Payload(_)), "{rows:?}");
                assert_eq!(1 + usize::from(living.request.is_some()), rows.len());
            }
            ExecutionChange::Ended(_) => {
                let Some(Row::Ending(row)) = rows.first() else {
                    panic!("an end has a row: {rows:?}")
                };
                check_end(row, before, last.expect("an end has a last state"));
                let failed = matches!(row.status, Status::Failed | Status::Timeout);
                let dead = failed.then(|| Row::DeadLetter {
                    birth: row.id.birth,
                    tenant: row.tenant.clone(),
                    status: row.status,
                });
                assert_eq!(
                    dead.as_slice(),
                    &rows[1..],
                    "exactly failures are dead letters"
                );
            }
            ExecutionChange::Discarded => {
                assert!(
                    matches!(rows[..], [Row::DeadLetterDropped { .. }]),
                    "{rows:?}"
                );
            }
            ExecutionChange::Deleted => {
                assert!(matches!(rows[..], [Row::Erased { .. }]), "{rows:?}");
            }
            ExecutionChange::Requeued { cause, .. } => {
                let row = check_lease_end(rows, before);
                assert_eq!(*cause, row.cause);
                assert_eq!(row.cause.has_error(), row.error.is_some());
            }
            ExecutionChange::Concluded(verdict) if verdict.ended_lease => {
                check_verdict(check_lease_end(rows, before), verdict, decided.fact.at_ms);
            }
            ExecutionChange::Carried(_)
            | ExecutionChange::Due
            | ExecutionChange::Leased { .. }
            | ExecutionChange::Promoted { .. }
            | ExecutionChange::Concluded(_)
            | ExecutionChange::CancelRequested { .. } => assert!(rows.is_empty(), "{rows:?}"),
        },
        FactKind::Request(_) => assert!(matches!(rows[..], [Row::Request(_)]), "{rows:?}"),
        FactKind::Run(fact) => check_rows_of_run(&fact.change, rows, before),
        FactKind::Tenant(_) | FactKind::Log(_) | FactKind::Agenda(_) => {
            assert!(rows.is_empty(), "{rows:?}");
        }
    }
}

fn check_rows_of_run(change: &RunChange, rows: &[Row], before: Option<&Living>) {
    let is_action = |row: &&Row| matches!(row, Row::Action(_));
    let actions = rows.iter().take_while(is_action).count();
    match change {
        RunChange::Suspended { begun, active, .. } => {
            assert_eq!(begun.len() + usize::from(!active.is_empty()), actions);
            let row = check_lease_end(&rows[actions..], before);
            assert_eq!(RequeueCause::Suspended, row.cause);
            assert_eq!(None, row.error);
        }
        RunChange::TakenOver {
            actions: reported, ..
        }
        | RunChange::Reported {
            actions: reported, ..
        } => assert_eq!((reported.len(), rows.len()), (actions, actions)),
        RunChange::Woken { over, .. } => assert_eq!(over.len() + 1, rows.len()),
        RunChange::InputKept { .. } => assert_eq!(1, rows.len()),
        RunChange::Paused { is_recorded } | RunChange::Unpaused { is_recorded } => {
            assert_eq!(usize::from(*is_recorded), rows.len());
        }
        RunChange::Carried(_) => assert!(rows.is_empty()),
    }
}

/// Checks the row of an attempt that ended with the decision about the end of its execution.
fn check_verdict(row: &AttemptRow, verdict: &Verdict, decided_at_ms: u64) {
    let Ended { status, reason, .. } = verdict.ended;
    let outcome = AttemptOutcome::of_end(status, reason);
    assert_eq!(outcome, AttemptOutcome::of_requeue(row.cause));
    assert_eq!(verdict.error.as_ref(), row.error.as_deref());
    assert_eq!(decided_at_ms, row.ended_at_ms);
}

/// Checks the rows of a lease that ended without its execution, and returns that of the attempt.
fn check_lease_end<'a>(rows: &'a [Row], before: Option<&Living>) -> &'a AttemptRow {
    let Some(Row::Attempt(row)) = rows.first() else {
        panic!("an ended lease has a row: {rows:?}")
    };
    check_attempt(row, before.expect("it was held"));
    assert_eq!(1 + usize::from(row.ordinal > KEPT_ATTEMPTS), rows.len());
    row
}

fn check_attempt(row: &AttemptRow, before: &Living) {
    let progress = &before.progress;
    let holding = progress.holding.as_ref().expect("it was held");
    assert_eq!(holding.worker, row.worker);
    assert_eq!(progress.lease_ordinal(), row.ordinal);
    assert!(
        progress
            .started_at_ms
            .is_some_and(|at_ms| at_ms <= row.started_at_ms)
    );
}

fn check_end(row: &EndingRow, before: Option<&Living>, last: &Living) {
    let failed = matches!(row.status, Status::Failed | Status::Timeout);
    assert!(row.status.is_finished());
    assert_eq!(
        row.status == Status::Completed,
        row.output.is_some(),
        "{row:?}"
    );
    assert_eq!(failed, row.error.is_some(), "{row:?}");
    let held = before.is_some_and(|before| match &before.verdict {
        Some(verdict) => verdict.ended_lease,
        None => before.progress.holding.is_some(),
    });
    assert_eq!(held, row.ended_lease);
    assert_eq!(last.progress, row.progress);
    let started = row.progress.started_at_ms;
    assert!(started.is_none_or(|started| started <= row.ended_at_ms));
    assert!(row.progress.holding.is_none(), "an end ends the lease");
}
