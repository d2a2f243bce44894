//! A world for one engine: a clock that tests move, a log, and the duties of a runtime.
//!
//! Owns the loop around the engine: due changes first, then the command, then the audit. Refuses to
//! judge the results of commands: the tests do.

use std::collections::BTreeMap;
use std::sync::Arc;

use backlane_engine::Engine;
use backlane_engine::command::{
    Cancel, Control, Discard, Held, Known, NewExecution, NewInput, OfferSpec, ProgressReport, Read,
    Redrive, Report, Request, SpawnStep, StepReport, Suspension, TakenStep, Taker,
};
use backlane_engine::decide::Speaker;
use backlane_engine::error::Refusal;
use backlane_engine::fact::{Actor, ExecutionChange, FactKind};
use backlane_engine::reply::{Granted, Made, Settled};
use backlane_engine::row::ActionContents;
use backlane_engine::rules::access::Principal;
use backlane_engine::rules::id::{Birth, ExecutionId, LeaseToken};
use backlane_engine::rules::limits::{Limits, RELEASE_PAUSE_MS};
use backlane_engine::rules::status::ActorKind;
use backlane_engine::rules::step::StepId;
use backlane_engine::time::Now;

use crate::audit::{Audit, finished as finished_of};
pub(crate) use crate::given::{completed, failed, new_execution, offer, retries, visible};

pub(crate) const START_MS: u64 = 1_800_000_000_000;
pub(crate) const LEASE_MS: u64 = 30_000;

pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) audit: Audit,
    pub(crate) now: Now,
    pub(crate) limits: Limits,
    epoch: u64,
    random: u64,
    pauses: BTreeMap<(Birth, Arc<str>), u64>,
}

impl World {
    pub(crate) fn new(limits: Limits) -> Self {
        let now = Now {
            wall_ms: START_MS,
            mono_ms: 1_000,
        };
        let audit = Audit::new();
        let engine = Engine::start(audit.refold(), 1, limits, now);
        Self {
            engine,
            audit,
            now,
            limits,
            epoch: 1,
            random: 0,
            pauses: BTreeMap::new(),
        }
    }

    /// Ends a step: appends the decisions to the log, sends the new leases and audits everything.
    pub(crate) fn settle(&mut self) {
        for decided in self.engine.take_decided() {
            let leased = leased(&decided.fact.kind);
            self.audit.follow(decided);
            if let Some((birth, token)) = leased
                && let Some(id) = self.engine.state().id(birth)
            {
                let token = Some(token);
                self.engine.sent(&Held { id, token }, self.now);
            }
        }
        self.audit.check(&self.engine);
    }

    pub(crate) fn tick(&mut self) {
        let looks = (0..10_000).take_while(|_| {
            let due = self.engine.tick(4, self.now);
            self.engine.step_agenda(3, self.now) || due
        });
        assert!(looks.count() < 10_000, "the same change stays due forever");
        self.settle();
    }

    /// Advances both clocks, with a stop at every time at which a change is due.
    pub(crate) fn advance(&mut self, ms: u64) {
        let until = self.now.mono_ms + ms;
        loop {
            let left = until - self.now.mono_ms;
            let (wall, mono) = self.engine.next_tick();
            let wall = wall.map(|at_ms| at_ms.saturating_sub(self.now.wall_ms));
            let mono = mono.map(|at_ms| at_ms.saturating_sub(self.now.mono_ms));
            let next = wall.into_iter().chain(mono).min();
            let step = next.map_or(left, |next| next.min(left));
            self.now.wall_ms += step;
            self.now.mono_ms += step;
            self.tick();
            if next.is_none_or(|next| next > left) || step == left {
                return;
            }
        }
    }

    /// Ends the process and starts it again: only the log survives, and the wall clock advances.
    pub(crate) fn restart(&mut self, downtime_ms: u64) {
        self.settle();
        self.now = Now {
            wall_ms: self.now.wall_ms + downtime_ms,
            mono_ms: 7,
        };
        self.epoch += 1;
        self.pauses.clear();
        self.engine = Engine::start(self.audit.refold(), self.epoch, self.limits, self.now);
        self.tick();
    }

    /// The rows that a store would have read for a command.
    pub(crate) fn known(&self) -> Known {
        let finished = self.audit.kept_ends();
        let finished = finished.map(|(birth, end)| (*birth, Read::Found(finished_of(end))));
        Known {
            finished: finished.collect(),
            requests: BTreeMap::new(),
        }
    }

    pub(crate) fn enqueue(&mut self, new: &NewExecution) -> Result<Made, Refusal> {
        self.tick();
        let made = self.engine.enqueue(new.clone(), &self.known(), self.now);
        self.settle();
        made
    }

    pub(crate) fn spawn(&mut self, new: &NewExecution, parent: &Held) -> Result<Made, Refusal> {
        self.spawn_in(None, new, parent)
    }

    /// Spawns a child as a step of its parent.
    pub(crate) fn spawn_in(
        &mut self,
        step: Option<StepId>,
        new: &NewExecution,
        parent: &Held,
    ) -> Result<Made, Refusal> {
        self.tick();
        let (known, principal) = (self.known(), Principal::default());
        let speaker = Speaker {
            principal: &principal,
            known: &known,
        };
        let contents = ActionContents::default();
        let step = step.map(|step| SpawnStep { step, contents });
        let engine = &mut self.engine;
        let made = engine.spawn(new.clone(), parent, step, speaker, self.now);
        self.settle();
        made
    }

    pub(crate) fn make(&mut self, new: &NewExecution) -> Birth {
        self.enqueue(new).expect("it is taken").birth
    }

    pub(crate) fn enqueue_batch(
        &mut self,
        items: &[NewExecution],
        request: Option<&Request>,
    ) -> Result<(Vec<Made>, bool), Refusal> {
        self.tick();
        let made = self
            .engine
            .enqueue_batch(items.to_vec(), request, &self.known(), self.now);
        self.settle();
        made
    }

    /// Leases one execution as a unary call does: the reply counts as arrived.
    pub(crate) fn lease(&mut self, worker: &str, offer: OfferSpec) -> Option<Granted> {
        self.lease_for(worker, offer, LEASE_MS)
    }

    pub(crate) fn lease_for(
        &mut self,
        worker: &str,
        offer: OfferSpec,
        duration_ms: u64,
    ) -> Option<Granted> {
        let granted = self.lease_unacknowledged(worker, offer, duration_ms)?;
        let id = self.id(granted.birth);
        let held = Held {
            id,
            token: Some(granted.holding.token),
        };
        self.engine.acknowledge(&held, self.now);
        Some(granted)
    }

    pub(crate) fn lease_unacknowledged(
        &mut self,
        worker: &str,
        offer: OfferSpec,
        duration_ms: u64,
    ) -> Option<Granted> {
        self.tick();
        let key = self.engine.acquire_offer(offer);
        let taker = Taker {
            worker: worker.into(),
            offer: key,
            duration_ms,
            principal: "".into(),
            stream: None,
            prefetches: false,
        };
        self.random += 1;
        let granted = self.engine.lease(&taker, self.random, self.now);
        self.engine.release_offer(key, self.now);
        self.settle();
        granted
    }

    pub(crate) fn report(&mut self, held: &Held, report: &Report) -> Result<Settled, Refusal> {
        self.tick();
        let holder = self.engine.state().holding(held.id.birth).cloned();
        let (known, principal) = (self.known(), Principal::default());
        let speaker = Speaker {
            principal: &principal,
            known: &known,
        };
        let settled = self.engine.report(held, report, speaker, self.now);
        if let (Some(holder), Report::Released, Ok(_)) = (holder, report, &settled)
            && Some(holder.token) == held.token
        {
            let until_ms = self.now.mono_ms + RELEASE_PAUSE_MS;
            self.pauses.insert((held.id.birth, holder.worker), until_ms);
        }
        self.settle();
        settled
    }

    pub(crate) fn report_steps(
        &mut self,
        held: &Held,
        report: StepReport,
    ) -> Result<Settled, Refusal> {
        self.tick();
        let (known, principal) = (self.known(), Principal::default());
        let speaker = Speaker {
            principal: &principal,
            known: &known,
        };
        let settled = self.engine.report_steps(held, report, speaker, self.now);
        self.settle();
        settled
    }

    pub(crate) fn suspend(
        &mut self,
        held: &Held,
        suspension: &Suspension,
    ) -> Result<Settled, Refusal> {
        self.tick();
        let (known, principal) = (self.known(), Principal::default());
        let speaker = Speaker {
            principal: &principal,
            known: &known,
        };
        let settled = self.engine.suspend(held, suspension, speaker, self.now);
        self.settle();
        settled
    }

    pub(crate) fn provide_input(
        &mut self,
        tenant: &str,
        id: ExecutionId,
        key: &str,
        value: &str,
        request: Option<Request>,
    ) -> Result<Made, Refusal> {
        self.tick();
        let input = NewInput {
            tenant: visible(tenant),
            id,
            key: key.into(),
            details: key.as_bytes().into(),
            value: Arc::from(value.as_bytes()),
            request,
            actor: Actor::of(ActorKind::Client),
        };
        let made = self.engine.provide_input(input, &self.known(), self.now);
        self.settle();
        made
    }

    pub(crate) fn pause(&mut self, tenant: &str, id: ExecutionId) -> Result<(), Refusal> {
        self.tick();
        let control = control(tenant, id);
        let answer = self.engine.pause(&control, &self.known(), self.now);
        self.settle();
        answer
    }

    pub(crate) fn resume(&mut self, tenant: &str, id: ExecutionId) -> Result<(), Refusal> {
        self.tick();
        let control = control(tenant, id);
        let answer = self.engine.resume(&control, &self.known(), self.now);
        self.settle();
        answer
    }

    pub(crate) fn renew(&mut self, held: &Held, ms: Option<u64>) -> Result<Settled, Refusal> {
        self.tick();
        let (known, principal) = (self.known(), Principal::default());
        let speaker = Speaker {
            principal: &principal,
            known: &known,
        };
        let settled = self.engine.renew(held, ms, None, speaker, self.now);
        self.settle();
        settled
    }

    pub(crate) fn cancel(&mut self, tenant: &str, id: ExecutionId) -> Result<(), Refusal> {
        self.tick();
        let actor = Actor::named(ActorKind::Client, "");
        let cancel = Cancel {
            tenant: visible(tenant),
            id,
            actor,
        };
        let answer = self.engine.cancel(&cancel, &self.known(), self.now);
        self.settle();
        answer
    }

    pub(crate) fn discard(&mut self, tenant: &str, id: ExecutionId) -> Result<(), Refusal> {
        self.tick();
        let discard = Discard {
            tenant: visible(tenant),
            id,
            actor: Actor::named(ActorKind::Client, ""),
        };
        let answer = self.engine.discard(&discard, &self.known(), self.now);
        self.settle();
        answer
    }

    /// Redrives an execution with what `new` says. It takes over all steps that are completed.
    pub(crate) fn redrive(&mut self, of: ExecutionId, new: &NewExecution) -> Result<Made, Refusal> {
        let steps = self.audit.completed_steps(of.birth);
        self.redrive_with(of, new, steps)
    }

    /// Redrives an execution with what `new` says, and with these steps.
    pub(crate) fn redrive_with(
        &mut self,
        of: ExecutionId,
        new: &NewExecution,
        steps: Vec<TakenStep>,
    ) -> Result<Made, Refusal> {
        self.tick();
        let redrive = Redrive {
            tenant: new.tenant.clone(),
            id: of,
            request: new.request.clone(),
            actor: new.actor.clone(),
        };
        let (known, now) = (self.known(), self.now);
        let made = self
            .engine
            .redrive(&redrive, new.clone(), steps, &known, now);
        self.settle();
        made
    }

    pub(crate) fn report_progress(
        &mut self,
        held: &Held,
        report: ProgressReport,
    ) -> Result<Settled, Refusal> {
        self.tick();
        let (known, principal) = (self.known(), Principal::default());
        let speaker = Speaker {
            principal: &principal,
            known: &known,
        };
        let (engine, now) = (&mut self.engine, self.now);
        let settled = engine.report_progress(held, report, speaker, now);
        self.settle();
        settled
    }

    pub(crate) fn set_limit(&mut self, tenant: &str, callable: Option<&str>, most: Option<u32>) {
        self.tick();
        let (tenant, callable) = (tenant.into(), callable.map(Into::into));
        let actor = Actor::of(ActorKind::Operator);
        let set = self
            .engine
            .set_limit(actor, tenant, callable, most, self.now);
        assert_eq!(Ok(()), set);
        self.settle();
    }

    /// Whether the worker released the execution a moment ago.
    pub(crate) fn is_paused(&self, birth: Birth, worker: &str) -> bool {
        let until_ms = self.pauses.get(&(birth, worker.into()));
        until_ms.is_some_and(|until_ms| *until_ms > self.now.mono_ms)
    }

    pub(crate) fn id(&self, birth: Birth) -> ExecutionId {
        let ended = || self.audit.ends.get(&birth).map(|end| end.id);
        self.engine
            .state()
            .id(birth)
            .or_else(ended)
            .expect("a birth that was")
    }
}

fn control(tenant: &str, id: ExecutionId) -> Control {
    Control {
        tenant: visible(tenant),
        id,
        actor: Actor::of(ActorKind::Client),
    }
}

pub(crate) fn held(world: &World, granted: &Granted) -> Held {
    Held {
        id: world.id(granted.birth),
        token: Some(granted.holding.token),
    }
}

/// The execution that a fact leases, and the token.
fn leased(kind: &FactKind) -> Option<(Birth, LeaseToken)> {
    let fact = kind.as_execution()?;
    match &fact.change {
        ExecutionChange::Leased { holding, .. } => Some((fact.birth, holding.token)),
        _ => None,
    }
}
