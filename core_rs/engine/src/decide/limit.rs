//! Limits on the running executions of a tenant or of one of its callables.
//!
//! Owns the change of a limit. Refuses to count: the counts follow the live leases.

use std::sync::Arc;

use crate::engine::{Decision, Engine};
use crate::error::{Invalid, Refusal};
use crate::fact::{Actor, FactKind, TenantFact};
use crate::reply::LimitsNow;
use crate::rules::limits::MAX_LIMITS;
use crate::state::LimitKey;
use crate::time::Now;

impl Engine {
    /// Sets the largest number of executions that may be leased at once; `None` lifts the limit.
    /// Executions that run already continue.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for one limit too many of a tenant; then nothing has changed.
    pub fn set_limit(
        &mut self,
        actor: Actor,
        tenant: Arc<str>,
        callable: Option<Arc<str>>,
        max_running: Option<u32>,
        now: Now,
    ) -> Result<(), Refusal> {
        if max_running.is_some() {
            self.may_limit(&tenant, callable.as_deref())?;
        }
        let fact = TenantFact::LimitSet {
            tenant,
            callable,
            max_running,
        };
        self.commit(Decision::of(actor, FactKind::Tenant(fact)), now)
    }

    /// Refuses a limit on another callable once the tenant has as many as it may have.
    fn may_limit(&self, tenant: &str, callable: Option<&str>) -> Result<(), Refusal> {
        let Some(key) = self.state.tenants().by_name(tenant) else {
            return Ok(());
        };
        let queue = callable.map(|callable| self.state.tenants().queue_named(key, callable));
        let is_known = |limit: LimitKey| queue.map_or(limit.1.is_none(), |it| limit.1 == it);
        let is_new = !self.state.limits_of(key).any(is_known);
        if is_new && self.state.limits_of(key).count() >= MAX_LIMITS {
            let rule = format!("is one too many: a tenant has at most {MAX_LIMITS} limits");
            return Err(Invalid::new("callable_name", rule).into());
        }
        Ok(())
    }

    /// The limit of a tenant as a whole, or of one of its callables, and how far it is used.
    #[must_use]
    pub fn limits_now(&self, tenant: &str, callable: Option<&Arc<str>>) -> LimitsNow {
        let tenants = self.state.tenants();
        let none = || LimitsNow::unused(callable.cloned());
        let Some(key) = tenants.by_name(tenant) else {
            return none();
        };
        match callable.map(|callable| tenants.queue_named(key, callable)) {
            None => self.state.limits_now((key, None)),
            Some(Some(queue)) => self.state.limits_now((key, Some(queue))),
            Some(None) => none(),
        }
    }

    /// All limits of a tenant: that of the tenant as a whole first, then by callable.
    #[must_use]
    pub fn all_limits(&self, tenant: &str) -> Vec<LimitsNow> {
        let key = self.state.tenants().by_name(tenant);
        let keys = key.into_iter().flat_map(|key| self.state.limits_of(key));
        let mut limits: Vec<_> = keys.map(|key| self.state.limits_now(key)).collect();
        limits.sort_unstable_by(|one, other| one.callable.cmp(&other.callable));
        limits
    }
}
