//! Random operations on both stores and on a simple model, which must agree after each.
//!
//! Owns the model. Refuses to be clever in it: it scans.

use std::collections::BTreeMap;

use backlane_store::{
    Change, Class, Commit, ENDING, Family, Frame, Key, KeyKind, Lookup, Maintenance, Mode, Part,
    Put, Row,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::agreement::Subject;
use crate::families::{ALL, bytes, listing, replaceable, starts, stored};
use crate::world::{Memory, Sqlite, facts, frame_of};

#[derive(Debug, Clone)]
enum Operation {
    Append { count: u32, rows: Vec<Row> },
    Maintain(Maintenance),
    Reopen,
    Idle,
}

pub(crate) const TENANTS: [&str; 3] = ["a", "ab", "b"];
pub(crate) const HOURS: std::ops::Range<u32> = 0..4;
pub(crate) const NUMBERS: std::ops::Range<u64> = 0..8;
const TIMES: std::ops::Range<u64> = 0..50;
const SMALL: std::ops::Range<u8> = 0..4;

/// The key of a family that these draws choose.
fn key(family: &Family, number: u64, small: u8) -> Key {
    match family.key {
        KeyKind::Number => Key::Number(number),
        KeyKind::Ordinal => Key::Ordinal(number, u32::from(small)),
        KeyKind::Name => Key::Name(
            TENANTS[usize::from(small) % 3].into(),
            number.to_string().into(),
        ),
        KeyKind::Digest => Key::Digest {
            hour: u32::from(small),
            digest: [u8::try_from(number).unwrap(); 16],
        },
    }
}

/// Every key of a family that [`key`] can choose, in their order.
pub(crate) fn keys(family: &Family) -> Vec<Key> {
    let all = NUMBERS.flat_map(|number| SMALL.map(move |small| key(family, number, small)));
    let mut keys: Vec<_> = all.collect();
    keys.sort();
    keys.dedup();
    keys
}

fn row() -> impl Strategy<Value = Row> {
    let draws = (0..ALL.len(), NUMBERS, SMALL, TIMES, 0..3_u8, 0..5_u8);
    draws.prop_map(|(family, number, small, at_ms, tag, choice)| {
        let family = ALL[family];
        let put = Put {
            version: if replaceable(family) {
                u32::from(tag)
            } else {
                0
            },
            at_ms: if starts(family) { at_ms } else { 0 },
            listing: family
                .listed
                .then(|| listing(TENANTS[usize::from(small) % 3], tag)),
            head: bytes(format!("head {at_ms}")),
            body: (choice > 1).then(|| bytes(format!("body {at_ms}"))),
        };
        let deletes = choice == 0 && family.key != KeyKind::Digest;
        Row {
            family,
            key: key(family, number, small),
            change: if deletes {
                Change::Delete
            } else {
                Change::Put(put)
            },
        }
    })
}

fn append() -> impl Strategy<Value = Operation> {
    (0..4_u32, vec(row(), 0..8)).prop_map(|(count, rows)| Operation::Append { count, rows })
}

/// Erases one or two entities. No row of them may be put after that in the same commit.
fn erase() -> impl Strategy<Value = Operation> {
    vec(NUMBERS, 1..3).prop_map(|numbers| Operation::Append {
        count: 1,
        rows: numbers
            .into_iter()
            .map(|number| Row {
                family: &ENDING,
                key: Key::Number(number),
                change: Change::Erase,
            })
            .collect(),
    })
}

fn maintain() -> impl Strategy<Value = Operation> {
    (0..30_u64, proptest::option::of(TIMES), HOURS, 0..6_usize).prop_map(
        |(trim, expire, hours, limit)| {
            Operation::Maintain(Maintenance {
                trim_below_sequence: trim,
                expire: expire.map(|before_ms| (Class::Execution, before_ms)),
                drop_hours_below: hours,
                limit,
            })
        },
    )
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => append(),
        1 => erase(),
        2 => maintain(),
        1 => Just(Operation::Reopen),
        1 => Just(Operation::Idle),
    ]
}

type Rows = BTreeMap<(u16, Key), Put>;

#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) frames: Vec<Frame>,
    rows: Rows,
    /// The rows of digest families, in the order written.
    digests: Vec<(u16, Key, Put)>,
}

impl Model {
    pub(crate) fn next_sequence(&self) -> u64 {
        self.frames
            .last()
            .map_or(1, |frame| frame.first_sequence + u64::from(frame.count))
    }

    /// Applies a commit, or returns `false` if it must be refused.
    fn append(&mut self, commit: &Commit) -> bool {
        let (mut rows, mut digests) = (self.rows.clone(), self.digests.clone());
        for row in &commit.rows {
            let place = (row.family.number, row.key.clone());
            match &row.change {
                Change::Put(put) if row.family.key == KeyKind::Digest => {
                    digests.push((place.0, place.1, put.clone()));
                }
                Change::Put(put) => {
                    let before = rows.insert(place, put.clone());
                    if before.is_some() && row.family.mode == Mode::Once {
                        return false;
                    }
                }
                Change::Delete => {
                    rows.remove(&place);
                }
                Change::Erase => {
                    let number = number_of(&row.key);
                    rows.retain(|(family, key), _| {
                        of_number(*family).is_none() || number_of(key) != number
                    });
                }
            }
        }
        if commit.count == 0 {
            return false;
        }
        (self.rows, self.digests) = (rows, digests);
        self.frames.push(frame_of(commit));
        true
    }

    fn maintain(&mut self, work: &Maintenance) -> usize {
        let mut gone = 0;
        while gone < work.limit
            && self
                .frames
                .get(1)
                .is_some_and(|f| f.first_sequence <= work.trim_below_sequence)
        {
            self.frames.remove(0);
            gone += 1;
        }
        let before_ms = work.expire.map_or(0, |(_, before_ms)| before_ms);
        while gone < work.limit
            && let Some((_, number)) = self.first_due(before_ms)
        {
            let of_class = |family: u16| of_number(family).is_some();
            self.rows
                .retain(|(family, key), _| !of_class(*family) || number_of(key) != Some(number));
            gone += 1;
        }
        let tables = self
            .digests
            .iter()
            .map(|(family, key, _)| (hour_of(key), *family));
        let oldest = tables
            .min()
            .filter(|(hour, _)| *hour < work.drop_hours_below);
        if let Some((hour, family)) = oldest.filter(|_| gone < work.limit) {
            self.digests
                .retain(|(of, key, _)| (hour_of(key), *of) != (hour, family));
            gone = work.limit;
        }
        gone
    }

    /// The earliest start of a retention period before `before_ms`, and its number.
    fn first_due(&self, before_ms: u64) -> Option<(u64, u64)> {
        let starting = self
            .rows
            .iter()
            .filter(|((family, _), _)| of_number(*family) == Some(true));
        let entries = starting.filter_map(|((_, key), put)| Some((put.at_ms, number_of(key)?)));
        entries.min().filter(|(at_ms, _)| *at_ms < before_ms)
    }

    pub(crate) fn lookup(&self, family: &Family, key: &Key, part: Part) -> Lookup {
        let put = match family.key {
            KeyKind::Digest => self.newest(family, |of| of == key),
            _ => self.rows.get(&(family.number, key.clone())),
        };
        put.map_or(Lookup::Absent, |put| Lookup::Found(stored(put, part)))
    }

    /// The row written last of those in the newest hour that has one.
    pub(crate) fn newest(&self, family: &Family, matches: impl Fn(&Key) -> bool) -> Option<&Put> {
        let digests = self
            .digests
            .iter()
            .filter(|(of, key, _)| *of == family.number && matches(key));
        digests
            .max_by_key(|(_, key, _)| hour_of(key))
            .map(|(_, _, put)| put)
    }

    pub(crate) fn list(
        &self,
        family: &Family,
        tenant: &str,
        tag: Option<u8>,
        before: u64,
        limit: usize,
    ) -> Vec<u64> {
        let rows = self
            .rows
            .iter()
            .rev()
            .filter(|((of, _), _)| *of == family.number);
        let listed = rows.filter(|(_, put)| {
            let listing = put.listing.as_ref().unwrap();
            *listing.tenant == *tenant && tag.is_none_or(|tag| tag == listing.tag)
        });
        let numbers = listed.filter_map(|((_, key), _)| number_of(key));
        numbers
            .filter(|number| *number < before)
            .take(limit)
            .collect()
    }

    pub(crate) fn digests_of_hour(&self, family: &Family, hour: u32) -> Vec<[u8; 16]> {
        let of_hour = |(of, key, _): &(u16, Key, Put)| match key {
            Key::Digest { hour: h, digest } if *of == family.number && *h == hour => Some(*digest),
            _ => None,
        };
        self.digests.iter().filter_map(of_hour).collect()
    }
}

/// Whether a family starts a retention period (`Some(true)`), follows one (`Some(false)`), or
/// neither.
fn of_number(family: u16) -> Option<bool> {
    use backlane_store::Retention::{Starts, With};
    let family = ALL.iter().find(|f| f.number == family).unwrap();
    match family.retention {
        Starts(_) => Some(true),
        With(_) => Some(false),
        _ => None,
    }
}

fn number_of(key: &Key) -> Option<u64> {
    match key {
        Key::Number(number) | Key::Ordinal(number, _) => Some(*number),
        _ => None,
    }
}

fn hour_of(key: &Key) -> u32 {
    match key {
        Key::Digest { hour, .. } => *hour,
        _ => 0,
    }
}

fn apply(operation: &Operation, subjects: &mut [Subject<'_>; 2], model: &mut Model) {
    match operation {
        Operation::Append { count, rows } => {
            let commit = Commit {
                rows: rows.clone(),
                ..facts(model.next_sequence(), *count)
            };
            let accepted = model.append(&commit);
            for subject in subjects {
                let epoch = subject.epoch;
                assert_eq!(accepted, subject.store().append(epoch, &commit).is_ok());
            }
        }
        Operation::Maintain(work) => {
            let gone = model.maintain(work);
            for subject in subjects {
                let epoch = subject.epoch;
                assert_eq!(gone, subject.store().maintain(epoch, work).unwrap());
            }
        }
        Operation::Reopen => subjects
            .iter_mut()
            .for_each(|subject| subject.reopen(model)),
        Operation::Idle => subjects.iter_mut().for_each(|s| s.store().idle().unwrap()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn both_stores_agree_with_a_simple_model(operations in vec(operation(), 1..25)) {
        let (memory, sqlite) = (Memory::default(), Sqlite::default());
        let mut subjects = [Subject::new(&memory), Subject::new(&sqlite)];
        let mut model = Model::default();
        for operation in &operations {
            apply(operation, &mut subjects, &mut model);
            for subject in &mut subjects {
                subject.agrees_with(&model);
            }
        }
    }
}
