//! Workers: lease, run, report, stall, die and come back.
//!
//! Owns the actions of workers and their leases. Refuses to judge replies: the judge did so when
//! the server sent them.

use backlane_engine::command::OfferSpec;
use backlane_engine::fact::OutcomeKind;
use backlane_engine::rules::access::TenantScope;
use backlane_runtime::{Input, Method, Principal, Ticket};
use prost::Message as _;

use crate::api::v1::{self, work_request::Message as Up, work_response::Message as Down};
use crate::asked::Asked;
use crate::check::{Offers, Reported};
use crate::dice::Dice;
use crate::judge::WorkAsked;
use crate::names::Offered;
use crate::plan::Plan;
use crate::requests::{enqueue, failure, result};
use crate::world::World;

const REMEMBERED: usize = 500;

/// A simulated worker and its leases.
#[derive(Debug, Default)]
pub(crate) struct Worker {
    pub(crate) name: String,
    callables: Vec<String>,
    tenants: Vec<String>,
    streams: bool,
    /// Whether the scene of the run decides what the worker does.
    pub(crate) scripted: bool,
    pub(crate) stream: Option<Ticket>,
    pub(crate) held: Vec<v1::LeaseRef>,
    asleep_until: u64,
}

/// A few workers, each with a random offer.
pub(crate) fn hire(plan: &Plan, dice: &mut Dice, offers: &mut Offers) -> Vec<Worker> {
    let many = dice.between(1, 6);
    let workers = (0..many).map(|at| {
        let (callables, tenants) = plan.names.offer(dice);
        let streams = dice.chance(600);
        worker(&format!("w{at}"), (callables, tenants), streams, offers)
    });
    workers.collect()
}

/// A worker with this name and offer.
pub(crate) fn worker(
    name: &str,
    (callables, tenants): Offered,
    streams: bool,
    offers: &mut Offers,
) -> Worker {
    let scope = if tenants.is_empty() {
        TenantScope::Any
    } else {
        TenantScope::Only(
            tenants
                .iter()
                .map(|tenant| tenant.as_str().into())
                .collect(),
        )
    };
    let offered = callables.iter().map(|one| one.as_str().into()).collect();
    offers.insert(
        name.into(),
        OfferSpec {
            callables: offered,
            tenants: scope,
        },
    );
    Worker {
        name: name.to_owned(),
        callables,
        tenants,
        streams,
        ..Worker::default()
    }
}

impl World {
    /// Does one action of a worker.
    pub(crate) fn work(&mut self) {
        let at = self.dice.index(self.workers.len());
        if self.workers[at].asleep_until > self.step || self.workers[at].scripted {
            return;
        }
        match self.dice.below(1_000) {
            // The worker dies, and a new one with the same name starts.
            0..10 => self.die(at),
            10..25 => self.workers[at].asleep_until = self.step + self.dice.between(5, 300),
            25..60 => self.report_stale(at),
            _ if self.record(at) => {}
            60..120 => self.spawn(at),
            _ if self.workers[at].streams => self.work_on_stream(at),
            _ => self.work_by_calls(at),
        }
    }

    /// Spawns a child of an execution that the worker holds, or believes to hold.
    fn spawn(&mut self, at: usize) {
        let many = self.workers[at].held.len();
        if many == 0 {
            return;
        }
        let which = self.dice.index(many);
        let held = self.workers[at].held[which].clone();
        let mut known = self.known.iter();
        let Some((tenant, _)) = known.find(|(_, id)| *id == held.execution_id) else {
            return;
        };
        let enqueue = v1::EnqueueRequest {
            tenant_id: tenant.clone(),
            request_id: format!("spawn_{:x}", self.dice.roll()),
            ..enqueue(&self.plan, &mut self.dice, self.now.wall_ms)
        };
        let child = v1::SpawnChild {
            background: true,
            ..Default::default()
        };
        let request = v1::SpawnRequest {
            enqueue: Some(enqueue),
            mode: Some(v1::SpawnMode {
                mode: Some(v1::spawn_mode::Mode::Child(child)),
            }),
            parent_execution_id: held.execution_id,
            lease_token: held.lease_token,
            step: self.spawning_step(),
            ..Default::default()
        };
        self.call(Asked::Spawn(Box::new(request)), Principal::default(), None);
    }

    fn die(&mut self, at: usize) {
        self.drop_stream(at);
        self.workers[at].held.clear();
    }

    fn drop_stream(&mut self, at: usize) {
        if let Some(ticket) = self.workers[at].stream.take() {
            self.on_stream(ticket, Input::Close(ticket));
            self.stream_over(ticket);
        }
    }

    fn work_by_calls(&mut self, at: usize) {
        if self.workers[at].held.is_empty() || self.dice.chance(400) {
            let asked = self.lease_request(at);
            self.call(Asked::Lease(asked), Principal::default(), Some(at));
            return;
        }
        if self.dice.chance(50) {
            let asked = self.progress(at);
            self.call(asked, Principal::default(), Some(at));
        }
        if let Some(asked) = self.report(at) {
            self.call(asked, Principal::default(), Some(at));
        }
    }

    fn progress(&mut self, at: usize) -> Asked {
        let held = &self.workers[at].held;
        let report = |lease: &v1::LeaseRef| v1::ProgressReport {
            execution_id: lease.execution_id.clone(),
            lease_token: lease.lease_token.clone(),
            fraction: Some(0.5),
            message: "half".into(),
        };
        let reports = held.iter().map(report).collect();
        Asked::Progress(v1::ReportProgressRequest { reports })
    }

    fn lease_request(&mut self, at: usize) -> v1::LeaseRequest {
        let most = u32::try_from(self.dice.below(6)).unwrap_or(1);
        v1::LeaseRequest {
            lease_duration_ms: *self.dice.pick(&[0, 1_000, 5_000, 30_000]),
            wait_ms: self.dice.below(3) * 5_000,
            ..self.poll(at, most)
        }
    }

    /// A request for leases that does not wait for them.
    pub(crate) fn poll(&self, at: usize, max_executions: u32) -> v1::LeaseRequest {
        let worker = &self.workers[at];
        v1::LeaseRequest {
            worker_id: worker.name.clone(),
            callables: worker.callables.clone(),
            tenant_ids: worker.tenants.clone(),
            max_executions,
            ..v1::LeaseRequest::default()
        }
    }

    /// A report about some of a worker's leases.
    fn report(&mut self, at: usize) -> Option<Asked> {
        let many = self
            .dice
            .between(1, 4)
            .min(self.workers[at].held.len() as u64);
        if many == 0 {
            return None;
        }
        if self.dice.chance(150) {
            let leases = self.workers[at].held.clone();
            let lease_duration_ms = *self.dice.pick(&[0, 0, 2_000, 60_000]);
            return Some(Asked::Renew(v1::RenewLeasesRequest {
                leases,
                lease_duration_ms,
            }));
        }
        let mut leases = Vec::new();
        for _ in 0..many {
            let which = self.dice.index(self.workers[at].held.len());
            leases.push(self.workers[at].held.swap_remove(which));
        }
        Some(self.report_on(leases))
    }

    fn report_on(&mut self, leases: Vec<v1::LeaseRef>) -> Asked {
        let (plan, dice) = (&self.plan, &mut self.dice);
        match dice.below(10) {
            0..6 => {
                let results = leases.iter().map(|lease| result(plan, lease, dice));
                let results = results.collect();
                Asked::Complete(v1::CompleteRequest { results })
            }
            6..9 => {
                let failures = leases.iter().map(|lease| failure(lease, dice)).collect();
                Asked::Fail(v1::FailRequest { failures })
            }
            _ => Asked::Release(v1::ReleaseRequest { releases: leases }),
        }
    }

    /// Reports about leases that may have ended long ago, or that never existed.
    fn report_stale(&mut self, at: usize) {
        let many = self.tokens.len();
        if many == 0 {
            return;
        }
        let mut lease = self.tokens[self.dice.index(many)].clone();
        match self.dice.below(8) {
            0 => "lt_0_0".clone_into(&mut lease.lease_token),
            1 => {
                let other = &self.tokens[self.dice.index(many)];
                lease.lease_token.clone_from(&other.lease_token);
            }
            _ => {}
        }
        let asked = self.report_on(vec![lease]);
        self.call(asked, Principal::default(), Some(at));
    }

    fn work_on_stream(&mut self, at: usize) {
        let Some(ticket) = self.workers[at].stream else {
            return self.greet(at);
        };
        match self.dice.below(100) {
            0..2 => self.drop_stream(at),
            2 => {
                self.on_stream(ticket, Input::HalfClose(ticket));
                self.stream_over(ticket);
            }
            3 => self.up(ticket, Up::Drain(v1::WorkDrain {})),
            4..14 => self.up(ticket, Up::Heartbeat(v1::WorkHeartbeat {})),
            14..34 => self.give_credit(ticket),
            _ => self.report_on_stream(at, ticket),
        }
    }

    /// Opens a worker's stream, with the leases that the worker still holds, and gives some credit.
    pub(crate) fn greet(&mut self, at: usize) {
        let ticket = self.greet_without_credit(at);
        self.give_credit(ticket);
    }

    /// Opens a worker's stream, with the leases that the worker still holds.
    pub(crate) fn greet_without_credit(&mut self, at: usize) -> Ticket {
        let held = self.workers[at].held.clone();
        let asked = WorkAsked {
            held: held.clone(),
            ..WorkAsked::default()
        };
        let ticket = self.open(Method::Work, Some((at, asked)));
        let worker = &mut self.workers[at];
        worker.stream = Some(ticket);
        let hello = v1::WorkHello {
            worker_id: worker.name.clone(),
            callables: worker.callables.clone(),
            tenant_ids: worker.tenants.clone(),
            lease_duration_ms: *self.dice.pick(&[0, 2_000, 20_000]),
            held,
            lanes: vec![],
        };
        self.up(ticket, Up::Hello(hello));
        ticket
    }

    pub(crate) fn give_credit(&mut self, ticket: Ticket) {
        let executions = self.dice.between(1, 8);
        let prefetch = if self.dice.chance(700) {
            0
        } else {
            self.dice.between(1, 8)
        };
        let bytes = if self.dice.chance(700) {
            0
        } else {
            self.dice.between(1, 5_000)
        };
        let credit = v1::WorkCredit {
            executions: u32::try_from(executions).unwrap_or(1),
            bytes,
            lane: 0,
            prefetch: u32::try_from(prefetch).unwrap_or(1),
        };
        self.credit(ticket, credit);
    }

    /// Allows more leases.
    pub(crate) fn credit(&mut self, ticket: Ticket, credit: v1::WorkCredit) {
        if let Some((_, asked)) = self
            .streams
            .get_mut(&ticket)
            .and_then(|one| one.work.as_mut())
        {
            asked.credit += u64::from(credit.executions + credit.prefetch);
        }
        self.up(ticket, Up::Credit(credit));
    }

    fn report_on_stream(&mut self, at: usize, ticket: Ticket) {
        let Some(asked) = self.report(at) else { return };
        let leases = asked.leases();
        let (kind, up) = match asked {
            Asked::Complete(request) => (OutcomeKind::Completed, Up::Complete(request)),
            Asked::Fail(request) => (OutcomeKind::Failed, Up::Fail(request)),
            Asked::Release(request) => (OutcomeKind::Released, Up::Release(request)),
            _ => return self.up(ticket, Up::Heartbeat(v1::WorkHeartbeat {})),
        };
        self.expect_outcomes(ticket, kind, leases);
        self.up(ticket, up);
    }

    pub(crate) fn expect_outcomes(
        &mut self,
        ticket: Ticket,
        kind: OutcomeKind,
        leases: Vec<v1::LeaseRef>,
    ) {
        if let Some((_, asked)) = self
            .streams
            .get_mut(&ticket)
            .and_then(|one| one.work.as_mut())
        {
            asked.reports.push_back((Reported::Ended(kind), leases));
        }
    }

    pub(crate) fn up(&mut self, ticket: Ticket, message: Up) {
        let bytes = v1::WorkRequest {
            message: Some(message),
        }
        .encode_to_vec();
        self.on_stream(ticket, Input::Frame(ticket, bytes));
    }

    /// Handles a message that arrived on a stream.
    pub(crate) fn heard_on_stream(&mut self, ticket: Ticket, bytes: &[u8]) {
        let work = self
            .streams
            .get(&ticket)
            .and_then(|stream| stream.work.as_ref());
        let Some(at) = work.map(|(at, _)| *at) else {
            return;
        };
        let Ok(v1::WorkResponse {
            message: Some(message),
        }) = v1::WorkResponse::decode(bytes)
        else {
            return;
        };
        match message {
            Down::Leases(leases) => {
                self.got_leases(at, &leases.leases);
                if self.dice.chance(850) {
                    let leases = leases.leases.iter().map(reference).collect();
                    self.up(ticket, Up::Acknowledge(v1::WorkAcknowledge { leases }));
                }
            }
            Down::Welcome(welcome) => self.workers[at].held = welcome.held,
            Down::Lost(lost) => self.workers[at]
                .held
                .retain(|one| !lost.leases.contains(one)),
            Down::Cancels(cancels) if self.dice.chance(700) => {
                self.expect_outcomes(ticket, OutcomeKind::Released, cancels.leases.clone());
                self.workers[at]
                    .held
                    .retain(|one| !cancels.leases.contains(one));
                self.up(
                    ticket,
                    Up::Release(v1::ReleaseRequest {
                        releases: cancels.leases,
                    }),
                );
            }
            Down::Outcomes(_) | Down::Cancels(_) | Down::Drain(_) | Down::Pauses(_) => {}
        }
    }

    pub(crate) fn got_leases(&mut self, at: usize, leases: &[v1::Lease]) {
        for lease in leases {
            let held = reference(lease);
            if self.tokens.len() == REMEMBERED {
                let which = self.dice.index(REMEMBERED);
                self.tokens.swap_remove(which);
            }
            self.tokens.push(held.clone());
            self.workers[at].held.push(held);
            lease
                .execution
                .clone()
                .into_iter()
                .for_each(|record| self.remember(record));
        }
    }
}

fn reference(lease: &v1::Lease) -> v1::LeaseRef {
    let id = lease
        .execution
        .as_ref()
        .map(|record| record.execution_id.as_str());
    crate::asked::lease(id.unwrap_or_default(), &lease.lease_token)
}
