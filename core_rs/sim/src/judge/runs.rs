//! Replies to requests about runs.
//!
//! Owns which invariants each of them must satisfy. Refuses to know other replies.

use std::collections::BTreeSet;

use backlane_engine::fact::OutcomeKind;

use crate::api::v1;
use crate::asked::Asked;
use crate::check::{Checked, Reported, broken, each_once, must};

use super::{ANSWERED, Judge, decoded, some};

impl Judge<'_> {
    /// Judges the reply to a request about a run.
    pub(super) fn of_run(&mut self, asked: &Asked, bytes: &[u8]) -> Checked {
        match asked {
            Asked::Suspend(_) => {
                self.settled(asked, Reported::Ended(OutcomeKind::Suspended), bytes)
            }
            Asked::Steps(request) => self.steps(asked, request, bytes),
            Asked::Input(asked) => {
                let record = some(decoded::<v1::ProvideInputResponse>(bytes)?.execution)?;
                of(&record, &asked.execution_id)?;
                self.show(&asked.tenant_id, &record, false)
            }
            Asked::Pause(asked) => {
                let record = some(decoded::<v1::PauseResponse>(bytes)?.execution)?;
                of(&record, &asked.execution_id)?;
                must(record.paused, ANSWERED, || format!("{record:?}"))?;
                self.show(&asked.tenant_id, &record, true)
            }
            Asked::Resume(asked) => {
                let record = some(decoded::<v1::ResumeResponse>(bytes)?.execution)?;
                of(&record, &asked.execution_id)?;
                must(!record.paused, ANSWERED, || format!("{record:?}"))?;
                self.show(&asked.tenant_id, &record, true)
            }
            Asked::Story(asked, done) => {
                let run = decoded::<v1::GetExecutionRunResponse>(bytes)?.execution;
                let run = run.ok_or_else(|| broken(ANSWERED, "an answer without its run"))?;
                let ids: BTreeSet<_> = run.step_order.iter().collect();
                let is_ordered = ids.len() == run.steps.len()
                    && run.step_order.iter().all(|id| run.steps.contains_key(id));
                must(run.id == asked.execution_id && is_ordered, ANSWERED, || {
                    format!("{run:?}")
                })?;
                each_once(done, &run.id, run.steps.values())
            }
            _ => Err(broken(ANSWERED, format!("{asked:?} is about no run"))),
        }
    }

    fn steps(&mut self, asked: &Asked, request: &v1::ReportStepsRequest, bytes: &[u8]) -> Checked {
        use v1::lease_outcome::Outcome;
        self.settled(asked, Reported::Renewed, bytes)?;
        let outcomes = decoded::<v1::ReportStepsResponse>(bytes)?.outcomes;
        for (report, one) in request.reports.iter().zip(&outcomes) {
            if let Some(Outcome::Result(_)) = one.outcome {
                self.ledger.steps.recorded(report);
            }
        }
        Ok(())
    }
}

fn of(record: &v1::BackgroundExecution, id: &str) -> Checked {
    must(record.execution_id == id, ANSWERED, || {
        format!("{id}: {record:?}")
    })
}
