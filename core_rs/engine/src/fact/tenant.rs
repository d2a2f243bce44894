//! Facts about tenants.
//!
//! Owns the settings of a tenant that must survive a restart. Refuses to know what the settings
//! mean for executions.

use std::sync::Arc;

/// A change of a tenant's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TenantFact {
    /// A limit on running executions was set or lifted.
    LimitSet {
        /// The tenant's name.
        tenant: Arc<str>,
        /// The callable that is limited; `None` limits the tenant as a whole.
        callable: Option<Arc<str>>,
        /// Largest number of leased executions at once; `None` lifts the limit.
        max_running: Option<u32>,
    },
}
