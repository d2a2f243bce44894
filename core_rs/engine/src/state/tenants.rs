//! Tenants and their queues, with the order in which executions are ready.
//!
//! Owns which executions are ready, in which order, and the counts by phase. Refuses to know which
//! tenant or callable is served next: the soft state does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::reply::Counts;
use crate::rules::id::Birth;
use crate::rules::status::Phase;

/// The number of a tenant within one process; not durable.
pub type TenantKey = u32;
/// The number of a queue (a tenant and a callable) within one process; not durable.
pub type QueueKey = u32;

/// The position in the ready order: 255 − priority, then birth number. A smaller rank runs sooner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank(u64);

impl Rank {
    /// The rank of an execution.
    #[must_use]
    pub fn of(priority: u8, birth: Birth) -> Self {
        Self((u64::from(u8::MAX - priority) << 48) | birth)
    }

    /// The birth number of the execution with this rank.
    #[must_use]
    pub const fn birth(self) -> Birth {
        self.0 & ((1 << 48) - 1)
    }
}

/// A tenant and its unfinished executions.
#[derive(Debug)]
pub struct Tenant {
    /// The tenant's name.
    pub name: Arc<str>,
    /// Birth numbers of the tenant's unfinished executions.
    pub living: BTreeSet<Birth>,
    /// Number of the tenant's executions that are leased.
    pub running: u64,
    /// Largest number of leased executions; `None` for no limit.
    pub max_running: Option<u32>,
    queues: BTreeMap<Arc<str>, QueueKey>,
}

/// The executions of one callable of one tenant.
#[derive(Debug)]
pub struct Queue {
    /// The tenant of the queue.
    pub tenant: TenantKey,
    /// Name of the callable.
    pub callable: Arc<str>,
    /// The executions that can be leased, best first.
    pub ready: BTreeSet<Rank>,
    /// Largest number of leased executions; `None` for no limit.
    pub max_running: Option<u32>,
    pending: u64,
    retrying: u64,
    running: u64,
}

fn is_full(running: u64, most: Option<u32>) -> bool {
    most.is_some_and(|most| running >= u64::from(most))
}

impl Tenant {
    /// Whether the tenant is at its limit on leased executions.
    #[must_use]
    pub fn is_full(&self) -> bool {
        is_full(self.running, self.max_running)
    }
}

impl Queue {
    /// Whether the queue is at its limit on leased executions.
    #[must_use]
    pub fn is_full(&self) -> bool {
        is_full(self.running, self.max_running)
    }

    /// The numbers of the queue's executions by phase.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            ready: self.ready.len() as u64,
            pending: self.pending,
            retrying: self.retrying,
            running: self.running,
        }
    }
}

/// All tenants and queues of the shard.
#[derive(Debug, Default)]
pub struct Tenants {
    all: Vec<Tenant>,
    queues: Vec<Queue>,
    by_name: BTreeMap<Arc<str>, TenantKey>,
}

impl Tenants {
    /// A tenant by its key.
    #[must_use]
    pub fn tenant(&self, key: TenantKey) -> &Tenant {
        &self.all[key as usize]
    }

    /// A queue by its key.
    #[must_use]
    pub fn queue(&self, key: QueueKey) -> &Queue {
        &self.queues[key as usize]
    }

    /// Number of queues. All keys of queues are below this number.
    #[must_use]
    pub fn queues_len(&self) -> usize {
        self.queues.len()
    }

    /// Number of tenants. All keys of tenants are below this number.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether no tenant was ever seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The tenant with this name, if it was ever seen.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<TenantKey> {
        self.by_name.get(name).copied()
    }

    /// The queues of a tenant, sorted by callable.
    pub fn queues_of(&self, tenant: TenantKey) -> impl Iterator<Item = QueueKey> + '_ {
        self.tenant(tenant).queues.values().copied()
    }

    pub(super) fn tenant_mut(&mut self, key: TenantKey) -> &mut Tenant {
        &mut self.all[key as usize]
    }

    pub(super) fn queue_mut(&mut self, key: QueueKey) -> &mut Queue {
        &mut self.queues[key as usize]
    }

    pub(super) fn intern(&mut self, name: &Arc<str>) -> TenantKey {
        if let Some(key) = self.by_name.get(name) {
            return *key;
        }
        let key = TenantKey::try_from(self.all.len()).unwrap_or(TenantKey::MAX);
        self.by_name.insert(name.clone(), key);
        self.all.push(Tenant {
            name: name.clone(),
            living: BTreeSet::new(),
            running: 0,
            max_running: None,
            queues: BTreeMap::new(),
        });
        key
    }

    pub(super) fn intern_queue(&mut self, tenant: TenantKey, callable: &Arc<str>) -> QueueKey {
        if let Some(key) = self.tenant(tenant).queues.get(callable) {
            return *key;
        }
        let key = QueueKey::try_from(self.queues.len()).unwrap_or(QueueKey::MAX);
        self.tenant_mut(tenant).queues.insert(callable.clone(), key);
        self.queues.push(Queue {
            tenant,
            callable: callable.clone(),
            ready: BTreeSet::new(),
            max_running: None,
            pending: 0,
            retrying: 0,
            running: 0,
        });
        key
    }

    /// Notes that an execution enters a phase.
    pub(super) fn enter(&mut self, key: QueueKey, phase: Phase, rank: Rank) {
        let queue = self.queue_mut(key);
        match phase {
            Phase::Pending => queue.pending += 1,
            Phase::Retrying => queue.retrying += 1,
            Phase::Ready => {
                queue.ready.insert(rank);
            }
            Phase::Running => {
                queue.running += 1;
                let tenant = queue.tenant;
                self.tenant_mut(tenant).running += 1;
            }
        }
    }

    /// Notes that an execution leaves a phase.
    pub(super) fn leave(&mut self, key: QueueKey, phase: Phase, rank: Rank) {
        let queue = self.queue_mut(key);
        match phase {
            Phase::Pending => queue.pending -= 1,
            Phase::Retrying => queue.retrying -= 1,
            Phase::Ready => {
                queue.ready.remove(&rank);
            }
            Phase::Running => {
                queue.running -= 1;
                let tenant = queue.tenant;
                self.tenant_mut(tenant).running -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn higher_priority_then_earlier_birth_ranks_first() {
        assert!(Rank::of(90, 7) < Rank::of(10, 3));
        assert!(Rank::of(50, 3) < Rank::of(50, 7));
        assert_eq!(7, Rank::of(0, 7).birth());
        assert_eq!(7, Rank::of(255, 7).birth());
    }
}
