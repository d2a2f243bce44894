//! Limits on running executions, of a tenant or of one of its callables.

use std::sync::Arc;

use crate::engine::Engine;
use crate::fact::FactKind;
use crate::time::Now;

impl Engine {
    /// Sets or lifts (`None`) the most that may be under a lease at once. What runs already runs
    /// on. The counts it is compared with follow the live leases; an audit compares the two.
    pub fn set_limit(
        &mut self,
        tenant: Arc<str>,
        callable: Option<Arc<str>>,
        max_running: Option<u32>,
        now: Now,
    ) {
        self.commit(
            FactKind::LimitSet {
                tenant,
                callable,
                max_running,
            },
            now,
        );
    }
}
