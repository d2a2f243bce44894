//! Lease: chooses the best admissible execution for a worker.
//!
//! Owns the choice between executions. Refuses to know which workers wait for executions: the
//! runtime does.

use std::collections::BTreeSet;

use crate::command::{OfferKey, Taker};
use crate::engine::{Decision, Engine};
use crate::error::Refusal;
use crate::fact::{Actor, ExecutionChange, FactKind, Holding};
use crate::reply::Granted;
use crate::rules::id::{Birth, LeaseToken};
use crate::state::{Rank, TenantKey};
use crate::time::Now;

use super::admission::{blocker, worker_blocker};

/// The best execution for a worker, and the number of executions that were looked at for it.
#[derive(Debug, Default)]
struct Choice {
    best: Option<Rank>,
    examined: usize,
}

impl Engine {
    /// Whether a worker with this offer might get an execution now.
    #[must_use]
    pub fn has_work(&self, offer: OfferKey) -> bool {
        self.offers_with_work().contains(&offer)
    }

    /// The offers whose workers might get an execution now.
    #[must_use]
    pub const fn offers_with_work(&self) -> &BTreeSet<OfferKey> {
        self.soft.offers.with_work()
    }

    /// Leases the best execution that is admissible for a worker: of the tenant that is furthest
    /// behind its share, the execution of highest priority, and of those the oldest. `random` makes
    /// the lease token unguessable.
    pub fn lease(&mut self, taker: &Taker, random: u64, now: Now) -> Option<Granted> {
        loop {
            let Choice { best, examined } = self.pick(taker, now);
            self.most_examined = self.most_examined.max(examined);
            let birth = best?.birth();
            if self.catch_up(birth, now) {
                continue;
            }
            // Nothing else is taken in its place: it is the best, and the worker gets it as soon as
            // it has a free slot.
            if taker.prefetches && !self.may_wait(birth) {
                return None;
            }
            if let Ok(granted) = self.grant(birth, taker, random, now) {
                return Some(granted);
            }
        }
    }

    /// The largest number of executions that one choice for a lease looked at since the last call
    /// of this method. It is at most one for each queue, and [`MAX_PAUSES`] that are withheld from
    /// the worker.
    ///
    /// [`MAX_PAUSES`]: crate::rules::limits::MAX_PAUSES
    pub const fn take_most_examined(&mut self) -> usize {
        std::mem::replace(&mut self.most_examined, 0)
    }

    fn pick(&self, taker: &Taker, now: Now) -> Choice {
        let mut choice = Choice::default();
        if worker_blocker(&self.soft, &taker.worker).is_some() {
            return choice;
        }
        for tenant in self.soft.offers.tenants_by_pass(taker.offer) {
            self.choose_of(tenant, taker, now, &mut choice);
            if choice.best.is_some() {
                break;
            }
        }
        choice
    }

    /// Chooses the best of a tenant's executions for a worker. The heads of the tenant's queues
    /// come best first. Where a head is withheld from this worker, the next execution of that queue
    /// has to be compared with the later heads.
    fn choose_of(&self, tenant: TenantKey, taker: &Taker, now: Now, choice: &mut Choice) {
        let free = |rank: &Rank| {
            let worker = Some(&*taker.worker);
            blocker(&self.state, &self.soft, rank.birth(), worker, now).is_none()
        };
        for (head, queue) in self.soft.offers.heads(taker.offer, tenant) {
            if choice.best.is_some_and(|best| best < head) {
                break;
            }
            let ready = self.state.tenants().queue(queue).ready.iter().copied();
            let first = ready.inspect(|_| choice.examined += 1).find(free);
            choice.best = choice.best.into_iter().chain(first).min();
        }
    }

    /// Whether an execution may be leased to a worker that begins the attempt later. An execution
    /// that may be lost only once is not exposed to a loss for nothing, and one under a limit would
    /// keep others from running meanwhile.
    fn may_wait(&self, birth: Birth) -> bool {
        self.state.slot(birth).is_some_and(|slot| {
            let tenants = self.state.tenants();
            let queue = tenants.queue(slot.queue);
            let limits = [queue.max_running, tenants.tenant(queue.tenant).max_running];
            limits == [None, None] && self.state.policy(slot).max_worker_losses > 1
        })
    }

    fn grant(
        &mut self,
        birth: Birth,
        taker: &Taker,
        random: u64,
        now: Now,
    ) -> Result<Granted, Refusal> {
        let token = LeaseToken {
            shard: self.state.shard(),
            epoch: self.epoch,
            counter: self.next_counter,
            random,
        };
        self.next_counter += 1;
        let holding = Holding {
            token,
            worker: taker.worker.clone(),
            principal: taker.principal.clone(),
            duration_ms: taker.duration_ms,
        };
        let run = self.state.run(birth);
        let continues = run.is_some_and(|run| run.left_ms.is_some());
        let before = self.state.slot(birth).map_or(0, |slot| slot.attempt);
        let attempt = before + u32::from(!continues);
        let change = ExecutionChange::Leased {
            holding: holding.clone(),
            attempt,
        };
        let kind = FactKind::execution(birth, change);
        self.commit(Decision::of(Actor::holder(), kind), now)?;
        self.soft.leased(&self.state, birth, taker, now);
        let slot = self.state.slot(birth);
        let timeout_ms = self.state.attempt_ms(birth);
        Ok(Granted {
            birth,
            attempt,
            expires_at_ms: now.wall_ms.saturating_add(holding.duration_ms),
            attempt_deadline_ms: now.wall_ms.saturating_add(timeout_ms),
            holding,
            timeout_ms,
            payload_bytes: slot.map_or(0, |slot| slot.payload_bytes),
            is_prefetched: taker.prefetches,
        })
    }
}
