//! Families for every kind of key, mode and retention, and rows that fit any of them.
//!
//! Owns the test-only declarations. Refuses to assert.

use std::sync::Arc;

use backlane_store::{
    Bytes, Change, Class, ENDING, Family, Format, Key, KeyKind, Listing, Mode, PAYLOAD, Part, Put,
    REQUEST, Retention, Row, Stored,
};

const EXECUTION: Class = Class::Execution;

const fn family(number: u16, name: &'static str, key: KeyKind, mode: Mode) -> Family {
    Family {
        number,
        name,
        key,
        mode,
        retention: Retention::Kept,
        listed: false,
        since: 2,
    }
}

pub(crate) static NOTE: Family = Family {
    retention: Retention::With(EXECUTION),
    ..family(101, "note", KeyKind::Number, Mode::Replace)
};
pub(crate) static MARK: Family = Family {
    retention: Retention::Starts(EXECUTION),
    listed: true,
    ..family(102, "mark", KeyKind::Number, Mode::Once)
};
pub(crate) static STEP: Family = Family {
    retention: Retention::With(EXECUTION),
    ..family(103, "step", KeyKind::Ordinal, Mode::Once)
};
pub(crate) static TIMER: Family = Family {
    retention: Retention::Starts(EXECUTION),
    ..family(104, "timer", KeyKind::Ordinal, Mode::Replace)
};
pub(crate) static STAGE: Family = family(105, "stage", KeyKind::Ordinal, Mode::Replace);
pub(crate) static SETTING: Family = family(106, "setting", KeyKind::Name, Mode::Replace);
pub(crate) static TOKEN: Family = family(107, "token", KeyKind::Name, Mode::Once);
pub(crate) static SEEN: Family = Family {
    retention: Retention::Hourly,
    ..family(108, "seen", KeyKind::Digest, Mode::Once)
};

pub(crate) static ALL: &[&Family] = &[
    &PAYLOAD, &ENDING, &REQUEST, &NOTE, &MARK, &STEP, &TIMER, &STAGE, &SETTING, &TOKEN, &SEEN,
];

/// The format of a directory with all of these families.
pub(crate) static FORMAT: Format = Format {
    number: 2,
    families: ALL,
    migrations: &[],
};

pub(crate) fn of_kind(kind: KeyKind) -> impl Iterator<Item = &'static Family> {
    ALL.iter().copied().filter(move |family| family.key == kind)
}

/// The families whose rows are found by their key alone.
pub(crate) fn keyed() -> impl Iterator<Item = &'static Family> {
    ALL.iter()
        .copied()
        .filter(|family| family.key != KeyKind::Digest)
}

pub(crate) fn replaceable(family: &Family) -> bool {
    family.mode == Mode::Replace
}

pub(crate) fn starts(family: &Family) -> bool {
    matches!(family.retention, Retention::Starts(_))
}

/// The `n`-th key of a family. The keys of numbers and ordinals with the same `n` belong to the
/// same entity; names and digests differ in all their parts.
pub(crate) fn key(family: &Family, n: u64) -> Key {
    let byte = u8::try_from(n % 251).unwrap();
    match family.key {
        KeyKind::Number => Key::Number(n),
        KeyKind::Ordinal => Key::Ordinal(n, u32::from(byte) % 7),
        KeyKind::Name => Key::Name(format!("tenant {}", n % 3).into(), format!("{n:06}").into()),
        KeyKind::Digest => {
            let mut digest = [byte; 16];
            digest[..8].copy_from_slice(&n.to_le_bytes());
            Key::Digest {
                hour: 10 + u32::from(byte) % 3,
                digest,
            }
        }
    }
}

pub(crate) fn bytes(content: impl AsRef<[u8]>) -> Bytes {
    Arc::from(content.as_ref())
}

/// A row's content that fits the family and says which row it is.
pub(crate) fn put(family: &Family, n: u64, generation: u32) -> Put {
    Put {
        version: if replaceable(family) { generation } else { 0 },
        at_ms: if starts(family) { 1000 + n } else { 0 },
        listing: family.listed.then(|| listing("acme", 1)),
        head: bytes(format!("{} {n} in generation {generation}", family.name)),
        body: Some(bytes(format!("the body of {n} in generation {generation}"))),
    }
}

pub(crate) fn listing(tenant: &str, tag: u8) -> Listing {
    let tenant = tenant.into();
    Listing { tenant, tag }
}

pub(crate) fn row(family: &'static Family, n: u64, generation: u32) -> Row {
    row_of(family, key(family, n), put(family, n, generation))
}

pub(crate) fn row_of(family: &'static Family, key: Key, put: Put) -> Row {
    let change = Change::Put(put);
    Row {
        family,
        key,
        change,
    }
}

pub(crate) fn delete(family: &'static Family, key: Key) -> Row {
    let change = Change::Delete;
    Row {
        family,
        key,
        change,
    }
}

/// What a reader finds of a row that was put.
pub(crate) fn stored(put: &Put, part: Part) -> Stored {
    Stored {
        version: put.version,
        listing: put.listing.clone(),
        head: put.head.clone(),
        body: put.body.clone().filter(|_| part == Part::Whole),
    }
}
