//! Compares states: memory must equal the applied log, and counts must equal the live leases.

use std::collections::BTreeMap;

use backlane_engine::Engine;
use backlane_engine::fact::Run;
use backlane_engine::rules::status::Phase;
use backlane_engine::state::{Rank, State};

use super::{Checked, must};

const FOLD: &str = "applying the log leads to the state in memory";
const LONGER: &str = "a backoff lasts its length at most";
const AWAITED: &str = "no execution waits for a child that has ended";
const PERMITS: &str = "counts of running executions equal live leases";

/// Checks that two states hold the same data, whatever numbers tenants and queues have inside.
///
/// # Errors
/// The first difference.
pub fn same_state(expected: &State, actual: &State) -> Checked {
    let births = |state: &State| state.slots().births_from(0).collect::<Vec<_>>();
    same("the living", &births(expected), &births(actual))?;
    for birth in births(expected) {
        same(
            "an execution",
            &expected.living(birth),
            &actual.living(birth),
        )?;
        same("a run", &expected.run(birth), &actual.run(birth))?;
    }
    same(
        "the next birth",
        &expected.next_birth(),
        &actual.next_birth(),
    )?;
    same(
        "the newest fact's time",
        &expected.last_at_ms(),
        &actual.last_at_ms(),
    )?;
    same("the leases", expected.holdings(), actual.holdings())?;
    let timers = |state: &State| state.timers().collect::<Vec<_>>();
    same("the timers", &timers(expected), &timers(actual))?;
    same("the edges", expected.edges(), actual.edges())?;
    same("the families", expected.families(), actual.families())?;
    same("the agenda", expected.agenda(), actual.agenda())?;
    same("the limits", &limits(expected), &limits(actual))
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, expected: &T, actual: &T) -> Checked {
    must(expected == actual, FOLD, || {
        format!("{what}: log {expected:?}, memory {actual:?}")
    })
}

fn limits(state: &State) -> Vec<String> {
    let limits = state.limits_after(None);
    let mut limits: Vec<_> = limits.map(|(_, limit)| format!("{limit:?}")).collect();
    limits.sort();
    limits
}

/// Checks that no backoff lasts longer than its length, however wrong the wall clock was.
///
/// # Errors
/// The first backoff that is longer.
pub fn no_longer(engine: &Engine, mono_ms: u64) -> Checked {
    let (state, soft) = (engine.state(), engine.soft());
    for birth in state.slots().births_from(0) {
        let backoff = state.extras(birth).and_then(|extras| extras.backoff);
        if let (Some(backoff), Some(until_ms)) = (backoff, soft.backoff(birth)) {
            let most_ms = mono_ms.saturating_add(backoff.delay_ms);
            must(until_ms <= most_ms, LONGER, || {
                format!("{birth} until {until_ms}, at {mono_ms}: {backoff:?}")
            })?;
        }
    }
    Ok(())
}

/// Checks that an engine's counts equal its slots and leases.
///
/// # Errors
/// The first count that differs.
pub fn sound(engine: &Engine) -> Checked {
    let state = engine.state();
    must(engine.soft().is_consistent(state), FOLD, || {
        "the soft state contradicts the durable state".into()
    })?;
    let tenants = state.tenants();
    let mut by_queue: BTreeMap<u32, ([u64; 7], Vec<Rank>)> = BTreeMap::new();
    for birth in state.slots().births_from(0) {
        let Some(slot) = state.slot(birth) else {
            continue;
        };
        let entry = by_queue.entry(slot.queue).or_default();
        entry.0[column(slot.phase)] += 1;
        if slot.phase == Phase::Ready {
            entry.1.push(Rank::of(slot.priority, birth));
        }
        let run = state.run(birth).filter(|_| slot.phase == Phase::Suspended);
        let mut waits = run.as_deref().into_iter().flat_map(Run::active);
        let is_gone = |child| state.slot(child).is_none();
        let in_vain = waits.find(|wait| wait.child.is_some_and(is_gone));
        must(in_vain.is_none(), AWAITED, || {
            format!("{birth}: {in_vain:?}")
        })?;
        let held = state.holding(birth).is_some();
        must(held == (slot.phase == Phase::Running), PERMITS, || {
            format!("{slot:?}")
        })?;
    }
    for (key, queue) in tenants.queues() {
        let counts = queue.counts();
        let counted = [
            counts.pending,
            counts.ready,
            counts.retrying,
            counts.running,
            counts.suspended,
            counts.held,
            counts.ending,
        ];
        let (expected, mut ranks) = by_queue.remove(&key).unwrap_or_default();
        must(expected == counted, PERMITS, || {
            format!("expected {expected:?}, counted {counted:?}")
        })?;
        ranks.sort();
        let listed: Vec<_> = queue.ready.iter().copied().collect();
        must(ranks == listed, PERMITS, || {
            format!("expected ready {ranks:?}, listed {listed:?}")
        })?;
    }
    Ok(())
}

/// The count that an execution in a phase belongs to.
const fn column(phase: Phase) -> usize {
    match phase {
        Phase::Pending | Phase::Blocked => 0,
        Phase::Ready => 1,
        Phase::Retrying => 2,
        Phase::Running => 3,
        Phase::Suspended => 4,
        Phase::Held => 5,
        Phase::Ending => 6,
    }
}
