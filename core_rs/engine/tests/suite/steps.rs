//! Random steps: commands and events on a shard, with a few names.
//!
//! Owns how likely each step is. Refuses to know the result of a step: the model does.

use backlane_engine::command::{DedupPolicy, NewExecution, OfferSpec};
use backlane_engine::fact::OutcomeKind;
use backlane_engine::rules::access::TenantScope;
use backlane_engine::rules::retry::{Retry, Strategy as Delay};
use proptest::prelude::*;

use crate::world::{new_execution, retries};

pub(crate) const TENANTS: [&str; 3] = ["acme", "blue", "cyan"];
pub(crate) const CALLABLES: [&str; 3] = ["mail", "img.small", "img.large"];
pub(crate) const WORKERS: [&str; 3] = ["w1", "w2", "w3"];
const OFFERS: [&[&str]; 4] = [&["*"], &["img.*"], &["mail"], &["mail", "img.large"]];

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Enqueue(Box<NewExecution>),
    Lease {
        worker: usize,
        offer: usize,
        scope: usize,
        period_ms: u64,
    },
    Report {
        back: usize,
        kind: OutcomeKind,
    },
    Renew {
        back: usize,
    },
    Cancel {
        back: usize,
    },
    Redrive {
        back: usize,
    },
    Discard {
        back: usize,
    },
    Advance(u64),
    Restart(u64),
    Limit {
        tenant: usize,
        callable: usize,
        most: Option<u32>,
    },
    Carry(usize),
    ClockBack(u64),
    /// A worker reports an action about one of a few steps.
    Record {
        back: usize,
        kind: usize,
        step: u8,
    },
    /// A worker suspends: for an input, or for a time in milliseconds.
    Suspend {
        back: usize,
        step: u8,
        ms: Option<u64>,
    },
    Input {
        back: usize,
        key: usize,
    },
    Pause {
        back: usize,
    },
    Resume {
        back: usize,
    },
}

pub(crate) const KEYS: [&str; 2] = ["k0", "k1"];

fn an_execution() -> impl Strategy<Value = NewExecution> {
    let names = (
        0..TENANTS.len(),
        0..CALLABLES.len(),
        prop_oneof![Just(10_u8), Just(50), Just(90)],
    );
    let lengths = (
        prop_oneof![Just(4_000_u64), Just(60_000)],
        1..4_u32,
        any::<bool>(),
    );
    let instants = (
        prop_oneof![4 => Just(0_i64), 1 => Just(2_000), 1 => Just(-1_000)],
        prop_oneof![4 => Just(0_i64), 1 => Just(4_000)],
        prop_oneof![4 => Just(0_i64), 1 => Just(20_000)],
    );
    let dedup = prop_oneof![
        4 => Just(None),
        1 => (0..2_usize, 0..3_usize).prop_map(Some),
    ];
    (names, lengths, instants, dedup).prop_map(|(names, lengths, instants, dedup)| {
        let mut new = new_execution(TENANTS[names.0], CALLABLES[names.1]);
        new.priority = names.2;
        (new.policy.timeout_ms, new.policy.max_worker_losses) = (lengths.0, lengths.1);
        new.policy.retry = lengths.2.then(|| Retry {
            max_attempts: 2,
            ..retries(Delay::Fixed)
        });
        // These are offsets; they become times when the step is taken.
        new.not_before_ms = Some(instants.0.cast_unsigned());
        new.start_deadline_ms = Some(instants.1.cast_unsigned());
        new.deadline_ms = Some(instants.2.cast_unsigned());
        if let Some((key, policy)) = dedup {
            new.dedup_key = Some(["k1", "k2"][key].into());
            new.dedup_policy = DedupPolicy::ALL[policy];
        }
        new
    })
}

pub(crate) fn a_step() -> impl Strategy<Value = Step> {
    let kinds = prop_oneof![
        Just(OutcomeKind::Completed),
        Just(OutcomeKind::Failed),
        Just(OutcomeKind::Released),
    ];
    let lease = (0..WORKERS.len(), 0..OFFERS.len(), 0..3_usize, 1..40_u64);
    let times = vec![0_u64, 1, 999, 1_000, 5_000, 10_000, 30_000];
    let limit = (0..TENANTS.len(), 0..4_usize, prop::option::of(0..3_u32));
    prop_oneof![
        6 => an_execution().prop_map(|new| Step::Enqueue(Box::new(new))),
        8 => lease.prop_map(|(worker, offer, scope, seconds)| {
            Step::Lease { worker, offer, scope, period_ms: seconds * 1_000 }
        }),
        5 => (0..5_usize, kinds).prop_map(|(back, kind)| Step::Report { back, kind }),
        1 => (0..5_usize).prop_map(|back| Step::Renew { back }),
        2 => (0..8_usize).prop_map(|back| Step::Cancel { back }),
        2 => (0..12_usize).prop_map(|back| Step::Redrive { back }),
        1 => (0..12_usize).prop_map(|back| Step::Discard { back }),
        3 => prop::sample::select(times.clone()).prop_map(Step::Advance),
        1 => prop::sample::select(times).prop_map(Step::Restart),
        1 => limit.prop_map(|(tenant, callable, most)| Step::Limit { tenant, callable, most }),
        2 => (1..6_usize).prop_map(Step::Carry),
        1 => (1..5_000_u64).prop_map(Step::ClockBack),
        4 => (0..3_usize, 0..5_usize, 0..3_u8)
            .prop_map(|(back, kind, step)| Step::Record { back, kind, step }),
        3 => (0..3_usize, 0..6_u8, prop::option::of(0..9_000_u64))
            .prop_map(|(back, step, ms)| Step::Suspend { back, step, ms }),
        2 => (0..8_usize, 0..KEYS.len()).prop_map(|(back, key)| Step::Input { back, key }),
        1 => (0..8_usize).prop_map(|back| Step::Pause { back }),
        2 => (0..8_usize).prop_map(|back| Step::Resume { back }),
    ]
}

/// The offer with this number, for every tenant or for the first few.
pub(crate) fn a_spec(offer: usize, scope: usize) -> OfferSpec {
    let callables = OFFERS[offer].iter().map(|name| (*name).into()).collect();
    let tenants = match scope {
        0 => TenantScope::Any,
        most => TenantScope::Only(TENANTS[..most].iter().map(|name| (*name).into()).collect()),
    };
    OfferSpec { callables, tenants }
}
