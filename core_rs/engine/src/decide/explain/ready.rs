//! Explain, for an execution that is ready: the workers that could take it, and what is before it.
//!
//! Owns the count of workers, slots and executions, and the estimate of the start. Refuses to know
//! how workers are connected: the runtime names those that offer callables now.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::command::{OfferKey, StreamKey};
use crate::decide::admission::{Blocker, blocker};
use crate::engine::Engine;
use crate::reason::{Bounded, MOST_COUNTED, Offering, Reason, Start};
use crate::rules::id::Birth;
use crate::soft::Hold;
use crate::state::{QueueKey, Rank, Slot, TenantKey};
use crate::time::Now;

/// Most distinct offers in whose order an execution is sought.
const MOST_OFFERS: usize = 8;

/// The workers that could take one execution.
#[derive(Debug, Default)]
struct Pool<'a> {
    /// Those that may have the execution, each with its offer.
    able: Vec<(&'a Arc<str>, OfferKey)>,
    /// Those of them that have a free slot.
    ready: Vec<(&'a Arc<str>, OfferKey)>,
    /// One from which the execution is withheld for now.
    withheld: Option<(&'a Arc<str>, Blocker)>,
    workers: BTreeSet<&'a Arc<str>>,
    free: u64,
    held: u64,
}

/// What is served before one execution, under one offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// Executions of the same tenant, and other tenants.
    ahead: usize,
    turn: usize,
    offer: OfferKey,
}

impl Engine {
    /// The reasons why no worker has a ready execution yet, and when an attempt probably starts.
    pub(super) fn explain_ready(
        &self,
        birth: Birth,
        slot: &Slot,
        takers: &[Offering],
        now: Now,
    ) -> (Vec<Reason>, Option<Start>) {
        let pool = self.pool(birth, slot, takers, now);
        let mut reasons = Vec::new();
        if pool.workers.is_empty() && pool.withheld.is_none() {
            reasons.push(self.no_worker(slot));
            let ahead = self.ahead_in_queue(birth, slot);
            reasons.extend((ahead.count > 0).then_some(Reason::Ahead(ahead)));
            return (reasons, None);
        }
        if pool.free == 0 {
            let withheld = pool.withheld;
            reasons.extend(withheld.map(|(worker, why)| withheld_from(worker, why, now)));
        }
        if pool.free == 0 && !pool.workers.is_empty() {
            reasons.push(Reason::SlotsTaken {
                workers: pool.workers.len() as u64,
                held: pool.held,
            });
        }
        let place = self.place(birth, slot, &pool, now);
        if let Some(Place { ahead, turn, .. }) = place {
            let counted = |count: usize| (count > 0).then(|| Bounded::from_count(count));
            reasons.extend(counted(ahead).map(Reason::Ahead));
            reasons.extend(counted(turn).map(Reason::Turn));
        }
        let start = place.and_then(|place| self.estimate(slot, &pool, place, reasons.is_empty()));
        (reasons, start)
    }

    fn no_worker(&self, slot: &Slot) -> Reason {
        let callable = &self.state.tenants().queue(slot.queue).callable;
        let tenant = self.state.tenant_name(slot);
        Reason::NoWorker {
            last_at_ms: self.soft.seen.last(tenant, callable),
        }
    }

    fn ahead_in_queue(&self, birth: Birth, slot: &Slot) -> Bounded {
        let ready = &self.state.tenants().queue(slot.queue).ready;
        Bounded::of(ready.range(..Rank::of(slot.priority, birth)))
    }

    fn pool<'a>(&'a self, birth: Birth, slot: &Slot, takers: &'a [Offering], now: Now) -> Pool<'a> {
        let mut pool = Pool::default();
        let mut counted = BTreeSet::new();
        let covering = |taker: &&Offering| self.soft.offers.covers(taker.offer, slot.queue);
        for taker in takers.iter().filter(covering) {
            let why = blocker(&self.state, &self.soft, birth, Some(&*taker.worker), now);
            if let Some(why) = why {
                pool.withheld.get_or_insert((&taker.worker, why));
                continue;
            }
            pool.able.push((&taker.worker, taker.offer));
            if taker.free > 0 {
                pool.ready.push((&taker.worker, taker.offer));
            }
            pool.workers.insert(&taker.worker);
            pool.free = pool.free.saturating_add(taker.free);
            // Lanes with the same offer share what the stream holds under it.
            if let Some(stream) = taker.stream.filter(|it| counted.insert((*it, taker.offer))) {
                pool.held += self.held_on(stream, taker.offer);
            }
        }
        self.add_callers(birth, slot.queue, &mut pool, now);
        pool
    }

    fn held_on(&self, stream: StreamKey, offer: OfferKey) -> u64 {
        let births = self.soft.holds.of_stream(stream);
        let own = births.filter(|birth| {
            let hold = self.soft.holds.get(*birth);
            hold.is_some_and(|hold| !hold.waits() && self.is_under(*birth, hold, offer))
        });
        own.count() as u64
    }

    /// Whether a lease was taken under an offer. After a restart that is known by the callable.
    fn is_under(&self, birth: Birth, hold: &Hold, offer: OfferKey) -> bool {
        let queue = || self.state.slot(birth).map(|slot| slot.queue);
        let by_name = || queue().is_some_and(|queue| self.soft.offers.covers(offer, queue));
        hold.offer.map_or_else(by_name, |taken| taken == offer)
    }

    /// Adds the workers that hold leases of unary calls: they offer callables while they do not
    /// call.
    fn add_callers<'a>(&'a self, birth: Birth, queue: QueueKey, pool: &mut Pool<'a>, now: Now) {
        for (held, hold) in self.soft.holds.of_calls() {
            let offer = hold
                .offer
                .filter(|offer| self.soft.offers.covers(*offer, queue));
            let slot = self.state.slot(held);
            let holding = self.state.holding(held);
            let Some(worker) = holding.map(|holding| &holding.worker) else {
                continue;
            };
            if offer.is_none() && slot.is_none_or(|slot| slot.queue != queue) {
                continue;
            }
            if let Some(why) = blocker(&self.state, &self.soft, birth, Some(&**worker), now) {
                pool.withheld.get_or_insert((worker, why));
                continue;
            }
            pool.workers.insert(worker);
            pool.held += 1;
            pool.able.extend(offer.map(|offer| (worker, offer)));
        }
    }

    /// The best place of an execution among the offers of the workers that may have it: of those
    /// with a free slot, where there are any.
    fn place(&self, birth: Birth, slot: &Slot, pool: &Pool<'_>, now: Now) -> Option<Place> {
        let mut seen = BTreeSet::new();
        let able = if pool.ready.is_empty() {
            &pool.able
        } else {
            &pool.ready
        };
        let offers = able.iter().filter(|(_, offer)| seen.insert(*offer));
        let places = offers
            .take(MOST_OFFERS)
            .map(|(worker, offer)| self.place_under(birth, slot, (worker, *offer), now));
        places.min()
    }

    fn place_under(
        &self,
        birth: Birth,
        slot: &Slot,
        (worker, offer): (&str, OfferKey),
        now: Now,
    ) -> Place {
        let tenant = self.state.tenants().queue(slot.queue).tenant;
        let rank = Rank::of(slot.priority, birth);
        let before = self.soft.offers.tenants_by_pass(offer);
        let before = before.take_while(|other| *other != tenant);
        let served = before.filter(|other| self.has_free(offer, *other, worker, now));
        Place {
            ahead: self.free_before(offer, tenant, rank, worker, now),
            turn: served.take(MOST_COUNTED + 1).count(),
            offer,
        }
    }

    fn has_free(&self, offer: OfferKey, tenant: TenantKey, worker: &str, now: Now) -> bool {
        let heads = self.soft.offers.heads(offer, tenant);
        let mut ready = heads.flat_map(|(_, queue)| self.state.tenants().queue(queue).ready.iter());
        ready.any(|rank| self.is_free(*rank, worker, now))
    }

    /// The executions of a tenant that a worker gets before the one with this rank.
    fn free_before(
        &self,
        offer: OfferKey,
        tenant: TenantKey,
        rank: Rank,
        worker: &str,
        now: Now,
    ) -> usize {
        let heads = self.soft.offers.heads(offer, tenant);
        let better = heads.take_while(|(head, _)| *head < rank);
        let ready = better.flat_map(|(_, queue)| {
            let ready = &self.state.tenants().queue(queue).ready;
            ready.range(..rank)
        });
        let free = ready.filter(|rank| self.is_free(**rank, worker, now));
        free.take(MOST_COUNTED + 1).count()
    }

    fn is_free(&self, rank: Rank, worker: &str, now: Now) -> bool {
        blocker(&self.state, &self.soft, rank.birth(), Some(worker), now).is_none()
    }

    /// The range of the time until an attempt starts: how often all slots must become free first,
    /// times the time that executions of the callable take.
    fn estimate(&self, slot: &Slot, pool: &Pool<'_>, place: Place, is_next: bool) -> Option<Start> {
        if is_next {
            return Some(Start {
                earliest_ms: 0,
                latest_ms: Some(0),
            });
        }
        let slots = pool.free.saturating_add(pool.held);
        let each_ms = self.soft.estimates.known(slot.queue)?.div_ceil(1_000);
        let ahead = place.ahead as u64;
        // The slots that are free now are filled at once, and the others become free at any time.
        let rounds = ahead.saturating_sub(pool.free).checked_div(slots)?;
        let tenants = self.soft.offers.tenants_by_pass(place.offer);
        let sharing = tenants.take(MOST_COUNTED).count() as u64;
        let latest_ms = || {
            let rounds = (ahead / slots).saturating_add(1);
            rounds
                .saturating_mul(each_ms)
                .saturating_mul(sharing.max(1))
        };
        Some(Start {
            earliest_ms: rounds.saturating_mul(each_ms),
            latest_ms: (place.ahead <= MOST_COUNTED).then(latest_ms),
        })
    }
}

fn withheld_from(worker: &Arc<str>, why: Blocker, now: Now) -> Reason {
    let until_ms = match why {
        Blocker::PausedForWorker { until_ms } => Some(until_ms),
        _ => None,
    };
    let left = |until_ms: u64| until_ms.saturating_sub(now.mono_ms);
    Reason::Withheld {
        worker: worker.clone(),
        until_at_ms: until_ms.map(|until_ms| now.wall_ms.saturating_add(left(until_ms))),
    }
}
