//! The audit: what must hold after every step, whatever the step was.
//!
//! Owns a second fold of the same log, the ends that were decided, and the checks between them
//! and the engine. Refuses to drive the engine.

use std::collections::{BTreeMap, BTreeSet};

use backlane_engine::command::Finished;
use backlane_engine::fact::{Ended, Fact, FactKind, Living};
use backlane_engine::rules::id::{Birth, LeaseToken};
use backlane_engine::rules::status::{Phase, Status, TaskState};
use backlane_engine::state::{Rank, State};
use backlane_engine::{Decided, Engine, fold};

pub(crate) const SHARD: u16 = 3;

/// How an execution ended, as a store keeps it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct End {
    pub(crate) ended: Ended,
    pub(crate) last: Living,
    pub(crate) at_ms: u64,
}

impl End {
    pub(crate) fn finished(&self) -> Finished {
        Finished {
            id: self.last.id,
            tenant: (*self.last.tenant).into(),
            status: self.ended.status,
            outcome: self.last.progress.outcome,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Audit {
    shadow: State,
    pub(crate) log: Vec<Fact>,
    pub(crate) ends: BTreeMap<Birth, End>,
    tokens: BTreeSet<LeaseToken>,
}

impl Audit {
    pub(crate) fn new() -> Self {
        Self {
            shadow: State::new(SHARD),
            log: Vec::new(),
            ends: BTreeMap::new(),
            tokens: BTreeSet::new(),
        }
    }

    /// Follows a fact: it must fit the second fold, move nothing illegally, and end nothing twice.
    pub(crate) fn follow(&mut self, decided: Decided) {
        let fact = &decided.fact;
        assert!(
            fact.at_ms >= self.shadow.last_at_ms(),
            "logged time decreased: {fact:?}"
        );
        let birth = birth_of(&fact.kind);
        let before = birth.and_then(|birth| self.shadow.living(birth));
        let last = self.shadow.apply(fact).expect("a decided fact folds");
        assert_eq!(
            decided.last, last,
            "the live fold and the second one ended it alike"
        );
        if let Some(birth) = birth {
            assert!(
                !self.ends.contains_key(&birth),
                "something followed an end: {fact:?}"
            );
            let after = self.shadow.living(birth);
            check_move(&fact.kind, before.as_ref(), after.as_ref());
        }
        if let FactKind::Leased { holding, .. } = &fact.kind {
            assert!(self.tokens.insert(holding.token), "a token came twice");
        }
        if let (FactKind::Ended(ended), Some(last)) = (&fact.kind, last) {
            let (ended, at_ms) = ((**ended).clone(), fact.at_ms);
            check_end(&ended, &last, at_ms);
            self.ends.insert(
                ended.birth,
                End {
                    ended,
                    last: *last,
                    at_ms,
                },
            );
        }
        self.log.push(decided.fact);
    }

    /// Memory is a fold of the log, permits are live leases, and soft state follows both.
    pub(crate) fn check(&self, engine: &Engine) {
        assert_same(&self.shadow, engine.state());
        check_permits(engine.state());
        assert!(
            engine.soft().is_consistent(engine.state()),
            "soft state left the durable one"
        );
        if engine.state().slots().is_empty() {
            assert_eq!(
                (None, None),
                engine.next_tick(),
                "nothing lives: nothing is to be done"
            );
        }
    }

    /// The state as a restart would fold it.
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

/// Whether two states hold the same, whatever names they have for tenants and queues inside.
pub(crate) fn assert_same(expected: &State, actual: &State) {
    assert_eq!(births(expected), births(actual));
    for birth in births(expected) {
        assert_eq!(expected.living(birth), actual.living(birth));
    }
    assert_eq!(expected.next_birth(), actual.next_birth());
    assert_eq!(expected.last_at_ms(), actual.last_at_ms());
    assert_eq!(expected.holdings(), actual.holdings());
    assert_eq!(expected.first_timer(), actual.first_timer());
    assert_eq!(limits(expected), limits(actual));
}

fn limits(state: &State) -> BTreeSet<String> {
    state
        .limits_set()
        .iter()
        .map(|limit| format!("{limit:?}"))
        .collect()
}

fn birth_of(kind: &FactKind) -> Option<Birth> {
    match kind {
        FactKind::Enqueued(living) | FactKind::Carried(living) => Some(living.id.birth),
        FactKind::Ended(ended) => Some(ended.birth),
        FactKind::Due(birth)
        | FactKind::Leased { birth, .. }
        | FactKind::Requeued { birth, .. }
        | FactKind::CancelRequested { birth, .. } => Some(*birth),
        _ => None,
    }
}

fn check_move(kind: &FactKind, before: Option<&Living>, after: Option<&Living>) {
    match (kind, before, after) {
        (FactKind::Enqueued(_), None, Some(after)) => {
            assert_eq!(1, after.progress.version);
            assert!(matches!(
                after.progress.phase,
                Phase::Pending | Phase::Ready
            ));
        }
        (FactKind::Carried(_), Some(before), Some(after)) => assert_eq!(before, after),
        (FactKind::CancelRequested { .. }, Some(before), Some(after)) => {
            assert_eq!(Phase::Running, before.progress.phase);
            check_change(before, after);
        }
        (FactKind::Ended(ended), Some(before), None) => {
            let from = before.progress.phase.task_state();
            assert!(
                may_end(from, TaskState::of_end(ended.status)),
                "{from:?} to {ended:?}"
            );
        }
        (_, Some(before), Some(after)) => {
            let moved = [before, after].map(|one| one.progress.phase.task_state());
            assert!(
                moved[0].can_transition_to(moved[1]),
                "{moved:?} by {kind:?}"
            );
            check_change(before, after);
        }
        _ => panic!("{kind:?} led from {before:?} to {after:?}"),
    }
}

/// A failure passes through `Failed` on its way to the dead letters.
fn may_end(from: TaskState, end: TaskState) -> bool {
    let by_failure = from.can_transition_to(TaskState::Failed) && end == TaskState::DeadLettered;
    by_failure || from.can_transition_to(end)
}

fn check_change(before: &Living, after: &Living) {
    let (before, after) = (&before.progress, &after.progress);
    assert_eq!(before.version + 1, after.version, "one more per change");
    assert!(
        after.attempt >= before.attempt,
        "an ordinal never decreases"
    );
    assert_eq!(
        after.phase == Phase::Running,
        after.holding.is_some(),
        "held while it runs"
    );
    assert_eq!(
        after.phase == Phase::Retrying,
        after.next_attempt_at_ms.is_some()
    );
}

fn check_end(ended: &Ended, last: &Living, at_ms: u64) {
    let failed = matches!(ended.status, Status::Failed | Status::Timeout);
    assert!(ended.status.is_finished());
    assert_eq!(
        ended.status == Status::Completed,
        ended.output.is_some(),
        "{ended:?}"
    );
    assert_eq!(failed, ended.error.is_some(), "{ended:?}");
    assert!(
        last.progress
            .started_at_ms
            .is_none_or(|started| started <= at_ms)
    );
    assert!(last.progress.holding.is_none(), "an end ends the lease");
}

/// Every count is what the slots and leases say.
fn check_permits(state: &State) {
    assert_eq!(0, state.permit_drift());
    let tenants = state.tenants();
    let mut by_queue: BTreeMap<u32, [u64; 4]> = BTreeMap::new();
    let mut ready: BTreeMap<u32, Vec<Rank>> = BTreeMap::new();
    for birth in births(state) {
        let slot = state.slot(birth).expect("a listed birth has a slot");
        by_queue.entry(slot.queue).or_default()[slot.phase as usize - 1] += 1;
        assert_eq!(slot.phase == Phase::Running, state.holding(birth).is_some());
        if slot.phase == Phase::Ready {
            ready
                .entry(slot.queue)
                .or_default()
                .push(Rank::of(slot.priority, birth));
        }
    }
    for key in 0..u32::try_from(tenants.queues_len()).expect("few queues") {
        let queue = tenants.queue(key);
        let counts = queue.counts();
        let counted = [
            counts.pending,
            counts.ready,
            counts.retrying,
            counts.running,
        ];
        assert_eq!(
            by_queue.remove(&key).unwrap_or_default(),
            counted,
            "{}",
            queue.callable
        );
        let mut ranks = ready.remove(&key).unwrap_or_default();
        ranks.sort();
        assert_eq!(ranks, queue.ready.iter().copied().collect::<Vec<_>>());
    }
    for key in 0..u32::try_from(tenants.len()).expect("few tenants") {
        assert_eq!(state.counts(key).running, tenants.tenant(key).running);
    }
}
