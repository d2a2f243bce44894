//! Promises of lists: of listed families by tenant and tag, and of digests by hour.
//!
//! Owns those. Refuses to read the content of listed rows; that is `rows`.

use backlane_store::{Family, Key, KeyKind, Lookup, Part, Put, Row};

use crate::families::{ALL, SEEN, listing, of_kind, put, replaceable, row_of};
use crate::world::{World, append_all, found, reader, request, with_rows};

fn listed() -> impl Iterator<Item = &'static Family> {
    ALL.iter().copied().filter(|family| family.listed)
}

fn item(family: &'static Family, number: u64, tenant: &str, tag: u8) -> Row {
    let put = Put {
        listing: Some(listing(tenant, tag)),
        ..put(family, number, 0)
    };
    row_of(family, Key::Number(number), put)
}

/// The numbers 1 to 20 of one tenant, with the tags 1, 2, 4 and 200 in turn.
fn twenty(family: &'static Family) -> Vec<Row> {
    let tag = |number: u64| [1, 2, 4, 200][usize::try_from(number % 4).unwrap()];
    (1..=20)
        .map(|number| item(family, number, "acme", tag(number)))
        .collect()
}

pub(crate) fn listing_is_newest_first_over_all_tags(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    for (sequence, family) in (1..).zip(listed()) {
        append_all(&mut *store, epoch, &[with_rows(sequence, twenty(family))]);
        let mut reader = reader(&*store);
        let mut list = |before, limit| reader.list(family, "acme", None, before, limit).unwrap();
        assert_eq!((1..=20).rev().collect::<Vec<_>>(), list(u64::MAX, 100));
        assert!(list(u64::MAX, 0).is_empty());
        assert!(list(1, 100).is_empty());
    }
}

pub(crate) fn listing_pages_without_gaps_or_repeats(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    for (sequence, family) in (1..).zip(listed()) {
        append_all(&mut *store, epoch, &[with_rows(sequence, twenty(family))]);
        let mut reader = reader(&*store);
        let (mut seen, mut before) = (Vec::new(), u64::MAX);
        loop {
            let page = reader.list(family, "acme", None, before, 3).unwrap();
            let Some(last) = page.last() else { break };
            before = *last;
            seen.extend(page);
        }
        assert_eq!((1..=20).rev().collect::<Vec<_>>(), seen);
    }
}

pub(crate) fn listing_keeps_tenants_and_tags_apart(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    for (sequence, family) in (1..).zip(listed()) {
        let mut rows = twenty(family);
        rows.extend((21..=30).map(|number| item(family, number, "acme2", 1)));
        append_all(&mut *store, epoch, &[with_rows(sequence, rows)]);
        let mut reader = reader(&*store);
        let mut list =
            |tenant: &str, tag, before| reader.list(family, tenant, tag, before, 4).unwrap();
        assert_eq!(vec![30, 29, 28, 27], list("acme2", None, u64::MAX));
        assert_eq!(vec![20, 16, 12, 8], list("acme", Some(1), u64::MAX));
        assert_eq!(vec![15, 11, 7, 3], list("acme", Some(200), 19));
        assert!(list("acme", Some(3), u64::MAX).is_empty());
        assert!(list("acm", None, u64::MAX).is_empty());
    }
}

pub(crate) fn a_replaced_row_is_listed_by_its_new_listing(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    for family in listed().filter(|family| replaceable(family)) {
        let commits = [
            with_rows(1, [item(family, 1, "acme", 1)]),
            with_rows(2, [item(family, 1, "acme", 3)]),
        ];
        append_all(&mut *store, epoch, &commits);
        let mut reader = reader(&*store);
        let mut list = |tag| reader.list(family, "acme", tag, u64::MAX, 10).unwrap();
        assert_eq!(
            (vec![1], vec![], vec![1]),
            (list(None), list(Some(1)), list(Some(3)))
        );
    }
}

pub(crate) fn the_newest_row_of_a_digest_is_found(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    let rows = [
        request(11, 1, 20),
        request(10, 1, 10),
        request(11, 1, 30),
        request(10, 2, 40),
    ];
    append_all(&mut *store, epoch, &[with_rows(1, rows.clone())]);
    let mut reader = reader(&*store);
    let [_, older, newest, other] = rows.map(|row| found(&row, Part::Whole));
    let family = &backlane_store::REQUEST;
    let digests = [2, 3, 1, 2].map(|digest| [digest; 16]);
    assert_eq!(
        vec![other.clone(), Lookup::Absent, newest.clone(), other],
        reader.digests(family, &digests, 0).unwrap()
    );
    let of_hour = |hour| Key::Digest {
        hour,
        digest: [1; 16],
    };
    let read = reader.get(family, &[10, 11, 12].map(of_hour), Part::Whole);
    assert_eq!(vec![older, newest, Lookup::Absent], read.unwrap());
}

pub(crate) fn digests_before_the_asked_hour_are_not_found(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    let rows = [request(10, 1, 1), request(11, 2, 2)];
    append_all(&mut *store, epoch, &[with_rows(1, rows.clone())]);
    let mut reader = reader(&*store);
    let family = &backlane_store::REQUEST;
    assert_eq!(
        vec![Lookup::Absent, found(&rows[1], Part::Whole)],
        reader.digests(family, &[[1; 16], [2; 16]], 11).unwrap()
    );
}

pub(crate) fn digests_of_an_hour_page_in_the_order_written(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    for (sequence, family) in (1..).zip(of_kind(KeyKind::Digest)) {
        let digest = |hour, digest: u8| {
            let key = Key::Digest {
                hour,
                digest: [digest; 16],
            };
            row_of(family, key, put(family, 1, 0))
        };
        let rows = [
            digest(10, 9),
            digest(10, 3),
            digest(10, 7),
            digest(10, 3),
            digest(11, 5),
        ];
        append_all(&mut *store, epoch, &[with_rows(sequence, rows)]);
        let mut reader = reader(&*store);
        let mut page =
            |hour, after, limit| reader.digests_of_hour(family, hour, after, limit).unwrap();
        let (first, after) = page(10, 0, 3);
        assert_eq!(vec![[9; 16], [3; 16], [7; 16]], first);
        assert_eq!((vec![[3; 16]], None), page(10, after.expect("one more"), 3));
        assert_eq!(None, page(10, 0, 4).1);
        assert_eq!((vec![], None), page(12, 0, 4));
    }
    assert_eq!(
        1,
        reader(&*store)
            .digests_of_hour(&SEEN, 11, 0, 9)
            .unwrap()
            .0
            .len()
    );
}
