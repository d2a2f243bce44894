//! Limits on running executions, as the state has them.
//!
//! Owns how limits are found, counted and written again. Refuses to know which executions a limit
//! holds back: admission does.

use crate::fact::TenantFact;
use crate::reply::LimitsNow;
use crate::state::{LimitKey, QueueKey, State, TenantKey};

impl State {
    /// The facts that would set the current limits again, starting after one of the limits.
    pub fn limits_after(
        &self,
        after: Option<LimitKey>,
    ) -> impl Iterator<Item = (LimitKey, TenantFact)> + '_ {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        let limits = self.limits.range((from, Unbounded)).copied();
        limits.map(|key| (key, self.limit(key)))
    }

    /// What is limited of a tenant, in no order: the tenant as a whole, or callables.
    pub(crate) fn limits_of(&self, tenant: TenantKey) -> impl Iterator<Item = LimitKey> + '_ {
        let of_tenant = (tenant, None)..=(tenant, Some(QueueKey::MAX));
        self.limits.range(of_tenant).copied()
    }

    /// The limit of a tenant as a whole or of one of its callables, and how far it is used.
    pub(crate) fn limits_now(&self, (tenant, queue): LimitKey) -> LimitsNow {
        let owner = self.tenants.tenant(tenant);
        match queue.map(|queue| self.tenants.queue(queue)) {
            Some(queue) => LimitsNow {
                callable: Some(queue.callable.clone()),
                max_running: queue.max_running,
                running: queue.counts().running,
                ready: queue.counts().ready,
            },
            None => LimitsNow {
                callable: None,
                max_running: owner.max_running,
                running: owner.running,
                ready: self.counts(tenant).ready,
            },
        }
    }

    fn limit(&self, (tenant, queue): LimitKey) -> TenantFact {
        let owner = self.tenants.tenant(tenant);
        let queue = queue.map(|queue| self.tenants.queue(queue));
        TenantFact::LimitSet {
            tenant: owner.name.clone(),
            callable: queue.map(|queue| queue.callable.clone()),
            max_running: queue.map_or(owner.max_running, |queue| queue.max_running),
        }
    }
}
