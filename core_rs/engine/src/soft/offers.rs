//! Offers: the callables that workers can run, and the next execution for each distinct offer.
//!
//! Owns, for each offer, the tenants with admissible executions, ordered by their pass, and for
//! each of these tenants the queues, ordered by their best execution. Refuses to decide a lease. An
//! offer changes only when the head of a queue changes, or when a tenant or queue becomes
//! admissible or stops being so.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::command::{OfferKey, OfferSpec};
use crate::soft::Fair;
use crate::state::{QueueKey, Rank, TenantKey, Tenants};

// Unary calls come and go: an offer that was just used is likely to be used again.
const IDLE_KEPT: usize = 64;

type Heads = BTreeSet<(Rank, QueueKey)>;

#[derive(Debug)]
struct Offer {
    spec: OfferSpec,
    uses: usize,
    heads: BTreeMap<TenantKey, Heads>,
    by_pass: BTreeSet<(u64, TenantKey)>,
}

#[derive(Debug, Default)]
struct Published {
    head: Option<Rank>,
    offers: Vec<OfferKey>,
}

#[derive(Debug, Default)]
struct TenantView {
    // The pass under which the offers list the tenant; `None` while the tenant has no admissible
    // execution.
    listed: Option<u64>,
    admissible_queues: usize,
    offers: BTreeSet<OfferKey>,
}

/// Every distinct offer.
#[derive(Debug, Default)]
pub struct Offers {
    by_key: BTreeMap<OfferKey, Offer>,
    by_spec: BTreeMap<OfferSpec, OfferKey>,
    idle: VecDeque<OfferKey>,
    next_key: OfferKey,
    queues: Vec<Published>,
    tenants: Vec<TenantView>,
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
        self.by_spec.insert(spec.clone(), key);
        let (heads, by_pass) = (BTreeMap::new(), BTreeSet::new());
        self.by_key.insert(
            key,
            Offer {
                spec,
                uses: 1,
                heads,
                by_pass,
            },
        );
        for queue in 0..self.queues.len() {
            let queue = QueueKey::try_from(queue).unwrap_or(QueueKey::MAX);
            let tenant = tenants.queue(queue).tenant;
            if self.join(key, queue, tenants) {
                let head = self.queues[queue as usize].head;
                self.move_head(key, tenant, queue, None, head);
            }
        }
    }

    /// Ends a use of an offer. Offers without a use are kept for a while.
    pub fn release(&mut self, key: OfferKey) {
        let Some(offer) = self.by_key.get_mut(&key) else {
            return;
        };
        offer.uses = offer.uses.saturating_sub(1);
        if offer.uses == 0 {
            self.idle.push_back(key);
        }
        while self.idle.len() > IDLE_KEPT {
            if let Some(key) = self.idle.pop_front() {
                self.drop_idle(key);
            }
        }
    }

    fn drop_idle(&mut self, key: OfferKey) {
        if self.by_key.get(&key).is_none_or(|offer| offer.uses > 0) {
            return;
        }
        if let Some(offer) = self.by_key.remove(&key) {
            self.by_spec.remove(&offer.spec);
            self.queues
                .iter_mut()
                .for_each(|queue| queue.offers.retain(|one| *one != key));
            self.tenants.iter_mut().for_each(|tenant| {
                tenant.offers.remove(&key);
            });
        }
    }

    /// Whether an execution could be leased under an offer, apart from pauses.
    #[must_use]
    pub fn has_work(&self, key: OfferKey) -> bool {
        self.by_key
            .get(&key)
            .is_some_and(|offer| !offer.by_pass.is_empty())
    }

    /// The tenants with admissible executions under an offer, in the order in which they are
    /// served.
    pub fn tenants_by_pass(&self, key: OfferKey) -> impl Iterator<Item = TenantKey> + '_ {
        let offer = self.by_key.get(&key);
        offer
            .into_iter()
            .flat_map(|offer| offer.by_pass.iter().map(|(_, tenant)| *tenant))
    }

    /// The heads of a tenant's queues under an offer, best first.
    pub fn heads(
        &self,
        key: OfferKey,
        tenant: TenantKey,
    ) -> impl Iterator<Item = (Rank, QueueKey)> + '_ {
        let heads = self
            .by_key
            .get(&key)
            .and_then(|offer| offer.heads.get(&tenant));
        heads.into_iter().flatten().copied()
    }

    /// Updates the head and limits of a queue. Returns whether its tenant now has an admissible
    /// execution and had none before.
    pub fn publish(&mut self, tenants: &Tenants, key: QueueKey, fair: &Fair) -> bool {
        self.make_room(tenants);
        let queue = tenants.queue(key);
        let head = if queue.is_full() {
            None
        } else {
            queue.ready.first().copied()
        };
        let before = self.queues[key as usize].head;
        if head != before {
            self.queues[key as usize].head = head;
            let view = &mut self.tenants[queue.tenant as usize];
            view.admissible_queues += usize::from(head.is_some());
            view.admissible_queues -= usize::from(before.is_some());
            for offer in self.queues[key as usize].offers.clone() {
                self.move_head(offer, queue.tenant, key, before, head);
            }
        }
        self.list_tenant(tenants, queue.tenant, fair)
    }

    fn make_room(&mut self, tenants: &Tenants) {
        while self.tenants.len() < tenants.len() {
            self.tenants.push(TenantView::default());
        }
        while self.queues.len() < tenants.queues_len() {
            let key = QueueKey::try_from(self.queues.len()).unwrap_or(QueueKey::MAX);
            self.queues.push(Published::default());
            for offer in self.by_key.keys().copied().collect::<Vec<_>>() {
                self.join(offer, key, tenants);
            }
        }
    }

    /// Adds a queue to an offer, if the offer covers it. Wildcards and tenant scopes are resolved
    /// here, once for each queue and offer.
    fn join(&mut self, offer: OfferKey, key: QueueKey, tenants: &Tenants) -> bool {
        let queue = tenants.queue(key);
        let tenant = &tenants.tenant(queue.tenant).name;
        let spec = self.by_key.get(&offer).map(|offer| &offer.spec);
        let joins = spec.is_some_and(|spec| spec.matches(tenant, &queue.callable));
        if joins {
            self.queues[key as usize].offers.push(offer);
        }
        joins
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
        let view = &mut self.tenants[tenant as usize];
        if heads.is_empty() {
            offer.heads.remove(&tenant);
            view.offers.remove(&key);
            view.listed
                .map(|pass| offer.by_pass.remove(&(pass, tenant)));
        } else if view.offers.insert(key) {
            view.listed.map(|pass| offer.by_pass.insert((pass, tenant)));
        }
    }

    /// Lists a tenant while it has an admissible execution and is below its own limit.
    fn list_tenant(&mut self, tenants: &Tenants, key: TenantKey, fair: &Fair) -> bool {
        let view = &self.tenants[key as usize];
        let admissible = view.admissible_queues > 0 && !tenants.tenant(key).is_full();
        match (view.listed, admissible) {
            (None, true) => self.relist(key, Some(fair.pass(key))),
            (Some(_), false) => self.relist(key, None),
            _ => return false,
        }
        admissible
    }

    /// Follows a change of a tenant's pass.
    pub fn pass_changed(&mut self, key: TenantKey, fair: &Fair) {
        let listed = self.tenants.get(key as usize).and_then(|view| view.listed);
        if listed.is_some_and(|pass| pass != fair.pass(key)) {
            self.relist(key, Some(fair.pass(key)));
        }
    }

    fn relist(&mut self, key: TenantKey, pass: Option<u64>) {
        let view = &mut self.tenants[key as usize];
        let before = std::mem::replace(&mut view.listed, pass);
        for offer in &view.offers {
            let Some(offer) = self.by_key.get_mut(offer) else {
                continue;
            };
            if let Some(pass) = before {
                offer.by_pass.remove(&(pass, key));
            }
            if let Some(pass) = pass {
                offer.by_pass.insert((pass, key));
            }
        }
    }
}
