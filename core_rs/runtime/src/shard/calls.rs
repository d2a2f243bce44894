//! Calls: from a request's bytes to the family that decides it.

use std::sync::Arc;

use backlane_engine::command::{Cancel, Held, Known, Needs, Report};
use backlane_engine::fact::Actor;
use backlane_engine::rules::access::Principal;
use backlane_engine::rules::id::ExecutionId;
use backlane_engine::rules::status::ActorKind;
use backlane_wire::{ApiError, Call, EnqueueBatch, EnqueueItem, View, WaitCall, decode_call};

use crate::message::{CompletionKind, Output, Ticket, UnaryCall};

use super::Shard;

/// Who waits for a reply.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) ticket: Ticket,
    pub(super) principal: Arc<Principal>,
    pub(super) timeout_ms: Option<u64>,
}

/// A command that may have to wait for a read before it is decided.
#[derive(Debug)]
pub(super) enum Job {
    Enqueue(Caller, Box<EnqueueItem>),
    Run(Caller, Box<EnqueueItem>, u64),
    Batch(Caller, EnqueueBatch),
    Stream(Ticket, Vec<Result<EnqueueItem, ApiError>>),
    Get(Caller, Box<str>, ExecutionId, View),
    Cancel(Caller, Cancel),
    Wait(Caller, WaitCall),
    Renew(Caller, Vec<Result<Held, ApiError>>, Option<u64>),
    Report(Caller, Vec<Result<(Held, Report), ApiError>>),
    WorkReport(
        Ticket,
        Arc<Principal>,
        Vec<Result<(Held, Report), ApiError>>,
    ),
}

impl Shard {
    pub(super) fn call(&mut self, call: UnaryCall) {
        let UnaryCall {
            ticket,
            method,
            principal,
            timeout_ms,
            bytes,
        } = call;
        let caller = Caller {
            ticket,
            principal,
            timeout_ms,
        };
        let limits = self.settings.limits;
        let mut context = Self::context(&limits, &caller.principal, &mut self.random);
        match decode_call(method, &bytes, &mut context) {
            Ok(call) => self.begin(caller, call),
            Err(error) => self.refuse(ticket, &error),
        }
        self.journal.park(Output::Decided(ticket, bytes.len()));
    }

    fn begin(&mut self, caller: Caller, call: Call) {
        if self.draining
            && matches!(
                call,
                Call::Enqueue(_) | Call::EnqueueBatch(_) | Call::Run { .. }
            )
        {
            let error = ApiError::from(backlane_engine::error::Refusal::Draining);
            return self.refuse(caller.ticket, &error);
        }
        let job = match call {
            Call::Enqueue(item) => Job::Enqueue(caller, item),
            Call::EnqueueBatch(batch) => Job::Batch(caller, batch),
            Call::Run { item, timeout_ms } => Job::Run(caller, item, timeout_ms),
            Call::Get { tenant, id, view } => Job::Get(caller, tenant, id, view),
            Call::Cancel { tenant, id } => {
                let actor = Actor::named(ActorKind::Client, &caller.principal.name);
                Job::Cancel(caller, Cancel { tenant, id, actor })
            }
            Call::Wait(wait) => Job::Wait(caller, wait),
            Call::RenewLeases { items, duration_ms } => Job::Renew(caller, items, duration_ms),
            Call::Report { items } => Job::Report(caller, items),
            Call::Lease(lease) => return self.lease_call(&caller, lease),
            list @ Call::List { .. } => return self.list(&caller, &list),
            Call::Peek {
                tenant,
                limit,
                offer,
            } => {
                return self.peek(&caller, &tenant, &offer, limit);
            }
            Call::GetQueueStats { tenant } => return self.queue_stats(&caller, &tenant),
        };
        self.run(Box::new(job), Known::default());
    }

    /// Decides a job, or reads first what its decision rests on.
    pub(super) fn run(&mut self, job: Box<Job>, known: Known) {
        let needs = self.needs(&job, &known);
        if !needs.is_empty() {
            return self.read_for_decision(job, known, needs);
        }
        match *job {
            Job::Enqueue(caller, item) => self.enqueue(&caller, &item, &known),
            Job::Run(caller, item, timeout_ms) => {
                self.enqueue_and_wait(&caller, &item, timeout_ms, &known);
            }
            Job::Batch(caller, batch) => self.enqueue_batch(&caller, batch, &known),
            Job::Stream(ticket, items) => self.enqueue_frame(ticket, &items, &known),
            Job::Get(caller, tenant, id, view) => self.get(&caller, &tenant, &id, view, &known),
            Job::Cancel(caller, cancel) => self.cancel(&caller, &cancel, &known),
            Job::Wait(caller, wait) => self.wait(&caller, wait, &known),
            Job::Renew(caller, items, duration_ms) => {
                self.renew(&caller, &items, duration_ms, &known);
            }
            Job::Report(caller, items) => self.report(&caller, &items, &known),
            Job::WorkReport(ticket, principal, items) => {
                self.work_report(ticket, &principal, &items, &known);
            }
        }
    }

    fn needs(&self, job: &Job, known: &Known) -> Needs {
        let engine = &self.engine;
        match job {
            Job::Enqueue(_, item) | Job::Run(_, item, _) => {
                engine.needs_for_requests(item.new.request.as_ref(), known, self.now)
            }
            Job::Batch(_, batch) => {
                engine.needs_for_requests(batch.request.as_ref(), known, self.now)
            }
            Job::Stream(_, items) => {
                let new = items.iter().flatten();
                let requests = new.filter_map(|item| item.new.request.as_ref());
                engine.needs_for_requests(requests, known, self.now)
            }
            Job::Get(_, _, id, _) => engine.needs_for([id], known),
            Job::Cancel(_, cancel) => engine.needs_for([&cancel.id], known),
            Job::Wait(_, wait) => engine.needs_for(wait.ids.iter().flatten(), known),
            Job::Renew(_, items, _) => {
                engine.needs_for(items.iter().flatten().map(|held| &held.id), known)
            }
            Job::Report(_, items) | Job::WorkReport(_, _, items) => {
                engine.needs_for(items.iter().flatten().map(|(held, _)| &held.id), known)
            }
        }
    }

    /// The caller is gone: it waits for nothing, and leases it was given did not arrive.
    pub(super) fn abandon(&mut self, ticket: Ticket) {
        self.stop_waiting(ticket);
        self.take_back(ticket);
    }

    /// A unary reply.
    pub(super) fn reply(&mut self, ticket: Ticket, bytes: Vec<u8>) {
        self.complete(ticket, CompletionKind::Reply(bytes));
    }
}
