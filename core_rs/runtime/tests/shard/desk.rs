//! The desk of the tests: one shard and its store, with commits and reads done one at a time.
//!
//! Owns when commits and reads happen: each test decides. Refuses to know what is tested.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use backlane_engine::time::Now;
use backlane_runtime::message::{Query, ReadId};
use backlane_runtime::{
    Completion, CompletionKind, Input, Method, Output, Principal, Settings, Shard, Ticket,
    UnaryCall, reader, recover, request_hours,
};
use backlane_sim::api::{self, v1};
use backlane_store::{Commit, Maintenance, MemoryDisk, REQUEST, Store};
use prost::Message;

pub(crate) const START_MS: u64 = 1_800_000_000_000;

pub(crate) struct Desk {
    pub(crate) shard: Shard,
    pub(crate) disk: MemoryDisk,
    pub(crate) store: Box<dyn Store>,
    pub(crate) settings: Settings,
    pub(crate) now: Now,
    pub(crate) appends: VecDeque<Commit>,
    pub(crate) reads: VecDeque<(ReadId, Query)>,
    pub(crate) maintains: Vec<Maintenance>,
    pub(crate) decided: BTreeMap<Ticket, usize>,
    pub(crate) calls_decided: usize,
    out: BTreeMap<Ticket, VecDeque<CompletionKind>>,
    last_ticket: Ticket,
}

fn opened(disk: &MemoryDisk, settings: &Settings, now: Now) -> (Box<dyn Store>, Shard) {
    let mut store: Box<dyn Store> = Box::new(disk.store());
    let mut random = 0_u64;
    let random = Box::new(move || {
        random += 1;
        random.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    });
    let shard = recover(&mut *store, "desk", settings.clone(), random, now).expect("it recovers");
    (store, shard)
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self::with(Settings::default())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        let platter = MemoryDisk::new();
        let now = Now {
            wall_ms: START_MS,
            mono_ms: 10,
        };
        let (store, shard) = opened(&platter, &settings, now);
        let mut desk = Self {
            shard,
            disk: platter,
            store,
            settings,
            now,
            appends: VecDeque::new(),
            reads: VecDeque::new(),
            maintains: Vec::new(),
            decided: BTreeMap::new(),
            calls_decided: 0,
            out: BTreeMap::new(),
            last_ticket: 0,
        };
        desk.learn_requests();
        desk
    }

    /// Ends the process and starts another on the durable data. Request ids are not learned.
    pub(crate) fn restart(&mut self) {
        let (store, shard) = opened(&self.disk, &self.settings, self.now);
        (self.store, self.shard) = (store, shard);
        self.appends.clear();
        self.reads.clear();
        self.out.clear();
    }

    /// Tells the shard the request ids in the store.
    pub(crate) fn learn_requests(&mut self) {
        let mut reader = self.store.reader().expect("a reader");
        for hour in request_hours(&self.shard, self.now) {
            let read = reader.digests_of_hour(&REQUEST, hour, 0, usize::MAX);
            let (keys, _) = read.expect("the keys of an hour");
            let last = true;
            self.send(Input::Requests { hour, keys, last });
        }
    }

    /// Takes one step with one input. Does nothing that the shard asks for.
    pub(crate) fn send(&mut self, input: Input) {
        self.step([input]);
    }

    pub(crate) fn step(&mut self, inputs: impl IntoIterator<Item = Input>) {
        for output in self.shard.step(inputs, self.now) {
            match output {
                Output::Append(commit) => self.appends.push_back(commit),
                Output::Read(id, query) => self.reads.push_back((id, query)),
                Output::Maintain(goal) => self.maintains.push(goal),
                Output::Complete(Completion { ticket, kind }) => {
                    self.out.entry(ticket).or_default().push_back(kind);
                }
                Output::Decided(ticket, size) => *self.decided.entry(ticket).or_default() += size,
                Output::CallDecided(size) => self.calls_decided += size,
            }
        }
    }

    /// Makes the commit in progress durable, and tells the shard.
    pub(crate) fn commit(&mut self) {
        let commit = self.appends.pop_front().expect("a commit is under way");
        let appended = self.store.append(self.shard.epoch(), &commit);
        appended.expect("the store takes it");
        self.send(Input::Committed(commit.next_sequence()));
    }

    /// Does the oldest read.
    pub(crate) fn read(&mut self) {
        let (id, query) = self.reads.pop_front().expect("a read is asked for");
        let mut reader = self.store.reader().expect("a reader");
        let found = reader::answer(&mut *reader, &query);
        self.send(Input::Read(id, found));
    }

    /// Does everything that the shard asks for, until it asks for nothing more.
    pub(crate) fn settle(&mut self) {
        self.step([]);
        while !self.appends.is_empty() || !self.reads.is_empty() {
            if self.appends.is_empty() {
                self.read();
            } else {
                self.commit();
            }
        }
    }

    /// Removes the data that may be removed.
    pub(crate) fn forget(&mut self) {
        for goal in std::mem::take(&mut self.maintains) {
            while self
                .store
                .maintain(self.shard.epoch(), &goal)
                .expect("it forgets")
                >= goal.limit
            {}
        }
    }

    pub(crate) fn advance(&mut self, ms: u64) {
        self.now.wall_ms += ms;
        self.now.mono_ms += ms;
        self.step([]);
    }

    pub(crate) fn ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        self.last_ticket
    }

    /// Sends a call, and does nothing that the shard asks for.
    pub(crate) fn call(&mut self, method: Method, request: &impl Message) -> Ticket {
        self.call_within(method, request, None)
    }

    pub(crate) fn call_within(
        &mut self,
        method: Method,
        request: &impl Message,
        timeout_ms: Option<u64>,
    ) -> Ticket {
        let ticket = self.ticket();
        self.send(Input::Call(UnaryCall {
            ticket,
            method,
            principal: Arc::new(Principal::default()),
            timeout_ms,
            bytes: request.encode_to_vec(),
        }));
        ticket
    }

    /// Sends a call, does everything that the shard asks for, and returns the reply.
    pub(crate) fn ask<R: Message + Default>(
        &mut self,
        method: Method,
        request: &impl Message,
    ) -> R {
        let ticket = self.call(method, request);
        self.settle();
        self.reply(ticket)
    }

    /// The reply of a call, which must be there.
    pub(crate) fn reply<R: Message + Default>(&mut self, ticket: Ticket) -> R {
        match self.next(ticket) {
            Some(CompletionKind::Reply(bytes)) => {
                assert!(bytes.len() < 4_000_000, "{} bytes", bytes.len());
                R::decode(&*bytes).expect("a reply of that kind")
            }
            other => panic!("no reply but {other:?}"),
        }
    }

    /// The reason of a call's or stream's refusal, which must be there.
    pub(crate) fn refusal(&mut self, ticket: Ticket) -> String {
        match self.next(ticket) {
            Some(CompletionKind::Error { status, .. }) => api::reason(&status),
            other => panic!("not refused but {other:?}"),
        }
    }

    /// The next completion of a ticket, if there is one.
    pub(crate) fn next(&mut self, ticket: Ticket) -> Option<CompletionKind> {
        self.out.get_mut(&ticket)?.pop_front()
    }

    pub(crate) fn is_answered(&self, ticket: Ticket) -> bool {
        self.out.get(&ticket).is_some_and(|out| !out.is_empty())
    }

    pub(crate) fn open(&mut self, method: Method) -> Ticket {
        let ticket = self.ticket();
        let principal = Arc::new(Principal::default());
        self.send(Input::Open {
            ticket,
            method,
            principal,
        });
        ticket
    }

    pub(crate) fn frame(&mut self, ticket: Ticket, message: &impl Message) {
        self.send(Input::Frame(ticket, message.encode_to_vec()));
    }

    /// The next message on a stream, which must be there.
    pub(crate) fn message<R: Message + Default>(&mut self, ticket: Ticket) -> R {
        match self.next(ticket) {
            Some(CompletionKind::Message(bytes)) => {
                assert!(bytes.len() < 4_000_000, "{} bytes", bytes.len());
                R::decode(&*bytes).expect("a message of that kind")
            }
            other => panic!("no message but {other:?}"),
        }
    }

    /// Enqueues an execution, durably, and returns its id.
    pub(crate) fn make(&mut self, request: &v1::EnqueueRequest) -> String {
        let made: v1::EnqueueResponse = self.ask(Method::Enqueue, request);
        made.execution.expect("its record").execution_id
    }

    /// Leases at most `most` executions, durably.
    pub(crate) fn lease(&mut self, worker: &str, most: u32) -> Vec<v1::Lease> {
        let leases: v1::LeaseResponse = self.ask(Method::Lease, &lease_request(worker, most));
        leases.leases
    }

    pub(crate) fn complete(&mut self, lease: &v1::Lease) -> v1::LeaseOutcome {
        let results = vec![result(lease)];
        let reply: v1::CompleteResponse =
            self.ask(Method::Complete, &v1::CompleteRequest { results });
        reply.outcomes[0].clone()
    }

    /// Enqueues an execution and completes it.
    pub(crate) fn finish(&mut self, request: &v1::EnqueueRequest) -> String {
        let id = self.make(request);
        let lease = self.lease("finisher", 1).remove(0);
        self.complete(&lease);
        id
    }

    pub(crate) fn get(&mut self, id: &str) -> v1::BackgroundExecution {
        let reply: v1::GetResponse = self.ask(Method::Get, &get(id));
        reply.execution.expect("its record")
    }
}

pub(crate) fn get(id: &str) -> v1::GetRequest {
    v1::GetRequest {
        tenant_id: "acme".into(),
        execution_id: id.into(),
        view: 0,
    }
}

pub(crate) fn request(input: &str) -> v1::EnqueueRequest {
    v1::EnqueueRequest {
        tenant_id: "acme".into(),
        callable_name: "mail".into(),
        input: Some(input.into()),
        ..Default::default()
    }
}

pub(crate) fn lease_request(worker: &str, most: u32) -> v1::LeaseRequest {
    v1::LeaseRequest {
        worker_id: worker.into(),
        callables: vec!["*".into()],
        max_executions: most,
        ..Default::default()
    }
}

pub(crate) fn lease_ref(lease: &v1::Lease) -> v1::LeaseRef {
    let record = lease.execution.as_ref().expect("its record");
    v1::LeaseRef {
        execution_id: record.execution_id.clone(),
        lease_token: lease.lease_token.clone(),
    }
}

pub(crate) fn result(lease: &v1::Lease) -> v1::CompleteResult {
    let v1::LeaseRef {
        execution_id,
        lease_token,
    } = lease_ref(lease);
    v1::CompleteResult {
        execution_id,
        lease_token,
        output: None,
    }
}

pub(crate) fn input_of(lease: &v1::Lease) -> &str {
    let record = lease.execution.as_ref().expect("its record");
    record.input.as_deref().unwrap_or_default()
}

pub(crate) fn outcome(outcome: &v1::LeaseOutcome) -> String {
    match &outcome.outcome {
        Some(v1::lease_outcome::Outcome::Result(result)) => {
            result.status().as_str_name()["BACKGROUND_EXECUTION_STATUS_".len()..].to_lowercase()
        }
        Some(v1::lease_outcome::Outcome::Status(status)) => api::reason_of(status),
        None => "nothing".into(),
    }
}
