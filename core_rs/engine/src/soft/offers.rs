//! Offers: the callables that workers can run, and the next execution for each distinct offer.
//!
//! Owns, for each offer, the tenants with admissible executions, in the order in which they are
//! served, and for each of these tenants the queues, ordered by their best execution. Refuses to
//! decide a lease. An offer changes only when the head of a queue changes, or when a tenant or
//! queue becomes admissible or stops being so.

mod index;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::command::{OfferKey, OfferSpec};
use crate::soft::fair::Shares;
use crate::state::{QueueKey, Rank, TenantKey, Tenants};

use index::{PatternIndex, covered};

// Unary calls come and go: an offer that was just used is likely to be used again.
const IDLE_KEPT: usize = 64;

type Heads = BTreeSet<(Rank, QueueKey)>;

#[derive(Debug)]
struct Offer {
    spec: OfferSpec,
    uses: usize,
    // Whether the offer is in the line of offers without a use.
    is_idle: bool,
    heads: BTreeMap<TenantKey, Heads>,
    shares: Shares,
}

#[derive(Debug, Default)]
struct Published {
    head: Option<Rank>,
    offers: Vec<OfferKey>,
}

#[derive(Debug, Default)]
struct TenantView {
    // Whether the tenant has an admissible execution and is below its own limit.
    is_listed: bool,
    admissible_queues: usize,
    // Those under which one of its executions may be leased.
    offers: BTreeSet<OfferKey>,
    // Those that keep a pass of the tenant.
    sharing: BTreeSet<OfferKey>,
}

/// Every distinct offer.
#[derive(Debug, Default)]
pub struct Offers {
    by_key: BTreeMap<OfferKey, Offer>,
    by_spec: BTreeMap<OfferSpec, OfferKey>,
    patterns: PatternIndex,
    idle: VecDeque<OfferKey>,
    next_key: OfferKey,
    queues: BTreeMap<QueueKey, Published>,
    tenants: BTreeMap<TenantKey, TenantView>,
    with_work: BTreeSet<OfferKey>,
}

impl Offers {
    /// Registers a use of an offer, and adds the offer if it is new.
    pub fn acquire(&mut self, spec: OfferSpec, tenants: &Tenants) -> OfferKey {
        if let Some(key) = self.by_spec.get(&spec).copied() {
            if let Some(offer) = self.by_key.get_mut(&key) {
                offer.uses += 1;
            }
            return key;
        }
        self.next_key += 1;
        self.build(self.next_key, spec, tenants);
        self.next_key
    }

    fn build(&mut self, key: OfferKey, spec: OfferSpec, tenants: &Tenants) {
        let queues = covered(&spec, tenants);
        self.patterns.add(key, &spec);
        self.by_spec.insert(spec.clone(), key);
        self.by_key.insert(
            key,
            Offer {
                spec,
                uses: 1,
                is_idle: false,
                heads: BTreeMap::new(),
                shares: Shares::default(),
            },
        );
        for queue in queues {
            // A queue that was not published yet joins its offers when it is.
            let Some(published) = self.queues.get_mut(&queue) else {
                continue;
            };
            published.offers.push(key);
            let head = published.head;
            self.move_head(key, tenants.queue(queue).tenant, queue, None, head);
        }
    }

    /// Ends a use of an offer. Offers without a use are kept for a while.
    pub fn release(&mut self, key: OfferKey, tenants: &Tenants) {
        let Some(offer) = self.by_key.get_mut(&key) else {
            return;
        };
        offer.uses = offer.uses.saturating_sub(1);
        if offer.uses == 0 && !std::mem::replace(&mut offer.is_idle, true) {
            self.idle.push_back(key);
        }
        while self.idle.len() > IDLE_KEPT {
            if let Some(key) = self.idle.pop_front() {
                self.drop_idle(key, tenants);
            }
        }
    }

    fn drop_idle(&mut self, key: OfferKey, tenants: &Tenants) {
        let Some(offer) = self.by_key.get_mut(&key) else {
            return;
        };
        offer.is_idle = false;
        if offer.uses > 0 {
            return;
        }
        if let Some(offer) = self.by_key.remove(&key) {
            self.with_work.remove(&key);
            self.by_spec.remove(&offer.spec);
            self.patterns.remove(key, &offer.spec);
            for queue in covered(&offer.spec, tenants) {
                if let Some(published) = self.queues.get_mut(&queue) {
                    published.offers.retain(|one| *one != key);
                }
            }
            for tenant in offer.heads.keys().copied().chain(offer.shares.tenants()) {
                if let Some(view) = self.tenants.get_mut(&tenant) {
                    view.offers.remove(&key);
                    view.sharing.remove(&key);
                }
            }
        }
    }

    /// An offer that nobody uses now; `None` if somebody does, or if it is gone.
    #[must_use]
    pub fn unused(&self, key: OfferKey) -> Option<&OfferSpec> {
        let offer = self.by_key.get(&key).filter(|offer| offer.uses == 0)?;
        Some(&offer.spec)
    }

    /// Whether an offer covers a queue.
    #[must_use]
    pub fn covers(&self, key: OfferKey, queue: QueueKey) -> bool {
        let published = self.queues.get(&queue);
        published.is_some_and(|published| published.offers.contains(&key))
    }

    /// The offers under which an execution could be leased, apart from pauses.
    #[must_use]
    pub const fn with_work(&self) -> &BTreeSet<OfferKey> {
        &self.with_work
    }

    /// The tenants with admissible executions under an offer, in the order in which they are
    /// served.
    pub fn tenants_by_pass(&self, key: OfferKey) -> impl Iterator<Item = TenantKey> + '_ {
        let offer = self.by_key.get(&key).into_iter();
        offer.flat_map(|offer| offer.shares.in_order())
    }

    /// The heads of a tenant's queues under an offer, best first.
    pub fn heads(
        &self,
        key: OfferKey,
        tenant: TenantKey,
    ) -> impl Iterator<Item = (Rank, QueueKey)> + '_ {
        let offer = self.by_key.get(&key);
        let heads = offer.and_then(|offer| offer.heads.get(&tenant));
        heads.into_iter().flatten().copied()
    }

    /// The shares of an offer's tenants; `None` once the offer is gone.
    #[must_use]
    pub fn shares(&self, key: OfferKey) -> Option<&Shares> {
        self.by_key.get(&key).map(|offer| &offer.shares)
    }

    /// The shares of an offer's tenants, for charging them.
    pub fn shares_mut(&mut self, key: OfferKey) -> Option<&mut Shares> {
        self.by_key.get_mut(&key).map(|offer| &mut offer.shares)
    }

    /// Updates the head and limits of a queue.
    pub fn publish(&mut self, tenants: &Tenants, key: QueueKey) {
        let queue = tenants.queue(key);
        let head = if queue.is_full() {
            None
        } else {
            queue.ready.first().copied()
        };
        let patterns = &self.patterns;
        let published = self.queues.entry(key).or_insert_with(|| {
            let tenant = &tenants.tenant(queue.tenant).name;
            let covering = patterns.covering(&queue.callable);
            let by_key = &self.by_key;
            let joins = |offer: &OfferKey| {
                let offer = by_key.get(offer);
                offer.is_some_and(|offer| offer.spec.tenants.includes(tenant))
            };
            Published {
                head: None,
                offers: covering.into_iter().filter(joins).collect(),
            }
        });
        let before = std::mem::replace(&mut published.head, head);
        if head != before {
            let offers = published.offers.clone();
            let view = self.tenants.entry(queue.tenant).or_default();
            view.admissible_queues += usize::from(head.is_some());
            view.admissible_queues -= usize::from(before.is_some());
            for offer in offers {
                self.move_head(offer, queue.tenant, key, before, head);
            }
        }
        self.list_tenant(tenants, queue.tenant);
    }

    fn move_head(
        &mut self,
        key: OfferKey,
        tenant: TenantKey,
        queue: QueueKey,
        before: Option<Rank>,
        after: Option<Rank>,
    ) {
        let Some(offer) = self.by_key.get_mut(&key) else {
            return;
        };
        let heads = offer.heads.entry(tenant).or_default();
        if let Some(rank) = before {
            heads.remove(&(rank, queue));
        }
        if let Some(rank) = after {
            heads.insert((rank, queue));
        }
        let is_empty = heads.is_empty();
        let view = self.tenants.entry(tenant).or_default();
        if is_empty {
            offer.heads.remove(&tenant);
            view.offers.remove(&key);
            for past in offer.shares.leave(tenant) {
                unshare(&mut self.tenants, key, past);
            }
        } else if view.offers.insert(key) && view.is_listed {
            offer.shares.enter(tenant);
            view.sharing.insert(key);
        }
        mark(&mut self.with_work, key, offer);
    }

    /// Lists a tenant while it has an admissible execution and is below its own limit.
    fn list_tenant(&mut self, tenants: &Tenants, key: TenantKey) {
        let view = self.tenants.entry(key).or_default();
        let is_listed = view.admissible_queues > 0 && !tenants.tenant(key).is_full();
        if std::mem::replace(&mut view.is_listed, is_listed) == is_listed {
            return;
        }
        let mut past = Vec::new();
        for offer_key in &view.offers {
            let Some(offer) = self.by_key.get_mut(offer_key) else {
                continue;
            };
            if is_listed {
                offer.shares.enter(key);
                view.sharing.insert(*offer_key);
            } else {
                let left = offer.shares.leave(key);
                past.extend(left.into_iter().map(|tenant| (*offer_key, tenant)));
            }
            mark(&mut self.with_work, *offer_key, offer);
        }
        for (offer, tenant) in past {
            unshare(&mut self.tenants, offer, tenant);
        }
    }

    /// Forgets a queue that no longer exists. It was empty.
    pub fn forget_queue(&mut self, key: QueueKey) {
        self.queues.remove(&key);
    }

    /// Forgets a tenant that no longer exists. It had no executions.
    pub fn forget_tenant(&mut self, key: TenantKey) {
        let Some(view) = self.tenants.remove(&key) else {
            return;
        };
        for offer in view.sharing {
            if let Some(offer) = self.by_key.get_mut(&offer) {
                offer.shares.forget(key);
            }
        }
    }
}

/// Notes that an offer no longer keeps the pass of a tenant.
fn unshare(views: &mut BTreeMap<TenantKey, TenantView>, offer: OfferKey, tenant: TenantKey) {
    if let Some(view) = views.get_mut(&tenant) {
        view.sharing.remove(&offer);
    }
}

/// Notes whether an offer has work.
fn mark(with_work: &mut BTreeSet<OfferKey>, key: OfferKey, offer: &Offer) {
    if offer.shares.is_empty() {
        with_work.remove(&key);
    } else {
        with_work.insert(key);
    }
}

#[cfg(test)]
mod tests;
