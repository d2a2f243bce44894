//! Applies facts about tenants.
//!
//! Owns where a tenant's limits are kept. Refuses to know which executions a limit holds back: the
//! soft state does.

use std::sync::Arc;

use crate::fact::TenantFact;
use crate::state::State;

impl State {
    /// Applies a fact about a tenant. Every state allows every such fact.
    pub(super) fn apply_tenant(&mut self, fact: &TenantFact) {
        match fact {
            TenantFact::LimitSet {
                tenant,
                callable,
                max_running,
            } => self.limit_set(tenant, callable.as_ref(), *max_running),
        }
    }

    fn limit_set(&mut self, tenant: &Arc<str>, callable: Option<&Arc<str>>, most: Option<u32>) {
        let tenant = self.tenants.intern(tenant);
        let queue = callable.map(|callable| self.tenants.intern_queue(tenant, callable));
        match queue {
            None => self.tenants.tenant_mut(tenant).max_running = most,
            Some(queue) => self.tenants.queue_mut(queue).max_running = most,
        }
        match most {
            Some(_) => self.limits.insert((tenant, queue)),
            None => self.limits.remove(&(tenant, queue)),
        };
        match queue {
            Some(queue) => self.tenants.may_be_idle(queue),
            None => self.tenants.tenant_may_be_idle(tenant),
        }
    }
}
