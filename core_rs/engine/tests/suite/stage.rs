//! The stage: plays the lines of a scenario on an engine.
//!
//! Owns what each verb does and the words of its reply. Refuses to compare replies with the
//! expectations of a scenario: `scenarios` does.

mod over;

use std::collections::BTreeMap;
use std::sync::Arc;

use backlane_engine::command::{Dependency, Held, NewExecution, Report};
use backlane_engine::reply::{Granted, LeaseEnds, Made, Settled};
use backlane_engine::rules::id::{Birth, ExecutionId, LeaseToken};
use backlane_engine::rules::limits::Limits;

use crate::audit::{assert_same, refold};
use crate::script::{Line, Word, duration, find, instant};
use crate::view::{relative, show};
use crate::words::{Answer, cancellation, dedup_policy, failure, refused, request, set_retry};
use crate::world::{World, new_execution, offer, visible};

pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) names: BTreeMap<String, Birth>,
    tokens: BTreeMap<(Birth, u32), LeaseToken>,
    attempts: BTreeMap<Birth, u32>,
    // What each execution was enqueued with.
    made: BTreeMap<Birth, NewExecution>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let world = World::new(Limits::default());
        let (names, tokens, attempts) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self {
            world,
            names,
            tokens,
            attempts,
            made: BTreeMap::new(),
        }
    }

    /// Plays one line, then builds the state from the whole log again and compares.
    pub(crate) fn play(&mut self, line: &Line) -> Answer {
        let answer = match &*line.verb {
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
            "dead_letters" => self.dead_letters(line),
            "task" => self.task(line),
            "limit" => self.limit(line),
            "store" => self.store(line),
            "advance" => self.advance(line),
            "restart" => self.restart(line),
            "explain" => self.explain(line),
            "expect" => self.expect(line),
            "peek" => self.peek(line),
            "stats" => self.stats(line),
            verb => panic!("no verb is called {verb}"),
        };
        assert_same(&refold(&self.world.audit.log), self.world.engine.state());
        answer
    }

    fn settings(&mut self, line: &Line) -> Answer {
        let most = line
            .get("max_queue_per_tenant")
            .expect("the one setting there is");
        let max_queue_per_tenant = most.parse().expect("a number");
        self.world = World::new(Limits {
            max_queue_per_tenant,
            ..Limits::default()
        });
        Answer::default()
    }

    fn enqueue(&mut self, line: &Line) -> Answer {
        let new = self.new_execution(&line.words, &[]);
        match self.world.enqueue(&new) {
            Ok(made) => {
                self.made.entry(made.birth).or_insert(new);
                Answer::word(self.met(line.plain(0), made))
            }
            Err(refusal) => refused(&refusal),
        }
    }

    fn spawn(&mut self, line: &Line) -> Answer {
        let new = self.new_execution(&line.words, &[]);
        let parent = self.names[line.get("parent").expect("a parent")];
        let parent = self.held_by(parent, line.get("token"));
        let step = line.get("step").map(crate::stage_runs::step);
        match self.world.spawn_in(step, &new, &parent) {
            Ok(made) => Answer::word(self.met(line.plain(0), made)),
            Err(refusal) => refused(&refusal),
        }
    }

    fn batch(&mut self, line: &Line) -> Answer {
        let parts: Vec<&[Word]> = line.words.split(|word| word.value == ";").collect();
        let request = find(parts[0], "request_id").map(|id| request("batch", id, &line.words));
        let items: Vec<_> = parts[1..]
            .iter()
            .map(|words| self.new_execution(words, &parts[1..]))
            .collect();
        match self.world.enqueue_batch(&items, request.as_ref()) {
            Ok((made, whole)) => {
                let repeated = whole.then(|| "repeated".to_owned()).into_iter();
                let named = parts[1..].iter().map(|words| &*words[0].value).zip(made);
                let met: Vec<_> = named.map(|(name, made)| self.met(name, made)).collect();
                let words = repeated.chain(met).collect();
                Answer {
                    words,
                    ..Answer::default()
                }
            }
            Err(refusal) => refused(&refusal),
        }
    }

    /// Binds a name to the execution of an enqueue, and says whether it is new.
    fn met(&mut self, name: &str, made: Made) -> String {
        let known = self.names.iter().find(|(_, birth)| **birth == made.birth);
        let known = known.map(|(known, _)| known.clone());
        self.names.insert(name.to_owned(), made.birth);
        match known.filter(|_| made.existing) {
            Some(known) => format!("existing:{known}"),
            None => "new".to_owned(),
        }
    }

    /// The execution that words describe. `batch` has the words of all items, if it is in a batch.
    fn new_execution(&self, words: &[Word], batch: &[&[Word]]) -> NewExecution {
        let mut new = new_execution("acme", "mail");
        for (key, value) in words
            .iter()
            .filter_map(|word| Some((word.key.as_ref()?, &*word.value)))
        {
            self.set(&mut new, key, value);
        }
        let after = find(words, "after")
            .into_iter()
            .flat_map(|all| all.split(','));
        new.depends_on = after.map(|name| self.dependency(name, batch)).collect();
        new.request = find(words, "request_id").map(|id| request(&new.tenant, id, words));
        new
    }

    /// A dependency: an item of the same batch, or an execution that has a name already.
    fn dependency(&self, name: &str, batch: &[&[Word]]) -> Dependency {
        match batch.iter().position(|words| words[0].value == name) {
            Some(item) => Dependency::Item(u32::try_from(item).expect("few items")),
            None if name == "nothing" => Dependency::Execution(unknown_id()),
            None => Dependency::Execution(self.world.id(self.names[name])),
        }
    }

    fn set(&self, new: &mut NewExecution, key: &str, value: &str) {
        let at = || Some(instant(value, self.world.now.wall_ms));
        match key {
            "tenant" => new.tenant = visible(value),
            "callable" => new.callable = value.into(),
            "priority" => new.priority = value.parse().expect("0 to 255"),
            "timeout" => new.policy.timeout_ms = duration(value),
            "max_worker_losses" => new.policy.max_worker_losses = value.parse().expect("a number"),
            "not_before" => new.not_before_ms = at(),
            "delay" => new.not_before_ms = Some(self.world.now.wall_ms + duration(value)),
            "start_deadline" => new.start_deadline_ms = at(),
            "deadline" => new.deadline_ms = at(),
            "dedup_key" => new.dedup_key = Some(value.into()),
            "dedup_policy" => new.dedup_policy = dedup_policy(value),
            "policy" => new.policy.cancellation = cancellation(value),
            "input" | "request_id" | "after" | "parent" | "step" | "token" => {}
            _ => set_retry(new.policy.retry.get_or_insert_default(), key, value),
        }
    }

    fn lease(&mut self, line: &Line) -> Answer {
        let most: usize = line.get("max").unwrap_or("1").parse().expect("a number");
        let period_ms = duration(line.get("duration").unwrap_or("30s"));
        let callables: Vec<_> = line.get("callables").unwrap_or("*").split(',').collect();
        let mut spec = offer(&callables);
        if let Some(tenants) = line.get("tenants") {
            let named = tenants.split(',').map(Into::into).collect();
            spec.tenants = backlane_engine::rules::access::TenantScope::Only(named);
        }
        let mut answer = Answer::default();
        while answer.words.len() < most {
            let worker = line.plain(0);
            let Some(granted) = self.world.lease_for(worker, spec.clone(), period_ms) else {
                break;
            };
            answer.words.push(self.granted(&granted));
            answer = answer.with("attempt", &granted.attempt);
            let ends = [granted.expires_at_ms, granted.attempt_deadline_ms];
            let [expires, times_out] = ends.map(|at| relative(at, self.world.now.wall_ms));
            answer = answer
                .with("expires", &expires)
                .with("attempt_deadline", &times_out);
            answer = answer
                .with("lease_left", &relative(granted.holding.duration_ms, 0))
                .with("attempt_left", &relative(granted.timeout_ms, 0))
                .with("steps", &self.steps_of_lease(granted.birth));
        }
        if answer.words.is_empty() {
            Answer::word("nothing")
        } else {
            answer
        }
    }

    fn granted(&mut self, granted: &Granted) -> String {
        self.tokens
            .insert((granted.birth, granted.attempt), granted.holding.token);
        self.attempts.insert(granted.birth, granted.attempt);
        self.name_of(granted.birth)
    }

    pub(crate) fn name_of(&self, birth: Birth) -> String {
        let named = self.names.iter().find(|(_, known)| **known == birth);
        named.map_or_else(|| birth.to_string(), |(name, _)| name.clone())
    }

    pub(crate) fn birth(&self, line: &Line) -> Birth {
        let name = line.plain(0);
        *self
            .names
            .get(name)
            .unwrap_or_else(|| panic!("nothing is called {name}"))
    }

    pub(crate) fn held(&self, line: &Line) -> Held {
        self.held_by(self.birth(line), line.get("token"))
    }

    fn held_by(&self, birth: Birth, token: Option<&str>) -> Held {
        let token = match token {
            Some("garbage") => None,
            Some(attempt) => {
                Some(self.tokens[&(birth, attempt.parse().expect("an attempt's number"))])
            }
            None => Some(self.tokens[&(birth, self.attempts[&birth])]),
        };
        Held {
            id: self.world.id(birth),
            token,
        }
    }

    fn settle(&mut self, line: &Line) -> Answer {
        let held = self.held(line);
        let settled = match &*line.verb {
            "renew" => self.world.renew(&held, line.get("duration").map(duration)),
            "complete" => {
                let output = line.get("output").unwrap_or("null").as_bytes();
                self.world
                    .report(&held, &Report::Completed(Arc::from(output)))
            }
            "fail" => self
                .world
                .report(&held, &Report::Failed(Box::new(failure(line)))),
            _ => self.world.report(&held, &Report::Released),
        };
        settled.map_or_else(|refusal| refused(&refusal), |settled| self.settled(settled))
    }

    pub(crate) fn settled(&self, settled: Settled) -> Answer {
        let answer = Answer::word(settled.status.name());
        let answer = answer
            .with("cancel_requested", &settled.cancel_requested)
            .with("pause_requested", &settled.pause_requested);
        match settled.expires_at_ms.zip(settled.ends) {
            Some((at_ms, ends)) => {
                let answer = answer.with("expires", &relative(at_ms, self.world.now.wall_ms));
                self.with_ends(answer, ends)
            }
            None => answer,
        }
    }

    fn with_ends(&self, answer: Answer, ends: LeaseEnds) -> Answer {
        let left = |until_ms| relative(until_ms, self.world.now.mono_ms);
        answer
            .with("lease_left", &left(ends.lease_ms))
            .with("attempt_left", &left(ends.attempt_ms))
    }

    fn cancel(&mut self, line: &Line) -> Answer {
        let birth = self.birth(line);
        let tenant = line.get("tenant").unwrap_or("acme");
        match self.world.cancel(tenant, self.world.id(birth)) {
            Ok(()) => Answer::word(show(&self.world, birth, "status")),
            Err(refusal) => refused(&refusal),
        }
    }

    fn limit(&mut self, line: &Line) -> Answer {
        let most = line.get("max").filter(|most| *most != "none");
        let most = most.map(|most| most.parse().expect("a number"));
        let tenant = line.get("tenant").unwrap_or("acme");
        self.world.set_limit(tenant, line.get("callable"), most);
        Answer::default()
    }

    fn store(&mut self, line: &Line) -> Answer {
        self.world.engine.set_store_is_full(line.plain(0) == "full");
        Answer::default()
    }

    fn advance(&mut self, line: &Line) -> Answer {
        self.world.advance(duration(line.plain(0)));
        Answer::default()
    }

    fn restart(&mut self, line: &Line) -> Answer {
        self.world
            .restart(duration(line.get("downtime").unwrap_or("0ms")));
        Answer::default()
    }

    fn expect(&self, line: &Line) -> Answer {
        let birth = self.birth(line);
        let field = |key: &str| match key {
            "retried_from" => self.retried_from(birth),
            _ => show(&self.world, birth, key),
        };
        let shown = line.keyed().map(|(key, _)| (key.into(), field(key)));
        Answer {
            words: Vec::new(),
            fields: shown.collect(),
        }
    }

    fn peek(&self, line: &Line) -> Answer {
        let callables: Vec<_> = line.get("callables").unwrap_or("*").split(',').collect();
        let most = line
            .get("limit")
            .unwrap_or("100")
            .parse()
            .expect("a number");
        let tenant = line.get("tenant").unwrap_or("acme");
        let (engine, now) = (&self.world.engine, self.world.now);
        let next = engine.peek(&visible(tenant), &offer(&callables), most, now);
        Answer::names(next.into_iter().map(|birth| self.name_of(birth)).collect())
    }

    fn stats(&self, line: &Line) -> Answer {
        let state = self.world.engine.state();
        let tenant = state
            .tenants()
            .by_name(line.get("tenant").unwrap_or("acme"));
        let counts = tenant
            .map(|tenant| state.counts(tenant))
            .unwrap_or_default();
        let oldest = tenant.and_then(|tenant| state.oldest_queued_at_ms(tenant));
        let oldest = oldest.map(|at_ms| relative(at_ms, self.world.now.wall_ms));
        Answer::default()
            .with("ready", &counts.ready)
            .with("pending", &counts.pending)
            .with("retrying", &counts.retrying)
            .with("running", &counts.running)
            .with("suspended", &counts.suspended)
            .with("held", &counts.held)
            .with("ending", &counts.ending)
            .with("oldest", &oldest.unwrap_or_else(|| "none".to_owned()))
    }
}

/// The id of an execution that never was.
const fn unknown_id() -> ExecutionId {
    ExecutionId {
        seconds: 1,
        birth: 1_000_000,
        salt: 1,
        random: 1,
    }
}
