//! Random histories, compared with a model that is too simple to be wrong.
//!
//! Owns the expected result of each random step, computed by brute force over all unfinished
//! executions. Refuses to be fast.

use std::collections::BTreeMap;

use backlane_engine::command::{DedupPolicy, Held, NewExecution, OfferSpec, Report};
use backlane_engine::error::Refusal;
use backlane_engine::fact::{FactKind, Living, LogFact, OutcomeKind};
use backlane_engine::reply::Settled;
use backlane_engine::rules::access::TenantScope;
use backlane_engine::rules::id::{Birth, LeaseToken};
use backlane_engine::rules::limits::Limits;
use backlane_engine::rules::status::{Phase, Status};
use backlane_engine::rules::step::StepState;
use backlane_engine::state::Rank;
use proptest::prelude::*;

use crate::audit::{assert_same, births, refold};
use crate::steps::{CALLABLES, KEYS, Step, TENANTS, WORKERS, a_spec, a_step};
use crate::world::{World, completed, failed, new_execution};

pub(crate) struct Model {
    pub(crate) world: World,
    tokens: Vec<(Birth, LeaseToken)>,
    pub(crate) outcomes: BTreeMap<Birth, (LeaseToken, OutcomeKind)>,
    limits: BTreeMap<(&'static str, Option<&'static str>), u32>,
    round_from: Option<usize>,
}

impl Model {
    pub(crate) fn new() -> Self {
        let world = World::new(Limits::default());
        let (tokens, outcomes, limits) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        Self {
            world,
            tokens,
            outcomes,
            limits,
            round_from: None,
        }
    }

    pub(crate) fn take(&mut self, step: &Step) {
        self.world.tick();
        match step {
            Step::Enqueue(new) => self.enqueue(new),
            Step::Lease {
                worker,
                offer,
                scope,
                period_ms,
            } => {
                self.lease(WORKERS[*worker], &a_spec(*offer, *scope), *period_ms);
            }
            Step::Report { back, kind } => self.report(*back, *kind),
            Step::Renew { back } => self.renew(*back),
            Step::Cancel { back } => self.cancel(*back),
            Step::Redrive { back } => self.redrive(*back),
            Step::Discard { back } => self.discard(*back),
            Step::Advance(ms) => self.world.advance(*ms),
            Step::Restart(ms) => self.restart(*ms),
            Step::Limit {
                tenant,
                callable,
                most,
            } => self.limit(*tenant, *callable, *most),
            Step::Carry(most) => self.carry(*most),
            Step::ClockBack(ms) => self.world.now.wall_ms -= ms,
            Step::Record { back, kind, step } => self.record(*back, *kind, *step),
            Step::Suspend { back, step, ms } => self.suspend(*back, *step, *ms),
            Step::Input { back, key } => self.input(*back, KEYS[*key]),
            Step::Pause { back } => self.pause(*back),
            Step::Resume { back } => self.resume(*back),
        }
    }

    fn living(&self) -> Vec<Living> {
        let state = self.world.engine.state();
        births(state)
            .into_iter()
            .filter_map(|birth| state.living(birth))
            .collect()
    }

    fn enqueue(&mut self, template: &NewExecution) {
        let now_ms = self.world.now.wall_ms;
        let at = |offset: Option<u64>| {
            let offset = offset.map(u64::cast_signed).filter(|offset| *offset != 0);
            offset.map(|offset| now_ms.saturating_add_signed(offset))
        };
        let mut new = template.clone();
        new.not_before_ms = at(new.not_before_ms);
        new.start_deadline_ms = at(new.start_deadline_ms);
        new.deadline_ms = at(new.deadline_ms);
        let same_key = |one: &&Living| *one.tenant == *new.tenant && one.dedup_key == new.dedup_key;
        let living = self.living();
        let holder = living
            .iter()
            .filter(|_| new.dedup_key.is_some())
            .find(same_key);
        let answer = self.world.enqueue(&new);
        match (holder, new.dedup_policy) {
            (Some(_), DedupPolicy::Reject) => {
                assert!(
                    matches!(answer, Err(Refusal::AlreadyExists { .. })),
                    "{answer:?}"
                );
            }
            (Some(holder), policy) => {
                let made = answer.expect("it is taken");
                let is_queued = holder.progress.phase.status() == Status::Queued;
                let replaced = policy == DedupPolicy::ReplaceQueued && is_queued;
                assert_eq!(!replaced, made.existing);
                assert_eq!(!replaced, made.birth == holder.id.birth);
            }
            (None, _) => assert!(!answer.expect("it is taken").existing),
        }
    }

    fn running(&self, tenant: &str, callable: Option<&str>) -> u32 {
        let living = self.living();
        let of = |one: &&Living| {
            one.progress.phase == Phase::Running
                && *one.tenant == *tenant
                && callable.is_none_or(|callable| *one.callable == *callable)
        };
        u32::try_from(living.iter().filter(of).count()).expect("few")
    }

    fn has_room(&self, tenant: &str, callable: &str) -> bool {
        let below = |callable: Option<&str>| {
            let most = self
                .limits
                .iter()
                .find(|((whose, of), _)| *whose == tenant && *of == callable);
            most.is_none_or(|(_, most)| self.running(tenant, callable) < *most)
        };
        below(None) && below(Some(callable))
    }

    /// The best admissible execution of each tenant, found by looking at every unfinished
    /// execution.
    fn best(&self, worker: &str, spec: &OfferSpec) -> BTreeMap<String, Birth> {
        let mut best: BTreeMap<String, Rank> = BTreeMap::new();
        for one in self.living() {
            let birth = one.id.birth;
            let admissible = one.progress.phase == Phase::Ready
                && offers(spec, &one.tenant, &one.callable)
                && !self.world.is_paused(birth, worker)
                && self.has_room(&one.tenant, &one.callable);
            if admissible {
                let rank = Rank::of(one.priority, birth);
                let known = best.entry(one.tenant.to_string()).or_insert(rank);
                *known = rank.min(*known);
            }
        }
        best.into_iter()
            .map(|(tenant, rank)| (tenant, rank.birth()))
            .collect()
    }

    fn lease(&mut self, worker: &str, spec: &OfferSpec, period_ms: u64) {
        let best = self.best(worker, spec);
        match self.world.lease_for(worker, spec.clone(), period_ms) {
            None => assert_eq!(BTreeMap::new(), best, "something was admissible"),
            Some(granted) => {
                let living = self.world.engine.state().living(granted.birth);
                let tenant = living.expect("it lives").tenant;
                assert_eq!(
                    Some(&granted.birth),
                    best.get(&*tenant),
                    "a better execution was admissible"
                );
                self.tokens.push((granted.birth, granted.holding.token));
            }
        }
    }

    pub(crate) fn picked(&self, back: usize) -> Option<(Birth, LeaseToken)> {
        self.tokens.iter().rev().nth(back).copied()
    }

    fn report(&mut self, back: usize, kind: OutcomeKind) {
        let Some((birth, token)) = self.picked(back) else {
            return;
        };
        let before = self.world.engine.state().living(birth);
        let live = before.filter(|one| {
            one.progress
                .holding
                .as_ref()
                .is_some_and(|holding| holding.token == token)
        });
        let facts = self.world.audit.log.len();
        let report = match kind {
            OutcomeKind::Completed => completed(),
            OutcomeKind::Failed => Report::Failed(Box::new(failed())),
            OutcomeKind::Released | OutcomeKind::Suspended => Report::Released,
        };
        let held = Held {
            id: self.world.id(birth),
            token: Some(token),
        };
        let answer = self.world.report(&held, &report);
        if let Some(before) = live {
            assert_eq!(Ok(Settled::at(expected_status(&before, kind))), answer);
            assert_eq!(facts + 1, self.world.audit.log.len());
            self.outcomes.insert(birth, (token, kind));
        } else {
            let repeats = self.outcomes.get(&birth) == Some(&(token, kind));
            assert_eq!(repeats, answer.is_ok(), "{answer:?}");
            assert_eq!(
                facts,
                self.world.audit.log.len(),
                "a stale token changed something"
            );
        }
    }

    fn renew(&mut self, back: usize) {
        let Some((birth, token)) = self.picked(back) else {
            return;
        };
        let live = self
            .world
            .engine
            .state()
            .holding(birth)
            .map(|holding| holding.token);
        let held = Held {
            id: self.world.id(birth),
            token: Some(token),
        };
        let facts = self.world.audit.log.len();
        assert_eq!(live == Some(token), self.world.renew(&held, None).is_ok());
        assert_eq!(
            facts,
            self.world.audit.log.len(),
            "heartbeats are never logged"
        );
    }

    /// The execution that was enqueued `back` executions ago.
    fn born(&self, back: usize) -> Option<Birth> {
        let newest = self.world.engine.state().next_birth();
        let birth = newest.checked_sub(1 + back as u64)?;
        (birth > 0).then_some(birth)
    }

    fn redrive(&mut self, back: usize) {
        let Some(birth) = self.born(back) else {
            return;
        };
        let ended = self.world.audit.ends.get(&birth).map(|end| end.status);
        let living = self.living();
        let earlier = living.iter().find(|one| one.retried_from == Some(birth));
        let tenant = match self.world.audit.ends.get(&birth) {
            Some(end) => end.tenant.clone(),
            None => {
                self.world
                    .engine
                    .state()
                    .living(birth)
                    .expect("it lives")
                    .tenant
            }
        };
        let new = new_execution(&tenant, CALLABLES[0]);
        let answer = self.world.redrive(self.world.id(birth), &new);
        match (ended, earlier) {
            (Some(Status::Failed | Status::Timeout | Status::Cancelled), earlier) => {
                let made = answer.expect("it is over");
                assert_eq!(earlier.is_some(), made.existing);
                let same = earlier.map(|one| one.id.birth) == Some(made.birth);
                assert_eq!(earlier.is_some(), same);
                if !same {
                    self.check_taken_over(birth, made.birth);
                }
            }
            _ => assert!(
                matches!(answer, Err(Refusal::TransitionNotAllowed { .. })),
                "{answer:?}"
            ),
        }
    }

    /// What the old execution completed is completed in the new one, which runs nothing of it.
    fn check_taken_over(&self, old: Birth, new: Birth) {
        let run = self.world.engine.state().run_of(new);
        let steps = run.course.steps.iter().map(|mark| (mark.id, mark.state));
        let done = self.world.audit.completed_steps(old).into_iter();
        let done = done.map(|taken| (taken.step, StepState::Completed));
        assert_eq!(done.collect::<Vec<_>>(), steps.collect::<Vec<_>>());
    }

    fn discard(&mut self, back: usize) {
        let Some(birth) = self.born(back) else {
            return;
        };
        let end = self.world.audit.ends.get(&birth);
        let was_dead = end.is_some_and(|end| end.status.is_dead_letter());
        let tenant = end.map_or_else(|| "acme".into(), |end| end.tenant.clone());
        let facts = self.world.audit.log.len();
        let answer = self.world.discard(&tenant, self.world.id(birth));
        assert_eq!(was_dead, answer.is_ok(), "{answer:?}");
        assert!(!self.world.audit.dead.contains(&birth));
        let logged = facts + usize::from(was_dead);
        assert_eq!(logged, self.world.audit.log.len());
    }

    fn cancel(&mut self, back: usize) {
        let Some(birth) = self.born(back) else {
            return;
        };
        let before = self.world.engine.state().living(birth);
        let tenant = before.as_ref().map_or_else(
            || self.world.audit.ends[&birth].tenant.clone(),
            |before| before.tenant.clone(),
        );
        let answer = self.world.cancel(&tenant, self.world.id(birth));
        assert_eq!(before.is_some(), answer.is_ok(), "{answer:?}");
        if let Some(before) = before {
            let runs = before.progress.phase == Phase::Running;
            assert_eq!(runs, self.world.engine.state().is_cancel_requested(birth));
        }
    }

    fn restart(&mut self, downtime_ms: u64) {
        self.world.restart(downtime_ms);
        self.round_from = None;
    }

    fn limit(&mut self, tenant: usize, callable: usize, most: Option<u32>) {
        let (tenant, callable) = (TENANTS[tenant], CALLABLES.get(callable).copied());
        self.world.set_limit(tenant, callable, most);
        match most {
            Some(most) => self.limits.insert((tenant, callable), most),
            None => self.limits.remove(&(tenant, callable)),
        };
    }

    /// Continues a round. When the round is over, the log before it can be trimmed.
    fn carry(&mut self, most: usize) {
        let now = self.world.now;
        if self.round_from.is_none() {
            self.round_from = Some(self.world.audit.log.len());
            self.world.engine.begin_round(now);
        }
        let over = self.world.engine.carry(most, now);
        self.world.settle();
        if let Some(from) = self.round_from.filter(|_| over) {
            self.round_from = None;
            self.check_trimmed(from);
        }
    }

    /// Checks that a log which begins at any fact up to a complete round leads to the same state.
    fn check_trimmed(&self, from: usize) {
        let log = &self.world.audit.log;
        let begins = &log[from].kind;
        assert!(matches!(begins, FactKind::Log(LogFact::RoundBegan { .. })));
        for first in [from, from.saturating_sub(2), from / 2] {
            assert_same(self.world.engine.state(), &refold(&log[first..]));
        }
    }
}

fn offers(spec: &OfferSpec, tenant: &str, callable: &str) -> bool {
    let serves = match &spec.tenants {
        TenantScope::Any => true,
        TenantScope::Only(tenants) => tenants.iter().any(|name| **name == *tenant),
    };
    let family = callable.split_once('.').map_or("", |(family, _)| family);
    let names = ["*".to_owned(), callable.to_owned(), format!("{family}.*")];
    serves
        && spec
            .callables
            .iter()
            .any(|name| names.contains(&name.to_string()))
}

/// The status that a report about a live lease leads to.
fn expected_status(before: &Living, kind: OutcomeKind) -> Status {
    let retried = before.policy.retry.is_some() && before.progress.spent == 0;
    match kind {
        OutcomeKind::Completed => Status::Completed,
        _ if before.progress.cancel.is_some() => Status::Cancelled,
        OutcomeKind::Failed if !retried => Status::Failed,
        _ => Status::Queued,
    }
}

proptest! {
    #[test]
    fn random_histories_keep_every_promise(steps in prop::collection::vec(a_step(), 1..80)) {
        let mut model = Model::new();
        for step in &steps {
            model.take(step);
        }
        assert_same(&model.world.audit.refold(), model.world.engine.state());
        // Once faults stop, every admissible execution ends.
        model.finish();
    }
}

impl Model {
    fn finish(&mut self) {
        for (tenant, callable) in std::mem::take(&mut self.limits).into_keys() {
            self.world.set_limit(tenant, callable, None);
        }
        for one in self.living() {
            let waits = one.progress.phase == Phase::Suspended;
            if waits || one.progress.is_paused {
                let resumed = self.world.resume(&one.tenant, one.id);
                resumed.expect("it was paused or suspended");
            }
        }
        for _ in 0..10_000 {
            if self.world.engine.state().slots().is_empty() {
                return;
            }
            while let Some(granted) = self.world.lease("last", a_spec(0, 0)) {
                let held = crate::world::held(&self.world, &granted);
                self.world
                    .report(&held, &completed())
                    .expect("its own lease");
            }
            self.world.advance(1_000);
        }
        panic!("an execution never ends: {:?}", self.living());
    }
}
