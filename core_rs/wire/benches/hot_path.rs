//! Time that the wire crate adds to each execution: the parts of an enqueued batch and of a lease.
//!
//! Owns the measurement: nanoseconds per execution, best of many rounds. Refuses to judge the
//! results.
//!
//! `cargo bench -p backlane-wire`

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use backlane_engine::fact::{Fact, FactKind, Holding, Living, Progress};
use backlane_engine::reply::Granted;
use backlane_engine::rules::access::Principal;
use backlane_engine::rules::id::{ExecutionId, LeaseToken};
use backlane_engine::rules::limits::Limits;
use backlane_engine::rules::status::Phase;
use backlane_wire::enqueue::EnqueueBatch;
use backlane_wire::{
    Call, Context, DecodeError, Method, Standing, View, decode_call, decode_facts, encode_fact,
    record, reply,
};
use prost::Message;

const ITEMS: usize = 500;
const ROUNDS: usize = 400;
const NOW_MS: u64 = 1_790_000_000_000;

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
    };
    match decode_call(Method::EnqueueBatch, bytes, &mut context) {
        Ok(Call::EnqueueBatch(batch)) => batch,
        other => panic!("not a batch: {other:?}"),
    }
}

fn living(batch: &EnqueueBatch, index: usize) -> Living {
    let new = &batch.items[index].new;
    Living {
        id: ExecutionId {
            seconds: 390_000_000,
            shard: 1,
            birth: 1_000_000,
            random: new.random,
        },
        tenant: new.tenant.clone(),
        callable: new.callable.clone(),
        priority: new.priority,
        queued_at_ms: NOW_MS,
        policy: new.policy,
        not_before_ms: None,
        start_deadline_ms: None,
        deadline_ms: None,
        dedup_key: None,
        request: None,
        payload_bytes: new.payload_bytes,
        progress: Progress::newborn(Phase::Ready, NOW_MS),
    }
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
    let batch = decode(&plain);
    let living: Vec<Living> = (0..ITEMS).map(|index| living(&batch, index)).collect();
    measure("decode and check, no request id", || decode(&plain));
    measure("decode and check, with a request id", || decode(&named));
    let payloads = || -> Vec<Vec<u8>> {
        batch
            .items
            .iter()
            .zip(&living)
            .map(|(item, living)| item.payload.encode(living))
            .collect()
    };
    measure("payload", payloads);
    let payloads = payloads();
    let records = |view| -> Vec<Vec<u8>> {
        let pairs = payloads.iter().zip(&living);
        let one = |(payload, living): (&Vec<u8>, &Living)| {
            record(living.id.birth, 1, payload, Standing::Living(living), view).unwrap()
        };
        pairs.map(one).collect()
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
    measure_lease(&records(View::Full));
    measure_facts(&living);
    measure("an id's text", || {
        living
            .iter()
            .map(|living| living.id.to_string())
            .collect::<Vec<_>>()
    });
}

fn holding() -> Holding {
    let token = LeaseToken {
        epoch: 7,
        counter: 1_000_000,
    };
    Holding {
        token,
        worker: Arc::from("worker-1"),
        duration_ms: 30_000,
    }
}

fn measure_lease(records: &[Vec<u8>]) {
    let granted = Granted {
        birth: 1_000_000,
        holding: holding(),
        attempt: 1,
        expires_at_ms: NOW_MS,
        attempt_deadline_ms: NOW_MS,
        payload_bytes: 256,
    };
    measure("lease", || {
        records
            .iter()
            .map(|record| reply::lease(record, &granted))
            .collect::<Vec<_>>()
    });
}

fn measure_facts(living: &[Living]) {
    let of = |kind| Fact {
        at_ms: NOW_MS,
        kind,
    };
    let enqueued: Vec<Fact> = living
        .iter()
        .map(|living| of(FactKind::Enqueued(Box::new(living.clone()))))
        .collect();
    let leased = FactKind::Leased {
        birth: 1_000_000,
        holding: holding(),
        attempt: 1,
    };
    let leased = vec![of(leased); ITEMS];
    for (what, facts) in [("enqueued", enqueued), ("leased", leased)] {
        let mut frame = Vec::new();
        measure(&format!("encode fact, {what}"), || {
            frame.clear();
            for fact in &facts {
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
}
