//! Explain: why an execution waits, with values.
//!
//! Owns the values of each reason. Refuses to decide which reasons hold: admission does, for
//! dispatch and for this. What stands between a ready execution and a worker is in `ready`.

mod ready;

use crate::decide::admission::{Blocker, blockers};
use crate::engine::Engine;
use crate::fact::{Entity, Wait, WaitEnd};
use crate::reason::{
    Awaited, Bounded, Explanation, LimitReached, MOST_HOLDERS, MOST_NAMED, Offering, Reason,
    Running,
};
use crate::rules::id::{Birth, ExecutionId};
use crate::soft::Hold;
use crate::state::{Queue, Slot};
use crate::time::Now;

impl Engine {
    /// Why an execution waits: the most decisive reason first. `takers` are the workers that offer
    /// callables now. `None` if no unfinished execution has this birth number.
    ///
    /// The time does not depend on the number of queued executions: at most a thousand are counted.
    /// It grows with the live leases where a limit is reached or a worker is sought.
    #[must_use]
    pub fn explain(&self, birth: Birth, takers: &[Offering], now: Now) -> Option<Explanation> {
        let slot = self.state.slot(birth)?;
        let queue = self.state.tenants().queue(slot.queue);
        let held_back = blockers(&self.state, &self.soft, birth, None, now);
        let mut reasons: Vec<_> = held_back
            .filter_map(|blocker| self.reason(birth, slot, blocker))
            .collect();
        let mut start = None;
        if reasons.is_empty() {
            (reasons, start) = self.explain_ready(birth, slot, takers, now);
        }
        Some(Explanation {
            tenant: self.state.tenant_name(slot).clone(),
            callable: queue.callable.clone(),
            status: slot.phase.status(),
            version: slot.version,
            reasons,
            start,
        })
    }

    fn reason(&self, birth: Birth, slot: &Slot, blocker: Blocker) -> Option<Reason> {
        let queue = self.state.tenants().queue(slot.queue);
        Some(match blocker {
            Blocker::SetAside => Reason::SetAside {
                why: self.soft.set_aside_why(Entity::Execution(birth))?.into(),
            },
            Blocker::NotDue => Reason::NotDue {
                until_at_ms: self.state.extras(birth)?.not_before_ms?,
            },
            Blocker::AwaitsDependencies => self.dependencies(birth),
            Blocker::BackingOff => self.backing_off(birth)?,
            Blocker::AwaitsChildren => self.descendants(birth)?,
            Blocker::Leased => self.running(birth, slot)?,
            Blocker::Suspended => self.awaiting(birth),
            Blocker::Paused => {
                let run = self.state.run(birth)?;
                let pause = run.pause.as_deref().cloned();
                Reason::Paused { pause }
            }
            Blocker::TenantFull => self.tenant_limit(queue),
            Blocker::CallableFull => self.callable_limit(slot, queue),
            // The execution exists, and the others concern one worker: `ready` names them.
            Blocker::Gone | Blocker::WorkerReleasesAll | Blocker::PausedForWorker { .. } => {
                return None;
            }
        })
    }

    fn dependencies(&self, birth: Birth) -> Reason {
        let edges = self.state.edges();
        let owners = edges.waits_for(birth).iter().map(|gate| edges.owner(*gate));
        let unmet: Vec<_> = owners
            .filter_map(|owner| {
                let slot = self.state.slot(owner)?;
                Some((self.state.id(owner)?, slot.phase.status()))
            })
            .collect();
        Reason::AwaitsDependencies {
            count: unmet.len() as u64,
            unmet: unmet.into_iter().take(MOST_NAMED).collect(),
        }
    }

    fn backing_off(&self, birth: Birth) -> Option<Reason> {
        let extras = self.state.extras(birth)?;
        Some(Reason::BackingOff {
            until_at_ms: extras.backoff?.until_ms,
            attempt: extras.last_failed,
        })
    }

    fn descendants(&self, birth: Birth) -> Option<Reason> {
        let families = self.state.families();
        let named = families.descendants(birth, 0).take(MOST_NAMED);
        let verdict = self.state.extras(birth)?.verdict.clone()?;
        Some(Reason::AwaitsChildren {
            ended: verdict.ended,
            descendants: named.filter_map(|one| self.state.id(one)).collect(),
            count: Bounded::of(families.descendants(birth, 0)),
        })
    }

    fn running(&self, birth: Birth, slot: &Slot) -> Option<Reason> {
        let extras = self.state.extras(birth);
        Some(Reason::Running(Running {
            worker: self.state.holding(birth)?.worker.clone(),
            attempt: slot.attempt,
            since_at_ms: self.state.leased_at_ms(birth),
            cancel: extras.and_then(|extras| extras.cancel.clone()),
            pause_requested: self.state.is_paused(birth),
            waits_at_worker: self.soft.holds.get(birth).is_some_and(Hold::waits),
        }))
    }

    fn awaiting(&self, birth: Birth) -> Reason {
        let run = self.state.run(birth);
        let active = run.iter().flat_map(|run| run.active());
        Reason::Suspended {
            waits: active.map(|wait| self.awaited(wait)).collect(),
        }
    }

    fn awaited(&self, wait: &Wait) -> Awaited {
        Awaited {
            key: wait.key.clone(),
            until_at_ms: match wait.end {
                WaitEnd::Never => None,
                WaitEnd::At(at_ms) => Some(at_ms),
                WaitEnd::After(backoff) => Some(backoff.until_ms),
            },
            child: wait.child.and_then(|child| self.state.id(child)),
        }
    }

    fn tenant_limit(&self, queue: &Queue) -> Reason {
        let tenants = self.state.tenants();
        let tenant = tenants.tenant(queue.tenant);
        Reason::TenantLimit(LimitReached {
            limit: tenant.max_running.unwrap_or_default().into(),
            running: tenant.running,
            holders: self.holders(tenant.running, |slot| {
                tenants.queue(slot.queue).tenant == queue.tenant
            }),
        })
    }

    fn callable_limit(&self, slot: &Slot, queue: &Queue) -> Reason {
        Reason::CallableLimit(LimitReached {
            limit: queue.max_running.unwrap_or_default().into(),
            running: queue.counts().running,
            holders: self.holders(queue.counts().running, |other| other.queue == slot.queue),
        })
    }

    /// The oldest of so many running executions that count toward a limit. The look ends with the
    /// last of them.
    fn holders(&self, running: u64, counts: impl Fn(&Slot) -> bool) -> Vec<ExecutionId> {
        let most = usize::try_from(running).map_or(MOST_HOLDERS, |all| all.min(MOST_HOLDERS));
        let held = self.state.holdings().keys().copied();
        let own = held.filter(|birth| self.state.slot(*birth).is_some_and(&counts));
        own.filter_map(|birth| self.state.id(birth))
            .take(most)
            .collect()
    }
}
