//! Producers: enqueue, read, wait and cancel, and repeat calls that were not answered.
//!
//! Owns the actions and the memory of producers. Refuses to judge replies: the judge did so when
//! the server sent them.

use backlane_runtime::{Input, Method, Principal};
use prost::Message as _;

use crate::api::{span, v1};
use crate::asked::Asked;
use crate::judge::FILTERS;
use crate::requests::enqueue;
use crate::world::{Call, World, only};

pub(crate) const REMEMBERED: usize = 300;

impl World {
    /// Does one action of a producer.
    pub(crate) fn produce(&mut self) {
        if self.steer() {
            return;
        }
        match self.dice.below(100) {
            0..36 => self.enqueue_one(),
            36 => self.dead_letters(),
            37 => self.discard(),
            38..40 => self.redrive(),
            40..47 => self.enqueue_batch(),
            47..52 => self.run_one(),
            52..67 => self.enqueue_on_stream(),
            67..74 => self.get_one(),
            74 => self.delete(),
            75..79 => self.list(),
            79 => self.count(),
            80..85 => self.wait(),
            85..91 => self.cancel(),
            91..94 => self.peek(),
            94..96 => self.stats(),
            _ => self.intrude(),
        }
    }

    /// Repeats calls without a reply, with the same request ids.
    pub(crate) fn repeat(&mut self) {
        for call in self.impatient(60) {
            let again = match &call.asked {
                Asked::Enqueue(asked) => !asked.request_id.is_empty(),
                Asked::Batch(asked) => !asked.request_id.is_empty(),
                Asked::Redrive(asked) => !asked.request_id.is_empty(),
                Asked::Spawn(_)
                | Asked::Run(_)
                | Asked::Complete(_)
                | Asked::Fail(_)
                | Asked::Release(_)
                | Asked::Steps(_)
                | Asked::Suspend(_) => true,
                Asked::Input(asked) => !asked.request_id.is_empty(),
                _ => false,
            };
            if again && !call.intruder {
                self.call(call.asked, Principal::default(), call.worker);
            }
        }
    }

    fn request_id(&mut self) -> String {
        // Some request ids are reused on purpose, with any body.
        match self.dice.below(10) {
            0..3 => String::new(),
            3 => format!("again_{}", self.dice.below(30)),
            _ => format!("req_{:x}", self.dice.roll()),
        }
    }

    fn new_request(&mut self) -> v1::EnqueueRequest {
        let mut request = enqueue(&self.plan, &mut self.dice, self.now.wall_ms);
        request.request_id = self.request_id();
        request.depends_on = self.dependencies(&request.tenant_id);
        request
    }

    /// Some executions of a tenant, finished or not. Few requests name an execution of another
    /// tenant, and are refused.
    fn dependencies(&mut self, tenant: &str) -> Vec<String> {
        let mut ids = Vec::new();
        if !self.dice.chance(250) {
            return ids;
        }
        for _ in 0..self.dice.between(1, 3) {
            let foreign = self.dice.chance(20);
            let newest = self.known.iter().rev().take(40);
            let own = newest.filter(|(owner, _)| foreign || *owner == tenant);
            let own: Vec<_> = own.map(|(_, id)| id.clone()).collect();
            if !own.is_empty() {
                ids.push(self.dice.pick(&own).clone());
            }
        }
        ids
    }

    fn enqueue_one(&mut self) {
        let request = self.new_request();
        let principal = if self.dice.chance(500) {
            only(&request.tenant_id)
        } else {
            Principal::default()
        };
        let twice = self.dice.chance(50) && !request.request_id.is_empty();
        if twice {
            self.call(Asked::Enqueue(request.clone()), principal.clone(), None);
        }
        self.call(Asked::Enqueue(request), principal, None);
    }

    fn enqueue_batch(&mut self) {
        let request_id = self.request_id();
        let tenant_id = self.plan.names.tenant(&mut self.dice);
        let many = self.dice.between(1, self.plan.batch);
        let items = (0..many).map(|at| {
            let mut item = enqueue(&self.plan, &mut self.dice, self.now.wall_ms);
            item.tenant_id = String::new();
            if at > 0 && self.dice.chance(300) {
                let earlier = u32::try_from(self.dice.below(at)).unwrap_or(0);
                item.depends_on_items = vec![earlier, 0];
            }
            item
        });
        let items = items.collect();
        let request = v1::EnqueueBatchRequest {
            tenant_id,
            items,
            request_id,
        };
        self.call(Asked::Batch(request), Principal::default(), None);
    }

    fn run_one(&mut self) {
        let request_id = format!("run_{:x}", self.dice.roll());
        let enqueue = v1::EnqueueRequest {
            request_id,
            ..self.new_request()
        };
        let timeout = Some(span(self.dice.below(60_000)));
        let request = v1::RunRequest {
            enqueue: Some(enqueue),
            timeout,
        };
        self.call(Asked::Run(request), Principal::default(), None);
    }

    fn enqueue_on_stream(&mut self) {
        let open = self
            .streams
            .iter()
            .find(|(_, stream)| stream.open && stream.work.is_none());
        let ticket = match open.map(|(ticket, _)| *ticket) {
            Some(ticket) => ticket,
            None => self.open(Method::EnqueueStream, None),
        };
        let many = self.dice.between(1, 6);
        let items: Vec<_> = (0..many).map(|_| self.new_request()).collect();
        if let Some(stream) = self.streams.get_mut(&ticket) {
            stream.enqueues.extend(items.iter().cloned());
        }
        let bytes = v1::EnqueueStreamRequest { items }.encode_to_vec();
        self.on_stream(ticket, Input::Frame(ticket, bytes));
        match self.dice.below(40) {
            0 => {
                self.on_stream(ticket, Input::HalfClose(ticket));
                self.stream_over(ticket);
            }
            1 => {
                self.on_stream(ticket, Input::Close(ticket));
                self.stream_over(ticket);
            }
            _ => {}
        }
    }

    pub(crate) fn some_known(&mut self) -> Option<(String, String)> {
        let many = self.known.len();
        (many > 0).then(|| self.known[self.dice.index(many)].clone())
    }

    fn get_one(&mut self) {
        let Some((tenant_id, execution_id)) = self.some_known() else {
            return;
        };
        let view = i32::try_from(self.dice.below(3)).unwrap_or(0);
        let principal = only(&tenant_id);
        let request = v1::GetRequest {
            tenant_id,
            execution_id,
            view,
        };
        self.call(Asked::Get(request), principal, None);
    }

    fn list(&mut self) {
        let request = v1::ListRequest {
            tenant_id: self.plan.names.tenant(&mut self.dice),
            status: i32::try_from(self.dice.below(7)).unwrap_or(0),
            page_size: u32::try_from(self.dice.between(1, 40)).unwrap_or(1),
            view: i32::try_from(self.dice.below(3)).unwrap_or(0),
            filter: self.filter(),
            ..Default::default()
        };
        self.call(Asked::List(request), Principal::default(), None);
    }

    fn wait(&mut self) {
        let Some((tenant_id, first)) = self.some_known() else {
            return;
        };
        let mut execution_ids = vec![first];
        for _ in 0..self.dice.below(4) {
            // Another tenant's ids are not found, and count as ended.
            if let Some((_, id)) = self.some_known()
                && !execution_ids.contains(&id)
            {
                execution_ids.push(id);
            }
        }
        let wait_for = i32::try_from(self.dice.between(0, 3)).unwrap_or(0);
        let many = execution_ids.len() as u64;
        let count = if wait_for == 3 {
            self.dice.between(1, many)
        } else {
            0
        };
        let request = v1::WaitRequest {
            tenant_id,
            execution_ids,
            wait_for,
            count: u32::try_from(count).unwrap_or(0),
            timeout: Some(span(self.dice.below(3) * 20_000)),
        };
        self.call(Asked::Wait(request), Principal::default(), None);
    }

    fn cancel(&mut self) {
        let Some((tenant_id, execution_id)) = self.some_known() else {
            return;
        };
        let request = v1::CancelRequest {
            tenant_id,
            execution_id,
        };
        self.call(Asked::Cancel(request), Principal::default(), None);
    }

    fn peek(&mut self) {
        let request = v1::PeekRequest {
            tenant_id: self.plan.names.tenant(&mut self.dice),
            limit: u32::try_from(self.dice.between(1, 20)).unwrap_or(1),
            callables: vec![self.plan.names.callable(&mut self.dice)],
        };
        self.call(Asked::Peek(request), Principal::default(), None);
    }

    fn stats(&mut self) {
        let tenant_id = self.plan.names.tenant(&mut self.dice);
        let request = v1::GetQueueStatsRequest { tenant_id };
        self.call(Asked::Stats(request), Principal::default(), None);
    }

    fn dead_letters(&mut self) {
        let request = v1::ListDeadLettersRequest {
            tenant_id: self.plan.names.tenant(&mut self.dice),
            page_size: u32::try_from(self.dice.between(1, 40)).unwrap_or(1),
            view: i32::try_from(self.dice.below(3)).unwrap_or(0),
            ..Default::default()
        };
        self.call(Asked::DeadLetters(request), Principal::default(), None);
    }

    fn discard(&mut self) {
        let Some((tenant_id, execution_id)) = self.some_known() else {
            return;
        };
        let request = v1::DiscardDeadLettersRequest {
            tenant_id,
            execution_ids: vec![execution_id],
        };
        self.call(Asked::Discard(request), Principal::default(), None);
    }

    fn delete(&mut self) {
        let Some((tenant_id, execution_id)) = self.some_known() else {
            return;
        };
        let request = v1::DeleteRequest {
            tenant_id,
            execution_id,
        };
        self.call(Asked::Delete(request), Principal::default(), None);
    }

    fn count(&mut self) {
        let request = v1::CountRequest {
            tenant_id: self.plan.names.tenant(&mut self.dice),
            filter: self.filter(),
        };
        self.call(Asked::Count(request), Principal::default(), None);
    }

    /// One of the filters that the judge knows, or none.
    pub(crate) fn filter(&mut self) -> String {
        let all = FILTERS.len() as u64;
        let index = usize::try_from(self.dice.below(2 * all)).unwrap_or(0);
        FILTERS.get(index).map_or("", |(text, _)| text).to_owned()
    }

    fn redrive(&mut self) {
        let Some((tenant_id, execution_id)) = self.some_known() else {
            return;
        };
        let input = self.dice.chance(300);
        let request = v1::RedriveRequest {
            tenant_id,
            execution_id,
            input: input.then(|| format!("again {:x}", self.dice.roll())),
            request_id: self.request_id(),
            restart: self.dice.chance(100),
            with_dependents: self.dice.chance(300),
            ..Default::default()
        };
        self.call(Asked::Redrive(request), Principal::default(), None);
    }

    /// Asks for another tenant's execution.
    fn intrude(&mut self) {
        let Some((owner, execution_id)) = self.some_known() else {
            return;
        };
        let mut tenants = self.plan.names.tenants.iter();
        let other = tenants.find(|tenant| **tenant != owner);
        let tenant_id = other.cloned().unwrap_or_default();
        let principal = only(&tenant_id);
        let asked = match self.dice.below(4) {
            0 => Asked::Get(v1::GetRequest {
                tenant_id,
                execution_id,
                view: 0,
            }),
            1 => Asked::Cancel(v1::CancelRequest {
                tenant_id,
                execution_id,
            }),
            2 => Asked::Get(v1::GetRequest {
                tenant_id: owner,
                execution_id,
                view: 0,
            }),
            _ => {
                let token = self
                    .tokens
                    .iter()
                    .rfind(|one| one.execution_id == execution_id);
                let token = token.map(|one| one.lease_token.clone()).unwrap_or_default();
                let lease = crate::asked::lease(&execution_id, &token);
                Asked::Release(v1::ReleaseRequest {
                    releases: vec![lease],
                })
            }
        };
        self.call_as(asked, principal, None, true);
    }

    /// Handles a reply that arrived.
    pub(crate) fn heard(&mut self, call: &Call, bytes: &[u8]) {
        match &call.asked {
            // A redrive is answered like an enqueue.
            Asked::Enqueue(_) | Asked::Run(_) | Asked::Redrive(_) => {
                if let Ok(reply) = v1::EnqueueResponse::decode(bytes) {
                    reply
                        .execution
                        .into_iter()
                        .for_each(|record| self.remember(record));
                }
            }
            Asked::Spawn(_) => {
                let reply = v1::SpawnResponse::decode(bytes).unwrap_or_default();
                if let Some(v1::spawn_response::Spawned::Execution(record)) = reply.spawned {
                    self.bear(&record);
                    self.remember(record);
                }
            }
            Asked::Batch(_) => {
                let results = v1::EnqueueBatchResponse::decode(bytes)
                    .unwrap_or_default()
                    .results;
                let records = results.into_iter().filter_map(|result| result.execution);
                records.for_each(|record| self.remember(record));
            }
            Asked::Lease(_) => {
                let leases = v1::LeaseResponse::decode(bytes).unwrap_or_default().leases;
                if let Some(worker) = call.worker {
                    self.got_leases(worker, &leases);
                }
            }
            _ => {}
        }
    }

    pub(crate) fn remember(&mut self, record: v1::BackgroundExecution) {
        if self.known.len() == REMEMBERED {
            let at = self.dice.index(REMEMBERED);
            self.known.swap_remove(at);
        }
        self.known.push((record.tenant_id, record.execution_id));
    }
}
