//! Round trips of the compact form.
//!
//! Owns arbitrary extras and runs. Refuses to know the bytes between.

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

fn some_number() -> impl Strategy<Value = Option<u64>> {
    of(prop_oneof![0..200_u64, any::<u64>()])
}

fn backoff() -> impl Strategy<Value = Backoff> {
    (any::<u64>(), any::<u64>()).prop_map(|(delay_ms, until_ms)| Backoff { delay_ms, until_ms })
}

fn token() -> impl Strategy<Value = LeaseToken> {
    let numbers = (any::<u16>(), any::<u64>(), any::<u64>(), any::<u64>());
    numbers.prop_map(|(shard, epoch, counter, random)| LeaseToken {
        shard,
        epoch,
        counter,
        random,
    })
}

fn some_extras() -> impl Strategy<Value = Extras> {
    let times = (some_number(), some_number(), some_number(), some_number());
    let report = (token(), select(OutcomeKind::ALL));
    let outcome = of(report.prop_map(|(token, kind)| Outcome { token, kind }));
    let texts = (of("\\PC{0,8}"), of("[a-c]"), of(any::<u32>()));
    (times, of(backoff()), outcome, texts).prop_map(|(times, backoff, outcome, texts)| Extras {
        not_before_ms: times.0,
        start_deadline_ms: times.1,
        deadline_ms: times.2,
        retried_from: times.3,
        dedup_key: texts.0.map(Into::into),
        backoff,
        last_worker: texts.1.map(Into::into),
        last_failed: texts.2,
        cancel: None,
        outcome,
        verdict: None,
    })
}

// Few ids, so that many waits are for a step of the run, and some steps have the same id.
fn step() -> impl Strategy<Value = StepId> {
    (0..6_u8).prop_map(|byte| StepId([byte; 20]))
}

fn some_mark() -> impl Strategy<Value = Mark> {
    let parts = (step(), select(StepState::ALL), any::<bool>());
    parts.prop_map(|(id, state, is_wait)| Mark { id, state, is_wait })
}

fn some_wait() -> impl Strategy<Value = Wait> {
    let end = prop_oneof![
        Just(WaitEnd::Never),
        any::<u64>().prop_map(WaitEnd::At),
        backoff().prop_map(WaitEnd::After),
    ];
    let parts = (step(), of("\\PC{0,8}"), end, some_number(), any::<bool>());
    parts.prop_map(|(step, key, end, child, is_active)| Wait {
        step,
        key: key.map(Into::into),
        end,
        child,
        is_active,
    })
}

fn some_input() -> impl Strategy<Value = KeptInput> {
    let parts = ("\\PC{0,200}", any::<u32>());
    parts.prop_map(|(key, action)| KeptInput {
        key: key.into(),
        action,
    })
}

fn some_pause() -> impl Strategy<Value = Option<Box<PauseAsked>>> {
    let asked = (any::<u64>(), select(ActorKind::ALL), "[a-z]{0,9}");
    of(asked).prop_map(|asked| {
        let (at_ms, kind, id) = asked?;
        let actor = Actor {
            kind,
            id: id.into(),
        };
        Some(Box::new(PauseAsked { at_ms, actor }))
    })
}

fn some_run() -> impl Strategy<Value = Run> {
    let numbers = (any::<u32>(), any::<u32>(), 0..3_u32, any::<u32>());
    let times = (some_number(), some_number(), any::<bool>(), some_pause());
    let lists = (
        vec(some_mark(), 0..5),
        vec(some_wait(), 0..4),
        vec(some_input(), 0..3),
    );
    let state = select(RunState::ALL);
    (state, numbers, times, lists).prop_map(|(state, numbers, times, lists)| Run {
        course: Course {
            state,
            steps: lists.0,
        },
        actions: numbers.0,
        bytes: numbers.1,
        resumes: numbers.2,
        sequence: numbers.3,
        left_ms: times.0,
        leased_at_ms: times.1,
        is_paused: times.2,
        pause: times.3.filter(|_| times.2),
        waits: lists.1,
        inputs: lists.2,
    })
}

proptest! {
    #[test]
    fn what_was_packed_comes_back(extras in some_extras(), run in of(some_run())) {
        let name = extras.last_worker.clone();
        let key = name.as_ref().map(|_| 300);
        let bytes = pack(&extras, run.as_ref(), key);
        prop_assert_eq!(key, worker(&bytes));
        let named = |number| {
            assert_eq!(300, number);
            name.clone().expect("only a worker that has a number")
        };
        prop_assert_eq!((extras, run.map(Box::new)), unpack(&bytes, named));
    }
}
