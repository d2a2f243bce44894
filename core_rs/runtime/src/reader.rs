//! Readers: threads with a read-only view of the store.
//!
//! Owns answering a [`Query`]. Refuses to know what the bytes mean.

use std::collections::BTreeSet;

use backlane_engine::rules::id::Birth;
use backlane_store::{Reader, StoreError};

use crate::message::{Found, ListQuery, Query};

/// Answers a query.
///
/// # Errors
/// What the store says.
pub fn answer(reader: &mut dyn Reader, query: &Query) -> Result<Found, StoreError> {
    let mut found = Found::default();
    let mut payloads: BTreeSet<Birth> = query.payloads.iter().copied().collect();
    if let Some(list) = &query.list {
        read_list(reader, list, &mut found)?;
        payloads.extend(&found.listed);
    }
    read_payloads(reader, payloads, &mut found)?;
    read_endings(reader, &query.endings, &mut found)?;
    let rows = reader.requests(&query.requests, query.since_hour)?;
    let rows = query.requests.iter().zip(rows);
    found
        .requests
        .extend(rows.filter_map(|(key, row)| Some((*key, row?))));
    Ok(found)
}

fn read_list(
    reader: &mut dyn Reader,
    list: &ListQuery,
    found: &mut Found,
) -> Result<(), StoreError> {
    let status = list.status.map(|status| status as u8);
    let rows = reader.list_finished(&list.tenant, status, list.before, list.limit)?;
    for row in rows {
        found.listed.push(row.birth);
        found.endings.insert(row.birth, row.ending);
    }
    Ok(())
}

fn read_payloads(
    reader: &mut dyn Reader,
    births: BTreeSet<Birth>,
    found: &mut Found,
) -> Result<(), StoreError> {
    let births: Vec<_> = births.into_iter().collect();
    let rows = reader.payloads(&births)?;
    let rows = births.into_iter().zip(rows);
    found
        .payloads
        .extend(rows.filter_map(|(birth, bytes)| Some((birth, bytes?))));
    Ok(())
}

fn read_endings(
    reader: &mut dyn Reader,
    births: &[Birth],
    found: &mut Found,
) -> Result<(), StoreError> {
    let rows = reader.finished(births)?;
    let rows = births.iter().copied().zip(rows);
    found
        .endings
        .extend(rows.filter_map(|(birth, row)| Some((birth, row?.ending))));
    Ok(())
}
