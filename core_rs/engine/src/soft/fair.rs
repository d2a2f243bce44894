//! Virtual time: shares worker time fairly between the tenants of one offer.
//!
//! Owns each tenant's pass (the worker time it was charged under the offer) and the order in which
//! the tenants are served. Refuses to know which executions are ready: the offers tell which
//! tenants have admissible ones.
//!
//! The method is start-time fair queueing. The tenant with the smallest pass is served next. A
//! lease charges the estimated worker time at once; its end corrects the charge to the time really
//! used. A tenant that comes back after idling begins beside the tenants that it competes with, so
//! idling earns no credit. Each offer has passes of its own: workers of one kind that were busy for
//! long do not delay newcomers at workers of another kind.

use std::collections::{BTreeMap, BTreeSet};

use crate::state::{QueueKey, TenantKey};

const FIRST_ESTIMATE_US: u64 = 100_000;
// The smallest charge of a lease, in microseconds. Without it, tenants of very short executions
// would never advance and never take turns.
const LEAST_CHARGE_US: u64 = 1_000;
// Passes of tenants without admissible executions that are kept without looking whether they still
// matter.
const IDLE_KEPT: usize = 64;

/// The expected worker time of the executions of each queue, in microseconds.
#[derive(Debug, Default)]
pub struct Estimates {
    by_queue: BTreeMap<QueueKey, u64>,
}

impl Estimates {
    /// The worker time that a lease of this queue is charged at first.
    #[must_use]
    pub fn charge(&self, queue: QueueKey) -> u64 {
        let estimate = self.by_queue.get(&queue).copied();
        estimate.unwrap_or(FIRST_ESTIMATE_US).max(LEAST_CHARGE_US)
    }

    /// The expected worker time of a queue in which a lease has ended; `None` otherwise.
    #[must_use]
    pub fn known(&self, queue: QueueKey) -> Option<u64> {
        self.by_queue.get(&queue).copied()
    }

    /// Learns from the end of a lease that took this long.
    pub fn learn(&mut self, queue: QueueKey, used_us: u64) {
        let estimate = self.by_queue.entry(queue).or_insert(FIRST_ESTIMATE_US);
        *estimate = *estimate - *estimate / 8 + used_us.max(LEAST_CHARGE_US) / 8;
    }

    /// Forgets a queue that no longer exists.
    pub fn forget(&mut self, queue: QueueKey) {
        self.by_queue.remove(&queue);
    }
}

#[derive(Debug, Clone, Copy)]
struct Share {
    pass_us: u64,
    // The virtual time at which the tenant came back last. No refund takes its pass below.
    floor_us: u64,
    is_listed: bool,
}

/// The tenants of one offer. Times are microseconds of worker time.
#[derive(Debug, Default)]
pub struct Shares {
    by_tenant: BTreeMap<TenantKey, Share>,
    // The tenants with admissible executions, in the order in which they are served.
    order: BTreeSet<(u64, TenantKey)>,
    // The largest pass at which a tenant was served, or left as the last one.
    served_us: u64,
    // Tenants that left since passes were last forgotten.
    left: usize,
}

impl Shares {
    /// Lists a tenant that has an admissible execution from now on.
    pub fn enter(&mut self, tenant: TenantKey) {
        let virtual_us = self.virtual_us();
        let share = self.by_tenant.entry(tenant).or_insert(Share {
            pass_us: 0,
            floor_us: 0,
            is_listed: false,
        });
        if !share.is_listed {
            share.is_listed = true;
            share.floor_us = virtual_us;
            share.pass_us = share.pass_us.max(virtual_us);
            self.order.insert((share.pass_us, tenant));
        }
    }

    /// Removes a tenant that has no admissible execution any more. Its pass is kept while it is
    /// ahead of the others, so that leaving and coming back earns no credit. Returns the tenants
    /// whose passes were forgotten.
    pub fn leave(&mut self, tenant: TenantKey) -> Vec<TenantKey> {
        if let Some(share) = self.by_tenant.get_mut(&tenant)
            && std::mem::take(&mut share.is_listed)
        {
            self.order.remove(&(share.pass_us, tenant));
            if self.order.is_empty() {
                self.served_us = self.served_us.max(share.pass_us);
            }
        }
        self.left += 1;
        let kept = self.by_tenant.len();
        // Looking at all is paid for by half as many that left: none may be forgotten for long,
        // while everybody who left is ahead of those who wait.
        if kept > 2 * self.order.len() + IDLE_KEPT && 2 * self.left > kept {
            self.forget_past()
        } else {
            Vec::new()
        }
    }

    /// Forgets the passes that no longer matter.
    fn forget_past(&mut self) -> Vec<TenantKey> {
        self.left = 0;
        let virtual_us = self.virtual_us();
        let mut past = Vec::new();
        self.by_tenant.retain(|tenant, share| {
            let matters = share.is_listed || share.pass_us > virtual_us;
            if !matters {
                past.push(*tenant);
            }
            matters
        });
        past
    }

    /// Forgets a tenant that no longer exists, whatever its pass.
    pub fn forget(&mut self, tenant: TenantKey) {
        if let Some(share) = self.by_tenant.remove(&tenant) {
            self.order.remove(&(share.pass_us, tenant));
        }
    }

    /// Every tenant with a pass.
    pub fn tenants(&self) -> impl Iterator<Item = TenantKey> + '_ {
        self.by_tenant.keys().copied()
    }

    /// The tenants with admissible executions, in the order in which they are served.
    pub fn in_order(&self) -> impl Iterator<Item = TenantKey> + '_ {
        self.order.iter().map(|(_, tenant)| *tenant)
    }

    /// Whether no tenant has an admissible execution.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The pass of a tenant; 0 where none is kept.
    #[must_use]
    pub fn pass(&self, tenant: TenantKey) -> u64 {
        let share = self.by_tenant.get(&tenant);
        share.map_or(0, |share| share.pass_us)
    }

    /// Charges a tenant that is being served.
    pub fn serve(&mut self, tenant: TenantKey, charge_us: u64) {
        self.served_us = self.served_us.max(self.pass(tenant));
        self.set(tenant, |share| share.pass_us.saturating_add(charge_us));
    }

    /// Charges further time to a tenant.
    pub fn charge(&mut self, tenant: TenantKey, more_us: u64) {
        self.set(tenant, |share| share.pass_us.saturating_add(more_us));
    }

    /// Follows the end of a lease: the charge becomes the time used.
    pub fn settle(&mut self, tenant: TenantKey, charged_us: u64, used_us: u64) {
        let used_us = used_us.max(LEAST_CHARGE_US);
        self.set(tenant, |share| {
            let pass_us = share.pass_us.saturating_add(used_us);
            pass_us.saturating_sub(charged_us).max(share.floor_us)
        });
    }

    fn set(&mut self, tenant: TenantKey, pass: impl FnOnce(&Share) -> u64) {
        let Some(share) = self.by_tenant.get_mut(&tenant) else {
            return;
        };
        let (before, after) = (share.pass_us, pass(share));
        share.pass_us = after;
        if share.is_listed && before != after {
            self.order.remove(&(before, tenant));
            self.order.insert((after, tenant));
        }
    }

    // The virtual time: where a tenant that comes back begins.
    fn virtual_us(&self) -> u64 {
        let first = self.order.first();
        first.map_or(self.served_us, |(pass_us, _)| *pass_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_tenants() -> Shares {
        let mut shares = Shares::default();
        shares.enter(0);
        shares.enter(1);
        shares
    }

    #[test]
    fn a_lease_is_charged_in_advance_and_corrected_to_the_time_used() {
        let mut shares = two_tenants();
        let charged_us = Estimates::default().charge(7);
        shares.serve(1, charged_us);
        assert_eq!(FIRST_ESTIMATE_US, shares.pass(1));
        shares.settle(1, charged_us, 30_000);
        assert_eq!(30_000, shares.pass(1));
    }

    #[test]
    fn a_refund_of_charges_from_before_an_idle_time_earns_no_credit() {
        let mut shares = two_tenants();
        shares.serve(0, 50_000_000);
        shares.serve(0, 50_000_000);
        shares.leave(0);
        shares.charge(1, 200_000_000);
        shares.enter(0);
        assert_eq!(200_000_000, shares.pass(0));
        shares.settle(0, 50_000_000, 1_000);
        shares.settle(0, 50_000_000, 1_000);
        assert_eq!(200_000_000, shares.pass(0));
    }

    #[test]
    fn a_refund_is_paid_in_full_while_the_tenant_has_work() {
        let mut shares = two_tenants();
        shares.serve(0, 50_000_000);
        shares.serve(1, 40_000_000);
        shares.settle(0, 50_000_000, 1_000);
        assert_eq!(1_000, shares.pass(0));
    }

    #[test]
    fn a_newcomer_begins_beside_the_tenant_that_is_served_next() {
        let mut shares = two_tenants();
        shares.serve(0, 900_000_000);
        shares.serve(1, 10_000);
        shares.enter(2);
        assert_eq!(10_000, shares.pass(2));
    }

    #[test]
    fn passes_of_tenants_that_left_long_ago_are_not_kept() {
        let mut shares = Shares::default();
        for tenant in 0..1_000 {
            shares.enter(tenant);
            shares.serve(tenant, 1_000);
            shares.leave(tenant);
        }
        assert!(shares.by_tenant.len() <= IDLE_KEPT + 1);
    }

    #[test]
    fn tenants_that_leave_ahead_of_those_who_wait_are_looked_at_rarely() {
        let mut shares = Shares::default();
        (0..10_000).for_each(|tenant| shares.enter(tenant));
        let mut looks = 0;
        for tenant in 0..10_000 {
            shares.serve(tenant, 1_000);
            shares.leave(tenant);
            looks += usize::from(shares.left == 0);
        }
        assert!((1..4).contains(&looks), "{looks}");
    }

    #[test]
    fn a_tenant_that_leaves_with_a_large_charge_keeps_it() {
        let mut shares = two_tenants();
        shares.serve(0, 50_000_000);
        shares.leave(0);
        shares.enter(0);
        assert_eq!(50_000_000, shares.pass(0));
    }
}
