//! Lanes and prefetch on a `Work` stream.

use backlane_runtime::{Method, Ticket};
use backlane_sim::api::v1;

use crate::desk::{Desk, request};
use crate::work::{Down, Up, credit, down, greeted, hello, leases, prefetch, up};

fn lane(callables: &[&str]) -> v1::WorkLane {
    v1::WorkLane {
        callables: callables.iter().map(|name| (*name).to_owned()).collect(),
    }
}

/// A stream whose lane 0 has no callables.
fn laned(desk: &mut Desk, lanes: &[&str]) -> Ticket {
    let stream = desk.open(Method::Work);
    let hello = v1::WorkHello {
        worker_id: "w".into(),
        lanes: lanes.iter().map(|name| lane(&[name])).collect(),
        ..Default::default()
    };
    up(desk, stream, Up::Hello(hello));
    assert!(matches!(down(desk, stream), Down::Welcome(_)));
    stream
}

fn credit_of(lane: u32, executions: u32) -> Up {
    Up::Credit(v1::WorkCredit {
        lane,
        executions,
        ..Default::default()
    })
}

fn enqueue(desk: &mut Desk, callable: &str, input: &str) {
    let mut new = request(input);
    callable.clone_into(&mut new.callable_name);
    desk.make(&new);
}

#[test]
fn each_lane_has_credit_of_its_own() {
    let mut desk = Desk::new();
    for input in ["1", "2"] {
        enqueue(&mut desk, "slow", input);
        enqueue(&mut desk, "fast", input);
    }
    let stream = laned(&mut desk, &["slow", "fast"]);
    up(&mut desk, stream, credit_of(1, 1));
    desk.settle();
    let slow = leases(&mut desk, stream);
    assert_eq!((1, 1), (slow.len(), slow[0].lane));
    // The lane of the slow callable is at its limit, and the other one still gets leases.
    up(&mut desk, stream, credit_of(2, 5));
    desk.settle();
    let fast = leases(&mut desk, stream);
    assert_eq!(
        vec![2, 2],
        fast.iter().map(|lease| lease.lane).collect::<Vec<_>>()
    );
    let names = |leases: &[v1::Lease]| -> Vec<String> {
        let records = leases.iter().filter_map(|lease| lease.execution.as_ref());
        records.map(|record| record.callable_name.clone()).collect()
    };
    assert_eq!(
        (vec!["slow".into()], vec!["fast".into(); 2]),
        (names(&slow), names(&fast))
    );
    assert!(!desk.is_answered(stream));
}

#[test]
fn credit_for_a_lane_that_hello_did_not_name_ends_the_stream() {
    let mut desk = Desk::new();
    let stream = laned(&mut desk, &["slow"]);
    up(&mut desk, stream, credit_of(2, 1));
    desk.settle();
    assert_eq!("INVALID_ARGUMENT", desk.refusal(stream));
}

#[test]
fn a_worker_with_a_free_slot_comes_before_one_that_prefetches() {
    let mut desk = Desk::new();
    let ahead = greeted(&mut desk, 0);
    up(&mut desk, ahead, prefetch(2));
    let free = greeted(&mut desk, 1);
    desk.make(&request("a"));
    desk.make(&request("b"));
    desk.settle();
    let of_free = leases(&mut desk, free);
    assert_eq!(vec![false], prefetched(&of_free));
    assert_eq!(vec![true], prefetched(&leases(&mut desk, ahead)));
}

#[test]
fn a_worker_uses_its_free_slots_first() {
    let mut desk = Desk::new();
    for input in ["a", "b", "c", "d"] {
        desk.make(&request(input));
    }
    let stream = desk.open(Method::Work);
    up(&mut desk, stream, hello(&[]));
    assert!(matches!(down(&mut desk, stream), Down::Welcome(_)));
    up(&mut desk, stream, prefetch(2));
    desk.settle();
    assert_eq!(vec![true; 2], prefetched(&leases(&mut desk, stream)));
    up(&mut desk, stream, prefetch(1));
    up(&mut desk, stream, credit(1, 0));
    desk.settle();
    let mut all = prefetched(&leases(&mut desk, stream));
    if all.len() < 2 {
        all.extend(prefetched(&leases(&mut desk, stream)));
    }
    all.sort_unstable();
    assert_eq!(vec![false, true], all);
}

fn prefetched(leases: &[v1::Lease]) -> Vec<bool> {
    leases.iter().map(|lease| lease.prefetched).collect()
}
