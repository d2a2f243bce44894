//! The world: the server, the network to it, time, and everybody who calls.
//!
//! Owns one step of a run. Refuses to choose what clients do: `producers` and `workers` do.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use backlane_engine::time::Now;
use backlane_runtime::{
    Completion, CompletionKind, Input, Method, Principal, TenantScope, Ticket, UnaryCall,
};

use crate::api::v1;
use crate::asked::Asked;
use crate::check::{Checked, Ledger, LogCheck, Violation, must, survives};
use crate::dice::Dice;
use crate::judge::{Judge, WorkAsked};
use crate::plan::Plan;
use crate::server::{Driven, Sabotage, Server};
use crate::trace::Trace;
use crate::workers::Worker;

/// When every run begins, milliseconds since the epoch.
const START_MS: u64 = 1_800_000_000_000;

/// A unary call under way.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) asked: Asked,
    pub(crate) intruder: bool,
    /// The worker that asked, by its place.
    pub(crate) worker: Option<usize>,
    pub(crate) sent_step: u64,
    /// The server never hears of it.
    pub(crate) lost: bool,
    answered: bool,
}

/// A stream, open or not.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) open: bool,
    pub(crate) enqueues: VecDeque<v1::EnqueueRequest>,
    pub(crate) work: Option<(usize, WorkAsked)>,
    /// Messages keep their order: none arrives before this step.
    last_up: u64,
    last_down: u64,
}

#[derive(Debug)]
enum Packet {
    Up(Input),
    Down(Completion),
}

/// One run.
pub(crate) struct World {
    pub(crate) dice: Dice,
    pub(crate) plan: Plan,
    pub(crate) now: Now,
    pub(crate) step: u64,
    pub(crate) server: Server,
    pub(crate) log: LogCheck,
    pub(crate) ledger: Ledger,
    pub(crate) trace: Trace,
    pub(crate) calls: BTreeMap<Ticket, Call>,
    pub(crate) streams: BTreeMap<Ticket, Stream>,
    pub(crate) workers: Vec<Worker>,
    /// Executions that clients know.
    pub(crate) known: Vec<(String, String)>,
    /// Leases that were handed out at any time.
    pub(crate) tokens: Vec<v1::LeaseRef>,
    pub(crate) draining: bool,
    /// Steps of the server's lives so far.
    pub(crate) lives: u64,
    pub(crate) latest_wall_ms: u64,
    packets: BTreeMap<(u64, u64), Packet>,
    sent: u64,
    last_ticket: Ticket,
}

impl World {
    pub(crate) fn new(seed: u64, sabotage: Sabotage, aloud: bool) -> Result<Self, Violation> {
        let mut dice = Dice::new(seed);
        let plan = Plan::draw(&mut dice);
        let now = Now {
            wall_ms: START_MS,
            mono_ms: 5,
        };
        let server = Server::start(plan.settings.clone(), sabotage, &mut dice, now)?;
        let mut log = LogCheck::new(0, plan.settings.limits.max_queue_per_tenant);
        let workers = crate::workers::hire(&mut dice, &mut log.offers);
        Ok(Self {
            dice,
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
            tokens: Vec::new(),
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

    /// A step of the server and the network.
    pub(crate) fn turn(&mut self) -> Checked {
        self.step += 1;
        let mut inputs = match self.server.drive(&mut self.dice, &mut self.log)? {
            Driven::Inputs(inputs) => inputs,
            Driven::Died(error) => {
                self.note(&format!("the store: {error}"));
                self.crash()?;
                Vec::new()
            }
        };
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
                Input::Read(id, found) => format!("read {id}, {} payloads", found.payloads.len()),
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
        let (log, forgets) = (&self.log, self.plan.forgets());
        let mut judge = Judge {
            ledger: &mut self.ledger,
            log,
            forgets,
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

    /// Hands something to the network; what is lost is a caller that is gone.
    fn send_down(&mut self, completion: Completion) {
        let ticket = completion.ticket;
        let delay = 1 + self.dice.below(self.plan.delay + 1);
        let mut due = self.step + delay;
        if let Some(stream) = self.streams.get_mut(&ticket) {
            due = due.max(stream.last_down);
            stream.last_down = due;
        } else if self.dice.chance(self.plan.drop) {
            self.calls.remove(&ticket);
            return self.up_at(due, Input::Abandon(ticket));
        }
        self.sent += 1;
        self.packets
            .insert((due, self.sent), Packet::Down(completion));
    }

    fn deliver(&mut self, completion: Completion) {
        let Completion { ticket, kind } = completion;
        let size = match &kind {
            CompletionKind::Reply(bytes) | CompletionKind::Message(bytes) => bytes.len(),
            _ => 0,
        };
        if let Some(call) = self.calls.remove(&ticket) {
            self.up_at(self.step + 1, Input::Written(ticket, size));
            if let CompletionKind::Reply(bytes) = &kind {
                self.heard(&call, bytes);
            }
            return;
        }
        let open = self.streams.get(&ticket).is_some_and(|stream| stream.open);
        match kind {
            CompletionKind::Message(bytes) if open => {
                self.up_at(self.step + 1, Input::Written(ticket, size));
                self.heard_on_stream(ticket, &bytes);
            }
            CompletionKind::End | CompletionKind::Error { .. } => self.stream_over(ticket),
            _ => {}
        }
    }

    pub(crate) fn stream_over(&mut self, ticket: Ticket) {
        let Some(stream) = self.streams.get_mut(&ticket) else {
            return;
        };
        stream.open = false;
        if let Some((worker, _)) = &stream.work {
            let worker = &mut self.workers[*worker];
            worker.stream = worker.stream.filter(|own| *own != ticket);
        }
    }

    fn up_at(&mut self, due: u64, input: Input) {
        self.sent += 1;
        self.packets.insert((due, self.sent), Packet::Up(input));
    }

    /// Something that is nobody's call.
    pub(crate) fn send_to_server(&mut self, input: Input) {
        self.up_at(self.step + 1, input);
    }

    pub(crate) fn ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        self.last_ticket
    }

    /// Sends a unary call for a tenant, or for anybody.
    pub(crate) fn call(
        &mut self,
        asked: Asked,
        principal: Principal,
        worker: Option<usize>,
    ) -> Ticket {
        self.call_as(asked, principal, worker, false)
    }

    pub(crate) fn call_as(
        &mut self,
        asked: Asked,
        principal: Principal,
        worker: Option<usize>,
        intruder: bool,
    ) -> Ticket {
        let ticket = self.ticket();
        let (method, bytes) = asked.encode();
        let sent_step = self.step;
        let due = self.step + 1 + self.dice.below(self.plan.delay + 1);
        let lost = self.dice.chance(self.plan.drop);
        let call = Call {
            asked,
            intruder,
            worker,
            sent_step,
            lost,
            answered: false,
        };
        self.calls.insert(ticket, call);
        if !lost {
            let principal = Arc::new(principal);
            let timeout_ms = self.dice.chance(200).then(|| self.dice.between(1, 60_000));
            self.up_at(
                due,
                Input::Call(UnaryCall {
                    ticket,
                    method,
                    principal,
                    timeout_ms,
                    bytes,
                }),
            );
        }
        ticket
    }

    pub(crate) fn open(&mut self, method: Method, work: Option<(usize, WorkAsked)>) -> Ticket {
        let ticket = self.ticket();
        let (last_up, last_down) = (self.step + 1, self.step + 1);
        let enqueues = VecDeque::new();
        let stream = Stream {
            open: true,
            enqueues,
            work,
            last_up,
            last_down,
        };
        self.streams.insert(ticket, stream);
        let principal = Arc::new(Principal::default());
        self.on_stream(
            ticket,
            Input::Open {
                ticket,
                method,
                principal,
            },
        );
        ticket
    }

    /// Sends something up a stream, in its order.
    pub(crate) fn on_stream(&mut self, ticket: Ticket, input: Input) {
        let delay = 1 + self.dice.below(self.plan.delay + 1);
        let Some(stream) = self.streams.get_mut(&ticket) else {
            return;
        };
        let due = stream.last_up.max(self.step + delay);
        stream.last_up = due;
        self.up_at(due, input);
    }

    /// The server's process ends and another begins.
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
        self.server.crash(&mut self.dice, &mut self.log, self.now)?;
        self.survives()
    }

    pub(crate) fn survives(&mut self) -> Checked {
        let expired = self
            .latest_wall_ms
            .saturating_sub(self.plan.settings.retention_ms);
        survives(&self.ledger, &self.log, self.server.reader(), expired)
    }

    /// Gives up on calls that have no answer; `after` steps is patience enough.
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

/// Somebody who may act for one tenant alone.
pub(crate) fn only(tenant: &str) -> Principal {
    Principal {
        name: format!("{tenant}'s").into(),
        tenants: TenantScope::Only([tenant.into()].into()),
    }
}
