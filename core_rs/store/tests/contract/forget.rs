//! Promises of forgetting: only what is due goes, oldest first, never more than asked.
//!
//! Owns those. Refuses to know when a runtime would ask.

use backlane_store::{Commit, Maintenance, StoreError, Taken};

use crate::world::{
    SHARD, World, append_all, births, ending, facts, frame_of, reader, replayed, request,
    with_finished, with_payloads, with_requests,
};

fn trim(below: u64, limit: usize) -> Maintenance {
    Maintenance {
        trim_below_sequence: below,
        limit,
        ..Maintenance::default()
    }
}

fn expire(before_ms: u64, limit: usize) -> Maintenance {
    Maintenance {
        expire_finished_before_ms: before_ms,
        limit,
        ..Maintenance::default()
    }
}

fn drop_hours(below: u32, limit: usize) -> Maintenance {
    Maintenance {
        drop_request_hours_below: below,
        limit,
        ..Maintenance::default()
    }
}

/// Frames of two facts each, beginning with 1, 3, 5, 7 and 9.
fn five_frames() -> Vec<Commit> {
    (0..5).map(|number| facts(1 + 2 * number, 2)).collect()
}

pub(crate) fn trimming_removes_whole_frames_and_is_bounded(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    append_all(&mut *store, epoch, &five_frames());
    assert_eq!(1, store.maintain(epoch, &trim(8, 1)).unwrap());
    assert_eq!(
        2,
        store.maintain(epoch, &trim(8, 10)).unwrap(),
        "7 and 8 share a frame"
    );
    assert_eq!(0, store.maintain(epoch, &trim(8, 10)).unwrap());
    let kept: Vec<_> = five_frames()[3..].iter().map(frame_of).collect();
    assert_eq!(kept, replayed(&mut *store));
}

pub(crate) fn trimming_keeps_the_newest_frame_over_a_restart(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    append_all(&mut *store, epoch, &five_frames());
    assert_eq!(4, store.maintain(epoch, &trim(u64::MAX, 100)).unwrap());
    drop(store);
    let mut store = world.open();
    let taken = store.take(SHARD, "node").unwrap();
    assert_eq!(
        Taken {
            epoch: epoch + 1,
            first_sequence: 9,
            next_sequence: 11
        },
        taken
    );
    assert_eq!(vec![frame_of(&facts(9, 2))], replayed(&mut *store));
    append_all(&mut *store, taken.epoch, &[facts(11, 1)]);
}

/// Births 1 to 6, each with its payload; the later born finished earlier.
fn six_finished() -> Commit {
    let finished = (1..=6)
        .map(|birth| ending(birth, "acme", 1, 100 - birth))
        .collect();
    Commit {
        finished,
        ..with_payloads(1, &[1, 2, 3, 4, 5, 6, 7])
    }
}

pub(crate) fn expiry_takes_the_longest_finished_and_their_payloads(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    append_all(&mut *store, epoch, &[six_finished()]);
    assert_eq!(3, store.maintain(epoch, &expire(97, 100)).unwrap());
    let mut reader = reader(&*store);
    let left = |found: Vec<bool>| (1..).zip(found).filter(|(_, kept)| *kept).map(|(b, _)| b);
    let asked = [1, 2, 3, 4, 5, 6, 7];
    let finished = reader
        .finished(&asked)
        .unwrap()
        .iter()
        .map(Option::is_some)
        .collect();
    let payloads = reader
        .payloads(&asked)
        .unwrap()
        .iter()
        .map(Option::is_some)
        .collect();
    assert_eq!(vec![1, 2, 3], left(finished).collect::<Vec<u64>>());
    assert_eq!(vec![1, 2, 3, 7], left(payloads).collect::<Vec<u64>>());
}

pub(crate) fn expiry_is_bounded(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    append_all(&mut *store, epoch, &[six_finished()]);
    let chunks = [4, 4, 4].map(|limit| store.maintain(epoch, &expire(1000, limit)).unwrap());
    assert_eq!([4, 2, 0], chunks);
}

pub(crate) fn an_expired_row_leaves_the_listing(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    append_all(&mut *store, epoch, &[six_finished()]);
    store.maintain(epoch, &expire(1000, 4)).unwrap();
    let mut reader = reader(&*store);
    assert_eq!(
        vec![2, 1],
        births(&reader.list_finished("acme", None, u64::MAX, 9).unwrap())
    );
    assert_eq!(
        vec![2, 1],
        births(&reader.list_finished("acme", Some(1), u64::MAX, 9).unwrap())
    );
}

pub(crate) fn a_replaced_row_expires_by_its_new_time(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    let commits = [
        with_finished(1, vec![ending(1, "acme", 1, 10), ending(2, "acme", 1, 50)]),
        with_finished(2, vec![ending(1, "acme", 1, 90)]),
    ];
    append_all(&mut *store, epoch, &commits);
    assert_eq!(1, store.maintain(epoch, &expire(60, 10)).unwrap());
    assert_eq!(
        vec![1],
        births(
            &reader(&*store)
                .list_finished("acme", None, u64::MAX, 9)
                .unwrap()
        )
    );
}

pub(crate) fn request_hours_go_whole_and_one_a_call(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    let rows = (1..=9)
        .map(|key| request(10 + u32::from(key) / 4, key, 1))
        .collect();
    append_all(&mut *store, epoch, &[with_requests(1, rows)]);
    let mut reader = reader(&*store);
    assert_eq!(2, store.maintain(epoch, &drop_hours(12, 2)).unwrap());
    assert_eq!((vec![], None), reader.request_keys(10, 0, 10).unwrap());
    assert_eq!(4, reader.request_keys(11, 0, 10).unwrap().0.len());
    let chunks = [(); 2].map(|()| store.maintain(epoch, &drop_hours(12, 100)).unwrap());
    assert_eq!([100, 0], chunks);
    let keys: Vec<_> = (1..=9).map(|key| [key; 16]).collect();
    let found = reader.requests(&keys, 0).unwrap();
    let left: Vec<_> = found.into_iter().flatten().collect();
    assert_eq!(vec![request(12, 8, 1), request(12, 9, 1)], left);
    append_all(
        &mut *store,
        epoch,
        &[with_requests(2, vec![request(10, 1, 5)])],
    );
    assert_eq!(
        vec![Some(request(10, 1, 5))],
        reader.requests(&[[1; 16]], 0).unwrap()
    );
}

pub(crate) fn one_limit_bounds_all_kinds_together(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    append_all(&mut *store, epoch, &[six_finished()]);
    let rows = (1..=6).map(|key| request(10, key, 1)).collect();
    append_all(&mut *store, epoch, &[with_requests(2, rows), facts(3, 1)]);
    let work = Maintenance {
        trim_below_sequence: 3,
        expire_finished_before_ms: 1000,
        drop_request_hours_below: 11,
        limit: 5,
    };
    let chunks = [(); 4].map(|()| store.maintain(epoch, &work).unwrap());
    assert_eq!([5, 5, 0, 0], chunks);
}

pub(crate) fn nothing_goes_where_nothing_is_asked(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    append_all(&mut *store, epoch, &[six_finished()]);
    append_all(
        &mut *store,
        epoch,
        &[with_requests(2, vec![request(0, 1, 1)])],
    );
    let unlimited = Maintenance {
        limit: 100,
        ..Maintenance::default()
    };
    assert_eq!(0, store.maintain(epoch, &unlimited).unwrap());
    let unwilling = Maintenance {
        limit: 0,
        ..expire(1000, 0)
    };
    assert_eq!(0, store.maintain(epoch, &unwilling).unwrap());
    assert_eq!(2, replayed(&mut *store).len());
}

pub(crate) fn an_older_epoch_may_not_forget(world: &dyn World) {
    let (mut store, old) = world.taken();
    append_all(&mut *store, old, &five_frames());
    store.take(SHARD, "other").unwrap();
    let refused = store.maintain(old, &trim(u64::MAX, 100));
    assert!(
        matches!(refused, Err(StoreError::Fenced { .. })),
        "{refused:?}"
    );
    assert_eq!(5, replayed(&mut *store).len());
}

pub(crate) fn idle_moments_change_nothing(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    append_all(&mut *store, epoch, &[six_finished(), facts(2, 1)]);
    let large = Commit {
        frame: vec![7; 5 << 20],
        ..facts(3, 1)
    };
    append_all(&mut *store, epoch, &[large, facts(4, 1)]);
    store.idle().unwrap();
    store.maintain(epoch, &trim(u64::MAX, 100)).unwrap();
    store.idle().unwrap();
    store.idle().unwrap();
    assert_eq!(vec![frame_of(&facts(4, 1))], replayed(&mut *store));
    assert!(reader(&*store).payloads(&[7]).unwrap()[0].is_some());
}
