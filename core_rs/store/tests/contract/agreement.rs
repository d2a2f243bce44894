//! Compares a store with the model.
//!
//! Owns the questions that are asked after each operation. Refuses to know the operations.

use backlane_store::{Family, Key, KeyKind, Lookup, Part, Reader, Store};

use crate::families::{ALL, of_kind, stored};
use crate::model::{HOURS, Model, NUMBERS, TENANTS, keys};
use crate::world::{SHARD, World, reader, replayed};

/// A store under test, and the place to open it again.
pub(crate) struct Subject<'a> {
    world: &'a dyn World,
    store: Option<Box<dyn Store>>,
    pub(crate) epoch: u64,
}

impl<'a> Subject<'a> {
    pub(crate) fn new(world: &'a dyn World) -> Self {
        let (store, epoch) = world.taken();
        Self {
            world,
            store: Some(store),
            epoch,
        }
    }

    pub(crate) fn store(&mut self) -> &mut dyn Store {
        &mut **self.store.as_mut().expect("open between operations")
    }

    pub(crate) fn reopen(&mut self, model: &Model) {
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

    pub(crate) fn agrees_with(&mut self, model: &Model) {
        assert_eq!(model.frames, replayed(self.store()));
        let mut reader = reader(self.store());
        for family in ALL {
            agree_on_rows(&mut *reader, model, family);
        }
        agree_on_ranges(&mut *reader, model);
        agree_on_digests(&mut *reader, model);
    }
}

fn agree_on_rows(reader: &mut dyn Reader, model: &Model, family: &'static Family) {
    let keys = keys(family);
    for part in [Part::Head, Part::Whole] {
        let expected: Vec<_> = keys
            .iter()
            .map(|key| model.lookup(family, key, part))
            .collect();
        assert_eq!(expected, reader.get(family, &keys, part).unwrap());
    }
}

fn agree_on_ranges(reader: &mut dyn Reader, model: &Model) {
    for family in ALL.iter().filter(|family| family.listed) {
        for tenant in TENANTS {
            for (tag, before, limit) in [(None, u64::MAX, 5), (None, 5, 2), (Some(1), 7, 9)] {
                let listed = reader.list(family, tenant, tag, before, limit).unwrap();
                assert_eq!(model.list(family, tenant, tag, before, limit), listed);
            }
        }
    }
    let is_there = |lookup: &Lookup| *lookup != Lookup::Absent;
    for family in of_kind(KeyKind::Ordinal) {
        for number in NUMBERS {
            let lookup = |at: u32| {
                (
                    at,
                    model.lookup(family, &Key::Ordinal(number, at), Part::Whole),
                )
            };
            let expected: Vec<_> = (1..4)
                .map(lookup)
                .filter(|(_, row)| is_there(row))
                .collect();
            assert_eq!(expected, reader.of_number(family, number, 1, 9).unwrap());
        }
    }
    for family in of_kind(KeyKind::Name) {
        let keys = keys(family).into_iter();
        let rows = keys.map(|key| (key.clone(), model.lookup(family, &key, Part::Whole)));
        let expected: Vec<_> = rows.filter(|(_, row)| is_there(row)).collect();
        assert_eq!(expected, reader.all(family, None, 1000).unwrap());
    }
}

fn agree_on_digests(reader: &mut dyn Reader, model: &Model) {
    let digests: Vec<_> = NUMBERS
        .map(|number| [u8::try_from(number).unwrap(); 16])
        .collect();
    for family in of_kind(KeyKind::Digest) {
        for since in HOURS {
            let is = |asked: [u8; 16]| {
                move |key: &Key| match key {
                    Key::Digest { hour, digest } => *hour >= since && *digest == asked,
                    _ => false,
                }
            };
            let newest = |digest: &[u8; 16]| {
                let put = model.newest(family, is(*digest));
                put.map_or(Lookup::Absent, |put| {
                    Lookup::Found(stored(put, Part::Whole))
                })
            };
            let expected: Vec<_> = digests.iter().map(newest).collect();
            assert_eq!(expected, reader.digests(family, &digests, since).unwrap());
            let of_hour = reader.digests_of_hour(family, since, 0, 1000).unwrap();
            assert_eq!((model.digests_of_hour(family, since), None), of_hour);
        }
    }
}
