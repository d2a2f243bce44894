//! Virtual time: fairness between tenants by worker-seconds.
//!
//! Owns each tenant's pass and each queue's estimate. Refuses to know what is ready: the offers
//! keep that, ordered by the pass.
//!
//! Start-time fair queueing: the tenant with the smallest pass goes next; a lease charges the
//! estimated worker time at once, the end corrects it to what was used. A tenant that comes back
//! begins at the present virtual time, so idleness earns no credit.

use crate::state::{QueueKey, TenantKey, Tenants};

const FIRST_ESTIMATE_US: u64 = 100_000;
// Even the shortest execution costs a worker something: without a floor, tenants of no-ops would
// never advance and never take turns.
const LEAST_CHARGE_US: u64 = 1_000;

/// Passes of tenants and estimates of queues, in worker-microseconds.
#[derive(Debug, Default)]
pub struct Fair {
    passes: Vec<u64>,
    // The virtual time at which each tenant came back last: no refund leads below.
    floors: Vec<u64>,
    estimates: Vec<u64>,
    queue_tenants: Vec<TenantKey>,
    virtual_us: u64,
}

impl Fair {
    /// Grows with the tenants and queues there are.
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

    /// How far a tenant has come.
    #[must_use]
    pub fn pass(&self, tenant: TenantKey) -> u64 {
        self.passes
            .get(tenant as usize)
            .copied()
            .unwrap_or(self.virtual_us)
    }

    /// A tenant has something admissible again.
    pub fn came_back(&mut self, tenant: TenantKey) {
        let pass = &mut self.passes[tenant as usize];
        *pass = (*pass).max(self.virtual_us);
        self.floors[tenant as usize] = self.virtual_us;
    }

    /// Charges a lease ahead; answers how much.
    pub fn charge_estimate(&mut self, tenant: TenantKey, queue: QueueKey) -> u64 {
        let charge = self.estimates[queue as usize].max(LEAST_CHARGE_US);
        let pass = &mut self.passes[tenant as usize];
        self.virtual_us = self.virtual_us.max(*pass);
        *pass = pass.saturating_add(charge);
        charge
    }

    /// A lease ended: the charge becomes what was used, and the estimate learns.
    pub fn settle(&mut self, queue: QueueKey, charged_us: u64, used_us: u64) {
        let used = used_us.max(LEAST_CHARGE_US);
        let tenant = self.queue_tenants[queue as usize] as usize;
        let pass = (self.passes[tenant] + used).saturating_sub(charged_us);
        self.passes[tenant] = pass.max(self.floors[tenant]);
        let estimate = &mut self.estimates[queue as usize];
        *estimate = *estimate - *estimate / 8 + used / 8;
    }

    /// A lease goes on beyond what was charged: charges the difference. Answers the new charge.
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
    fn a_lease_is_charged_ahead_and_settled_to_what_was_used() {
        let mut fair = two_tenants();
        let charged = fair.charge_estimate(1, 1);
        assert_eq!(FIRST_ESTIMATE_US, fair.pass(1));
        fair.settle(1, charged, 30_000);
        assert_eq!(30_000, fair.pass(1));
    }

    #[test]
    fn a_refund_for_what_was_charged_before_an_absence_earns_no_credit() {
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
    fn a_refund_while_there_is_work_is_paid_in_full() {
        let mut fair = two_tenants();
        let charged_us = fair.charge_estimate(0, 0);
        fair.passes[1] = 40_000_000;
        fair.charge_estimate(1, 1);
        fair.settle(0, charged_us, 1_000);
        assert_eq!(1_000, fair.pass(0));
    }
}
