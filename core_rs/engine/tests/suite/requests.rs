//! Request ids that only the store has: what the engine asks to read, and what it decides with the
//! rows.

use backlane_engine::command::{Known, KnownRequest, Needs, NewExecution, Read, Request};
use backlane_engine::error::Refusal;
use backlane_engine::fact::{Births, RequestKey};
use backlane_engine::rules::limits::Limits;
use backlane_engine::state::hour_of;

use crate::world::{START_MS, World, new_execution};

const KEY: [u8; 16] = [5; 16];
const BODY: [u8; 16] = [6; 16];

fn request() -> Request {
    let key = RequestKey {
        key: KEY,
        body: BODY,
    };
    Request {
        id: "r1".into(),
        key,
    }
}

fn new() -> NewExecution {
    NewExecution {
        request: Some(request()),
        ..new_execution("acme", "mail")
    }
}

/// A world whose store holds request ids of this hour that the engine has not learned.
fn forgetful() -> World {
    let mut world = World::new(Limits::default());
    world.engine.requests_mut().expect([hour_of(START_MS)]);
    world
}

fn known(births: Births) -> Known {
    let read = KnownRequest { body: BODY, births };
    Known {
        requests: [(KEY, Read::Found(read))].into(),
        ..Known::default()
    }
}

#[test]
fn rows_that_only_the_store_has_are_requested_step_by_step() {
    let world = forgetful();
    let needs = |known: &Known| world.engine.needs_for_new([&new()], None, known);
    let id_first = Needs {
        requests: vec![KEY],
        ..Needs::default()
    };
    assert_eq!(id_first, needs(&Known::default()));
    let mut known = known(Births::List([41, 43].into()));
    let then_records = Needs {
        finished: vec![41, 43],
        ..Needs::default()
    };
    assert_eq!(then_records, needs(&known));
    known
        .finished
        .extend([(41, Read::Absent), (43, Read::Absent)]);
    assert!(needs(&known).is_empty());
}

#[test]
fn a_request_id_whose_execution_was_removed_is_refused_as_deleted() {
    let mut world = forgetful();
    let mut known = known(Births::Run {
        first: 41,
        count: 1,
    });
    known.finished.insert(41, Read::Absent);
    let answer = world.engine.enqueue(new(), &known, world.now);
    assert_eq!(
        Err(Refusal::ExecutionDeleted {
            request_id: "r1".into()
        }),
        answer
    );
}

#[test]
fn a_request_id_that_the_store_does_not_have_is_new() {
    let mut world = forgetful();
    let known = Known {
        requests: [(KEY, Read::Absent)].into(),
        ..Known::default()
    };
    let made = world.engine.enqueue(new(), &known, world.now);
    assert_eq!(Ok(false), made.map(|made| made.existing));
}

#[test]
fn a_request_id_makes_a_second_execution_a_day_later_and_is_kept_again() {
    let mut world = World::new(Limits::default());
    let first = world.make(&new());
    let mark = world.engine.requests_mut().mark();
    world.engine.requests_mut().durable_up_to(mark);
    world.advance(25 * 3_600_000);
    let second = world.make(&new());
    assert_ne!(first, second);
    let now_ms = world.now.wall_ms;
    world.engine.requests_mut().expire(now_ms);
    assert_eq!(second, world.make(&new()));
}
