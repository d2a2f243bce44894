//! Scenes: what happens in a run beside the random actions of its clients.
//!
//! Owns the situations that have to be built up for long before a fault can show. Refuses to judge:
//! the same checks hold in every scene.

use backlane_engine::command::OfferSpec;
use backlane_engine::fact::OutcomeKind;
use backlane_engine::rules::access::TenantScope;
use backlane_runtime::Principal;

use crate::api::v1::{self, work_request::Message as Up};
use crate::asked::Asked;
use crate::check::{Checked, LogCheck};
use crate::dice::Dice;
use crate::names::{QUICK, QUICK_TENANTS, SLOW, SLOW_TENANTS};
use crate::plan::{KEPT_BYTES, Plan, Scene};
use crate::requests::{result, simple};
use crate::workers::{Worker, worker};
use crate::world::World;

/// Leases that each quick worker holds, and each slow one.
const QUICK_CREDIT: usize = 3;
const SLOW_CREDIT: usize = 16;
/// Probability in a thousand that a slow worker completes an execution in a step.
const SLOW_ENDS: u64 = 10;
/// Steps between two newcomers, and until the first.
const NEWCOMER_EVERY: u64 = 80;
/// Executions that are queued at least, of each tenant that keeps workers busy.
const BACKLOG: u64 = 30;
/// The worker that gives back whatever it leases.
const GIVER: &str = "giver";
/// Leases that it takes at once, and batches of so many that are queued for it.
const TAKEN_AT_ONCE: u32 = 100;
const GIVER_BATCHES: u64 = 4;

const MIB: u64 = 1 << 20;
/// Steps of one round in which a disk fills and has room again.
const DISK_ROUND: u64 = 150;

/// The workers of a run.
pub(crate) fn hire(plan: &Plan, dice: &mut Dice, log: &mut LogCheck) -> Vec<Worker> {
    if plan.scene == Scene::Pools {
        return hire_pools(log);
    }
    let mut workers = crate::workers::hire(plan, dice, &mut log.offers);
    if plan.scene == Scene::GivesBack {
        workers.push(scripted(GIVER, "*", false, log));
    }
    workers
}

fn hire_pools(log: &mut LogCheck) -> Vec<Worker> {
    let slow = ["slow1", "slow2", "slow3"].map(|name| scripted(name, SLOW, true, log));
    let quick = ["quick1", "quick2"].map(|name| scripted(name, QUICK, true, log));
    log.watch_turns(OfferSpec {
        callables: [QUICK.into()].into(),
        tenants: TenantScope::Any,
    });
    slow.into_iter().chain(quick).collect()
}

fn scripted(name: &str, callable: &str, streams: bool, log: &mut LogCheck) -> Worker {
    let offered = (vec![callable.to_owned()], Vec::new());
    let mut hired = worker(name, offered, streams, &mut log.offers);
    hired.scripted = true;
    hired
}

/// Credit for so many leases.
fn of(leases: usize) -> v1::WorkCredit {
    v1::WorkCredit {
        executions: u32::try_from(leases).unwrap_or(u32::MAX),
        ..v1::WorkCredit::default()
    }
}

impl World {
    /// Does what the scene of the run has in this step.
    pub(crate) fn play(&mut self) -> Checked {
        match self.plan.scene {
            Scene::Pools => self.play_pools(),
            Scene::GivesBack => self.play_giver(),
            Scene::SmallDisk => return self.play_small_disk(),
            Scene::FullDisk => return self.play_full_disk(),
            Scene::Plain | Scene::Wide | Scene::Heavy => {}
        }
        Ok(())
    }

    /// Slow workers get through a lot of worker time, and quick workers through little. Now and
    /// then a new tenant comes to the quick ones.
    fn play_pools(&mut self) {
        if self.step.is_multiple_of(10) {
            let slow = SLOW_TENANTS.map(|tenant| (tenant, SLOW));
            let quick = QUICK_TENANTS.map(|tenant| (tenant, QUICK));
            for (tenant, callable) in slow.into_iter().chain(quick) {
                self.stock(tenant, callable);
            }
        }
        if self.step > 0 && self.step.is_multiple_of(NEWCOMER_EVERY) {
            let newcomer = format!("newcomer{}", self.step);
            self.enqueue_simple(&newcomer, QUICK, 2);
        }
        for at in 0..self.workers.len() {
            self.run_steadily(at);
        }
    }

    /// Keeps a tenant's queue filled.
    fn stock(&mut self, tenant: &str, callable: &str) {
        let tenants = self.log.emitted().tenants();
        let queues = tenants
            .queues()
            .map(|(_, queue)| (&tenants.tenant(queue.tenant).name, queue));
        let of_tenant =
            queues.filter(|(name, queue)| ***name == *tenant && *queue.callable == *callable);
        let ready: u64 = of_tenant.map(|(_, queue)| queue.counts().ready).sum();
        if ready < BACKLOG {
            self.enqueue_simple(tenant, callable, BACKLOG - ready);
        }
    }

    fn enqueue_simple(&mut self, tenant: &str, callable: &str, many: u64) {
        let items = (0..many).map(|_| simple("", callable, 10)).collect();
        let request = v1::EnqueueBatchRequest {
            tenant_id: tenant.to_owned(),
            items,
            request_id: format!("stock_{:x}", self.dice.roll()),
        };
        self.call(Asked::Batch(request), Principal::default(), None);
    }

    /// Does the step of a worker that completes what it leases: a quick one at once, a slow one
    /// after a while.
    fn run_steadily(&mut self, at: usize) {
        let quick = self.workers[at].name.starts_with("quick");
        let Some(ticket) = self.workers[at].stream else {
            let credit = if quick { QUICK_CREDIT } else { SLOW_CREDIT };
            let ticket = self.greet_without_credit(at);
            return self.credit(ticket, of(credit));
        };
        let dice = &mut self.dice;
        let held = &mut self.workers[at].held;
        let done: Vec<_> = held
            .extract_if(.., |_| quick || dice.chance(SLOW_ENDS))
            .collect();
        if done.is_empty() {
            return;
        }
        let plan = &self.plan;
        let results = done.iter().map(|lease| result(plan, lease, dice)).collect();
        self.credit(ticket, of(done.len()));
        self.expect_outcomes(ticket, OutcomeKind::Completed, done);
        self.up(ticket, Up::Complete(v1::CompleteRequest { results }));
    }

    /// A worker gives back whatever it leases, while much is queued.
    fn play_giver(&mut self) {
        if self.step < GIVER_BATCHES {
            let (tenant, callable) = (QUICK_TENANTS[0], QUICK);
            self.enqueue_simple(tenant, callable, u64::from(TAKEN_AT_ONCE));
        }
        let giver = self.workers.iter().position(|one| one.name == GIVER);
        let Some(at) = giver.filter(|at| self.calls.values().all(|call| call.worker != Some(*at)))
        else {
            return;
        };
        let releases = std::mem::take(&mut self.workers[at].held);
        let asked = if releases.is_empty() {
            Asked::Lease(self.poll(at, TAKEN_AT_ONCE))
        } else {
            Asked::Release(v1::ReleaseRequest { releases })
        };
        self.call(asked, Principal::default(), Some(at));
    }

    /// Other programs leave little room, and requests of more than that come at once, again and
    /// again before anybody looks at an idle disk.
    fn play_small_disk(&mut self) -> Checked {
        match self.step % DISK_ROUND {
            10 => self.leave_room(20 * MIB),
            40 => self.leave_room(5 * MIB),
            41 | 50 | 59 => {
                for _ in 0..10 {
                    let large = usize::try_from(MIB).unwrap_or(0);
                    let request = simple("acme", "report", large);
                    self.call(Asked::Enqueue(request), Principal::default(), None);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Other programs take the whole disk for a while, so that reports use up the reserve.
    fn play_full_disk(&mut self) -> Checked {
        match self.step % DISK_ROUND {
            40 => {
                self.note("other programs take the whole disk");
                self.server.disk.leave_free(0);
                self.server.look()
            }
            110 => self.leave_room(30 * MIB),
            _ => Ok(()),
        }
    }

    /// Lets other programs leave so much room for new executions.
    fn leave_room(&mut self, room_bytes: u64) -> Checked {
        self.note(&format!("other programs leave {room_bytes} bytes"));
        self.server.disk.leave_free(room_bytes + KEPT_BYTES);
        self.server.look()
    }
}
