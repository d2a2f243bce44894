//! Replies about executions that belong to others: dependencies and children.
//!
//! Owns what a refused dependency and an answered spawn must say. Refuses to know other calls.

use super::{ANSWERED, EXISTS, Judge};
use crate::api::v1;
use crate::asked::Asked;
use crate::check::{Checked, broken, must};

impl Judge<'_> {
    /// Checks that an enqueue is not refused for dependencies that must all exist.
    pub(super) fn dependencies_exist(&self, asked: &Asked, reason: &str) -> Checked {
        let items = match asked {
            Asked::Enqueue(asked) => vec![asked],
            Asked::Run(asked) => asked.enqueue.iter().collect(),
            _ => return Ok(()),
        };
        let denied = reason == "EXECUTION_NOT_FOUND" && !self.excuses.forgets;
        let mut named = items.into_iter().flat_map(|item| {
            let ids = item.depends_on.iter();
            ids.map(|id| self.ledger.belongs_to(&item.tenant_id, id) && !self.log.is_deleted(id))
        });
        must(!denied || named.any(|belongs| !belongs), EXISTS, || {
            format!("{asked:?} was answered {reason}")
        })
    }

    /// Checks the answer to a spawn.
    pub(super) fn spawned(
        &mut self,
        asked: &v1::SpawnRequest,
        reply: &v1::SpawnResponse,
    ) -> Checked {
        use v1::spawn_response::Spawned;
        let enqueue = asked.enqueue.clone().unwrap_or_default();
        let Some(Spawned::Execution(record)) = &reply.spawned else {
            return Err(broken(ANSWERED, format!("{asked:?}: {reply:?}")));
        };
        let parent = record.parent.as_ref().map(|parent| &*parent.parent_id);
        let own = reply.existing || parent == Some(&asked.parent_execution_id);
        must(own, ANSWERED, || format!("{asked:?}: {record:?}"))?;
        self.made(&enqueue, Some(record.clone()), reply.existing, "Spawn")
    }
}
