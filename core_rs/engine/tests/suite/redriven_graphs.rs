//! Redrives with the dependents that were skipped.
//!
//! Owns what scenarios cannot express: one commit, refusals that change nothing, and dependencies
//! that retention has removed.

use backlane_engine::command::{
    DedupPolicy, Dependency, Dependent, Known, NewExecution, Read, Redrive, TakenStep,
};
use backlane_engine::error::Refusal;
use backlane_engine::fact::Actor;
use backlane_engine::reply::Redriven;
use backlane_engine::rules::id::{Birth, ExecutionId};
use backlane_engine::rules::limits::Limits;
use backlane_engine::rules::status::{ActorKind, EndReason, Phase};
use backlane_engine::rules::step::StepId;

use crate::words::request;
use crate::world::{World, new_execution};

impl World {
    /// Redrives an execution with what `new` says, and with these dependents.
    pub(crate) fn redrive_whole(
        &mut self,
        of: ExecutionId,
        new: &NewExecution,
        steps: Vec<TakenStep>,
        dependents: Vec<Dependent>,
    ) -> Result<Redriven, Refusal> {
        self.tick();
        let known = self.known();
        self.redrive_whole_knowing(of, new, (steps, dependents), &known)
    }

    fn redrive_whole_knowing(
        &mut self,
        of: ExecutionId,
        new: &NewExecution,
        (steps, dependents): (Vec<TakenStep>, Vec<Dependent>),
        known: &Known,
    ) -> Result<Redriven, Refusal> {
        let redrive = Redrive {
            tenant: new.tenant.clone(),
            id: of,
            request: new.request.clone(),
            actor: Actor::of(ActorKind::Client),
        };
        let now = self.now;
        let made = self
            .engine
            .redrive_whole(&redrive, new.clone(), steps, dependents, known, now);
        self.settle();
        made
    }
}

fn after(on: Vec<Dependency>) -> NewExecution {
    NewExecution {
        depends_on: on,
        ..new_execution("acme", "mail")
    }
}

/// A world with `a`, which was cancelled, `b` that depended on it, and `c` that depended on `b`.
struct Graph {
    world: World,
    births: [Birth; 3],
}

fn graph(limits: Limits) -> Graph {
    let mut world = World::new(limits);
    let a = world.make(&new_execution("acme", "mail"));
    let on = |world: &World, birth| vec![Dependency::Execution(world.id(birth))];
    let new = after(on(&world, a));
    let b = world.make(&new);
    let new = after(on(&world, b));
    let c = world.make(&new);
    world.cancel("acme", world.id(a)).expect("it is queued");
    assert_eq!(EndReason::DependencyFailed, world.audit.ends[&c].reason);
    Graph {
        world,
        births: [a, b, c],
    }
}

impl Graph {
    fn ids(&self) -> [ExecutionId; 3] {
        self.births.map(|birth| self.world.id(birth))
    }

    fn dependents(&self) -> Vec<Dependent> {
        let [_, b, c] = self.ids();
        let dependent = |id, item| Dependent {
            id,
            new: after(vec![Dependency::Item(item)]),
            has_waited: true,
        };
        vec![dependent(b, 0), dependent(c, 1)]
    }

    fn redrive(&mut self, new: &NewExecution) -> Result<Redriven, Refusal> {
        let (of, dependents) = (self.ids()[0], self.dependents());
        self.world.redrive_whole(of, new, Vec::new(), dependents)
    }

    fn waits_for(&self, id: ExecutionId) -> Vec<Birth> {
        let state = self.world.engine.state();
        assert_eq!(
            Some(Phase::Blocked),
            state.slot(id.birth).map(|slot| slot.phase)
        );
        state.edges().waits_for(id.birth).to_vec()
    }
}

#[test]
fn each_dependent_waits_for_what_was_made_in_the_place_of_its_dependency() {
    let mut graph = graph(Limits::default());
    let redriven = graph.redrive(&new_execution("acme", "mail")).unwrap();
    let [b, c] = redriven.dependents[..] else {
        panic!("{redriven:?}")
    };
    assert!(!redriven.made.existing);
    assert_eq!(vec![redriven.made.birth], graph.waits_for(b));
    assert_eq!(vec![b.birth], graph.waits_for(c));
    let state = graph.world.engine.state();
    for (old, new) in graph.births.iter().zip(redriven.made.birth..) {
        assert_eq!(Some(new), state.redrive_of(*old));
    }
}

#[test]
fn steps_are_taken_over_by_the_redrive_alone() {
    let mut graph = graph(Limits::default());
    let step = TakenStep {
        step: StepId([1; 20]),
        is_completed: true,
        contents: backlane_engine::row::ActionContents::default(),
    };
    let (of, dependents) = (graph.ids()[0], graph.dependents());
    let new = new_execution("acme", "mail");
    let redriven = graph
        .world
        .redrive_whole(of, &new, vec![step], dependents)
        .unwrap();
    let state = graph.world.engine.state();
    assert_eq!(1, state.run(redriven.made.birth).unwrap().actions);
    assert!(state.run(redriven.dependents[0].birth).is_none());
}

#[test]
fn an_unfinished_redrive_is_used_as_it_is_wherever_it_is() {
    let mut graph = graph(Limits::default());
    let [_, b, _] = graph.ids();
    let new = new_execution("acme", "mail");
    let living = graph.world.redrive(b, &new).unwrap();
    let first = graph.redrive(&new).unwrap();
    let [c] = first.dependents[..] else {
        panic!("{first:?}")
    };
    assert_eq!(vec![living.birth], graph.waits_for(c));
    let facts = graph.world.audit.log.len();
    let again = graph.redrive(&new).unwrap();
    assert_eq!(
        (first.made.birth, true),
        (again.made.birth, again.made.existing)
    );
    assert!(again.dependents.is_empty());
    assert_eq!(facts, graph.world.audit.log.len());
}

#[test]
fn a_repeated_request_finds_the_redrive_and_its_dependents() {
    let mut graph = graph(Limits::default());
    let new = NewExecution {
        request: Some(request("redrive", "r1", &[])),
        ..new_execution("acme", "mail")
    };
    let first = graph.redrive(&new).unwrap();
    for id in [graph.world.id(first.made.birth)]
        .iter()
        .chain(&first.dependents)
    {
        let _ = graph.world.cancel("acme", *id);
    }
    let again = graph.redrive(&new).unwrap();
    assert_eq!(first.made.birth, again.made.birth);
    assert_eq!(
        (true, first.dependents),
        (again.made.existing, again.dependents)
    );
}

#[test]
fn a_graph_for_which_there_is_no_room_is_refused_as_a_whole() {
    let mut graph = graph(Limits {
        max_queue_per_tenant: 3,
        ..Limits::default()
    });
    let new = new_execution("acme", "mail");
    graph.world.make(&new);
    let facts = graph.world.audit.log.len();
    let refused = graph.redrive(&new);
    assert!(
        matches!(refused, Err(Refusal::QueueFull { .. })),
        "{refused:?}"
    );
    assert_eq!(facts, graph.world.audit.log.len());
}

#[test]
fn a_dependency_that_was_removed_is_passed_only_by_a_dependent_that_waited() {
    for has_waited in [false, true] {
        let mut graph = graph(Limits::default());
        let [a, b, _] = graph.ids();
        // No birth number is as high, so that nothing is known of it.
        let gone = ExecutionId { birth: 1_000, ..a };
        let on = vec![Dependency::Item(0), Dependency::Execution(gone)];
        let dependents = vec![Dependent {
            id: b,
            new: after(on),
            has_waited,
        }];
        let mut known = graph.world.known();
        known.finished.insert(gone.birth, Read::Absent);
        let new = new_execution("acme", "mail");
        let parts = (Vec::new(), dependents);
        let made = graph.world.redrive_whole_knowing(a, &new, parts, &known);
        match made {
            Ok(made) if has_waited => {
                assert_eq!(vec![made.made.birth], graph.waits_for(made.dependents[0]));
            }
            Err(Refusal::DependencyNotFound { .. }) if !has_waited => {}
            other => panic!("{has_waited}: {other:?}"),
        }
    }
}

#[test]
fn of_dependents_with_one_dedup_key_the_oldest_stands_for_all() {
    let mut graph = graph(Limits::default());
    let mut dependents = graph.dependents();
    for dependent in &mut dependents {
        dependent.new.dedup_key = Some("key".into());
        dependent.new.dedup_policy = DedupPolicy::Reject;
        dependent.new.depends_on = vec![Dependency::Item(0)];
    }
    let [of, ..] = graph.ids();
    let new = new_execution("acme", "mail");
    let redriven = graph.world.redrive_whole(of, &new, Vec::new(), dependents);
    let redriven = redriven.expect("the keys do not meet");
    assert_eq!(1, redriven.dependents.len());
}
