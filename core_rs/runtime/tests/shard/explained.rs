//! Explanations by the workers' streams: lanes, prefetched leases, workers that drain.

use backlane_runtime::{Method, Ticket};
use backlane_sim::api::v1::{self, reason::Kind};

use crate::desk::{Desk, request};
use crate::work::{Down, Up, credit, down, greeted, leases, prefetch, up};

fn make(desk: &mut Desk, callable: &str, input: &str) -> String {
    let mut new = request(input);
    callable.clone_into(&mut new.callable_name);
    let id = desk.make(&new);
    desk.settle();
    id
}

fn told(desk: &mut Desk, id: &str) -> Vec<Kind> {
    let asked = v1::ExplainRequest {
        tenant_id: request("").tenant_id,
        execution_id: id.into(),
    };
    let reply: v1::ExplainResponse = desk.ask(Method::Explain, &asked);
    let kinds = reply.reasons.into_iter().filter_map(|reason| reason.kind);
    kinds.collect()
}

/// A stream with a lane of one slot for each callable; lane 0 has none.
fn laned(desk: &mut Desk, callables: &[&str]) -> Ticket {
    let stream = desk.open(Method::Work);
    let lanes = callables.iter().map(|name| v1::WorkLane {
        callables: vec![(*name).into()],
    });
    let hello = v1::WorkHello {
        worker_id: "w".into(),
        lanes: lanes.collect(),
        ..Default::default()
    };
    up(desk, stream, Up::Hello(hello));
    assert!(matches!(down(desk, stream), Down::Welcome(_)));
    for lane in 1..=u32::try_from(callables.len()).expect("few lanes") {
        let credit = v1::WorkCredit {
            lane,
            executions: 1,
            ..Default::default()
        };
        up(desk, stream, Up::Credit(credit));
    }
    desk.settle();
    stream
}

const fn taken(workers: u64, held: u64) -> Kind {
    Kind::SlotsTaken(v1::reason::SlotsTaken { workers, held })
}

#[test]
fn the_slots_of_a_lane_count_for_its_callable_alone() {
    let mut desk = Desk::new();
    let stream = laned(&mut desk, &["slow", "fast"]);
    make(&mut desk, "slow", "1");
    assert_eq!(1, leases(&mut desk, stream).len());
    let waiting = make(&mut desk, "slow", "2");
    assert_eq!(vec![taken(1, 1)], told(&mut desk, &waiting));
    // The other lane still has its slot.
    let other = make(&mut desk, "fast", "3");
    assert!(matches!(told(&mut desk, &other)[..], [Kind::Running(_)]));
}

#[test]
fn a_prefetched_lease_waits_at_its_worker_and_takes_no_slot() {
    let mut desk = Desk::new();
    let stream = greeted(&mut desk, 1);
    up(&mut desk, stream, prefetch(1));
    let first = make(&mut desk, "mail", "1");
    let ahead = make(&mut desk, "mail", "2");
    let waiting = make(&mut desk, "mail", "3");
    let waits = |kinds: Vec<Kind>| match &kinds[..] {
        [Kind::Running(one)] => one.waits_at_worker,
        other => panic!("it runs, but {other:?}"),
    };
    assert!(!waits(told(&mut desk, &first)));
    assert!(waits(told(&mut desk, &ahead)));
    assert_eq!(vec![taken(1, 1)], told(&mut desk, &waiting));
}

#[test]
fn a_worker_that_drains_counts_as_gone() {
    let mut desk = Desk::new();
    let stream = greeted(&mut desk, 1);
    up(&mut desk, stream, Up::Drain(v1::WorkDrain {}));
    up(&mut desk, stream, credit(1, u64::MAX));
    let waiting = make(&mut desk, "mail", "1");
    let kinds = told(&mut desk, &waiting);
    assert!(matches!(kinds[..], [Kind::NoWorker(_)]), "{kinds:?}");
}
