//! Promises of the rows beside the log: what was written is found, and nothing else.
//!
//! Owns those. Refuses to know how rows go; that is `forget`.

use backlane_store::FinishedRow;

use crate::world::{
    World, append_all, births, bytes, ending, reader, request, with_finished, with_payloads,
    with_requests,
};

pub(crate) fn payloads_come_in_the_order_asked(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    let commit = with_payloads(1, &[3, 1, 2]);
    append_all(&mut *store, epoch, std::slice::from_ref(&commit));
    let found = reader(&*store).payloads(&[2, 9, 3, 2]).unwrap();
    let payload = |at: usize| Some(commit.payloads[at].1.clone());
    assert_eq!(vec![payload(2), None, payload(0), payload(2)], found);
}

pub(crate) fn payloads_may_be_empty_or_large(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    let large: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    let mut commit = with_payloads(1, &[]);
    commit.payloads = vec![(1, bytes(&[])), (1 << 47, bytes(&large))];
    append_all(&mut *store, epoch, &[commit]);
    let found = reader(&*store).payloads(&[1, 1 << 47]).unwrap();
    assert_eq!(vec![Some(bytes(&[])), Some(bytes(&large))], found);
}

pub(crate) fn finished_rows_come_in_the_order_asked(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    let rows = [ending(4, "acme", 1, 100), ending(2, "tenant ü", 255, 90)];
    append_all(&mut *store, epoch, &[with_finished(1, rows.to_vec())]);
    let found = reader(&*store).finished(&[2, 3, 4]).unwrap();
    assert_eq!(
        vec![Some(rows[1].clone()), None, Some(rows[0].clone())],
        found
    );
}

pub(crate) fn a_later_finished_row_replaces_the_earlier(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    let later = ending(1, "acme", 3, 200);
    let commits = [
        with_finished(1, vec![ending(1, "acme", 1, 100)]),
        with_finished(2, vec![later.clone()]),
    ];
    append_all(&mut *store, epoch, &commits);
    let mut reader = reader(&*store);
    assert_eq!(vec![Some(later.clone())], reader.finished(&[1]).unwrap());
    assert_eq!(
        vec![later],
        reader.list_finished("acme", None, u64::MAX, 10).unwrap()
    );
    assert!(
        reader
            .list_finished("acme", Some(1), u64::MAX, 10)
            .unwrap()
            .is_empty()
    );
}

/// Births 1 to 20 of one tenant, with the statuses 1, 2, 4 and 200 in turn.
fn twenty() -> Vec<FinishedRow> {
    let status = |birth: u64| [1, 2, 4, 200][usize::try_from(birth).unwrap() % 4];
    (1..=20)
        .map(|birth| ending(birth, "acme", status(birth), 1000 + birth))
        .collect()
}

pub(crate) fn listing_is_newest_first_over_all_statuses(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    append_all(&mut *store, epoch, &[with_finished(1, twenty())]);
    let mut reader = reader(&*store);
    let mut expected = twenty();
    expected.reverse();
    assert_eq!(
        expected,
        reader.list_finished("acme", None, u64::MAX, 100).unwrap()
    );
    assert!(
        reader
            .list_finished("acme", None, u64::MAX, 0)
            .unwrap()
            .is_empty()
    );
    assert!(
        reader
            .list_finished("acme", None, 1, 100)
            .unwrap()
            .is_empty()
    );
}

pub(crate) fn listing_pages_without_gaps_or_repeats(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    append_all(&mut *store, epoch, &[with_finished(1, twenty())]);
    let mut reader = reader(&*store);
    let (mut seen, mut before) = (Vec::new(), u64::MAX);
    loop {
        let page = births(&reader.list_finished("acme", None, before, 3).unwrap());
        let Some(last) = page.last() else { break };
        before = *last;
        seen.extend(page);
    }
    assert_eq!((1..=20).rev().collect::<Vec<_>>(), seen);
}

pub(crate) fn listing_keeps_tenants_and_statuses_apart(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    let mut rows = twenty();
    rows.extend((21..=30).map(|birth| ending(birth, "acme2", 1, birth)));
    append_all(&mut *store, epoch, &[with_finished(1, rows)]);
    let mut reader = reader(&*store);
    let mut list = |tenant: &str, status, before| {
        births(&reader.list_finished(tenant, status, before, 4).unwrap())
    };
    assert_eq!(vec![30, 29, 28, 27], list("acme2", None, u64::MAX));
    assert_eq!(vec![20, 16, 12, 8], list("acme", Some(1), u64::MAX));
    assert_eq!(vec![15, 11, 7, 3], list("acme", Some(200), 19));
    assert!(list("acme", Some(3), u64::MAX).is_empty());
    assert!(list("acm", None, u64::MAX).is_empty());
}

pub(crate) fn the_newest_request_of_a_key_is_found(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    let rows = vec![
        request(11, 1, 20),
        request(10, 1, 10),
        request(11, 1, 30),
        request(10, 2, 40),
    ];
    append_all(&mut *store, epoch, &[with_requests(1, rows.clone())]);
    let found = reader(&*store)
        .requests(&[[2; 16], [3; 16], [1; 16], [2; 16]], 0)
        .unwrap();
    let (first, second) = (Some(rows[3].clone()), Some(rows[2].clone()));
    assert_eq!(vec![first.clone(), None, second, first], found);
}

pub(crate) fn requests_before_the_asked_hour_are_not_found(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    let rows = vec![request(10, 1, 1), request(11, 2, 2)];
    append_all(&mut *store, epoch, &[with_requests(1, rows.clone())]);
    let found = reader(&*store).requests(&[[1; 16], [2; 16]], 11).unwrap();
    assert_eq!(vec![None, Some(rows[1].clone())], found);
}

pub(crate) fn request_keys_page_in_the_order_written(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    let rows = [9, 3, 7, 3].map(|key| request(10, key, 1)).to_vec();
    let commits = [
        with_requests(1, rows),
        with_requests(2, vec![request(11, 5, 1)]),
    ];
    append_all(&mut *store, epoch, &commits);
    let mut reader = reader(&*store);
    let (first, after) = reader.request_keys(10, 0, 3).unwrap();
    assert_eq!(vec![[9; 16], [3; 16], [7; 16]], first);
    let rest = reader
        .request_keys(10, after.expect("one more"), 3)
        .unwrap();
    assert_eq!((vec![[3; 16]], None), rest);
    assert_eq!(None, reader.request_keys(10, 0, 4).unwrap().1);
    assert_eq!((vec![], None), reader.request_keys(12, 0, 4).unwrap());
}

pub(crate) fn a_reader_sees_what_is_written_after_it_was_opened(world: &dyn World) {
    let (mut store, epoch) = world.taken();
    let mut reader = reader(&*store);
    assert_eq!(vec![None], reader.payloads(&[1]).unwrap());
    assert_eq!(vec![None], reader.requests(&[[1; 16]], 0).unwrap());
    append_all(&mut *store, epoch, &[with_payloads(1, &[1])]);
    append_all(
        &mut *store,
        epoch,
        &[with_requests(2, vec![request(10, 1, 1)])],
    );
    assert!(reader.payloads(&[1]).unwrap()[0].is_some());
    assert_eq!(
        vec![Some(request(10, 1, 1))],
        reader.requests(&[[1; 16]], 0).unwrap()
    );
}
