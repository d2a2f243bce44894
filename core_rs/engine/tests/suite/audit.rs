//! The audit: the invariants that must hold after every step.
//!
//! Owns a second state built from the same log, the ends that were decided, and the comparison of
//! both with the engine. Refuses to drive the engine.

mod rows;

use std::collections::{BTreeMap, BTreeSet};

use backlane_engine::command::Finished;
use backlane_engine::fact::{Entity, ExecutionChange, Fact, Living};
use backlane_engine::row::{ActionRow, AttemptRow, EndingRow, Row};
use backlane_engine::rules::id::{Birth, LeaseToken};
use backlane_engine::rules::status::{Phase, TaskState};
use backlane_engine::state::State;
use backlane_engine::{Decided, Engine, fold};

use crate::audit_counts::{check_permits, check_redrives};

pub(crate) const SHARD: u16 = 3;

#[derive(Debug)]
pub(crate) struct Audit {
    shadow: State,
    pub(crate) log: Vec<Fact>,
    pub(crate) ends: BTreeMap<Birth, EndingRow>,
    /// The last state of each execution that ended.
    pub(crate) lasts: BTreeMap<Birth, Living>,
    pub(crate) attempts: BTreeMap<(Birth, u32), AttemptRow>,
    pub(crate) actions: BTreeMap<(Birth, u32), ActionRow>,
    /// The executions that failed or timed out and were not discarded.
    pub(crate) dead: BTreeSet<Birth>,
    pub(crate) deleted: BTreeSet<Birth>,
    payloads: BTreeSet<Birth>,
    tokens: BTreeSet<LeaseToken>,
}

impl Audit {
    pub(crate) fn new() -> Self {
        Self {
            shadow: State::new(SHARD),
            log: Vec::new(),
            ends: BTreeMap::new(),
            lasts: BTreeMap::new(),
            attempts: BTreeMap::new(),
            actions: BTreeMap::new(),
            dead: BTreeSet::new(),
            deleted: BTreeSet::new(),
            payloads: BTreeSet::new(),
            tokens: BTreeSet::new(),
        }
    }

    /// Follows a decision: the second state must allow its fact, the fact must make a legal
    /// transition and end no execution twice, and the rows must be those that the fact needs.
    pub(crate) fn follow(&mut self, decided: Decided) {
        let fact = &decided.fact;
        assert!(
            fact.at_ms >= self.shadow.last_at_ms(),
            "logged time decreased: {fact:?}"
        );
        let change = fact.kind.as_execution();
        let about = fact.kind.entity().and_then(Entity::execution);
        let before = about.and_then(|birth| self.shadow.living(birth));
        let last = self.shadow.apply(fact).expect("a decided fact applies");
        let after_end = [ExecutionChange::Discarded, ExecutionChange::Deleted];
        let discards = change.is_some_and(|it| after_end.contains(&it.change));
        assert_eq!(
            discards,
            about.is_some_and(|birth| self.ends.contains_key(&birth)),
            "only a discard and a deletion follow the end of its execution: {fact:?}"
        );
        if let Some(change) = change {
            let after = self.shadow.living(change.birth);
            check_move(&change.change, before.as_ref(), after.as_ref());
            if let ExecutionChange::Leased { holding, .. } = &change.change {
                assert!(
                    self.tokens.insert(holding.token),
                    "a lease token was used twice"
                );
            }
        }
        rows::check(&decided, before.as_ref(), last.as_deref());
        self.lasts.extend(last.map(|last| (last.id.birth, *last)));
        for row in decided.rows {
            self.keep(row);
        }
        self.log.push(decided.fact);
    }

    fn keep(&mut self, row: Row) {
        match row {
            Row::Payload(row) => assert!(self.payloads.insert(row.id.birth), "a second payload"),
            Row::Ending(row) => {
                let birth = row.id.birth;
                assert!(self.payloads.contains(&birth), "an end without a payload");
                assert!(self.ends.insert(birth, *row).is_none(), "a second end");
            }
            Row::Attempt(row) => {
                let key = (row.birth, row.ordinal);
                assert!(self.attempts.insert(key, *row).is_none(), "a second row");
            }
            Row::AttemptDropped { birth, ordinal } => {
                assert!(self.attempts.remove(&(birth, ordinal)).is_some());
            }
            Row::DeadLetter { birth, .. } => assert!(self.dead.insert(birth), "twice dead"),
            Row::DeadLetterDropped { birth } => {
                self.dead.remove(&birth);
            }
            Row::Erased { birth } => {
                assert!(self.deleted.insert(birth), "erased twice");
                self.dead.remove(&birth);
            }
            Row::Request(_) => {}
            Row::Action(row) => {
                let key = (row.birth, row.ordinal);
                assert!(self.actions.insert(key, *row).is_none(), "a second row");
                let before = key.1 == 1 || self.actions.contains_key(&(key.0, key.1 - 1));
                assert!(before, "the numbers of actions have a gap: {key:?}");
            }
        }
    }

    /// Checks that the state equals the applied log, that the counts equal the live leases, and
    /// that the soft state agrees with both.
    pub(crate) fn check(&self, engine: &Engine) {
        assert_same(&self.shadow, engine.state());
        check_permits(engine.state());
        check_redrives(engine.state());
        assert!(
            engine.soft().is_consistent(engine.state()),
            "the soft state contradicts the durable state"
        );
        if engine.state().slots().is_empty() {
            assert_eq!(
                (None, None),
                engine.next_tick(),
                "without unfinished executions nothing is due"
            );
        }
    }

    /// The ends of the executions that were not deleted.
    pub(crate) fn kept_ends(&self) -> impl Iterator<Item = (&Birth, &EndingRow)> {
        let ends = self.ends.iter();
        ends.filter(|(birth, _)| !self.deleted.contains(birth))
    }

    /// The state that a restart would build from the log.
    pub(crate) fn refold(&self) -> State {
        refold(&self.log)
    }
}

pub(crate) fn refold(log: &[Fact]) -> State {
    let mut state = State::new(SHARD);
    for fact in log {
        fold(&mut state, fact).unwrap_or_else(|error| panic!("{error}: {fact:?}"));
    }
    state
}

pub(crate) fn births(state: &State) -> Vec<Birth> {
    state.slots().births_from(0).collect()
}

/// Asserts that two states hold the same data, whatever numbers tenants and queues have inside.
pub(crate) fn assert_same(expected: &State, actual: &State) {
    assert_eq!(births(expected), births(actual));
    for birth in births(expected) {
        assert_eq!(expected.living(birth), actual.living(birth));
        assert_eq!(expected.run(birth), actual.run(birth));
    }
    assert_eq!(expected.next_birth(), actual.next_birth());
    assert_eq!(expected.last_at_ms(), actual.last_at_ms());
    assert_eq!(expected.holdings(), actual.holdings());
    assert_eq!(
        expected.timers().collect::<Vec<_>>(),
        actual.timers().collect::<Vec<_>>()
    );
    assert_eq!(limits(expected), limits(actual));
    assert_eq!(expected.edges(), actual.edges());
    assert_eq!(expected.families(), actual.families());
    assert_eq!(expected.agenda(), actual.agenda());
}

fn limits(state: &State) -> BTreeSet<String> {
    let limits = state.limits_after(None);
    limits.map(|(_, limit)| format!("{limit:?}")).collect()
}

fn check_move(change: &ExecutionChange, before: Option<&Living>, after: Option<&Living>) {
    match (change, before, after) {
        (ExecutionChange::Enqueued(_), None, Some(after)) => {
            assert_eq!(1, after.progress.version);
            assert!(matches!(
                after.progress.phase,
                Phase::Pending | Phase::Ready | Phase::Blocked
            ));
        }
        (ExecutionChange::Carried(_), Some(before), Some(after)) => assert_eq!(before, after),
        (ExecutionChange::CancelRequested { .. }, Some(before), Some(after)) => {
            assert_eq!(Phase::Running, before.progress.phase);
            check_change(before, after);
        }
        (ExecutionChange::Ended(ended), Some(before), None) => {
            let from = before.progress.phase.task_state();
            assert!(
                may_end(from, TaskState::of_end(ended.status, ended.reason)),
                "{from:?} to {ended:?}"
            );
        }
        (ExecutionChange::Promoted { .. }, Some(before), Some(after)) => {
            assert_eq!(Phase::Blocked, before.progress.phase);
            assert!(after.waits_for.is_empty());
            check_change(before, after);
        }
        (ExecutionChange::Discarded | ExecutionChange::Deleted, None, None) => {}
        (ExecutionChange::Concluded(_), Some(before), Some(after)) => {
            assert_ne!(Phase::Ending, before.progress.phase);
            assert_eq!(Phase::Ending, after.progress.phase);
            check_change(before, after);
        }
        (
            ExecutionChange::Due
            | ExecutionChange::Leased { .. }
            | ExecutionChange::Requeued { .. },
            Some(before),
            Some(after),
        ) => {
            let moved = [before, after].map(|one| one.progress.phase.task_state());
            assert!(
                moved[0].can_transition_to(moved[1]),
                "{moved:?} by {change:?}"
            );
            check_change(before, after);
        }
        _ => panic!("{change:?} led from {before:?} to {after:?}"),
    }
}

/// Whether an execution in `from` may end in `end`. A failure passes through `Failed` to the dead
/// letters.
fn may_end(from: TaskState, end: TaskState) -> bool {
    let by_failure = from.can_transition_to(TaskState::Failed) && end == TaskState::DeadLettered;
    by_failure || from.can_transition_to(end)
}

fn check_change(before: &Living, after: &Living) {
    let (before, after) = (&before.progress, &after.progress);
    assert_eq!(
        before.version + 1,
        after.version,
        "every change increases the version by one"
    );
    assert!(
        after.attempt >= before.attempt,
        "an ordinal never decreases"
    );
    assert_eq!(
        after.phase == Phase::Running,
        after.holding.is_some(),
        "held while it runs"
    );
    assert_eq!(after.phase == Phase::Retrying, after.backoff.is_some());
}

/// The data of a finished execution, as a store would read it.
pub(crate) fn finished(end: &EndingRow) -> Finished {
    Finished {
        id: end.id,
        tenant: end.tenant.clone(),
        status: end.status,
        outcome: end.progress.outcome,
    }
}
