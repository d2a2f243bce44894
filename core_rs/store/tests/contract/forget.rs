//! Promises of trimming and expiry: only what is due is removed, oldest first, never more than
//! asked.
//!
//! Owns those. Refuses to know when a runtime would ask.

use backlane_store::{
    Change, Class, Commit, ENDING, Family, Key, Lookup, Maintenance, PAYLOAD, Part, Put, REQUEST,
    Row, StoreError, Taken,
};

use crate::families::{
    ALL, MARK, NOTE, SEEN, STAGE, STEP, TIMER, TOKEN, delete, key, put, row, row_of,
};
use crate::world::{
    SHARD, World, append_all, ending, facts, found, frame_of, get, kept, payload, reader, replayed,
    request, with_rows,
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
        expire: Some((Class::Execution, before_ms)),
        limit,
        ..Maintenance::default()
    }
}

fn drop_hours(below: u32, limit: usize) -> Maintenance {
    Maintenance {
        drop_hours_below: below,
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

/// Payloads of the numbers 1 to 7, and endings of all but the last. Later numbers ended earlier.
fn six_ended() -> Commit {
    let payloads = (1..=7).map(payload);
    let endings = (1..=6).map(|number| ending(number, "acme", 1, 100 - number));
    with_rows(1, payloads.chain(endings))
}

pub(crate) fn expiry_removes_the_oldest_endings_and_their_payloads(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    append_all(&mut *store, epoch, &[six_ended()]);
    assert_eq!(3, store.maintain(epoch, &expire(97, 100)).unwrap());
    let mut reader = reader(&*store);
    let asked = [1, 2, 3, 4, 5, 6, 7];
    assert_eq!(vec![1, 2, 3], kept(&mut *reader, &ENDING, &asked));
    assert_eq!(vec![1, 2, 3, 7], kept(&mut *reader, &PAYLOAD, &asked));
}

/// Rows of two entities in every family. Both retention periods started at 1001 or later.
fn two_entities() -> impl Iterator<Item = Row> {
    ALL.iter()
        .flat_map(|family| [1, 2].map(|n| row(family, n, 1)))
}

pub(crate) fn an_expired_entity_leaves_every_family_of_its_class(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    append_all(&mut *store, epoch, &[with_rows(1, two_entities())]);
    let more = [5, 6].map(|at| row_of(&STEP, Key::Ordinal(1, at), put(&STEP, 1, 0)));
    append_all(&mut *store, epoch, &[with_rows(2, more)]);
    assert_eq!(1, store.maintain(epoch, &expire(1002, 100)).unwrap());
    let mut reader = reader(&*store);
    let of_class = [&PAYLOAD, &ENDING, &NOTE, &MARK, &STEP, &TIMER];
    for family in ALL {
        let left = kept(&mut *reader, family, &[1, 2]);
        let expected = if of_class.contains(family) {
            vec![2]
        } else {
            vec![1, 2]
        };
        assert_eq!(expected, left, "{}", family.name);
    }
    assert!(reader.of_number(&STEP, 1, 0, 100).unwrap().is_empty());
    assert_eq!(1, store.maintain(epoch, &expire(u64::MAX, 100)).unwrap());
    assert_eq!(0, store.maintain(epoch, &expire(u64::MAX, 100)).unwrap());
}

fn starting(family: &'static Family, key: Key, at_ms: u64) -> Row {
    let put = Put {
        at_ms,
        ..put(family, 1, 1)
    };
    row_of(family, key, put)
}

pub(crate) fn an_entity_expires_by_its_earliest_start(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    let rows = [
        starting(&MARK, Key::Number(1), 50),
        starting(&TIMER, Key::Ordinal(1, 1), 30),
        starting(&TIMER, Key::Ordinal(1, 2), 70),
        row(&NOTE, 1, 1),
    ];
    append_all(&mut *store, epoch, &[with_rows(1, rows)]);
    assert_eq!(0, store.maintain(epoch, &expire(30, 100)).unwrap());
    assert_eq!(1, store.maintain(epoch, &expire(31, 100)).unwrap());
    let mut reader = reader(&*store);
    assert!(kept(&mut *reader, &MARK, &[1]).is_empty());
    assert!(kept(&mut *reader, &NOTE, &[1]).is_empty());
    assert!(reader.of_number(&TIMER, 1, 0, 9).unwrap().is_empty());
    assert_eq!(0, store.maintain(epoch, &expire(u64::MAX, 100)).unwrap());
}

pub(crate) fn a_start_that_two_rows_share_stays_until_both_are_gone(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    let rows = [
        starting(&MARK, Key::Number(1), 50),
        starting(&TIMER, Key::Ordinal(1, 1), 50),
        starting(&TIMER, Key::Ordinal(1, 2), 50),
    ];
    append_all(&mut *store, epoch, &[with_rows(1, rows)]);
    let moved = [
        starting(&TIMER, Key::Ordinal(1, 1), 90),
        delete(&MARK, Key::Number(1)),
    ];
    append_all(&mut *store, epoch, &[with_rows(2, moved)]);
    let deleted = delete(&TIMER, Key::Ordinal(1, 2));
    assert_eq!(0, store.maintain(epoch, &expire(50, 100)).unwrap());
    append_all(&mut *store, epoch, &[with_rows(3, [deleted])]);
    assert_eq!(0, store.maintain(epoch, &expire(90, 100)).unwrap());
    assert_eq!(1, store.maintain(epoch, &expire(91, 100)).unwrap());
}

pub(crate) fn a_deleted_start_lets_its_entity_stay(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    let rows = [ending(1, "acme", 1, 10), payload(1)];
    append_all(&mut *store, epoch, &[with_rows(1, rows)]);
    let gone = delete(&ENDING, Key::Number(1));
    append_all(&mut *store, epoch, &[with_rows(2, [gone])]);
    assert_eq!(0, store.maintain(epoch, &expire(u64::MAX, 100)).unwrap());
    assert_eq!(vec![1], kept(&mut *reader(&*store), &PAYLOAD, &[1]));
}

pub(crate) fn rows_of_kept_families_never_expire(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    append_all(
        &mut *store,
        epoch,
        &[with_rows(1, [row(&STAGE, 1, 1), row(&TOKEN, 1, 0)])],
    );
    assert_eq!(0, store.maintain(epoch, &expire(u64::MAX, 100)).unwrap());
    let mut reader = reader(&*store);
    assert_eq!(vec![1], kept(&mut *reader, &STAGE, &[1]));
    assert_eq!(vec![1], kept(&mut *reader, &TOKEN, &[1]));
}

pub(crate) fn expiry_is_bounded(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    append_all(&mut *store, epoch, &[six_ended()]);
    let chunks = [4, 4, 4].map(|limit| store.maintain(epoch, &expire(1000, limit)).unwrap());
    assert_eq!([4, 2, 0], chunks);
}

pub(crate) fn an_expired_row_leaves_the_listing(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    append_all(&mut *store, epoch, &[six_ended()]);
    store.maintain(epoch, &expire(1000, 4)).unwrap();
    let mut reader = reader(&*store);
    for tag in [None, Some(1)] {
        let listed = reader.list(&ENDING, "acme", tag, u64::MAX, 9).unwrap();
        assert_eq!(vec![2, 1], listed);
    }
}

pub(crate) fn a_replaced_row_expires_by_its_new_time(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    let commits = [
        with_rows(1, [ending(1, "acme", 1, 10), ending(2, "acme", 1, 50)]),
        with_rows(2, [ending(1, "acme", 1, 90)]),
    ];
    append_all(&mut *store, epoch, &commits);
    assert_eq!(1, store.maintain(epoch, &expire(60, 10)).unwrap());
    assert_eq!(vec![1], kept(&mut *reader(&*store), &ENDING, &[1, 2]));
    assert_eq!(1, store.maintain(epoch, &expire(91, 10)).unwrap());
}

pub(crate) fn hours_are_dropped_whole_and_one_a_call(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    let rows = (1..=9).map(|digest| request(10 + u32::from(digest) / 4, digest, 1));
    append_all(&mut *store, epoch, &[with_rows(1, rows)]);
    let mut reader = reader(&*store);
    assert_eq!(2, store.maintain(epoch, &drop_hours(12, 2)).unwrap());
    let none = reader.digests_of_hour(&REQUEST, 10, 0, 10).unwrap();
    assert_eq!((vec![], None), none);
    let (next, _) = reader.digests_of_hour(&REQUEST, 11, 0, 10).unwrap();
    assert_eq!(4, next.len());
    let chunks = [(); 2].map(|()| store.maintain(epoch, &drop_hours(12, 100)).unwrap());
    assert_eq!([100, 0], chunks);
    let digests: Vec<_> = (1..=9).map(|digest| [digest; 16]).collect();
    let mut left = reader.digests(&REQUEST, &digests, 0).unwrap();
    left.retain(|lookup| *lookup != Lookup::Absent);
    let expected = [8, 9].map(|digest| found(&request(12, digest, 1), Part::Whole));
    assert_eq!(expected.to_vec(), left);
    let again = request(10, 1, 5);
    append_all(&mut *store, epoch, &[with_rows(2, [again.clone()])]);
    assert_eq!(
        found(&again, Part::Whole),
        get(&mut *reader, &REQUEST, &again.key)
    );
}

pub(crate) fn hours_of_several_families_are_dropped_one_table_a_call(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    let rows = [&REQUEST, &SEEN].map(|family| row(family, 1, 0));
    append_all(&mut *store, epoch, &[with_rows(1, rows)]);
    let mut reader = reader(&*store);
    let mut left = |store: &mut dyn backlane_store::Store| {
        let dropped = store.maintain(epoch, &drop_hours(u32::MAX, 9)).unwrap();
        let kept = [&REQUEST, &SEEN]
            .map(|family| get(&mut *reader, family, &key(family, 1)) != Lookup::Absent);
        (dropped, kept)
    };
    assert_eq!((9, [false, true]), left(&mut *store));
    assert_eq!((9, [false, false]), left(&mut *store));
    assert_eq!((0, [false, false]), left(&mut *store));
}

pub(crate) fn one_limit_bounds_all_kinds_together(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    append_all(&mut *store, epoch, &[six_ended()]);
    let rows = (1..=6).map(|digest| request(10, digest, 1));
    append_all(&mut *store, epoch, &[with_rows(2, rows), facts(3, 1)]);
    let work = Maintenance {
        trim_below_sequence: 3,
        expire: Some((Class::Execution, 1000)),
        drop_hours_below: 11,
        limit: 5,
    };
    let chunks = [(); 4].map(|()| store.maintain(epoch, &work).unwrap());
    assert_eq!([5, 5, 0, 0], chunks);
}

pub(crate) fn nothing_goes_where_nothing_is_asked(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    append_all(&mut *store, epoch, &[six_ended()]);
    append_all(&mut *store, epoch, &[with_rows(2, [request(0, 1, 1)])]);
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
    append_all(&mut *store, epoch, &[six_ended(), facts(2, 1)]);
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
    assert_eq!(vec![7], kept(&mut *reader(&*store), &PAYLOAD, &[7]));
}

fn erase(family: &'static Family, key: Key) -> Row {
    Row {
        family,
        key,
        change: Change::Erase,
    }
}

pub(crate) fn an_erased_entity_leaves_nothing(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    let rows = |number| {
        [
            ending(number, "acme", 1, 10),
            payload(number),
            starting(&MARK, Key::Number(number), 50),
            starting(&TIMER, Key::Ordinal(number, 1), 30),
            starting(&TIMER, Key::Ordinal(number, 2), 70),
            row(&STEP, number, 1),
            row(&NOTE, number, 1),
            row(&STAGE, number, 1),
        ]
    };
    append_all(&mut *store, epoch, &[with_rows(1, rows(1))]);
    // The rows of an entity may come in the commit that erases it.
    let second = rows(2)
        .into_iter()
        .chain([1, 2].map(|number| erase(&ENDING, Key::Number(number))));
    append_all(&mut *store, epoch, &[with_rows(2, second)]);
    let mut reader = reader(&*store);
    for family in [&ENDING, &PAYLOAD, &MARK, &NOTE] {
        assert!(
            kept(&mut *reader, family, &[1, 2]).is_empty(),
            "{}",
            family.name
        );
    }
    for number in [1, 2] {
        for family in [&TIMER, &STEP] {
            assert!(reader.of_number(family, number, 0, 9).unwrap().is_empty());
        }
    }
    assert!(
        reader
            .list(&ENDING, "acme", None, 100, 9)
            .unwrap()
            .is_empty()
    );
    // Families of other retention keep their rows, and nothing is left to expire.
    assert_eq!(vec![1, 2], kept(&mut *reader, &STAGE, &[1, 2]));
    assert_eq!(0, store.maintain(epoch, &expire(u64::MAX, 100)).unwrap());
    // To erase it again is no error.
    append_all(
        &mut *store,
        epoch,
        &[with_rows(3, [erase(&ENDING, Key::Number(1))])],
    );
}

pub(crate) fn only_entities_that_expire_can_be_erased(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    for wrong in [
        erase(&NOTE, Key::Number(1)),
        erase(&STAGE, Key::Ordinal(1, 1)),
        erase(&TIMER, Key::Ordinal(1, 1)),
    ] {
        let refused = store.append(epoch, &with_rows(1, [wrong]));
        assert!(
            matches!(refused, Err(StoreError::Misfit { .. })),
            "{refused:?}"
        );
    }
}
