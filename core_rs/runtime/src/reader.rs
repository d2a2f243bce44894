//! Readers: answers to queries from a read-only view of the store.
//!
//! Owns how a [`Query`] is answered. A damaged row is a result of its own: damage never fails the
//! rest of a query and never ends the process. Refuses to know what the bytes of rows mean.

use backlane_engine::rules::id::Birth;
use backlane_store::{
    Damage, ENDING, Family, Key, Lookup, PAYLOAD, Part, REQUEST, Reader, StoreError, Stored,
};

use crate::message::{Found, ListQuery, Query, Wanted};
use crate::scan;

/// Bytes of rows after which a page reads no further rows. A page may exceed this by its last few
/// rows.
const PAGE_BYTES: usize = 4 << 20;
/// Number of executions on a page whose rows are read together.
const PAGE_STEP: usize = 32;

/// Runs a query.
#[must_use]
pub fn answer(reader: &mut dyn Reader, query: &Query) -> Found {
    let mut found = Found::default();
    read_rows(reader, &query.rows, &mut found);
    if let Some(list) = &query.list {
        read_page(reader, list, &mut found);
    }
    for range in &query.ranges {
        let key = format!("{} from ordinal {}", range.number, range.from);
        let rows = reader.of_number(range.family, range.number, range.from, range.limit);
        let rows = rows.map_err(|error| damage_of(range.family, key, error));
        found.ranges.push(rows);
    }
    let scanned = query.scan.as_ref().map(|query| scan::look(reader, query));
    found.scanned = scanned.map(Box::new);
    if !query.requests.is_empty() {
        let rows = reader.digests(&REQUEST, &query.requests, query.since_hour);
        let failed = |error| vec![failed(&REQUEST, "any", &error); query.requests.len()];
        let rows = rows.unwrap_or_else(failed);
        found
            .requests
            .extend(query.requests.iter().copied().zip(rows));
    }
    found
}

/// A row whose read failed as a whole counts as damaged, since the failure says nothing about the
/// row.
fn failed(family: &'static Family, key: &str, error: &StoreError) -> Lookup {
    Lookup::Damaged(Damage {
        family: family.name,
        key: key.to_owned(),
        what: error.to_string(),
    })
}

pub(crate) fn damage_of(family: &'static Family, key: String, error: StoreError) -> Damage {
    match error {
        StoreError::Damaged(damage) => damage,
        error => Damage {
            family: family.name,
            key,
            what: error.to_string(),
        },
    }
}

/// Reads rows. Neighbouring keys of one family and one part are read in one call.
fn read_rows(reader: &mut dyn Reader, rows: &[Wanted], found: &mut Found) {
    let alike = |a: &Wanted, b: &Wanted| a.family == b.family && a.part == b.part;
    for rows in rows.chunk_by(alike) {
        let (family, part) = (rows[0].family, rows[0].part);
        let keys: Vec<Key> = rows.iter().map(|row| row.key.clone()).collect();
        let read = reader.get(family, &keys, part).unwrap_or_else(|error| {
            let each = keys
                .iter()
                .map(|key| failed(family, &key.to_string(), &error));
            each.collect()
        });
        let keys = keys.into_iter().map(|key| (family.number, key));
        found.rows.extend(keys.zip(read));
    }
}

fn read_page(reader: &mut dyn Reader, list: &ListQuery, found: &mut Found) {
    let tag = list.status.map(|status| status as u8);
    let births = match reader.list(list.family, &list.tenant, tag, list.before, list.limit) {
        Ok(births) => births,
        Err(error) => {
            let key = format!("list of {}", list.tenant);
            found.list_damage = Some(damage_of(list.family, key, error));
            return;
        }
    };
    let (mut bytes, total) = (0, births.len());
    for births in births.chunks(PAGE_STEP) {
        read_rows(reader, &rows_of(births, list.part), found);
        found.listed.extend(births);
        let keys = births.iter().map(|birth| Key::Number(*birth));
        let rows = keys.flat_map(|key| [found.row(&ENDING, &key), found.row(&PAYLOAD, &key)]);
        bytes += rows.flatten().map(size).sum::<usize>();
        if bytes > PAGE_BYTES {
            found.list_is_cut = found.listed.len() < total;
            return;
        }
    }
}

fn rows_of(births: &[Birth], part: Part) -> Vec<Wanted> {
    let of = |family| {
        let births = births.iter();
        births.map(move |birth| Wanted {
            family,
            key: Key::Number(*birth),
            part,
        })
    };
    of(&ENDING).chain(of(&PAYLOAD)).collect()
}

fn size(row: &Lookup) -> usize {
    match row {
        Lookup::Found(Stored { head, body, .. }) => {
            head.len() + body.as_ref().map_or(0, |body| body.len())
        }
        Lookup::Absent | Lookup::Damaged(_) => 0,
    }
}
