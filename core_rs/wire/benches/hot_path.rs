//! Time that the wire crate adds to each execution: the parts of an enqueued batch and of a lease.
//!
//! Owns the measurement: nanoseconds per execution, best of many rounds. Refuses to judge the
//! results.
//!
//! `cargo bench -p backlane-wire`

use std::hint::black_box;
use std::time::Instant;

use backlane_engine::command::{Known, OfferSpec, Taker};
use backlane_engine::fact::{Fact, Living};
use backlane_engine::reply::Granted;
use backlane_engine::row::{PayloadRow, Row};
use backlane_engine::rules::access::{Principal, TenantScope};
use backlane_engine::rules::id::Birth;
use backlane_engine::rules::limits::Limits;
use backlane_engine::state::State;
use backlane_engine::time::Now;
use backlane_engine::{Decided, Engine};
use backlane_wire::enqueue::{EnqueueBatch, decode_batch};
use backlane_wire::{
    Context, DecodeError, Parts, Standing, View, decode_facts, encode_fact, record, reply, row,
};
use prost::Message;

const ITEMS: usize = 500;
const ROUNDS: usize = 400;
const NOW: Now = Now {
    wall_ms: 1_790_000_000_000,
    mono_ms: 1,
};

/// The fields of an `EnqueueRequest` that a usual caller sets.
#[derive(Clone, PartialEq, Message)]
struct Item {
    #[prost(string, tag = "2")]
    callable_name: String,
    #[prost(string, optional, tag = "3")]
    input: Option<String>,
}

/// An `EnqueueBatchRequest`.
#[derive(Clone, PartialEq, Message)]
struct Batch {
    #[prost(string, tag = "1")]
    tenant_id: String,
    #[prost(message, repeated, tag = "2")]
    items: Vec<Item>,
    #[prost(string, tag = "3")]
    request_id: String,
}

fn request(request_id: &str) -> Vec<u8> {
    let item = Item {
        callable_name: "mail.send".into(),
        input: Some("x".repeat(200)),
    };
    let batch = Batch {
        tenant_id: "acme".into(),
        items: vec![item; ITEMS],
        request_id: request_id.into(),
    };
    batch.encode_to_vec()
}

fn decode(bytes: &[u8]) -> EnqueueBatch {
    let mut random = || 0x0123_4567_89AB_CDEF;
    let mut context = Context {
        limits: &Limits::default(),
        principal: &Principal::default(),
        random: &mut random,
        wall_ms: 1_700_000_000_000,
    };
    decode_batch(bytes, &mut context).expect("a batch")
}

/// What an engine decided of a batch, up to the lease of each of its executions.
struct Decisions {
    payloads: Vec<PayloadRow>,
    living: Vec<Living>,
    leases: Vec<Granted>,
    enqueued: Vec<Fact>,
    leased: Vec<Fact>,
}

fn decide(batch: EnqueueBatch) -> Decisions {
    let mut engine = Engine::start(State::new(0), 1, Limits::default(), NOW);
    let known = Known::default();
    let made = engine.enqueue_batch(batch.items, None, &known, NOW);
    let (made, _) = made.expect("a taken batch");
    let births: Vec<Birth> = made.iter().map(|made| made.birth).collect();
    let (enqueued, rows) = taken(&mut engine);
    let payloads = rows.into_iter().filter_map(|row| match row {
        Row::Payload(payload) => Some(*payload),
        _ => None,
    });
    let living = births
        .iter()
        .filter_map(|birth| engine.state().living(*birth));
    let living = living.collect();
    let offer = engine.acquire_offer(OfferSpec {
        callables: ["*".into()].into(),
        tenants: TenantScope::Any,
    });
    let taker = Taker {
        worker: "worker-1".into(),
        offer,
        duration_ms: 30_000,
        principal: "".into(),
        stream: None,
        prefetches: false,
    };
    let leases = (0..).map_while(|random| engine.lease(&taker, random, NOW));
    Decisions {
        payloads: payloads.collect(),
        living,
        leases: leases.collect(),
        enqueued,
        leased: taken(&mut engine).0,
    }
}

fn taken(engine: &mut Engine) -> (Vec<Fact>, Vec<Row>) {
    let decided = engine.take_decided().into_iter();
    let (facts, rows): (Vec<Fact>, Vec<Vec<Row>>) =
        decided.map(|Decided { fact, rows }| (fact, rows)).unzip();
    (facts, rows.into_iter().flatten().collect())
}

/// Prints the nanoseconds per item of the fastest round. Noise only adds time, so the fastest round
/// is the closest to the truth.
fn measure<T>(what: &str, mut round: impl FnMut() -> T) {
    let time = |round: &mut dyn FnMut() -> T| {
        let begin = Instant::now();
        black_box(round());
        begin.elapsed().as_nanos()
    };
    let best = (0..ROUNDS).map(|_| time(&mut round)).min().unwrap_or(0);
    println!("{what:<44} {:>6} ns", best / ITEMS as u128);
}

fn main() {
    let (plain, named) = (request(""), request("r-1"));
    measure("decode and check, no request id", || decode(&plain));
    measure("decode and check, with a request id", || decode(&named));
    let decisions = decide(decode(&plain));
    let heads = || -> Vec<Vec<u8>> {
        let rows = decisions.payloads.iter();
        let head = |row: &PayloadRow| row::payload::encode(row.clone()).0;
        rows.map(head).collect()
    };
    measure("head of the payload's row", heads);
    let heads = heads();
    let records = |view| -> Vec<Vec<u8>> {
        let bodies = decisions.payloads.iter().map(|row| &row.payload.body);
        let parts = heads.iter().zip(bodies).zip(&decisions.living);
        let one = |((head, body), living): ((&Vec<u8>, &Option<Vec<u8>>), &Living)| {
            let parts = Parts {
                birth: living.id.birth,
                head,
                body: body.as_deref(),
                standing: Standing::Living(living),
                last_error: None,
            };
            record(&parts, view).expect("a record")
        };
        parts.map(one).collect()
    };
    measure("record, BASIC", || records(View::Basic));
    measure("record, FULL", || records(View::Full));
    let basic: Vec<(Vec<u8>, bool)> = records(View::Basic)
        .into_iter()
        .map(|record| (record, false))
        .collect();
    measure("batch response", || {
        reply::enqueue_batch_response(&basic, false)
    });
    let full = records(View::Full);
    measure("lease", || {
        let leases = full.iter().zip(&decisions.leases);
        leases
            .map(|(record, granted)| reply::lease(record, granted, 0, None, false))
            .collect::<Vec<_>>()
    });
    measure_facts("enqueued", &decisions.enqueued);
    measure_facts("leased", &decisions.leased);
    measure("an id's text", || {
        let ids = decisions.living.iter().map(|living| living.id.to_string());
        ids.collect::<Vec<_>>()
    });
}

fn measure_facts(what: &str, facts: &[Fact]) {
    let mut frame = Vec::new();
    measure(&format!("encode fact, {what}"), || {
        frame.clear();
        for fact in facts {
            encode_fact(fact, &mut frame);
        }
    });
    measure(&format!("decode fact, {what}"), || {
        let mut count = 0;
        let counted = decode_facts::<DecodeError>(&frame, &mut |_| {
            count += 1;
            Ok(())
        });
        counted.map(|()| count)
    });
}
