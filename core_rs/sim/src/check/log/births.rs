//! Births: which executions may be enqueued, and redriven.

use backlane_engine::fact::Living;
use backlane_engine::rules::status::Status;

use super::super::{Checked, must};
use super::{LEGAL, LIMITS, LogCheck};

impl LogCheck {
    pub(super) fn may_be_born(&self, living: &Living) -> Checked {
        let state = &self.emitted;
        must(living.id.birth == state.next_birth(), LEGAL, || {
            format!("{:?}", living.id)
        })?;
        self.may_redrive(living)?;
        let Some(tenant) = state.tenants().by_name(&living.tenant) else {
            return Ok(());
        };
        let held = state.tenants().tenant(tenant).living.len() as u64;
        must(held < self.max_queue, LIMITS, || {
            format!("{held} of {}", living.tenant)
        })?;
        let key = living.dedup_key.as_deref();
        let holder = key.and_then(|key| state.dedup(tenant, key));
        must(
            holder.is_none(),
            "one living execution per dedup key",
            || format!("{key:?}"),
        )
    }

    /// Checks that what is redriven is over, and is not being redriven.
    fn may_redrive(&self, living: &Living) -> Checked {
        let Some(from) = living.retried_from else {
            return Ok(());
        };
        let other = self.emitted.redrive_of(from);
        must(other.is_none(), "one living redrive per record", || {
            format!("{from} by {other:?} and {:?}", living.id)
        })?;
        let status = self.ended.get(&from).map(|(_, status)| *status);
        let is_over = status.is_some_and(Status::may_be_redriven);
        must(is_over, LEGAL, || format!("{from} is {status:?}"))
    }
}
