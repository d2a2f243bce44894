//! Virtual time: shares worker time fairly between tenants.
//!
//! Owns each tenant's pass (the worker time it was charged) and each queue's estimate. Refuses to
//! know which executions are ready: the offers keep that, ordered by the pass.
//!
//! The method is start-time fair queueing. The tenant with the smallest pass is served next. A
//! lease charges the estimated worker time at once; its end corrects the charge to the time really
//! used. A tenant that comes back after idling begins at the current virtual time, so idling earns
//! no credit.

use crate::state::{QueueKey, TenantKey, Tenants};

const FIRST_ESTIMATE_US: u64 = 100_000;
// The smallest charge of a lease, in microseconds. Without it, tenants of very short executions
// would never advance and never take turns.
const LEAST_CHARGE_US: u64 = 1_000;

/// Passes of tenants and estimates of queues, in microseconds of worker time.
#[derive(Debug, Default)]
pub struct Fair {
    passes: Vec<u64>,
    // The virtual time at which each tenant came back last. No refund takes a pass below this
    // floor.
    floors: Vec<u64>,
    estimates: Vec<u64>,
    queue_tenants: Vec<TenantKey>,
    virtual_us: u64,
}

impl Fair {
    /// Makes room for the tenants and queues that exist.
    pub fn make_room(&mut self, tenants: &Tenants) {
        while self.passes.len() < tenants.len() {
            self.passes.push(self.virtual_us);
            self.floors.push(self.virtual_us);
        }
        while self.estimates.len() < tenants.queues_len() {
            let key = QueueKey::try_from(self.estimates.len()).unwrap_or(QueueKey::MAX);
            self.queue_tenants.push(tenants.queue(key).tenant);
            self.estimates.push(FIRST_ESTIMATE_US);
        }
    }

    /// The pass of a tenant: the worker time it was charged.
    #[must_use]
    pub fn pass(&self, tenant: TenantKey) -> u64 {
        self.passes
            .get(tenant as usize)
            .copied()
            .unwrap_or(self.virtual_us)
    }

    /// Notes that a tenant has an admissible execution again, after it had none.
    pub fn came_back(&mut self, tenant: TenantKey) {
        let pass = &mut self.passes[tenant as usize];
        *pass = (*pass).max(self.virtual_us);
        self.floors[tenant as usize] = self.virtual_us;
    }

    /// Charges the estimated time of a lease to its tenant. Returns the charge.
    pub fn charge_estimate(&mut self, tenant: TenantKey, queue: QueueKey) -> u64 {
        let charge = self.estimates[queue as usize].max(LEAST_CHARGE_US);
        let pass = &mut self.passes[tenant as usize];
        self.virtual_us = self.virtual_us.max(*pass);
        *pass = pass.saturating_add(charge);
        charge
    }

    /// Follows the end of a lease: the charge becomes the time used, which also corrects the
    /// queue's estimate.
    pub fn settle(&mut self, queue: QueueKey, charged_us: u64, used_us: u64) {
        let used = used_us.max(LEAST_CHARGE_US);
        let tenant = self.queue_tenants[queue as usize] as usize;
        let pass = (self.passes[tenant] + used).saturating_sub(charged_us);
        self.passes[tenant] = pass.max(self.floors[tenant]);
        let estimate = &mut self.estimates[queue as usize];
        *estimate = *estimate - *estimate / 8 + used / 8;
    }

    /// Charges the difference for a lease that already ran longer than was charged. Returns the new
    /// charge.
    pub fn charge_more(&mut self, queue: QueueKey, charged_us: u64, used_us: u64) -> u64 {
        let tenant = self.queue_tenants[queue as usize] as usize;
        self.passes[tenant] += used_us.saturating_sub(charged_us);
        charged_us.max(used_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_tenants() -> Fair {
        Fair {
            passes: vec![0, 0],
            floors: vec![0, 0],
            estimates: vec![50_000_000, FIRST_ESTIMATE_US],
            queue_tenants: vec![0, 1],
            virtual_us: 0,
        }
    }

    #[test]
    fn a_lease_is_charged_in_advance_and_corrected_to_the_time_used() {
        let mut fair = two_tenants();
        let charged = fair.charge_estimate(1, 1);
        assert_eq!(FIRST_ESTIMATE_US, fair.pass(1));
        fair.settle(1, charged, 30_000);
        assert_eq!(30_000, fair.pass(1));
    }

    #[test]
    fn a_refund_of_charges_from_before_an_idle_time_earns_no_credit() {
        let mut fair = two_tenants();
        let charged = [fair.charge_estimate(0, 0), fair.charge_estimate(0, 0)];
        fair.passes[1] = 200_000_000;
        fair.charge_estimate(1, 1);
        fair.came_back(0);
        assert_eq!(200_000_000, fair.pass(0));
        for charged_us in charged {
            fair.settle(0, charged_us, 1_000);
        }
        assert_eq!(200_000_000, fair.pass(0));
    }

    #[test]
    fn a_refund_is_paid_in_full_while_the_tenant_has_work() {
        let mut fair = two_tenants();
        let charged_us = fair.charge_estimate(0, 0);
        fair.passes[1] = 40_000_000;
        fair.charge_estimate(1, 1);
        fair.settle(0, charged_us, 1_000);
        assert_eq!(1_000, fair.pass(0));
    }
}
