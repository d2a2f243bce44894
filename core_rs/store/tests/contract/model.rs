//! Random operations on both stores and on a plain model, which must agree after each.
//!
//! Owns the model. Refuses to be clever in it: it scans.

use backlane_store::{Commit, FinishedRow, Frame, Maintenance, RequestRow, Store};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::world::{
    Memory, SHARD, Sqlite, World, ending, facts, frame_of, reader, replayed, request, with_payloads,
};

#[derive(Debug, Clone)]
enum Operation {
    Append {
        count: u32,
        payloads: Vec<u64>,
        finished: Vec<FinishedRow>,
        requests: Vec<RequestRow>,
    },
    Maintain(Maintenance),
    Reopen,
    Idle,
}

const TENANTS: [&str; 3] = ["a", "ab", "b"];
const HOURS: std::ops::Range<u32> = 0..4;
const BIRTHS: std::ops::Range<u64> = 0..40;
const TIMES: std::ops::Range<u64> = 0..50;

fn finished_row() -> impl Strategy<Value = FinishedRow> {
    (BIRTHS, 0..TENANTS.len(), 0..3_u8, TIMES)
        .prop_map(|(birth, tenant, status, at)| ending(birth, TENANTS[tenant], status, at))
}

fn request_row() -> impl Strategy<Value = RequestRow> {
    (HOURS, 0..6_u8, BIRTHS).prop_map(|(hour, key, birth)| request(hour, key, birth))
}

fn append() -> impl Strategy<Value = Operation> {
    let rows = (
        vec(BIRTHS, 0..3),
        vec(finished_row(), 0..4),
        vec(request_row(), 0..4),
    );
    (0..4_u32, rows).prop_map(
        |(count, (payloads, finished, requests))| Operation::Append {
            count,
            payloads,
            finished,
            requests,
        },
    )
}

fn maintain() -> impl Strategy<Value = Operation> {
    (0..30_u64, TIMES, HOURS, 0..6_usize).prop_map(|(trim, expire, hours, limit)| {
        Operation::Maintain(Maintenance {
            trim_below_sequence: trim,
            expire_finished_before_ms: expire,
            drop_request_hours_below: hours,
            limit,
        })
    })
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => append(),
        2 => maintain(),
        1 => Just(Operation::Reopen),
        1 => Just(Operation::Idle),
    ]
}

#[derive(Debug, Default)]
struct Model {
    frames: Vec<Frame>,
    payloads: Vec<u64>,
    finished: Vec<FinishedRow>,
    requests: Vec<RequestRow>,
}

impl Model {
    fn next_sequence(&self) -> u64 {
        self.frames
            .last()
            .map_or(1, |frame| frame.first_sequence + u64::from(frame.count))
    }

    /// Whether the commit is accepted.
    fn append(&mut self, commit: &Commit) -> bool {
        let mut births: Vec<_> = commit.payloads.iter().map(|(birth, _)| *birth).collect();
        births.extend(&self.payloads);
        let all = births.len();
        births.sort_unstable();
        births.dedup();
        if commit.count == 0 || births.len() < all {
            return false;
        }
        self.payloads = births;
        self.frames.push(frame_of(commit));
        for row in &commit.finished {
            self.finished.retain(|old| old.birth != row.birth);
            self.finished.push(row.clone());
        }
        self.requests.extend(commit.requests.iter().cloned());
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
        self.finished
            .sort_by_key(|row| (row.finished_at_ms, row.birth));
        while gone < work.limit
            && self
                .finished
                .first()
                .is_some_and(|row| row.finished_at_ms < work.expire_finished_before_ms)
        {
            let birth = self.finished.remove(0).birth;
            self.payloads.retain(|kept| *kept != birth);
            gone += 1;
        }
        let oldest = self.requests.iter().map(|row| row.hour).min();
        let due = oldest.filter(|hour| *hour < work.drop_request_hours_below);
        if let Some(hour) = due.filter(|_| gone < work.limit) {
            self.requests.retain(|row| row.hour != hour);
            gone = work.limit;
        }
        gone
    }

    fn list(
        &self,
        tenant: &str,
        status: Option<u8>,
        before: u64,
        limit: usize,
    ) -> Vec<FinishedRow> {
        let mut rows = self.finished.clone();
        rows.retain(|row| *row.tenant == *tenant && row.birth < before);
        rows.retain(|row| status.is_none_or(|status| status == row.status));
        rows.sort_by_key(|row| std::cmp::Reverse(row.birth));
        rows.truncate(limit);
        rows
    }

    fn request(&self, key: [u8; 16], since_hour: u32) -> Option<RequestRow> {
        let rows = self
            .requests
            .iter()
            .filter(|row| row.key == key && row.hour >= since_hour);
        rows.max_by_key(|row| row.hour).cloned()
    }

    fn keys(&self, hour: u32) -> Vec<[u8; 16]> {
        self.requests
            .iter()
            .filter(|row| row.hour == hour)
            .map(|row| row.key)
            .collect()
    }
}

/// A store under test, and the place to open it again.
struct Subject<'a> {
    world: &'a dyn World,
    store: Option<Box<dyn Store>>,
    epoch: u64,
}

impl<'a> Subject<'a> {
    fn new(world: &'a dyn World) -> Self {
        let (store, epoch) = world.taken();
        Self {
            world,
            store: Some(store),
            epoch,
        }
    }

    fn store(&mut self) -> &mut dyn Store {
        &mut **self.store.as_mut().expect("open between operations")
    }

    fn reopen(&mut self, model: &Model) {
        self.store = None;
        let mut store = self.world.open();
        let taken = store.take(SHARD, "node").unwrap();
        assert_eq!(
            (self.epoch + 1, model.next_sequence()),
            (taken.epoch, taken.next_sequence)
        );
        let first = model
            .frames
            .first()
            .map_or(model.next_sequence(), |f| f.first_sequence);
        assert_eq!(first, taken.first_sequence);
        (self.store, self.epoch) = (Some(store), taken.epoch);
    }

    fn agrees_with(&mut self, model: &Model) {
        assert_eq!(model.frames, replayed(self.store()));
        let mut reader = reader(self.store());
        let births: Vec<_> = BIRTHS.collect();
        let payloads = reader.payloads(&births).unwrap();
        let found = births
            .iter()
            .zip(payloads)
            .filter(|(_, found)| found.is_some());
        assert_eq!(
            model.payloads,
            found.map(|(birth, _)| *birth).collect::<Vec<_>>()
        );
        for tenant in TENANTS {
            for (status, before, limit) in [(None, u64::MAX, 5), (None, 20, 3), (Some(1), 30, 9)] {
                let listed = reader.list_finished(tenant, status, before, limit).unwrap();
                assert_eq!(model.list(tenant, status, before, limit), listed);
            }
        }
        let keys: Vec<_> = (0..6).map(|key| [key; 16]).collect();
        for hour in HOURS {
            let expected: Vec<_> = keys.iter().map(|key| model.request(*key, hour)).collect();
            assert_eq!(expected, reader.requests(&keys, hour).unwrap());
            assert_eq!(
                (model.keys(hour), None),
                reader.request_keys(hour, 0, 1000).unwrap()
            );
        }
    }
}

fn apply(operation: &Operation, subjects: &mut [Subject<'_>; 2], model: &mut Model) {
    match operation {
        Operation::Append {
            count,
            payloads,
            finished,
            requests,
        } => {
            let sequence = model.next_sequence();
            let commit = Commit {
                finished: finished.clone(),
                requests: requests.clone(),
                payloads: with_payloads(sequence, payloads).payloads,
                ..facts(sequence, *count)
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
    fn both_stores_agree_with_a_plain_model(operations in vec(operation(), 1..25)) {
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
