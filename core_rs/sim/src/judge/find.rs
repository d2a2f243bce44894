//! Replies that list or count executions, and deletions.
//!
//! Owns some filters and what they mean for a record, written without the code of the server.
//! Refuses to know any other filter.

use crate::api::v1::{self, BackgroundExecutionStatus as Status};
use crate::check::{Checked, must};

use super::{ANSWERED, Judge};

type Keeps = fn(&v1::BackgroundExecution) -> bool;

/// Filters whose meaning the judge knows.
pub const FILTERS: [(&str, Keeps); 7] = [
    ("status = failed OR status = timeout", |it| {
        matches!(it.status(), Status::Failed | Status::Timeout)
    }),
    ("NOT status = queued", |it| it.status() != Status::Queued),
    ("priority > 50 AND attempt <= 1", |it| {
        let priority = it.config.as_ref().and_then(|config| config.priority);
        priority.unwrap_or(50) > 50 && it.attempt <= 1
    }),
    ("reason = cancel_requested", |it| {
        it.reason() == v1::EndReason::CancelRequested
    }),
    ("reason != completed AND status != failed", |it| {
        it.reason() != v1::EndReason::Completed && it.status() != Status::Failed
    }),
    ("started_at >= 2000-01-01T00:00:00Z", |it| {
        it.started_at.is_some()
    }),
    (
        "callable != x AND completed_at < 2000-01-01T00:00:00Z",
        |_| false,
    ),
];

/// Whether a filter keeps a record.
pub(super) fn keeps(filter: &str, record: &v1::BackgroundExecution) -> bool {
    let known = FILTERS.iter().find(|(text, _)| *text == filter);
    known.is_none_or(|(_, keeps)| keeps(record))
}

impl Judge<'_> {
    pub(super) fn list(&mut self, asked: &v1::ListRequest, reply: &v1::ListResponse) -> Checked {
        let full = asked.view() == v1::View::Full;
        let mut births = Vec::new();
        for record in &reply.executions {
            // An execution that could not be read is shown with its id alone, or with its status.
            if self.excuses.misreads && record.version == 0 {
                births.push(crate::check::birth_of(&record.execution_id)?);
                continue;
            }
            let wanted = asked.status == 0 || asked.status == record.status;
            must(wanted && keeps(&asked.filter, record), ANSWERED, || {
                format!("{asked:?}: {record:?}")
            })?;
            self.show(&asked.tenant_id, record, full)?;
            births.push(crate::check::birth_of(&record.execution_id)?);
        }
        let ordered = births.windows(2).all(|pair| pair[0] > pair[1]);
        must(ordered, "lists are newest first", || format!("{births:?}"))
    }

    /// No more can be counted than the tenant has, as far as replies have shown, or the log tells.
    pub(super) fn count(&self, asked: &v1::CountRequest, reply: v1::CountResponse) -> Checked {
        let births = self.log.emitted().next_birth();
        let nothing = asked.filter == FILTERS[FILTERS.len() - 1].0;
        let most = if nothing { 0 } else { births };
        must(reply.count <= most, ANSWERED, || {
            format!("{asked:?}: {}", reply.count)
        })
    }

    /// The reply leaves after the commit, so that the log has the deletion.
    pub(super) fn deleted(&self, asked: &v1::DeleteRequest) -> Checked {
        must(self.log.is_deleted(&asked.execution_id), ANSWERED, || {
            format!("{asked:?}")
        })
    }
}
