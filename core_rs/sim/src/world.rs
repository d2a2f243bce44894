//! The world: the server, the network, the clocks, and all clients.
//!
//! Owns one step of a run. Refuses to choose the actions of clients: `producers` and `workers` do.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use backlane_engine::time::Now;
use backlane_runtime::{
    Completion, CompletionKind, Input, Principal, TenantScope, Ticket, UnaryCall,
};
use backlane_store::StoreError;

use crate::api::v1;
use crate::asked::Asked;
use crate::check::{Checked, Ledger, LogCheck, Violation, broken, must, survives};
use crate::dice::Dice;
use crate::judge::{Judge, WorkAsked};
use crate::plan::{Excuses, Plan};
use crate::sabotage::Sabotage;
use crate::scenes;
use crate::server::{Driven, Server};
use crate::trace::Trace;
use crate::workers::Worker;

/// The start time of every run, in milliseconds since the epoch.
const START_MS: u64 = 1_800_000_000_000;

/// A unary call in progress.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) asked: Asked,
    pub(crate) intruder: bool,
    /// The worker that made the call, by its index.
    pub(crate) worker: Option<usize>,
    pub(crate) sent_step: u64,
    /// Whether the request was lost, so that the server never receives it.
    pub(crate) lost: bool,
    pub(crate) answered: bool,
}

/// A stream, open or closed.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) open: bool,
    pub(crate) enqueues: VecDeque<v1::EnqueueRequest>,
    pub(crate) work: Option<(usize, WorkAsked)>,
    /// The step before which no further message may arrive, so that messages keep their order.
    pub(crate) last_up: u64,
    pub(crate) last_down: u64,
}

#[derive(Debug)]
pub(crate) enum Packet {
    Up(Input),
    Down(Completion),
}

/// The whole state of one run.
pub(crate) struct World {
    pub(crate) dice: Dice,
    pub(crate) plan: Plan,
    excuses: Excuses,
    pub(crate) now: Now,
    pub(crate) step: u64,
    pub(crate) server: Server,
    pub(crate) log: LogCheck,
    pub(crate) ledger: Ledger,
    pub(crate) trace: Trace,
    pub(crate) calls: BTreeMap<Ticket, Call>,
    pub(crate) streams: BTreeMap<Ticket, Stream>,
    pub(crate) workers: Vec<Worker>,
    /// Executions that clients know, each with its tenant.
    pub(crate) known: Vec<(String, String)>,
    /// Ids of parents, each with the id of a child.
    pub(crate) children: Vec<(String, String)>,
    /// All leases that were ever given.
    pub(crate) tokens: Vec<v1::LeaseRef>,
    /// The leases whose first step report had a number.
    pub(crate) numbered: BTreeSet<String>,
    /// The limits that were set, by tenant and perhaps callable.
    pub(crate) limited: BTreeSet<(String, Option<String>)>,
    pub(crate) draining: bool,
    /// Number of server processes so far.
    pub(crate) lives: u64,
    pub(crate) latest_wall_ms: u64,
    pub(crate) packets: BTreeMap<(u64, u64), Packet>,
    pub(crate) sent: u64,
    pub(crate) last_ticket: Ticket,
}

impl World {
    pub(crate) fn new(seed: u64, sabotage: Sabotage, aloud: bool) -> Result<Self, Violation> {
        let mut dice = Dice::new(seed);
        let plan = Plan::draw(&mut dice);
        let now = Now {
            wall_ms: START_MS,
            mono_ms: 5,
        };
        let server = Server::start(&plan, sabotage, &mut dice, now)?;
        let mut log = LogCheck::new(0, plan.settings.limits.max_queue_per_tenant);
        log.misreads = plan.misread > 0;
        let workers = scenes::hire(&plan, &mut dice, &mut log);
        Ok(Self {
            dice,
            excuses: plan.excuses(),
            plan,
            now,
            step: 0,
            server,
            log,
            ledger: Ledger::default(),
            trace: Trace::new(aloud),
            calls: BTreeMap::new(),
            streams: BTreeMap::new(),
            workers,
            known: Vec::new(),
            children: Vec::new(),
            tokens: Vec::new(),
            numbered: BTreeSet::new(),
            limited: BTreeSet::new(),
            draining: false,
            lives: 1,
            latest_wall_ms: START_MS,
            packets: BTreeMap::new(),
            sent: 0,
            last_ticket: 0,
        })
    }

    pub(crate) fn note(&mut self, event: &str) {
        self.trace.note(self.step, event);
    }

    /// Does one step of the server and the network.
    pub(crate) fn turn(&mut self) -> Checked {
        self.step += 1;
        let (plan, dice) = (&self.plan, &mut self.dice);
        let mut inputs = match self.server.drive(plan, dice, &mut self.log)? {
            Driven::Inputs(inputs) => inputs,
            Driven::Died(error @ StoreError::Full { .. }) => {
                return Err(broken("a full disk never ends the server", error));
            }
            Driven::Died(error) => {
                self.note(&format!("the store: {error}"));
                self.crash()?;
                Vec::new()
            }
        };
        for line in self.server.lines() {
            self.note(&line);
        }
        let mut downs = Vec::new();
        while let Some(entry) = self.packets.first_entry() {
            if entry.key().0 > self.step {
                break;
            }
            match entry.remove() {
                Packet::Up(input) => inputs.push(input),
                Packet::Down(completion) => downs.push(completion),
            }
        }
        self.note_inputs(&inputs);
        let completions = self.server.step(inputs, self.now, &mut self.log)?;
        for completion in completions {
            self.judge(&completion)?;
            self.send_down(completion);
        }
        for completion in downs {
            self.deliver(completion);
        }
        Ok(())
    }

    fn note_inputs(&mut self, inputs: &[Input]) {
        for input in inputs {
            let what = match input {
                Input::Call(UnaryCall {
                    ticket,
                    method,
                    bytes,
                    ..
                }) => {
                    format!("call {ticket} {method:?}, {} bytes", bytes.len())
                }
                Input::Frame(ticket, bytes) => format!("frame {ticket}, {} bytes", bytes.len()),
                Input::Read(id, found) => format!("read {id}, {} rows", found.rows.len()),
                Input::Requests { hour, keys, .. } => format!("hour {hour}, {} keys", keys.len()),
                other => format!("{other:?}"),
            };
            let at = format!("{} {} <- {what}", self.now.wall_ms, self.now.mono_ms);
            self.note(&at);
        }
    }

    fn judge(&mut self, completion: &Completion) -> Checked {
        let Completion { ticket, kind } = completion;
        let said = match kind {
            CompletionKind::Error { message, .. } => format!("-> {ticket} error {message}"),
            CompletionKind::Reply(bytes) | CompletionKind::Message(bytes) => {
                format!("-> {ticket} {} bytes", bytes.len())
            }
            other => format!("-> {ticket} {other:?}"),
        };
        self.note(&said);
        let mut judge = Judge {
            ledger: &mut self.ledger,
            log: &self.log,
            excuses: self.excuses,
        };
        if let Some(call) = self.calls.get_mut(ticket) {
            must(!call.answered, "a call is answered once", || {
                format!("{call:?}")
            })?;
            call.answered = true;
            return judge.unary(&call.asked, call.intruder, kind);
        }
        match (self.streams.get_mut(ticket), kind) {
            (Some(stream), CompletionKind::Message(bytes)) => match &mut stream.work {
                Some((_, asked)) => judge.work_stream(asked, bytes),
                None => judge.enqueue_stream(&mut stream.enqueues, bytes),
            },
            _ => Ok(()),
        }
    }

    /// Ends the server's process and starts another.
    pub(crate) fn crash(&mut self) -> Checked {
        self.note("crash");
        self.lives += 1;
        self.draining = false;
        self.packets.clear();
        self.calls.clear();
        for ticket in self.streams.keys().copied().collect::<Vec<_>>() {
            self.stream_over(ticket);
        }
        self.streams.clear();
        let downtime = if self.dice.chance(800) {
            5
        } else {
            self.dice.below(90_000)
        };
        self.now = Now {
            wall_ms: self.now.wall_ms + downtime,
            mono_ms: self.dice.below(1_000),
        };
        self.latest_wall_ms = self.latest_wall_ms.max(self.now.wall_ms);
        let (plan, dice) = (&self.plan, &mut self.dice);
        self.server.crash(plan, dice, &mut self.log, self.now)?;
        self.survives()
    }

    pub(crate) fn survives(&mut self) -> Checked {
        let expired = self
            .latest_wall_ms
            .saturating_sub(self.plan.settings.retention_ms);
        survives(&self.ledger, &self.log, self.server.reader(), expired)
    }

    /// Gives up calls that have waited longer than `after` steps. Returns these calls.
    pub(crate) fn impatient(&mut self, after: u64) -> Vec<Call> {
        let late = self
            .calls
            .iter()
            .filter(|(_, call)| call.sent_step + after < self.step);
        let late: Vec<_> = late.map(|(ticket, _)| *ticket).collect();
        let mut given_up = Vec::new();
        for ticket in late {
            given_up.extend(self.calls.remove(&ticket));
            self.up_at(self.step + 1, Input::Abandon(ticket));
        }
        given_up
    }

    pub(crate) fn is_silent(&self) -> bool {
        self.packets.is_empty()
    }
}

/// A caller who may act for one tenant only.
pub(crate) fn only(tenant: &str) -> Principal {
    Principal {
        name: format!("{tenant}'s").into(),
        tenants: TenantScope::Only([tenant.into()].into()),
        ..Principal::default()
    }
}
