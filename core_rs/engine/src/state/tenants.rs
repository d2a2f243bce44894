//! Tenants and their queues, with the order in which executions are ready.
//!
//! Owns which executions are ready, in which order, and the counts by phase. Refuses to know which
//! tenant or callable is served next: the soft state does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use crate::command::prefix_of;
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
    queues: Names<QueueKey>,
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
    suspended: u64,
    held: u64,
    ending: u64,
    // Whether the queue is in the line of names that may be forgotten.
    is_in_line: bool,
}

/// Values by callable.
type Names<T> = BTreeMap<Arc<str>, T>;

/// Names without executions that are kept in memory: a name that was just used is likely to be
/// used again.
const IDLE_KEPT: usize = 1_024;

/// A name that left memory, because it has no executions and no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone {
    /// The queue that is gone.
    pub queue: Option<QueueKey>,
    /// The tenant that is gone, if the queue was its last.
    pub tenant: Option<TenantKey>,
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

    /// The tenant's queues that a pattern of callables matches.
    pub fn queues_matching<'a>(&'a self, pattern: &'a str) -> impl Iterator<Item = QueueKey> + 'a {
        matching(&self.queues, pattern).copied()
    }
}

/// The values whose callables a pattern matches.
fn matching<'a, T>(names: &'a Names<T>, pattern: &'a str) -> impl Iterator<Item = &'a T> {
    let prefix = prefix_of(pattern);
    let exact = names.get(pattern).filter(|_| prefix.is_none());
    let under = prefix.map(|prefix| {
        let from = names.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        from.take_while(move |(callable, _)| callable.starts_with(prefix))
    });
    let under = under.into_iter().flatten().map(|(_, value)| value);
    exact.into_iter().chain(under)
}

impl Queue {
    fn is_idle(&self) -> bool {
        let queued = self.ready.len() as u64 + self.pending + self.retrying + self.held;
        let running = self.running + self.suspended + self.ending;
        queued + running == 0 && self.max_running.is_none()
    }

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
            suspended: self.suspended,
            held: self.held,
            ending: self.ending,
        }
    }
}

/// All tenants and queues of the shard.
#[derive(Debug, Default)]
pub struct Tenants {
    all: BTreeMap<TenantKey, Tenant>,
    queues: BTreeMap<QueueKey, Queue>,
    by_name: BTreeMap<Arc<str>, TenantKey>,
    // The queues of all tenants, so that an offer finds those that it covers.
    by_callable: Names<BTreeSet<QueueKey>>,
    next_tenant: TenantKey,
    next_queue: QueueKey,
    // Queues that lost their last execution, and tenants that lost their limit, oldest first.
    idle: VecDeque<(TenantKey, Option<QueueKey>)>,
}

/// A key that is not in use. Keys are used in turn, so that an old key does not come back soon.
fn unused<T>(next: &mut u32, used: &BTreeMap<u32, T>) -> u32 {
    while used.contains_key(next) {
        *next = next.wrapping_add(1);
    }
    let key = *next;
    *next = next.wrapping_add(1);
    key
}

impl Tenants {
    /// A tenant by its key.
    #[must_use]
    pub fn tenant(&self, key: TenantKey) -> &Tenant {
        &self.all[&key]
    }

    /// A queue by its key.
    #[must_use]
    pub fn queue(&self, key: QueueKey) -> &Queue {
        &self.queues[&key]
    }

    /// Every queue in memory.
    pub fn queues(&self) -> impl Iterator<Item = (QueueKey, &Queue)> {
        self.queues.iter().map(|(key, queue)| (*key, queue))
    }

    /// Every tenant in memory.
    pub fn all(&self) -> impl Iterator<Item = (TenantKey, &Tenant)> {
        self.all.iter().map(|(key, tenant)| (*key, tenant))
    }

    /// The queues of all tenants that a pattern of callables matches.
    pub fn queues_matching<'a>(&'a self, pattern: &'a str) -> impl Iterator<Item = QueueKey> + 'a {
        matching(&self.by_callable, pattern).flatten().copied()
    }

    /// The tenant with this name, if it is in memory.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<TenantKey> {
        self.by_name.get(name).copied()
    }

    /// The queue of a tenant's callable, if it is in memory.
    #[must_use]
    pub fn queue_named(&self, tenant: TenantKey, callable: &str) -> Option<QueueKey> {
        self.tenant(tenant).queues.get(callable).copied()
    }

    /// The queues of a tenant, sorted by callable.
    pub fn queues_of(&self, tenant: TenantKey) -> impl Iterator<Item = QueueKey> + '_ {
        self.tenant(tenant).queues.values().copied()
    }

    pub(super) fn tenant_mut(&mut self, key: TenantKey) -> &mut Tenant {
        self.all.get_mut(&key).expect("a tenant in memory")
    }

    pub(super) fn queue_mut(&mut self, key: QueueKey) -> &mut Queue {
        self.queues.get_mut(&key).expect("a queue in memory")
    }

    pub(super) fn intern(&mut self, name: &Arc<str>) -> TenantKey {
        if let Some(key) = self.by_name.get(name) {
            return *key;
        }
        let key = unused(&mut self.next_tenant, &self.all);
        self.by_name.insert(name.clone(), key);
        let tenant = Tenant {
            name: name.clone(),
            living: BTreeSet::new(),
            running: 0,
            max_running: None,
            queues: BTreeMap::new(),
        };
        self.all.insert(key, tenant);
        key
    }

    pub(super) fn intern_queue(&mut self, tenant: TenantKey, callable: &Arc<str>) -> QueueKey {
        if let Some(key) = self.tenant(tenant).queues.get(callable) {
            return *key;
        }
        let key = unused(&mut self.next_queue, &self.queues);
        self.tenant_mut(tenant).queues.insert(callable.clone(), key);
        let named = self.by_callable.entry(callable.clone()).or_default();
        named.insert(key);
        let queue = Queue {
            tenant,
            callable: callable.clone(),
            ready: BTreeSet::new(),
            max_running: None,
            pending: 0,
            retrying: 0,
            running: 0,
            suspended: 0,
            held: 0,
            ending: 0,
            is_in_line: false,
        };
        self.queues.insert(key, queue);
        key
    }

    /// Notes that a queue may have lost its last execution or its limit.
    pub(super) fn may_be_idle(&mut self, key: QueueKey) {
        let queue = self.queue_mut(key);
        if queue.is_idle() && !std::mem::replace(&mut queue.is_in_line, true) {
            let tenant = queue.tenant;
            self.idle.push_back((tenant, Some(key)));
        }
    }

    /// Notes that a tenant without queues may have lost its limit.
    pub(super) fn tenant_may_be_idle(&mut self, key: TenantKey) {
        if self.tenant(key).queues.is_empty() {
            self.idle.push_back((key, None));
        }
    }

    /// Forgets the name that has been without executions for longest, while more than a thousand
    /// such names are in memory. Call it until nothing is gone.
    pub(super) fn forget_idle(&mut self) -> Option<Gone> {
        while self.idle.len() > IDLE_KEPT {
            let (tenant, queue) = self.idle.pop_front()?;
            let gone = Gone {
                queue: queue.filter(|queue| self.forget_queue(*queue)),
                tenant: Some(tenant).filter(|tenant| self.forget_tenant(*tenant)),
            };
            if gone.queue.is_some() || gone.tenant.is_some() {
                return Some(gone);
            }
        }
        None
    }

    fn forget_queue(&mut self, key: QueueKey) -> bool {
        let Some(queue) = self.queues.get_mut(&key) else {
            return false;
        };
        queue.is_in_line = false;
        if !queue.is_idle() {
            return false;
        }
        let (tenant, callable) = (queue.tenant, queue.callable.clone());
        self.queues.remove(&key);
        self.tenant_mut(tenant).queues.remove(&callable);
        if let Some(named) = self.by_callable.get_mut(&callable) {
            named.remove(&key);
            if named.is_empty() {
                self.by_callable.remove(&callable);
            }
        }
        true
    }

    fn forget_tenant(&mut self, key: TenantKey) -> bool {
        let idle = self
            .all
            .get(&key)
            .is_some_and(|tenant| tenant.queues.is_empty() && tenant.max_running.is_none());
        if idle && let Some(tenant) = self.all.remove(&key) {
            self.by_name.remove(&tenant.name);
        }
        idle
    }

    /// Notes that an execution enters a phase.
    pub(super) fn enter(&mut self, key: QueueKey, phase: Phase, rank: Rank) {
        let queue = self.queue_mut(key);
        match phase {
            Phase::Pending | Phase::Blocked => queue.pending += 1,
            Phase::Retrying => queue.retrying += 1,
            Phase::Suspended => queue.suspended += 1,
            Phase::Held => queue.held += 1,
            Phase::Ending => queue.ending += 1,
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
            Phase::Pending | Phase::Blocked => queue.pending -= 1,
            Phase::Retrying => queue.retrying -= 1,
            Phase::Suspended => queue.suspended -= 1,
            Phase::Held => queue.held -= 1,
            Phase::Ending => queue.ending -= 1,
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

    fn queue_of(tenants: &mut Tenants, tenant: &str, callable: &str) -> QueueKey {
        let tenant = tenants.intern(&tenant.into());
        tenants.intern_queue(tenant, &callable.into())
    }

    #[test]
    fn a_pattern_finds_the_queues_of_all_tenants_or_of_one() {
        let mut tenants = Tenants::default();
        let sent = queue_of(&mut tenants, "acme", "mail.send");
        let others = queue_of(&mut tenants, "other", "mail.send");
        queue_of(&mut tenants, "acme", "mailbox");
        let found = |pattern| tenants.queues_matching(pattern).collect::<Vec<_>>();
        assert_eq!(vec![sent, others], found("mail.*"));
        assert_eq!(vec![sent, others], found("mail.send"));
        assert_eq!(3, found("*").len());
        assert_eq!(Vec::<QueueKey>::new(), found("mail*"));
        let acme = tenants.tenant(tenants.queue(sent).tenant);
        assert_eq!(
            vec![sent],
            acme.queues_matching("mail.*").collect::<Vec<_>>()
        );
    }

    #[test]
    fn names_without_executions_are_forgotten_except_the_newest() {
        let mut tenants = Tenants::default();
        for number in 0..5_000 {
            let name = format!("t{number}");
            let key = queue_of(&mut tenants, &name, &name);
            tenants.may_be_idle(key);
            while tenants.forget_idle().is_some() {}
        }
        assert_eq!(IDLE_KEPT, tenants.queues().count());
        assert_eq!(IDLE_KEPT, tenants.all().count());
        assert_eq!(IDLE_KEPT, tenants.queues_matching("*").count());
        assert_eq!(None, tenants.by_name("t0"));
    }

    #[test]
    fn a_name_with_a_limit_or_an_execution_is_not_forgotten() {
        let mut tenants = Tenants::default();
        let limited = queue_of(&mut tenants, "a", "limited");
        tenants.queue_mut(limited).max_running = Some(1);
        let busy = queue_of(&mut tenants, "b", "busy");
        tenants.may_be_idle(busy);
        tenants.enter(busy, Phase::Pending, Rank::of(0, 1));
        tenants.may_be_idle(limited);
        for number in 0..3_000 {
            let key = queue_of(&mut tenants, "c", &number.to_string());
            tenants.may_be_idle(key);
            while tenants.forget_idle().is_some() {}
        }
        assert_eq!("limited", &*tenants.queue(limited).callable);
        assert_eq!("busy", &*tenants.queue(busy).callable);
        assert!(tenants.by_name("b").is_some());
    }

    #[test]
    fn higher_priority_then_earlier_birth_ranks_first() {
        assert!(Rank::of(90, 7) < Rank::of(10, 3));
        assert!(Rank::of(50, 3) < Rank::of(50, 7));
        assert_eq!(7, Rank::of(0, 7).birth());
        assert_eq!(7, Rank::of(255, 7).birth());
    }
}
