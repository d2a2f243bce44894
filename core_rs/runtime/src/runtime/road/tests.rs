//! The direct road: when it is taken, and what holds on it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use backlane_sim::api::v1;
use backlane_store::{Commit, MemoryDisk};
use prost::Message as _;

use super::*;
use crate::clock::{Ahead, Clock};
use crate::message::{Ticket, UnaryCall};
use crate::recover::recover;
use crate::shard::{Random, Settings};
use crate::writer::Work;

/// A road to a shard of its own, whose threads are played by the test.
struct Town {
    road: Arc<Road>,
    ahead: Arc<Ahead>,
    work: Receiver<Work>,
}

impl Town {
    fn new(random: Random) -> Self {
        let mut clock = Clock::standing_at(1_800_000_000_000);
        let (ahead, now) = (clock.ahead(), clock.now());
        let mut store = MemoryDisk::new().store();
        let shard = recover(&mut store, "node", Settings::default(), random, now);
        let shard = shard.unwrap_or_else(|error| panic!("{error}"));
        let (writer, work) = channel();
        let road = Arc::new(Road::new(Arc::new(Shared::new().expect("an eventfd"))));
        road.open(Stepper::new(shard, clock, Vec::new(), writer));
        let town = Self { road, ahead, work };
        // The first step has an audit to do, and takes back what that gives the writer to do.
        town.thread_of_the_shard();
        while town.work.try_recv().is_ok() {}
        town
    }

    fn quiet() -> Self {
        Self::new(Box::new(|| 7))
    }

    /// A step of the shard's own thread.
    fn thread_of_the_shard(&self) {
        // With an input it does not sleep.
        self.road.shared.inbox.lock().add(Input::Room(u64::MAX));
        assert!(self.road.turn(), "the server goes on");
    }

    fn call(&self, ticket: Ticket, method: Method, bytes: Vec<u8>) {
        let call = UnaryCall {
            method,
            bytes,
            ..call(ticket)
        };
        self.road.shared.inbox.lock().add(Input::Call(call));
    }

    fn enqueue(&self, ticket: Ticket) {
        self.road.shared.inbox.lock().add(Input::Call(call(ticket)));
    }

    fn waiting(&self) -> usize {
        self.road.shared.inbox.lock().due().len()
    }

    fn answered(&self) -> Vec<Ticket> {
        let completions = std::mem::take(&mut *self.road.shared.outbox.lock());
        let tickets = completions.into_iter().map(|completion| {
            let is_reply = matches!(completion.kind, CompletionKind::Reply(_));
            assert!(is_reply, "{completion:?}");
            completion.ticket
        });
        tickets.collect()
    }

    /// The commit that the writer got, if it got one.
    fn commit(&self) -> Option<Commit> {
        self.work.try_iter().find_map(|work| match work {
            Work::Append(commit) => Some(commit),
            Work::Maintain(_) => None,
        })
    }
}

/// A call that enqueues an execution.
fn call(ticket: Ticket) -> UnaryCall {
    UnaryCall {
        ticket,
        method: Method::Enqueue,
        principal: Arc::default(),
        timeout_ms: None,
        bytes: request().encode_to_vec(),
    }
}

fn request() -> v1::EnqueueRequest {
    v1::EnqueueRequest {
        tenant_id: "t".into(),
        callable_name: "f".into(),
        ..v1::EnqueueRequest::default()
    }
}

fn delayed(delay_ms: u64) -> Vec<u8> {
    let request = v1::EnqueueRequest {
        delay_ms: Some(delay_ms),
        ..request()
    };
    request.encode_to_vec()
}

#[test]
fn a_lone_call_is_decided_here_and_its_reply_waits_for_the_commit() {
    let town = Town::quiet();
    town.enqueue(1);
    assert!(town.road.step_here());

    assert_eq!((1, 0), (town.road.direct_steps(), town.waiting()));
    assert_eq!(Vec::<Ticket>::new(), town.answered());
    let commit = town.commit().expect("a commit");
    // The writer, once the commit is durable.
    town.road.tell(Input::Committed(commit.next_sequence()));
    assert_eq!((2, vec![1]), (town.road.direct_steps(), town.answered()));
}

#[test]
fn calls_that_came_during_a_commit_are_decided_in_order_with_its_end() {
    let town = Town::quiet();
    town.enqueue(1);
    assert!(town.road.step_here());
    let first = town.commit().expect("a commit");
    town.enqueue(2);
    town.enqueue(3);
    town.road.tell(Input::Committed(first.next_sequence()));

    assert_eq!(vec![1], town.answered());
    let second = town.commit().expect("a second commit");
    assert_eq!(first.next_sequence(), second.first_sequence);
    town.road.tell(Input::Committed(second.next_sequence()));
    assert_eq!(vec![2, 3], town.answered());
}

#[test]
fn calls_that_wait_for_company_are_not_taken_with_the_end_of_a_commit() {
    let town = Town::quiet();
    town.enqueue(1);
    assert!(town.road.step_here());
    let first = town.commit().expect("a commit");
    town.road
        .shared
        .inbox
        .lock()
        .add_waiting(Input::Call(call(2)));
    town.road.tell(Input::Committed(first.next_sequence()));
    assert_eq!(vec![1], town.answered());
    assert!(town.commit().is_none());

    town.road.shared.inbox.lock().release();
    town.enqueue(3);
    assert!(town.road.step_here());
    let second = town.commit().expect("one commit for both");
    town.road.tell(Input::Committed(second.next_sequence()));
    assert_eq!(vec![2, 3], town.answered());
}

#[test]
fn the_thread_of_the_shard_takes_calls_that_waited_too_long() {
    let town = Town::quiet();
    town.road
        .shared
        .inbox
        .lock()
        .add_waiting(Input::Call(call(1)));
    town.thread_of_the_shard();
    assert!(town.commit().is_some());
}

#[test]
fn nothing_to_decide_is_no_step() {
    let town = Town::quiet();
    assert!(town.road.step_here());
    assert_eq!(0, town.road.direct_steps());
}

#[test]
fn with_a_timer_due_the_thread_of_the_shard_decides() {
    let town = Town::quiet();
    town.call(1, Method::Enqueue, delayed(1_000));
    assert!(town.road.step_here());
    town.ahead.advance(1_000).expect("room to advance");
    town.enqueue(2);

    assert!(!town.road.step_here());
    assert_eq!(1, town.waiting(), "it is left in the inbox");
    town.thread_of_the_shard();
    town.enqueue(3);
    assert!(town.road.step_here(), "no timer is due any more");
}

#[test]
fn an_audit_is_left_to_the_thread_of_the_shard() {
    let town = Town::quiet();
    town.ahead.advance(60_000).expect("room to advance");
    town.enqueue(1);
    assert!(!town.road.step_here());
}

#[test]
fn heavy_inputs_take_all_inputs_beside_them_to_the_thread_of_the_shard() {
    let large = v1::EnqueueRequest {
        input: Some("x".repeat(DIRECT_BYTES)),
        ..request()
    };
    let heavy: [&dyn Fn(&Town); 4] = [
        &|town| town.call(1, Method::Enqueue, large.encode_to_vec()),
        &|town| town.call(1, Method::List, Vec::new()),
        &|town| {
            town.road
                .shared
                .inbox
                .lock()
                .add(Input::Frame(9, Vec::new()));
        },
        &|town| (1..=DIRECT_INPUTS as u64).for_each(|ticket| town.enqueue(ticket)),
    ];
    for (number, put) in heavy.iter().enumerate() {
        let town = Town::quiet();
        put(&town);
        town.enqueue(100);
        let waiting = town.waiting();
        assert!(!town.road.step_here(), "case {number}");
        assert_eq!((0, waiting), (town.road.direct_steps(), town.waiting()));
    }
}

#[test]
fn a_shard_in_use_is_not_waited_for() {
    let town = Town::quiet();
    town.enqueue(1);
    let lock = town.road.held.lock();
    assert!(!town.road.step_here());
    drop(lock);
    assert!(town.road.step_here());
}

#[test]
fn a_server_that_stops_leaves_everything_to_the_thread_of_the_shard() {
    let town = Town::quiet();
    town.enqueue(1);
    town.road.shared.stopping.store(true, Ordering::SeqCst);
    assert!(!town.road.step_here());
    // Which ends when the last decision is durable, and not before.
    assert!(town.road.turn());
    let commit = town.commit().expect("a commit");
    town.road.tell(Input::Committed(commit.next_sequence()));
    assert!(!town.road.turn());
    assert_eq!(vec![1], town.answered());
}

#[test]
fn a_timer_that_is_due_before_the_thread_of_the_shard_wakes_up_wakes_it() {
    for (delay_ms, oversleeps) in [(50, true), (5_000, false)] {
        let town = Town::quiet();
        town.call(1, Method::Enqueue, delayed(delay_ms));
        let mut lock = town.road.held.lock();
        let held = lock.as_mut().expect("a shard");
        let now = held.stepper.now();
        held.sleeps_until_ms = now.mono_ms + held.stepper.wait_ms(now);
        let inputs = town.road.shared.inbox.lock().take();
        assert_eq!(oversleeps, town.road.step(held, inputs, now), "{delay_ms}");
    }
}

#[test]
fn a_panic_fails_the_server_and_nobody_uses_the_shard_again() {
    let town = Town::new(Box::new(|| panic!("a defect")));
    town.enqueue(1);
    assert!(town.road.step_here());

    let why = town.road.shared.failure.lock().clone();
    assert_eq!(Some("the shard of the core panicked".to_owned()), why);
    town.enqueue(2);
    assert!(!town.road.step_here());
    town.road.run();
    assert!(town.road.held.lock().is_none());
    assert_eq!(Vec::<Ticket>::new(), town.answered());
    assert!(town.work.recv().is_err(), "the writer ends");
}
