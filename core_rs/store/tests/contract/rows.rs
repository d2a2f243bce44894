//! Promises of rows in families of every kind: what was put is found, and nothing else.
//!
//! Owns those. Refuses to know how rows expire; that is `forget`.

use backlane_store::{Key, KeyKind, Lookup, Mode, PAYLOAD, Part, Put, StoreError};

use crate::families::{
    ALL, NOTE, SEEN, SETTING, STAGE, STEP, TOKEN, bytes, delete, key, keyed, of_kind, put,
    replaceable, row, row_of,
};
use crate::world::{
    World, append_all, facts, found, get, reader, replayed, with_payloads, with_rows,
};

pub(crate) fn rows_come_in_the_order_asked(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    let rows = ALL
        .iter()
        .flat_map(|family| [3, 1, 2].map(|n| row(family, n, 0)));
    append_all(&mut *store, epoch, &[with_rows(1, rows)]);
    let mut reader = reader(&*store);
    for family in ALL {
        let keys = [2, 9, 3, 2].map(|n| key(family, n));
        let expected = |n| found(&row(family, n, 0), Part::Whole);
        assert_eq!(
            vec![expected(2), Lookup::Absent, expected(3), expected(2)],
            reader.get(family, &keys, Part::Whole).unwrap()
        );
    }
}

pub(crate) fn a_head_is_read_without_its_body(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    let rows = ALL.iter().map(|family| row(family, 1, 0));
    append_all(&mut *store, epoch, &[with_rows(1, rows)]);
    let mut reader = reader(&*store);
    for family in ALL {
        assert_eq!(
            vec![found(&row(family, 1, 0), Part::Head)],
            reader.get(family, &[key(family, 1)], Part::Head).unwrap()
        );
    }
}

pub(crate) fn heads_and_bodies_may_be_empty_large_or_absent(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    let large: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let sizes = [
        (0, None),
        (0, Some(0)),
        (100_000, Some(100_000)),
        (9_000, None),
    ];
    for (sequence, family) in (1..).zip(ALL) {
        let content = |(n, (head, body)): (u64, &(usize, Option<usize>))| Put {
            head: bytes(&large[..*head]),
            body: body.map(|body| bytes(&large[..body])),
            ..put(family, n, 0)
        };
        let numbered = (1..).zip(&sizes);
        let rows: Vec<_> = numbered
            .map(|(n, size)| row_of(family, key(family, n), content((n, size))))
            .collect();
        append_all(&mut *store, epoch, &[with_rows(sequence, rows.clone())]);
        let keys: Vec<_> = rows.iter().map(|row| row.key.clone()).collect();
        for part in [Part::Head, Part::Whole] {
            let expected: Vec<_> = rows.iter().map(|row| found(row, part)).collect();
            let read = reader(&*store).get(family, &keys, part).unwrap();
            assert!(expected == read, "{} {part:?}", family.name);
        }
    }
}

pub(crate) fn keys_at_the_limits_are_found(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    let name = |tenant: &str, name: &str| Key::Name(tenant.into(), name.into());
    let limits = [
        (&PAYLOAD, Key::Number(0)),
        (&PAYLOAD, Key::Number((1 << 63) - 1)),
        (&STEP, Key::Ordinal(0, u32::MAX)),
        (&STEP, Key::Ordinal((1 << 63) - 1, 0)),
        (&TOKEN, name("", "")),
        (&TOKEN, name("tenant ü", "name \u{1f600}")),
    ];
    let rows = limits.map(|(family, key)| row_of(family, key, put(family, 1, 0)));
    append_all(&mut *store, epoch, &[with_rows(1, rows.clone())]);
    let mut reader = reader(&*store);
    for row in rows {
        let expected = found(&row, Part::Whole);
        assert_eq!(expected, get(&mut *reader, row.family, &row.key));
    }
}

pub(crate) fn a_second_put_in_a_once_family_is_refused_with_its_commit(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    let once = || keyed().filter(|family| family.mode == Mode::Once);
    let rows = once().map(|family| row(family, 5, 0));
    append_all(&mut *store, epoch, &[with_rows(1, rows)]);
    for family in once() {
        for numbers in [vec![8, 5], vec![8, 9, 8]] {
            let mut rows = vec![row(&NOTE, 1, 1), row(&SEEN, 1, 0)];
            rows.extend(numbers.iter().map(|n| row(family, *n, 0)));
            let Err(StoreError::Duplicate { family: of, key: k }) =
                store.append(epoch, &with_rows(2, rows))
            else {
                panic!("the store took {numbers:?} of {}", family.name)
            };
            let second = *numbers.last().unwrap();
            assert_eq!((family.name, key(family, second)), (of, k));
        }
        let mut reader = reader(&*store);
        for (family, n) in [(family, 8), (family, 9), (&NOTE, 1), (&SEEN, 1)] {
            let read = get(&mut *reader, family, &key(family, n));
            assert_eq!(Lookup::Absent, read);
        }
    }
    assert_eq!(1, replayed(&mut *store).len());
    append_all(&mut *store, epoch, &[with_payloads(2, &[8])]);
}

pub(crate) fn a_later_put_in_a_replace_family_replaces_the_earlier(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    let of = |generation: u32| {
        let families = ALL.iter().filter(|family| replaceable(family));
        families.map(move |family| row(family, 1, generation))
    };
    append_all(&mut *store, epoch, &[with_rows(1, of(1).chain(of(2)))]);
    append_all(
        &mut *store,
        epoch,
        &[with_rows(2, of(3)), with_rows(3, of(2))],
    );
    let mut reader = reader(&*store);
    for last in of(2) {
        let read = get(&mut *reader, last.family, &last.key);
        assert_eq!(found(&last, Part::Whole), read, "the newest put wins");
    }
}

pub(crate) fn a_deleted_row_is_absent_and_can_be_put_again(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    let puts = || keyed().flat_map(|family| [1, 2].map(|n| row(family, n, 1)));
    let deletes = || keyed().map(|family| delete(family, key(family, 1)));
    append_all(
        &mut *store,
        epoch,
        &[with_rows(1, puts()), with_rows(2, deletes())],
    );
    let mut reader = reader(&*store);
    for family in keyed() {
        let read = reader.get(family, &[1, 2].map(|n| key(family, n)), Part::Whole);
        let kept = found(&row(family, 2, 1), Part::Whole);
        assert_eq!(vec![Lookup::Absent, kept], read.unwrap());
    }
    let again = || keyed().map(|family| row(family, 1, 2));
    append_all(&mut *store, epoch, &[with_rows(3, again())]);
    let rows = deletes().chain(again()).chain(deletes()).chain(again());
    append_all(&mut *store, epoch, &[with_rows(4, rows)]);
    for last in again() {
        let read = get(&mut *reader, last.family, &last.key);
        assert_eq!(found(&last, Part::Whole), read);
    }
}

pub(crate) fn deleting_a_missing_row_is_no_error(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    let deletes = keyed().map(|family| delete(family, key(family, 1)));
    append_all(&mut *store, epoch, &[with_rows(1, deletes), facts(2, 1)]);
}

pub(crate) fn families_keep_their_rows_apart(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    append_all(
        &mut *store,
        epoch,
        &[with_rows(1, [row(&STEP, 1, 0), row(&TOKEN, 1, 0)])],
    );
    let mut reader = reader(&*store);
    for family in ALL
        .iter()
        .filter(|family| ![&STEP, &TOKEN].contains(*family))
    {
        assert_eq!(Lookup::Absent, get(&mut *reader, family, &key(family, 1)));
    }
}

pub(crate) fn a_row_that_does_not_fit_its_family_is_refused(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    let fitting = |family| put(family, 1, 1);
    let misfits = [
        row_of(&PAYLOAD, Key::Ordinal(1, 1), fitting(&PAYLOAD)),
        row_of(&PAYLOAD, Key::Number(1 << 63), fitting(&PAYLOAD)),
        row_of(&PAYLOAD, Key::Number(1), fitting(&NOTE)),
        row_of(&NOTE, Key::Number(1), fitting(&backlane_store::ENDING)),
        row_of(
            &STAGE,
            Key::Ordinal(1, 1),
            Put {
                at_ms: 5,
                ..fitting(&STAGE)
            },
        ),
        row_of(
            &backlane_store::ENDING,
            Key::Number(1),
            Put {
                listing: None,
                ..fitting(&backlane_store::ENDING)
            },
        ),
        delete(&SEEN, key(&SEEN, 1)),
        row(&UNKNOWN, 1, 0),
    ];
    for misfit in misfits {
        let commit = with_rows(1, [row(&STEP, 1, 0), misfit.clone()]);
        let refused = store.append(epoch, &commit);
        let is_refused = matches!(refused, Err(StoreError::Misfit { .. }));
        assert!(is_refused, "{misfit:?} {refused:?}");
    }
    assert_eq!(
        Lookup::Absent,
        get(&mut *reader(&*store), &STEP, &key(&STEP, 1))
    );
    append_all(&mut *store, epoch, &[facts(1, 1)]);
}

static UNKNOWN: backlane_store::Family = backlane_store::Family {
    number: 999,
    name: "unknown",
    key: KeyKind::Number,
    mode: Mode::Once,
    retention: backlane_store::Retention::Kept,
    listed: false,
    since: 2,
};

pub(crate) fn a_read_that_does_not_fit_the_family_is_refused(world: &dyn World) {
    let (store, _) = world.taken();
    let mut reader = reader(&*store);
    let refusals = [
        reader.get(&PAYLOAD, &[key(&STEP, 1)], Part::Whole).err(),
        reader.get(&UNKNOWN, &[Key::Number(1)], Part::Whole).err(),
        reader.of_number(&PAYLOAD, 1, 0, 1).err(),
        reader.list(&NOTE, "acme", None, 9, 9).err(),
        reader.all(&STEP, None, 9).err(),
        reader.digests(&STEP, &[[1; 16]], 0).err(),
        reader.digests_of_hour(&TOKEN, 1, 0, 9).err(),
    ];
    for refusal in refusals {
        assert!(
            matches!(refusal, Some(StoreError::Misfit { .. })),
            "{refusal:?}"
        );
    }
}

/// A row of an Ordinal family, with the number and ordinal in its content.
fn ordinal(
    family: &'static backlane_store::Family,
    number: u64,
    ordinal: u32,
) -> backlane_store::Row {
    let n = number * 100 + u64::from(ordinal);
    row_of(family, Key::Ordinal(number, ordinal), put(family, n, 0))
}

pub(crate) fn ordinals_of_a_number_come_ascending_and_bounded(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    for (sequence, family) in (1..).zip(of_kind(KeyKind::Ordinal)) {
        let keys = [(5, 7), (5, 0), (4, 9), (5, 3), (6, 1), (5, u32::MAX)];
        let rows = keys.map(|(number, at)| ordinal(family, number, at));
        append_all(&mut *store, epoch, &[with_rows(sequence, rows)]);
        let mut reader = reader(&*store);
        let mut read = |from, limit| reader.of_number(family, 5, from, limit).unwrap();
        let expected = |ordinals: &[u32]| {
            let row = |at: &u32| (*at, found(&ordinal(family, 5, *at), Part::Whole));
            ordinals.iter().map(row).collect::<Vec<_>>()
        };
        assert_eq!(expected(&[0, 3, 7, u32::MAX]), read(0, 10));
        assert_eq!(expected(&[3, 7]), read(1, 2));
        assert_eq!(expected(&[u32::MAX]), read(8, 10));
        assert_eq!(expected(&[]), read(0, 0));
        assert!(reader.of_number(family, 7, 0, 10).unwrap().is_empty());
    }
}

pub(crate) fn all_names_page_in_the_order_of_keys(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    for (sequence, family) in (1..).zip(of_kind(KeyKind::Name)) {
        let mut rows: Vec<_> = (0..20).map(|n| row(family, n * 37 % 20, 0)).collect();
        append_all(&mut *store, epoch, &[with_rows(sequence, rows.clone())]);
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        let mut reader = reader(&*store);
        let mut seen: Vec<(Key, Lookup)> = Vec::new();
        loop {
            let after = seen.last().map(|(key, _)| key.clone());
            let page = reader.all(family, after.as_ref(), 7).unwrap();
            if page.is_empty() {
                break;
            }
            assert!(page.len() <= 7);
            seen.extend(page);
        }
        let expected = rows
            .into_iter()
            .map(|row| (row.key.clone(), found(&row, Part::Whole)));
        assert_eq!(expected.collect::<Vec<_>>(), seen);
    }
}

pub(crate) fn a_reader_sees_what_is_written_after_it_was_opened(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    let mut reader = reader(&*store);
    for (sequence, family) in (1..).zip(ALL) {
        let one = row(family, 1, 0);
        assert_eq!(Lookup::Absent, get(&mut *reader, family, &one.key));
        append_all(&mut *store, epoch, &[with_rows(sequence, [one.clone()])]);
        assert_eq!(
            found(&one, Part::Whole),
            get(&mut *reader, family, &one.key)
        );
    }
    assert!(reader.all(&SETTING, None, 9).unwrap().len() == 1);
}
