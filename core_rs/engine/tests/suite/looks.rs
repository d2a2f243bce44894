//! Looks along dependencies: how much of a large graph one call looks at.

use backlane_engine::Engine;
use backlane_engine::command::{DedupPolicy, Dependency, Known, NewExecution};
use backlane_engine::rules::limits::Limits;
use backlane_engine::state::State;
use backlane_engine::time::Now;

use crate::world::new_execution;

const NOW: Now = Now {
    wall_ms: 1_800_000_000_000,
    mono_ms: 1,
};
/// Executions that wait for each other in a row.
const CHAIN: u32 = 40_000;
/// As many executions are replaced.
const REPLACED: usize = 4;

fn batch(engine: &mut Engine, items: Vec<NewExecution>) -> Vec<u64> {
    let made = engine.enqueue_batch(items, None, &Known::default(), NOW);
    let (made, _) = made.expect("it is taken");
    made.into_iter().map(|made| made.birth).collect()
}

fn keyed(number: usize) -> NewExecution {
    NewExecution {
        dedup_key: Some(number.to_string().into()),
        dedup_policy: DedupPolicy::ReplaceQueued,
        ..new_execution("acme", "mail")
    }
}

#[test]
fn a_call_looks_at_a_bounded_number_of_executions_however_many_items_it_has() {
    let mut engine = Engine::start(State::new(0), 1, Limits::default(), NOW);
    let chain = (0..CHAIN).map(|at| NewExecution {
        depends_on: at
            .checked_sub(1)
            .map(Dependency::Item)
            .into_iter()
            .collect(),
        ..new_execution("acme", "mail")
    });
    let chain = batch(&mut engine, chain.collect());
    let last = chain.last().copied().expect("it is not empty");
    let last = Dependency::Execution(engine.state().id(last).expect("it waits"));
    let replaced = batch(&mut engine, (0..REPLACED).map(keyed).collect());
    let on = |birth: &u64| Dependency::Execution(engine.state().id(*birth).expect("it waits"));
    let after = replaced.iter().map(|birth| NewExecution {
        depends_on: [on(birth)].into(),
        ..new_execution("acme", "mail")
    });
    let after = after.collect();
    let after = batch(&mut engine, after);
    let successors = (0..REPLACED).map(|number| NewExecution {
        depends_on: [last].into(),
        ..keyed(number)
    });
    let successors = successors.collect();
    batch(&mut engine, successors);
    // Two walks over the chain are as many looks as a call has. The others count as circles, so
    // the dependents of what is replaced are skipped.
    let is_living = |birth: &u64| engine.state().slot(*birth).is_some();
    let follow: Vec<bool> = after.iter().map(is_living).collect();
    assert_eq!(vec![true, true, false, false], follow);
}
