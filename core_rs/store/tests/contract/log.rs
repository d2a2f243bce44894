//! Promises of the log: order, epochs, atomicity, replay.
//!
//! Owns those. Refuses to know more of rows than atomicity needs.

use backlane_store::{Commit, Key, KeyKind, Lookup, PAYLOAD, Part, REQUEST, StoreError, Taken};

use crate::families::{ALL, key, of_kind};
use crate::world::{
    SHARD, World, append_all, facts, found, frame_of, get, reader, replayed, with_payloads,
};

pub(crate) fn an_empty_store_begins_with_sequence_one(world: &dyn World) {
    let mut store = world.open();
    let taken = store.take(SHARD, "node").unwrap();
    assert_eq!(
        Taken {
            epoch: 1,
            first_sequence: 1,
            next_sequence: 1
        },
        taken
    );
    assert!(replayed(&mut *store).is_empty());
    let mut reader = reader(&*store);
    for family in ALL {
        assert_eq!(Lookup::Absent, get(&mut *reader, family, &key(family, 1)));
    }
    for family in of_kind(KeyKind::Name) {
        assert!(reader.all(family, None, 9).unwrap().is_empty());
    }
    let absent = reader.digests(&REQUEST, &[[1; 16]], 0).unwrap();
    assert_eq!(vec![Lookup::Absent], absent);
    let none = reader.digests_of_hour(&REQUEST, 5, 0, 10).unwrap();
    assert_eq!((vec![], None), none);
}

pub(crate) fn replay_equals_what_was_appended(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    let large = Commit {
        frame: vec![0xab; 300_000],
        ..facts(7, 1000)
    };
    let commits = [facts(1, 1), facts(2, 5), large, facts(1007, 2)];
    append_all(&mut *store, epoch, &commits);
    let expected: Vec<_> = commits.iter().map(frame_of).collect();
    assert_eq!(expected, replayed(&mut *store));
}

pub(crate) fn a_reopened_store_goes_on_where_it_ended(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    let first = with_payloads(1, &[10, 11]);
    append_all(&mut *store, epoch, std::slice::from_ref(&first));
    drop(store);
    let mut store = world.open();
    let taken = store.take(SHARD, "node").unwrap();
    assert_eq!(
        Taken {
            epoch: epoch + 1,
            first_sequence: 1,
            next_sequence: 2
        },
        taken
    );
    append_all(&mut *store, taken.epoch, &[facts(2, 1)]);
    assert_eq!(
        vec![frame_of(&first), frame_of(&facts(2, 1))],
        replayed(&mut *store)
    );
    let expected = found(&first.rows[1], Part::Whole);
    assert_eq!(
        expected,
        get(&mut *reader(&*store), &PAYLOAD, &Key::Number(11))
    );
}

pub(crate) fn each_take_grows_the_epoch(world: &dyn World) {
    let epochs = (0..3).map(|_| world.taken().1);
    assert_eq!(vec![1, 2, 3], epochs.collect::<Vec<_>>());
}

pub(crate) fn an_older_epoch_is_fenced_and_changes_nothing(world: &dyn World) {
    let (mut store, old) = world.taken();
    let new = store.take(SHARD, "other").unwrap().epoch;
    let refused = store.append(old, &with_payloads(1, &[1]));
    let Err(StoreError::Fenced { held, current }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!((old, new), (held, current));
    assert!(replayed(&mut *store).is_empty());
    let read = get(&mut *reader(&*store), &PAYLOAD, &Key::Number(1));
    assert_eq!(Lookup::Absent, read);
    append_all(&mut *store, new, &[with_payloads(1, &[1])]);
}

pub(crate) fn a_store_that_was_not_taken_refuses_to_write(world: &dyn World) {
    let (store, epoch) = world.taken();
    drop(store);
    let mut store = world.open();
    let refused = store.append(epoch, &facts(1, 1));
    assert!(matches!(refused, Err(StoreError::NotTaken)), "{refused:?}");
    let refused = store.maintain(epoch, &backlane_store::Maintenance::default());
    assert!(matches!(refused, Err(StoreError::NotTaken)), "{refused:?}");
}

pub(crate) fn another_shard_is_refused(world: &dyn World) {
    drop(world.taken());
    let mut store = world.open();
    let refused = store.take(SHARD + 1, "node");
    let Err(StoreError::WrongShard { holds, asked }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!((SHARD, SHARD + 1), (holds, asked));
    assert_eq!(2, store.take(SHARD, "node").unwrap().epoch);
}

pub(crate) fn a_gap_is_refused_and_changes_nothing(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    append_all(&mut *store, epoch, &[facts(1, 3)]);
    for wrong in [1, 3, 5, u64::from(u32::MAX)] {
        let refused = store.append(epoch, &with_payloads(wrong, &[1]));
        let Err(StoreError::Gap { expected, offered }) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!((4, wrong), (expected, offered));
    }
    assert_eq!(vec![frame_of(&facts(1, 3))], replayed(&mut *store));
    let read = get(&mut *reader(&*store), &PAYLOAD, &Key::Number(1));
    assert_eq!(Lookup::Absent, read);
    append_all(&mut *store, epoch, &[facts(4, 1)]);
}

pub(crate) fn a_commit_without_facts_is_refused(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    let refused = store.append(epoch, &facts(1, 0));
    assert!(matches!(refused, Err(StoreError::Empty)), "{refused:?}");
    assert!(replayed(&mut *store).is_empty());
}

pub(crate) fn replay_stops_with_the_error_of_its_caller(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    append_all(&mut *store, epoch, &[facts(1, 1), facts(2, 1)]);
    let mut seen = 0;
    let stopped = store.replay(&mut |_| {
        seen += 1;
        Err(StoreError::Empty)
    });
    assert!(matches!(stopped, Err(StoreError::Empty)), "{stopped:?}");
    assert_eq!(1, seen);
    assert_eq!(2, replayed(&mut *store).len());
}

pub(crate) fn headroom_counts_what_was_written(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    let before = store.headroom().unwrap();
    let commit = Commit {
        frame: vec![1; 500_000],
        ..facts(1, 1)
    };
    append_all(&mut *store, epoch, &[commit]);
    let after = store.headroom().unwrap();
    assert!(
        after.used_bytes >= before.used_bytes + 500_000,
        "{before:?} {after:?}"
    );
    assert!(after.free_bytes > 0);
}
