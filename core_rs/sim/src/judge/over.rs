//! Replies about executions that are over: dead letters, discards, redrives.
//!
//! Owns what these replies must agree with. Refuses to know the other calls.

use crate::api::{reason_of, v1};
use crate::check::{Checked, broken, must};

use super::{ANSWERED, Judge, some};

impl Judge<'_> {
    pub(super) fn dead_letters(
        &mut self,
        asked: &v1::ListDeadLettersRequest,
        reply: &v1::ListDeadLettersResponse,
    ) -> Checked {
        let list = v1::ListRequest {
            tenant_id: asked.tenant_id.clone(),
            view: asked.view,
            ..Default::default()
        };
        let records = v1::ListResponse {
            executions: reply.executions.clone(),
            ..Default::default()
        };
        self.list(&list, &records)?;
        let dead = [
            v1::BackgroundExecutionStatus::Failed,
            v1::BackgroundExecutionStatus::Timeout,
        ];
        // An execution that could not be read is shown with its id alone.
        let mut read = reply.executions.iter().filter(|it| it.version != 0);
        let alive = read.find(|record| !dead.contains(&record.status()));
        must(alive.is_none(), "only failures are dead letters", || {
            format!("{alive:?}")
        })
    }

    pub(super) fn discarded(
        &self,
        asked: &v1::DiscardDeadLettersRequest,
        reply: &v1::DiscardDeadLettersResponse,
    ) -> Checked {
        use v1::discard_outcome::Outcome;
        must(
            asked.execution_ids.len() == reply.outcomes.len(),
            ANSWERED,
            || format!("{asked:?}: {reply:?}"),
        )?;
        for (id, outcome) in asked.execution_ids.iter().zip(&reply.outcomes) {
            match &outcome.outcome {
                Some(Outcome::Result(result)) => {
                    must(result.execution_id == *id, ANSWERED, || {
                        format!("{id}: {result:?}")
                    })?;
                }
                Some(Outcome::Status(status)) => {
                    self.exists(&asked.tenant_id, id, &reason_of(status))?;
                }
                None => return Err(broken(ANSWERED, "a discard without an outcome")),
            }
        }
        Ok(())
    }

    pub(super) fn redriven(
        &mut self,
        asked: &v1::RedriveRequest,
        reply: v1::RedriveResponse,
    ) -> Checked {
        let record = some(reply.execution)?;
        let from = record.retried_from.as_ref() == Some(&asked.execution_id);
        must(from, ANSWERED, || format!("{asked:?}: {record:?}"))?;
        if !reply.existing {
            let id = &record.execution_id;
            self.ledger.redriven(asked, id, self.log)?;
        }
        let has_asked = asked.with_dependents || reply.dependent_ids.is_empty();
        must(has_asked, ANSWERED, || format!("{:?}", reply.dependent_ids))?;
        for id in &reply.dependent_ids {
            self.ledger.followed(id, self.log)?;
        }
        self.show(&asked.tenant_id, &record, true)?;
        let at_ms = crate::check::queued_ms(&record);
        let scope = format!("Redrive {}", asked.tenant_id);
        let mut ids = vec![record.execution_id];
        ids.extend(reply.dependent_ids);
        self.ledger
            .same_request(&scope, &asked.request_id, ids, at_ms)
    }
}
