//! Endings: how executions ended.
//!
//! Owns the encoding of `log.v1.EndingHead`. The body is the output as the worker gave it. Refuses
//! to know when an ending is written or removed.

use std::sync::Arc;

use backlane_engine::command::Finished;
use backlane_engine::row::{Bytes, EndingRow};
use backlane_engine::rules::id::Birth;
use backlane_engine::rules::status::{EndReason, Status};

use crate::generated::backlane::log::v1;
use crate::log::parts;
use crate::{DecodeError, put};

/// Encodes the `log.v1.EndingHead` of an ending.
#[must_use]
pub fn head(row: &EndingRow) -> Vec<u8> {
    let mut out = Vec::with_capacity(96);
    parts::put_id(&mut out, &row.id);
    put::uint(&mut out, 4, row.status as u32);
    put::uint(&mut out, 5, row.reason as u32);
    parts::put_actor(&mut out, 6, &row.actor);
    put::uint(&mut out, 7, row.ended_at_ms);
    put::uint(&mut out, 8, row.ended_lease);
    if let Some(error) = &row.error {
        parts::put_error(&mut out, 9, error);
    }
    put::message(&mut out, 10, |out| parts::put_progress(out, &row.progress));
    out
}

/// Reads an ending from its key, its listing, its head and, where the body was read too, its
/// output.
///
/// # Errors
/// [`DecodeError`] naming the malformed, missing or unknown part.
pub fn read(
    birth: Birth,
    tenant: &str,
    head: &[u8],
    output: Option<Bytes>,
) -> Result<EndingRow, DecodeError> {
    let from: v1::EndingHead = parts::read("EndingHead", head)?;
    Ok(EndingRow {
        id: parts::id(birth, from.seconds, from.random, from.salt)?,
        tenant: Arc::from(tenant),
        status: parts::known("EndingHead.status", from.status, Status::from_number)?,
        reason: parts::known("EndingHead.reason", from.reason, EndReason::from_number)?,
        actor: parts::actor(parts::present("EndingHead.actor", from.actor)?)?,
        ended_at_ms: from.ended_at_ms,
        ended_lease: from.ended_lease,
        output,
        error: from.error.map(parts::error).transpose()?.map(Box::new),
        progress: parts::progress(parts::present("EndingHead.progress", from.progress)?)?,
    })
}

/// The part of an ending that decisions need, read from the head.
///
/// # Errors
/// [`DecodeError`] naming the malformed, missing or unknown part.
pub fn finished(birth: Birth, tenant: &str, head: &[u8]) -> Result<Finished, DecodeError> {
    Ok(Finished::from(&read(birth, tenant, head, None)?))
}
