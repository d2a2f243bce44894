//! Limits on running executions, of a tenant or of one of its callables.
//!
//! Owns that decision. Refuses to count: the counts follow the live leases.

use std::sync::Arc;

use crate::engine::{Decision, Engine};
use crate::error::Refusal;
use crate::fact::{Actor, FactKind, TenantFact};
use crate::time::Now;

impl Engine {
    /// Sets the most executions that may be under a lease at once, or lifts the limit (`None`).
    /// Running executions run on.
    ///
    /// # Errors
    /// None today: every state can follow.
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
