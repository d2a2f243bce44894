//! The stage: plays the lines of a scenario on a shard, each verb as a call.
//!
//! Owns what each verb does and the words of its reply. Refuses to compare replies with
//! expectations.

mod kin;
mod over;

use std::collections::BTreeMap;

use backlane_engine::rules::limits::Limits;
use backlane_runtime::{CompletionKind, Input, Method, Settings};
use backlane_sim::api::{millis, rpc, v1};
use prost::Message;

use crate::desk::{Desk, lease_ref};
use crate::json;
use crate::script::{Line, Word, duration, find};
use crate::spoken::{cancel, enqueue, failure, lease};
use crate::stage_runs::listed;
use crate::view::{seen, show, status};

/// The reply to a line.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) words: Vec<String>,
    pub(crate) fields: BTreeMap<String, String>,
}

impl Answer {
    pub(crate) fn words(words: Vec<String>) -> Self {
        let words = if words.is_empty() {
            vec!["nothing".into()]
        } else {
            words
        };
        Self {
            words,
            ..Self::default()
        }
    }

    pub(crate) fn with(mut self, key: &str, value: &impl ToString) -> Self {
        self.fields.insert(key.to_owned(), value.to_string());
        self
    }
}

/// An error, in words: its reason and its variables.
fn refused(error: &rpc::Status) -> Answer {
    let mut answer = Answer::words(vec!["error".into(), backlane_sim::api::reason_of(error)]);
    for detail in &error.details {
        if detail.type_url.ends_with("/google.rpc.ErrorInfo") {
            let info = rpc::ErrorInfo::decode(&*detail.value).expect("an ErrorInfo");
            answer.fields.extend(info.metadata);
        }
    }
    answer
}

pub(crate) struct Stage {
    desk: Desk,
    pub(crate) ids: BTreeMap<String, (String, String)>,
    tokens: BTreeMap<(String, u32), String>,
    newest: BTreeMap<String, u32>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let desk = Desk::new();
        let (ids, tokens, newest) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self {
            desk,
            ids,
            tokens,
            newest,
        }
    }

    pub(crate) fn play(&mut self, line: &Line) -> Answer {
        match &*line.verb {
            "needs" => Answer::default(),
            "settings" => self.settings(line),
            "enqueue" => self.enqueue(line),
            "batch" => self.batch(line),
            "spawn" => self.spawn(line),
            "lease" => self.lease(line),
            "renew" | "complete" | "fail" | "release" => self.settle(line),
            "progress" => self.progress(line),
            "cancel" => self.cancel(line),
            "steps" => self.steps(line),
            "suspend" => self.suspend(line),
            "input" => self.input(line),
            "pause" | "resume" => self.control(line),
            "run" => self.run(line),
            "redrive" => self.redrive(line),
            "discard" => self.discard(line),
            "delete" => self.delete(line),
            "find" => self.find(line),
            "count" => self.count(line),
            "dead_letters" => self.dead_letters(line),
            "task" => self.task(line),
            "limit" => self.limit(line),
            "store" => self.store(line),
            "advance" => self.advance(duration(line.plain(0))),
            "restart" => self.restart(duration(line.get("downtime").unwrap_or("0ms"))),
            "explain" => self.explain(line),
            "expect" => self.expect(line),
            "peek" => self.peek(line),
            "stats" => self.stats(line),
            verb => panic!("no verb is called {verb}"),
        }
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.desk.now.wall_ms
    }

    pub(crate) fn ask<R: Message + Default>(
        &mut self,
        method: Method,
        request: &impl Message,
    ) -> Result<R, Answer> {
        let ticket = self.desk.call(method, request);
        self.desk.settle();
        match self.desk.next(ticket) {
            Some(CompletionKind::Reply(bytes)) => Ok(R::decode(&*bytes).expect("a reply")),
            Some(CompletionKind::Error { status, .. }) => {
                Err(refused(&rpc::Status::decode(&*status).expect("a status")))
            }
            other => panic!("{other:?}"),
        }
    }

    fn settings(&mut self, line: &Line) -> Answer {
        let most = line.get("max_queue_per_tenant").expect("the one setting");
        let limits = Limits {
            max_queue_per_tenant: most.parse().expect("a number"),
            ..Limits::default()
        };
        self.desk = Desk::with(Settings {
            limits,
            ..Settings::default()
        });
        Answer::default()
    }

    fn enqueue(&mut self, line: &Line) -> Answer {
        let mut request = enqueue(&line.words, self.desk.now.wall_ms);
        self.depend(&mut request, &line.words, &[]);
        match self.ask::<v1::EnqueueResponse>(Method::Enqueue, &request) {
            Ok(reply) => Answer::words(vec![self.met(line.plain(0), reply)]),
            Err(refused) => refused,
        }
    }

    fn batch(&mut self, line: &Line) -> Answer {
        let parts: Vec<&[Word]> = line.words.split(|word| word.value == ";").collect();
        let now_ms = self.desk.now.wall_ms;
        let items = parts[1..].iter().map(|words| {
            let mut item = enqueue(words, now_ms);
            self.depend(&mut item, words, &parts[1..]);
            item
        });
        let items = items.collect();
        let request = v1::EnqueueBatchRequest {
            tenant_id: "acme".into(),
            items,
            request_id: find(parts[0], "request_id").unwrap_or_default().into(),
        };
        match self.ask::<v1::EnqueueBatchResponse>(Method::EnqueueBatch, &request) {
            Ok(reply) => {
                let repeated = reply.existing.then(|| "repeated".to_owned());
                let named = parts[1..].iter().map(|words| &*words[0].value);
                let met = named.zip(reply.results);
                let met: Vec<_> = met.map(|(name, made)| self.met(name, made)).collect();
                Answer::words(repeated.into_iter().chain(met).collect())
            }
            Err(refused) => refused,
        }
    }

    /// Binds a name to the execution of an enqueue, and says whether it is new.
    fn met(&mut self, name: &str, made: v1::EnqueueResponse) -> String {
        let record = made.execution.expect("its record");
        let known = self.name_of(&record.execution_id);
        let bound = (record.tenant_id, record.execution_id);
        self.ids.insert(name.to_owned(), bound);
        match known.filter(|_| made.existing) {
            Some(known) => format!("existing:{known}"),
            None => "new".to_owned(),
        }
    }

    pub(crate) fn name_of(&self, id: &str) -> Option<String> {
        let named = self.ids.iter().find(|(_, (_, known))| known == id);
        named.map(|(name, _)| name.clone())
    }

    pub(crate) fn named(&self, line: &Line) -> (String, String) {
        let name = line.plain(0);
        let bound = self.ids.get(name);
        bound
            .unwrap_or_else(|| panic!("nothing is called {name}"))
            .clone()
    }

    fn lease(&mut self, line: &Line) -> Answer {
        let reply: v1::LeaseResponse = match self.ask(Method::Lease, &lease(line)) {
            Ok(reply) => reply,
            Err(refused) => return refused,
        };
        let now_ms = self.desk.now.wall_ms;
        let mut names = Vec::new();
        for lease in &reply.leases {
            let held = lease_ref(lease);
            names.push(self.name_of(&held.execution_id).unwrap_or_default());
            self.newest.insert(held.execution_id.clone(), lease.attempt);
            self.tokens
                .insert((held.execution_id, lease.attempt), held.lease_token);
        }
        let answer = Answer::words(names);
        let Some(last) = reply.leases.last() else {
            return answer;
        };
        let at = |at: &Option<prost_types::Timestamp>| {
            at.as_ref()
                .map_or_else(String::new, |at| seen(millis(at), now_ms))
        };
        answer
            .with("attempt", &last.attempt)
            .with("expires", &at(&last.lease_expires_at))
            .with("attempt_deadline", &at(&last.attempt_deadline))
            .with("lease_left", &left(last.lease_remaining_ms))
            .with("attempt_left", &left(last.attempt_remaining_ms))
            .with("steps", &listed(&last.steps))
    }

    pub(crate) fn held(&self, line: &Line) -> v1::LeaseRef {
        let (_, execution_id) = self.named(line);
        self.held_by(execution_id, line.get("token"))
    }

    fn held_by(&self, execution_id: String, token: Option<&str>) -> v1::LeaseRef {
        let lease_token = match token {
            Some("garbage") => "garbage".to_owned(),
            Some(attempt) => {
                let attempt = attempt.parse().expect("an attempt's number");
                self.tokens[&(execution_id.clone(), attempt)].clone()
            }
            None => {
                let newest = self.newest[&execution_id];
                self.tokens[&(execution_id.clone(), newest)].clone()
            }
        };
        v1::LeaseRef {
            execution_id,
            lease_token,
        }
    }

    fn settle(&mut self, line: &Line) -> Answer {
        let held = self.held(line);
        let reply: Result<v1::CompleteResponse, Answer> = match &*line.verb {
            "renew" => {
                let request = v1::RenewLeasesRequest {
                    leases: vec![held],
                    lease_duration_ms: line.get("duration").map_or(0, duration),
                };
                self.ask(Method::RenewLeases, &request)
            }
            "complete" => {
                let result = v1::CompleteResult {
                    execution_id: held.execution_id,
                    lease_token: held.lease_token,
                    output: line.get("output").map(json::read),
                };
                let results = vec![result];
                self.ask(Method::Complete, &v1::CompleteRequest { results })
            }
            "fail" => {
                let failures = vec![failure(line, held)];
                self.ask(Method::Fail, &v1::FailRequest { failures })
            }
            _ => {
                let releases = vec![held];
                self.ask(Method::Release, &v1::ReleaseRequest { releases })
            }
        };
        reply.map_or_else(|refused| refused, |reply| self.settled(&reply.outcomes[0]))
    }

    pub(crate) fn settled(&self, outcome: &v1::LeaseOutcome) -> Answer {
        match &outcome.outcome {
            Some(v1::lease_outcome::Outcome::Result(result)) => {
                let answer = Answer::words(vec![status(result.status())]);
                let answer = answer
                    .with("cancel_requested", &result.cancel_requested)
                    .with("pause_requested", &result.pause_requested);
                let expires = result.lease_expires_at.as_ref().map(millis);
                let now_ms = self.desk.now.wall_ms;
                match expires {
                    Some(at_ms) => answer
                        .with("expires", &seen(at_ms, now_ms))
                        .with("lease_left", &left(result.lease_remaining_ms))
                        .with("attempt_left", &left(result.attempt_remaining_ms)),
                    None => answer,
                }
            }
            Some(v1::lease_outcome::Outcome::Status(status)) => refused(status),
            None => panic!("no outcome"),
        }
    }

    fn cancel(&mut self, line: &Line) -> Answer {
        let (_, id) = self.named(line);
        match self.ask::<v1::CancelResponse>(Method::Cancel, &cancel(line, id)) {
            Ok(reply) => Answer::words(vec![status(reply.execution.expect("a record").status())]),
            Err(refused) => refused,
        }
    }

    fn limit(&mut self, line: &Line) -> Answer {
        let most = line.get("max").filter(|most| *most != "none");
        let most = most.map(|most| most.parse().expect("a number"));
        let tenant = line.get("tenant").unwrap_or("acme").into();
        let callable = line.get("callable").map(Into::into);
        let now = self.desk.now;
        self.desk
            .shard
            .engine_mut()
            .set_limit(
                backlane_engine::fact::Actor::engine(),
                tenant,
                callable,
                most,
                now,
            )
            .expect("a limit can be set");
        self.desk.settle();
        Answer::default()
    }

    fn store(&mut self, line: &Line) -> Answer {
        let room_bytes = if line.plain(0) == "full" { 0 } else { u64::MAX };
        self.desk.send(Input::Room(room_bytes));
        Answer::default()
    }

    /// Advances the clocks, with a stop at every time at which a change is due.
    fn advance(&mut self, ms: u64) -> Answer {
        let mut left = ms;
        while left > 0 {
            let wake = self.desk.shard.wake_in_ms(self.desk.now);
            let step = wake.unwrap_or(left).clamp(1, left);
            self.desk.advance(step);
            self.desk.settle();
            left -= step;
        }
        Answer::default()
    }

    fn restart(&mut self, downtime_ms: u64) -> Answer {
        self.desk.settle();
        self.desk.now.wall_ms += downtime_ms;
        self.desk.now.mono_ms = 7;
        self.desk.restart();
        self.desk.learn_requests();
        self.desk.settle();
        Answer::default()
    }

    fn expect(&mut self, line: &Line) -> Answer {
        let (tenant_id, execution_id) = self.named(line);
        let request = v1::GetRequest {
            tenant_id,
            execution_id,
            view: 0,
        };
        let reply: v1::GetResponse = match self.ask(Method::Get, &request) {
            Ok(reply) => reply,
            Err(refused) => return refused,
        };
        let record = reply.execution.expect("its record");
        let now_ms = self.desk.now.wall_ms;
        let from = record.retried_from.as_ref();
        let from = from.and_then(|id| self.name_of(id));
        let field = |key: &str| match (key, &from) {
            ("retried_from", Some(from)) => from.clone(),
            _ => show(&record, key, now_ms),
        };
        let shown = line.keyed().map(|(key, _)| (key.into(), field(key)));
        Answer {
            words: Vec::new(),
            fields: shown.collect(),
        }
    }

    fn peek(&mut self, line: &Line) -> Answer {
        let callables = line.get("callables").unwrap_or("*").split(',');
        let request = v1::PeekRequest {
            tenant_id: line.get("tenant").unwrap_or("acme").into(),
            limit: line
                .get("limit")
                .unwrap_or("100")
                .parse()
                .expect("a number"),
            callables: callables.map(Into::into).collect(),
        };
        match self.ask::<v1::PeekResponse>(Method::Peek, &request) {
            Ok(reply) => {
                let named = reply.executions.iter();
                let named = named.filter_map(|record| self.name_of(&record.execution_id));
                Answer::words(named.collect())
            }
            Err(refused) => refused,
        }
    }

    fn stats(&mut self, line: &Line) -> Answer {
        let tenant_id = line.get("tenant").unwrap_or("acme").into();
        let request = v1::GetQueueStatsRequest { tenant_id };
        let reply = self.ask::<v1::GetQueueStatsResponse>(Method::GetQueueStats, &request);
        let reply = match reply {
            Ok(reply) => reply,
            Err(refused) => return refused,
        };
        let oldest = reply.oldest_queued_at.as_ref().map(millis);
        let oldest = oldest.map(|at_ms| seen(at_ms, self.desk.now.wall_ms));
        Answer::default()
            .with("ready", &reply.ready)
            .with("pending", &reply.pending)
            .with("retrying", &reply.retrying)
            .with("running", &reply.running)
            .with("suspended", &reply.suspended)
            .with("held", &reply.held)
            .with("ending", &reply.ending)
            .with("oldest", &oldest.unwrap_or_else(|| "none".into()))
    }
}

/// A remaining time of a reply.
fn left(remaining_ms: Option<u64>) -> String {
    seen(remaining_ms.expect("a remaining time"), 0)
}
