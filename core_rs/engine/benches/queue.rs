//! Time of an enqueue, a lease and a completion at different queue depths, and memory per queued
//! execution.
//!
//! Owns the measurements that the documentation quotes about the engine. Refuses to judge the
//! results.
//!
//! `cargo bench -p backlane-engine`

#![expect(
    unsafe_code,
    reason = "counting allocations means implementing the allocator's trait"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
// The benchmark reads a clock; the engine never does.
#[expect(clippy::disallowed_types, reason = "measuring takes a clock")]
use std::time::Instant;

use backlane_engine::Engine;
use backlane_engine::command::{
    DedupPolicy, Held, IdRandom, Known, NewExecution, OfferSpec, Report, Taker,
};
use backlane_engine::decide::Speaker;
use backlane_engine::fact::{Actor, Policy};
use backlane_engine::row::Payload;
use backlane_engine::rules::access::{Principal, TenantScope, VisibleTenant};
use backlane_engine::rules::limits::Limits;
use backlane_engine::state::State;
use backlane_engine::time::Now;

const LIVES: u64 = 200_000;
// Facts are taken after this many commands, as a runtime takes them at each commit.
const PER_COMMIT: u64 = 64;
const NOW: Now = Now {
    wall_ms: 1_800_000_000_000,
    mono_ms: 1,
};

struct Counting;

static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on unchanged; only the sizes are counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE_BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the promises of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the promises of `dealloc`.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How the executions of a benchmark are spread over tenants and callables.
struct Load {
    name: &'static str,
    depth: u64,
    tenants: usize,
    callables: usize,
}

const LOADS: [Load; 4] = [
    Load {
        name: "nothing else",
        depth: 0,
        tenants: 1,
        callables: 1,
    },
    Load {
        name: "1 M of one queue",
        depth: 1_000_000,
        tenants: 1,
        callables: 1,
    },
    Load {
        name: "1 M of 1 000 tenants",
        depth: 1_000_000,
        tenants: 1_000,
        callables: 1,
    },
    Load {
        name: "1 M of 100 tenants × 10 callables",
        depth: 1_000_000,
        tenants: 100,
        callables: 10,
    },
];

fn main() {
    for load in &LOADS {
        measure(load);
    }
}

fn measure(load: &Load) {
    let templates = templates(load);
    let mut engine = Engine::start(State::new(0), 1, Limits::default(), NOW);
    let before = LIVE_BYTES.load(Ordering::Relaxed);
    enqueue(&mut engine, &templates, load.depth);
    let bytes = LIVE_BYTES.load(Ordering::Relaxed) - before;
    let callables = ["*".into()].into();
    let tenants = TenantScope::Any;
    let offer = engine.acquire_offer(OfferSpec { callables, tenants });
    let enqueue_ns = nanos(|| enqueue(&mut engine, &templates, LIVES));
    let mut leases = Vec::with_capacity(usize::try_from(LIVES).unwrap_or(0));
    let lease_ns = nanos(|| lease(&mut engine, offer, &mut leases));
    let complete_ns = nanos(|| complete(&mut engine, &leases));
    println!(
        "{:<34} enqueue {enqueue_ns:>5} ns   lease {lease_ns:>5} ns   complete \
         {complete_ns:>5} ns   {} B each",
        load.name,
        bytes as u64 / load.depth.max(1),
    );
}

fn templates(load: &Load) -> Vec<NewExecution> {
    let names = (0..load.tenants)
        .flat_map(|tenant| (0..load.callables).map(move |callable| (tenant, callable)));
    let template = |(tenant, callable)| NewExecution {
        tenant: visible(&format!("tenant_{tenant}")),
        callable: format!("callable_{callable}").as_str().into(),
        priority: 50,
        policy: Policy {
            timeout_ms: 300_000,
            max_worker_losses: 3,
            retry: None,
        },
        not_before_ms: None,
        start_deadline_ms: None,
        deadline_ms: None,
        request: None,
        dedup_key: None,
        dedup_policy: DedupPolicy::default(),
        depends_on: Vec::new(),
        payload: Payload {
            head: vec![0; 80],
            body: None,
        },
        actor: Actor::engine(),
        random: IdRandom::default(),
    };
    names.map(template).collect()
}

fn visible(tenant: &str) -> VisibleTenant {
    let principal = Principal::default();
    principal.sees(tenant).expect("everybody sees every tenant")
}

/// Nanoseconds for each of [`LIVES`] repetitions.
fn nanos(work: impl FnOnce()) -> u128 {
    #[expect(clippy::disallowed_types, reason = "measuring takes a clock")]
    let start = Instant::now();
    work();
    start.elapsed().as_nanos() / u128::from(LIVES)
}

fn enqueue(engine: &mut Engine, templates: &[NewExecution], many: u64) {
    let known = Known::default();
    for (number, template) in (0..many).zip(templates.iter().cycle()) {
        let made = engine.enqueue(template.clone(), &known, NOW);
        made.expect("it is taken");
        commit(engine, number);
    }
    engine.take_decided();
}

fn lease(engine: &mut Engine, offer: u32, leases: &mut Vec<Held>) {
    let taker = Taker {
        worker: "worker".into(),
        offer,
        duration_ms: 30_000,
        principal: "".into(),
        stream: None,
        prefetches: false,
    };
    for number in 0..LIVES {
        let granted = engine.lease(&taker, number, NOW).expect("enough is queued");
        let id = engine.state().id(granted.birth).expect("it lives");
        let token = Some(granted.holding.token);
        leases.push(Held { id, token });
        commit(engine, number);
    }
}

fn complete(engine: &mut Engine, leases: &[Held]) {
    let (known, principal) = (Known::default(), Principal::default());
    let speaker = Speaker {
        principal: &principal,
        known: &known,
    };
    let report = Report::Completed((*b"null").into());
    for (number, lease) in (0..).zip(leases) {
        let settled = engine.report(lease, &report, speaker, NOW);
        settled.expect("its own lease");
        commit(engine, number);
    }
}

fn commit(engine: &mut Engine, number: u64) {
    if number.is_multiple_of(PER_COMMIT) {
        engine.take_decided();
    }
}
