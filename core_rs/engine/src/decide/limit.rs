//! Limits on the running executions of a tenant or of one of its callables.
//!
//! Owns the change of a limit. Refuses to count: the counts follow the live leases.

use std::sync::Arc;

use crate::engine::{Decision, Engine};
use crate::error::Refusal;
use crate::fact::{Actor, FactKind, TenantFact};
use crate::time::Now;

impl Engine {
    /// Sets the largest number of executions that may be leased at once; `None` lifts the limit.
    /// Executions that run already continue.
    ///
    /// # Errors
    /// None today: a limit can be set in every state.
    pub fn set_limit(
        &mut self,
        actor: Actor,
        tenant: Arc<str>,
        callable: Option<Arc<str>>,
        max_running: Option<u32>,
        now: Now,
    ) -> Result<(), Refusal> {
        let fact = TenantFact::LimitSet {
            tenant,
            callable,
            max_running,
        };
        self.commit(Decision::of(actor, FactKind::Tenant(fact)), now)
    }
}
