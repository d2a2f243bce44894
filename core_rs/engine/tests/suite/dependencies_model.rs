//! Random graphs of executions, compared with a model that keeps the dependencies of each.
//!
//! Owns the expected standing of every execution: blocked while a dependency is unfinished, skipped
//! exactly when one ended otherwise than completed. Refuses to be fast.

use std::collections::{BTreeMap, BTreeSet};

use backlane_engine::command::{DedupPolicy, Dependency, Dependent, NewExecution, Report};
use backlane_engine::rules::id::Birth;
use backlane_engine::rules::limits::Limits;
use backlane_engine::rules::status::{EndReason, Phase, Status};
use proptest::prelude::*;

use crate::audit::{assert_same, births, refold};
use crate::world::{World, completed, failed, held, new_execution, offer};

#[derive(Debug, Clone)]
enum Step {
    /// Enqueues an execution that depends on some of the newest, perhaps under a key.
    Enqueue {
        backs: Vec<usize>,
        keyed: bool,
        later: bool,
    },
    /// Enqueues a batch, each item depending on some earlier ones.
    Batch(Vec<Vec<u32>>),
    End {
        completes: bool,
    },
    Cancel(usize),
    /// Redrives an execution that did not complete, with what was skipped because of it.
    Redrive(usize),
    Advance(u64),
    Restart,
    Carry(usize),
    Agenda(usize),
}

fn a_step() -> impl Strategy<Value = Step> {
    let backs = prop::collection::vec(0..12_usize, 0..4);
    let enqueue = (backs, prop::bool::weighted(0.2), prop::bool::weighted(0.2));
    let item = prop::collection::vec(0..6_u32, 0..3);
    prop_oneof![
        8 => enqueue.prop_map(|(backs, keyed, later)| Step::Enqueue { backs, keyed, later }),
        2 => prop::collection::vec(item, 1..6).prop_map(Step::Batch),
        6 => prop::bool::weighted(0.8).prop_map(|completes| Step::End { completes }),
        1 => (0..12_usize).prop_map(Step::Cancel),
        2 => (0..12_usize).prop_map(Step::Redrive),
        1 => prop::sample::select(vec![0_u64, 1_000, 5_000]).prop_map(Step::Advance),
        1 => Just(Step::Restart),
        2 => (1..6_usize).prop_map(Step::Carry),
        2 => (1..4_usize).prop_map(Step::Agenda),
    ]
}

#[derive(Debug)]
struct Model {
    dependencies: BTreeMap<Birth, BTreeSet<Birth>>,
    successors: BTreeMap<Birth, Birth>,
}

struct Pair {
    world: World,
    model: Model,
    round_from: Option<usize>,
}

impl Pair {
    fn new() -> Self {
        Self {
            world: World::new(Limits::default()),
            model: Model {
                dependencies: BTreeMap::new(),
                successors: BTreeMap::new(),
            },
            round_from: None,
        }
    }

    fn births(&self) -> Vec<Birth> {
        self.model.dependencies.keys().copied().collect()
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Enqueue {
                backs,
                keyed,
                later,
            } => self.enqueue(backs, *keyed, *later),
            Step::Batch(items) => self.batch(items),
            Step::End { completes } => self.end(*completes),
            Step::Cancel(back) => self.cancel(*back),
            Step::Redrive(back) => self.redrive(*back),
            Step::Advance(ms) => self.world.advance(*ms),
            Step::Restart => {
                self.world.restart(10);
                self.round_from = None;
            }
            Step::Carry(most) => self.carry(*most),
            Step::Agenda(most) => {
                self.world.engine.step_agenda(*most, self.world.now);
                self.world.settle();
            }
        }
    }

    fn enqueue(&mut self, backs: &[usize], keyed: bool, later: bool) {
        let known = self.births();
        let picked = backs.iter().filter_map(|back| known.iter().nth_back(*back));
        let picked: BTreeSet<Birth> = picked.copied().collect();
        let ids = picked
            .iter()
            .map(|birth| Dependency::Execution(self.world.id(*birth)));
        let mut new = NewExecution {
            depends_on: ids.collect(),
            ..new_execution("acme", "mail")
        };
        if keyed {
            new.dedup_key = Some("k".into());
            new.dedup_policy = DedupPolicy::ReplaceQueued;
        }
        if later {
            new.not_before_ms = Some(self.world.now.wall_ms + 2_000);
        }
        let holder = self.holder().filter(|_| keyed);
        let Ok(made) = self.world.enqueue(&new) else {
            assert!(picked.contains(&holder.expect("only a replaced one is refused")));
            return;
        };
        if made.existing {
            return;
        }
        self.model.dependencies.insert(made.birth, picked);
        if let Some(replaced) = holder {
            self.replaced(replaced, made.birth);
        }
    }

    /// The unfinished execution that has the key.
    fn holder(&self) -> Option<Birth> {
        let state = self.world.engine.state();
        let tenant = state.tenants().by_name("acme")?;
        state.dedup(tenant, "k")
    }

    /// The dependents of a replaced execution follow the new one, unless that closes a circle.
    fn replaced(&mut self, old: Birth, new: Birth) {
        if self.model.waits(new, old, &self.world) {
            return;
        }
        self.model.successors.insert(old, new);
        let followers = self.model.dependencies.iter_mut();
        for (dependent, dependencies) in followers {
            let unfinished = self.world.engine.state().slot(*dependent).is_some();
            if *dependent != new && unfinished && dependencies.remove(&old) {
                dependencies.insert(new);
            }
        }
    }

    fn batch(&mut self, items: &[Vec<u32>]) {
        let new = items.iter().enumerate().map(|(at, on)| {
            let earlier = on.iter().filter(|item| (**item as usize) < at);
            NewExecution {
                depends_on: earlier.map(|item| Dependency::Item(*item)).collect(),
                ..new_execution("acme", "mail")
            }
        });
        let new: Vec<_> = new.collect();
        let (made, _) = self.world.enqueue_batch(&new, None).expect("it is taken");
        for (new, one) in new.iter().zip(&made) {
            let on = new.depends_on.iter().map(|dependency| match dependency {
                Dependency::Item(item) => made[*item as usize].birth,
                Dependency::Execution(_) => unreachable!("named by position"),
            });
            self.model.dependencies.insert(one.birth, on.collect());
        }
    }

    fn end(&mut self, completes: bool) {
        if let Some(granted) = self.world.lease("w1", offer(&["*"])) {
            let dependencies = &self.model.dependencies[&granted.birth];
            let ends = &self.world.audit.ends;
            let is_done = |birth: &Birth| ends[birth].status == Status::Completed;
            assert!(dependencies.iter().all(is_done), "it runs too early");
            let held = held(&self.world, &granted);
            let report = if completes {
                completed()
            } else {
                Report::Failed(Box::new(failed()))
            };
            self.world.report(&held, &report).expect("its own lease");
        }
    }

    fn cancel(&mut self, back: usize) {
        if let Some(birth) = self.births().into_iter().nth_back(back) {
            // An execution that has finished refuses.
            let _ = self.world.cancel("acme", self.world.id(birth));
        }
    }

    /// The executions that were skipped because of one, each with its dependencies, oldest first.
    fn skipped_because_of(&self, of: Birth) -> Vec<(Birth, BTreeSet<Birth>)> {
        let mut found = Vec::new();
        let mut places = BTreeSet::from([of]);
        for (birth, on) in self.model.dependencies.range(of + 1..) {
            let end = self.world.audit.ends.get(birth);
            let is_skipped = end.is_some_and(|end| end.reason == EndReason::DependencyFailed);
            if is_skipped && !on.is_disjoint(&places) {
                places.insert(*birth);
                found.push((*birth, on.clone()));
            }
        }
        found
    }

    fn redrive(&mut self, back: usize) {
        self.world.tick();
        while self.world.engine.has_agenda() {
            self.world.engine.step_agenda(100, self.world.now);
            self.world.settle();
        }
        let Some(of) = self.births().into_iter().nth_back(back) else {
            return;
        };
        let end = self.world.audit.ends.get(&of);
        if end.is_none_or(|end| end.status.is_success()) {
            return;
        }
        let found = self.skipped_because_of(of);
        let olds: Vec<_> = [of]
            .into_iter()
            .chain(found.iter().map(|it| it.0))
            .collect();
        let place = |birth: Birth| olds.iter().position(|old| *old == birth);
        let dependents = found.iter().map(|(birth, on)| {
            let on = on.iter().map(|on| match place(*on) {
                Some(at) => Dependency::Item(u32::try_from(at).expect("few")),
                None => Dependency::Execution(self.world.id(*on)),
            });
            Dependent {
                id: self.world.id(*birth),
                new: NewExecution {
                    depends_on: on.collect(),
                    ..new_execution("acme", "mail")
                },
                has_waited: true,
            }
        });
        let dependents = dependents.collect();
        let state = self.world.engine.state();
        let living: Vec<_> = olds.iter().map(|old| state.redrive_of(*old)).collect();
        let (id, new) = (self.world.id(of), new_execution("acme", "mail"));
        let redriven = self.world.redrive_whole(id, &new, Vec::new(), dependents);
        let redriven = redriven.expect("it did not complete");
        let mut made = redriven.dependents.iter().map(|id| id.birth);
        let mut news = vec![redriven.made.birth];
        assert_eq!(living[0].is_some(), redriven.made.existing);
        if living[0].is_none() {
            self.model.dependencies.insert(news[0], BTreeSet::new());
        }
        for ((_, on), living) in found.iter().zip(&living[1..]) {
            let new = living.unwrap_or_else(|| made.next().expect("one for each"));
            if living.is_none() {
                let on = on.iter().map(|on| place(*on).map_or(*on, |at| news[at]));
                self.model.dependencies.insert(new, on.collect());
            }
            news.push(new);
        }
        assert_eq!(None, made.next(), "nothing else is made");
    }

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
            let log = &self.world.audit.log;
            for first in [from, from.saturating_sub(2), from / 2] {
                assert_same(self.world.engine.state(), &refold(&log[first..]));
            }
        }
    }

    /// Once the agenda is empty, every execution stands where its dependencies put it.
    fn check(&mut self) {
        self.world.tick();
        let (state, ends) = (self.world.engine.state(), &self.world.audit.ends);
        for (birth, dependencies) in &self.model.dependencies {
            let failed = |one: &Birth| ends.get(one).is_some_and(|end| !end.status.is_success());
            let waits = dependencies.iter().any(|one| !ends.contains_key(one));
            match (ends.get(birth), state.slot(*birth)) {
                (Some(end), None) if end.reason == EndReason::DependencyFailed => {
                    assert!(dependencies.iter().any(failed), "{birth} was skipped");
                }
                (Some(_), None) => {}
                (None, Some(slot)) => {
                    assert!(!dependencies.iter().any(failed), "{birth} is not skipped");
                    assert_eq!(waits, slot.phase == Phase::Blocked, "{birth}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

impl Model {
    fn waits(&self, birth: Birth, target: Birth, world: &World) -> bool {
        let ends = &world.audit.ends;
        let dependencies = self.dependencies.get(&birth).into_iter().flatten();
        let mut open = dependencies.filter(|one| !ends.contains_key(one) || **one == target);
        open.any(|one| *one == target || self.waits(*one, target, world))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn random_graphs_stand_where_their_dependencies_put_them(
        steps in prop::collection::vec(a_step(), 1..60),
    ) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.take(step);
            if !matches!(step, Step::Carry(_) | Step::Agenda(_)) {
                pair.check();
            }
        }
        assert_same(&pair.world.audit.refold(), pair.world.engine.state());
        // Nothing stays blocked: once all that can run has run, nothing is unfinished.
        for _ in 0..10_000 {
            if births(pair.world.engine.state()).is_empty() {
                break;
            }
            pair.end(true);
            pair.world.advance(1_000);
        }
        prop_assert!(pair.world.engine.state().slots().is_empty());
        prop_assert!(pair.world.engine.state().edges().is_empty());
        prop_assert!(pair.world.engine.state().agenda().is_empty());
    }
}
