//! The memory of a suspended execution: its slot, indexes, timers and run, with what the allocator
//! adds.
//!
//! Owns the count of living bytes and the bounds on them. Refuses to measure time. The count is
//! the same on every machine: each block counts with the size that mimalloc, the allocator of the
//! server, gives it.
//!
//! `cargo test -p backlane-engine --test memory -- --nocapture` prints the figures.

#![expect(
    unsafe_code,
    reason = "counting allocations means implementing the allocator's trait"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use backlane_engine::Engine;
use backlane_engine::command::{
    DedupPolicy, Held, IdRandom, Known, NewAction, NewExecution, NewWait, NewWaitEnd, OfferSpec,
    StepReport, Suspension, Taker,
};
use backlane_engine::decide::Speaker;
use backlane_engine::fact::{Actor, ExecutionChange, Fact, FactKind, LogFact, Policy, RunChange};
use backlane_engine::row::{ActionContents, Payload};
use backlane_engine::rules::access::{Principal, TenantScope};
use backlane_engine::rules::limits::Limits;
use backlane_engine::rules::run::Action;
use backlane_engine::rules::status::{Cancellation, Phase};
use backlane_engine::rules::step::{StepId, WaitReason};
use backlane_engine::state::State;
use backlane_engine::time::Now;

const EXECUTIONS: u64 = 4_000;
/// The bytes that a suspended execution may take, with one wait and no other step.
const MOST_BYTES: u64 = 250;
/// The bytes that each further step may take: its id, its state and what the allocator adds.
const MOST_BYTES_OF_STEP: u64 = 25;
const NOW: Now = Now {
    wall_ms: 1_800_000_000_000,
    mono_ms: 1_000,
};

struct Counting;

thread_local! {
    // Of this thread alone: tests run at the same time.
    static LIVE_BYTES: Cell<usize> = const { Cell::new(0) };
}

/// The size of the block that mimalloc gives: multiples of 16 up to 64, then four sizes for each
/// power of two.
const fn block(size: usize) -> usize {
    match size {
        0..=8 => 8,
        9..=64 => size.next_multiple_of(16),
        _ => size.next_multiple_of(size.next_power_of_two() / 8),
    }
}

fn count(size: usize, add: fn(usize, usize) -> usize) {
    // The thread may be ending already.
    let _ = LIVE_BYTES.try_with(|live| live.set(add(live.get(), block(size))));
}

// SAFETY: every call is passed on unchanged; only the sizes are counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), usize::wrapping_add);
        // SAFETY: the caller keeps the promises of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(layout.size(), usize::wrapping_sub);
        // SAFETY: the caller keeps the promises of `dealloc`.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn live_bytes() -> u64 {
    LIVE_BYTES.with(Cell::get) as u64
}

/// What an execution of the test waits for, and what it did before.
#[derive(Debug, Clone, Copy)]
struct Story {
    name: &'static str,
    steps: u8,
    end: NewWaitEnd,
    has_key: bool,
}

const INPUT: Story = Story {
    name: "an input",
    steps: 0,
    end: NewWaitEnd::Never,
    has_key: true,
};
const INSTANT: Story = Story {
    name: "an instant",
    steps: 0,
    end: NewWaitEnd::At(NOW.wall_ms + 86_400_000),
    has_key: false,
};
const DURATION: Story = Story {
    name: "a duration",
    steps: 0,
    end: NewWaitEnd::After(86_400_000),
    has_key: false,
};
const INPUT_WITHIN: Story = Story {
    name: "an input, a day at most",
    steps: 0,
    end: NewWaitEnd::After(86_400_000),
    has_key: true,
};

#[test]
fn a_suspended_execution_takes_few_bytes() {
    for story in [INPUT, INSTANT, DURATION, INPUT_WITHIN] {
        check(story, MOST_BYTES);
    }
}

#[test]
fn five_completed_steps_add_little_to_a_suspended_execution() {
    for story in [INPUT, INSTANT, DURATION, INPUT_WITHIN] {
        check(
            Story { steps: 5, ..story },
            MOST_BYTES + 5 * MOST_BYTES_OF_STEP,
        );
    }
}

#[test]
fn blocks_have_the_sizes_of_mimalloc() {
    let sizes = [
        1, 8, 9, 17, 64, 65, 80, 81, 100, 129, 185, 230, 260, 2048, 2049,
    ];
    let blocks = [
        8, 8, 16, 32, 64, 80, 80, 96, 112, 160, 192, 256, 320, 2048, 2560,
    ];
    assert_eq!(blocks, sizes.map(block));
}

/// Counts the bytes of a suspended execution, and of one after a restart.
fn check(story: Story, most: u64) {
    let (steps, name) = (story.steps, story.name);
    let mut engine = Engine::start(State::new(0), 1, Limits::default(), NOW);
    enqueue(&mut engine, 1);
    let before = live_bytes();
    enqueue(&mut engine, EXECUTIONS);
    let queued = (live_bytes() - before) / EXECUTIONS;
    suspend(&mut engine, story);
    let live = (live_bytes() - before) / EXECUTIONS;
    let carried = carried(&engine);
    let empty = live_bytes();
    let again = Engine::start(fold(&carried), 2, Limits::default(), NOW);
    let restarted = (live_bytes() - empty) / EXECUTIONS;
    println!(
        "{steps} steps, {name:<24} {queued} B queued   {live} B suspended   \
         {restarted} B after a restart"
    );
    let births = engine.state().slots().births_from(2);
    for birth in births {
        let run = engine.state().run(birth).expect("it has a run");
        assert_eq!(usize::from(steps) + 1, run.course.steps.len());
        assert_eq!(Some(run), again.state().run(birth));
    }
    assert!(live <= most, "{live} B for {story:?}");
    assert!(
        restarted <= most,
        "{restarted} B for {story:?} after a restart"
    );
}

fn enqueue(engine: &mut Engine, many: u64) {
    let template = NewExecution {
        tenant: Principal::default().sees("tenant").expect("it is in scope"),
        callable: "callable".into(),
        priority: 50,
        policy: Policy {
            timeout_ms: 300_000,
            max_worker_losses: 3,
            retry: None,
            cancellation: Cancellation::default(),
        },
        not_before_ms: None,
        start_deadline_ms: None,
        deadline_ms: None,
        request: None,
        dedup_key: None,
        dedup_policy: DedupPolicy::default(),
        depends_on: Vec::new(),
        parent: None,
        payload: Payload::default(),
        retried_from: None,
        actor: Actor::engine(),
        random: IdRandom::default(),
    };
    for _ in 0..many {
        let made = engine.enqueue(template.clone(), &Known::default(), NOW);
        made.expect("it is taken");
        engine.take_decided();
    }
}

/// Leases every execution but the first and suspends it. The first stays leased.
fn suspend(engine: &mut Engine, story: Story) {
    let offer = engine.acquire_offer(OfferSpec {
        callables: ["*".into()].into(),
        tenants: TenantScope::Any,
    });
    for number in 0..=EXECUTIONS {
        let held = lease(engine, offer, number);
        if number != 0 {
            suspend_one(engine, &held, story, number);
        }
        engine.take_decided();
    }
    engine.release_offer(offer, NOW);
}

fn lease(engine: &mut Engine, offer: u32, number: u64) -> Held {
    let taker = Taker {
        // Each call of a worker brings its name.
        worker: "worker-of-a-host-with-a-long-name-4711".into(),
        offer,
        duration_ms: 30_000,
        principal: "".into(),
        stream: None,
        prefetches: false,
    };
    let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let granted = engine.lease(&taker, random, NOW).expect("one is queued");
    let id = engine.state().id(granted.birth).expect("it lives");
    let token = Some(granted.holding.token);
    let held = Held { id, token };
    engine.sent(&held, NOW);
    held
}

fn step_id(number: u64, step: u8) -> StepId {
    let mut bytes = [step; 20];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    StepId(bytes)
}

fn suspend_one(engine: &mut Engine, held: &Held, story: Story, number: u64) {
    let (known, principal) = (Known::default(), Principal::default());
    let speaker = Speaker {
        principal: &principal,
        known: &known,
    };
    for step in 0..story.steps {
        let id = step_id(number, step);
        let actions = [Action::StepStarted(id), Action::StepCompleted(id)];
        let report = StepReport {
            actions: actions.map(action).into(),
            sequence: u32::from(step) + 1,
        };
        let reported = engine.report_steps(held, report, speaker, NOW);
        reported.expect("its own lease");
    }
    let wait = NewWait {
        step: step_id(number, u8::MAX),
        reason: WaitReason::Approval,
        key: story.has_key.then(|| "approval".into()),
        end: story.end,
        child: None,
        contents: ActionContents::default(),
    };
    let suspension = Suspension {
        waits: vec![wait],
        field: "suspend".into(),
    };
    let suspended = engine.suspend(held, &suspension, speaker, NOW);
    suspended.expect("its own lease");
}

fn action(action: Action) -> NewAction {
    NewAction {
        action,
        contents: ActionContents::default(),
        field: "step".into(),
    }
}

/// The log of a round: it carries every execution.
fn carried(engine: &Engine) -> Vec<Fact> {
    let state = engine.state();
    let began = FactKind::Log(LogFact::RoundBegan {
        next_birth: state.next_birth(),
        next_item: 0,
    });
    let mut kinds = vec![began];
    for birth in state.slots().births_from(2) {
        let mut living = state.living(birth).expect("it lives");
        assert_eq!(Phase::Suspended, living.progress.phase);
        // A log is read fact by fact: no two facts share a name.
        living.progress.last_worker = living.progress.last_worker.map(|name| Arc::from(&*name));
        kinds.push(FactKind::execution(
            birth,
            ExecutionChange::Carried(Box::new(living)),
        ));
        let run = state.run(birth).expect("it has a run").into_owned();
        kinds.push(FactKind::run(birth, RunChange::Carried(Box::new(run))));
    }
    let fact = |kind| Fact {
        at_ms: NOW.wall_ms,
        actor: Actor::engine(),
        cause: None,
        kind,
    };
    kinds.into_iter().map(fact).collect()
}

fn fold(log: &[Fact]) -> State {
    let mut state = State::new(0);
    for fact in log {
        state.apply(fact).expect("the fact follows the state");
    }
    state
}
