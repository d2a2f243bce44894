//! Attempts: leases that did not end their executions.
//!
//! Owns the encoding of `log.v1.AttemptHead`. Refuses to know which attempts are kept: the engine
//! does.

use backlane_engine::fact::RequeueCause;
use backlane_engine::row::AttemptRow;
use backlane_engine::rules::id::Birth;

use crate::generated::backlane::log::v1;
use crate::log::parts;
use crate::{DecodeError, put};

/// Encodes the `log.v1.AttemptHead` of an attempt.
#[must_use]
pub fn head(row: &AttemptRow) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    put::uint(&mut out, 1, row.attempt);
    put::text(&mut out, 2, &row.worker);
    put::uint(&mut out, 3, row.started_at_ms);
    put::uint(&mut out, 4, row.ended_at_ms);
    put::uint(&mut out, 5, row.cause as u32);
    if let Some(error) = &row.error {
        parts::put_error(&mut out, 6, error);
    }
    put::uint(&mut out, 7, row.actions);
    out
}

/// Reads an attempt from its key and its head.
///
/// # Errors
/// [`DecodeError`] naming the malformed, missing or unknown part.
pub fn read(birth: Birth, ordinal: u32, head: &[u8]) -> Result<AttemptRow, DecodeError> {
    let from: v1::AttemptHead = parts::read("AttemptHead", head)?;
    Ok(AttemptRow {
        birth,
        ordinal,
        attempt: from.attempt,
        worker: from.worker.into(),
        started_at_ms: from.started_at_ms,
        ended_at_ms: from.ended_at_ms,
        cause: parts::known("AttemptHead.cause", from.cause, RequeueCause::from_number)?,
        error: from.error.map(parts::error).transpose()?.map(Box::new),
        actions: from.actions,
    })
}
