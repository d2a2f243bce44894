//! Redrives and the steps that they take over.
//!
//! Owns what scenarios cannot express: sizes, rounds, refusals, and steps that make no run.

use std::collections::BTreeMap;

use backlane_engine::command::TakenStep;
use backlane_engine::error::Refusal;
use backlane_engine::fact::{FactKind, RunChange};
use backlane_engine::row::ActionContents;
use backlane_engine::rules::id::Birth;
use backlane_engine::rules::limits::MAX_RUN_BYTES;
use backlane_engine::rules::run::{Action, RunState};
use backlane_engine::rules::step::{StepId, StepState};

use crate::audit::{Audit, assert_same, refold};
use crate::life::{A, B, Life, life};
use crate::world::{failed, held, new_execution, offer};

impl Audit {
    /// The completed steps of an execution, in the order in which they were recorded, as the
    /// runtime reads them from the rows.
    pub(crate) fn completed_steps(&self, birth: Birth) -> Vec<TakenStep> {
        let rows = self.actions.range((birth, 0)..=(birth, u32::MAX));
        let rows: Vec<_> = rows.map(|(_, row)| row).collect();
        let ends = rows.iter().filter_map(|row| match row.action {
            Action::StepCompleted(id) | Action::StepCarried(id) => Some((id, *row)),
            _ => None,
        });
        let mut ends: BTreeMap<StepId, _> = ends.collect();
        let ids = rows.iter().filter_map(|row| row.action.step());
        let steps = ids.filter_map(|id| Some((id, ends.remove(&id)?)));
        let taken = steps.map(|(step, row)| {
            let of = row.contents.body_of.unwrap_or(row.ordinal);
            let contents = ActionContents {
                body_of: None,
                body: self.actions[&(birth, of)].contents.body.clone(),
                ..row.contents.clone()
            };
            TakenStep {
                step,
                is_completed: true,
                contents,
            }
        });
        taken.collect()
    }
}

fn taken(step: StepId, is_completed: bool, bytes: usize) -> TakenStep {
    let details = vec![0; bytes].into();
    let contents = ActionContents {
        details,
        ..ActionContents::default()
    };
    TakenStep {
        step,
        is_completed,
        contents,
    }
}

/// A life whose execution failed after a step.
fn over() -> Life {
    let mut life = life();
    life.report(&[Action::StepStarted(A), Action::StepCompleted(A)])
        .unwrap();
    let lease = life.lease.clone();
    let report = backlane_engine::command::Report::Failed(Box::new(failed()));
    life.world.report(&lease, &report).unwrap();
    life
}

/// Redrives the execution of a life with these steps, and leases the new one.
fn redriven(life: &mut Life, steps: Vec<TakenStep>) -> Birth {
    let new = new_execution("acme", "agent");
    let made = life.world.redrive_with(life.id(), &new, steps).unwrap();
    let granted = life.world.lease("w2", offer(&["*"])).expect("it is ready");
    life.lease = held(&life.world, &granted);
    assert_eq!(made.birth, granted.birth);
    made.birth
}

#[test]
fn what_is_taken_over_counts_toward_the_limits_of_the_run() {
    let mut life = over();
    let most = usize::try_from(MAX_RUN_BYTES).unwrap();
    life.birth = redriven(&mut life, vec![taken(A, true, most)]);
    let run = life.world.engine.state().run(life.birth).unwrap();
    assert_eq!((1, MAX_RUN_BYTES), (run.actions, run.bytes));
    let mut more = crate::life::report(&[Action::StepStarted(B)], 0);
    more.actions[0].contents.details = Box::from(*b"x");
    let refused = life.world.report_steps(&life.lease.clone(), more);
    assert!(
        matches!(refused, Err(Refusal::RunTooLarge { .. })),
        "{refused:?}"
    );
}

#[test]
fn what_is_taken_over_outlives_the_attempts_a_restart_and_a_round() {
    let mut life = over();
    let steps = vec![taken(A, true, 1), taken(B, false, 1)];
    life.birth = redriven(&mut life, steps);
    life.world.restart(1_000);
    life.world.advance(60_000);
    life.lease_again();
    assert_eq!(RunState::Running, life.run_state());
    assert_eq!(Some(StepState::Completed), life.step(A));
    assert_eq!(Some(StepState::Failed), life.step(B));
    let from = life.world.audit.log.len();
    life.world.engine.begin_round(life.world.now);
    while !life.world.engine.carry(1, life.world.now) {}
    life.world.settle();
    let state = refold(&life.world.audit.log[from..]);
    assert_same(life.world.engine.state(), &state);
}

#[test]
fn a_log_that_begins_between_a_birth_and_its_steps_leads_to_the_same_state() {
    let mut life = over();
    life.birth = redriven(&mut life, vec![taken(A, true, 1)]);
    life.world.engine.begin_round(life.world.now);
    life.world.engine.carry(100, life.world.now);
    life.world.settle();
    let log = &life.world.audit.log;
    let is_steps = |kind: &FactKind| {
        matches!(kind, FactKind::Run(fact)
            if matches!(fact.change, RunChange::TakenOver { .. }))
    };
    let at = log.iter().position(|fact| is_steps(&fact.kind)).unwrap();
    assert_same(life.world.engine.state(), &refold(&log[at..]));
}

#[test]
fn an_execution_without_steps_to_take_over_records_nothing() {
    let mut life = over();
    life.birth = redriven(&mut life, Vec::new());
    assert!(life.world.engine.state().run(life.birth).is_none());
}

#[test]
fn an_unfinished_redrive_is_found_and_takes_over_nothing_more() {
    let mut life = over();
    let first = redriven(&mut life, vec![taken(A, true, 1)]);
    let new = new_execution("acme", "agent");
    let facts = life.world.audit.log.len();
    let steps = vec![taken(B, true, 1)];
    let again = life.world.redrive_with(life.id(), &new, steps).unwrap();
    assert_eq!((first, true), (again.birth, again.existing));
    assert_eq!(facts, life.world.audit.log.len());
}

#[test]
fn steps_that_make_no_run_are_refused_and_nothing_is_enqueued() {
    let mut life = over();
    let new = new_execution("acme", "agent");
    let facts = life.world.audit.log.len();
    let steps = vec![taken(A, true, 1), taken(A, false, 1)];
    let refused = life.world.redrive_with(life.id(), &new, steps);
    assert!(
        matches!(refused, Err(Refusal::DataDamaged { .. })),
        "{refused:?}"
    );
    assert_eq!(facts, life.world.audit.log.len());
}
