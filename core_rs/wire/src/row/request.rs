//! Requests: request ids that were used, and the executions that their requests created.
//!
//! Owns the encoding of `log.v1.RequestHead`. Refuses to know how ids are hashed.

use backlane_engine::command::KnownRequest;
use backlane_engine::row::RequestRow;

use crate::generated::backlane::log::v1;
use crate::log::parts;
use crate::{DecodeError, put};

/// Encodes the `log.v1.RequestHead` of a used request id.
#[must_use]
pub fn head(row: &RequestRow) -> Vec<u8> {
    let mut out = Vec::with_capacity(32);
    put::bytes(&mut out, 1, &row.request.body);
    parts::put_births(&mut out, &row.births);
    out
}

/// The part of a used request id that decisions need, read from the head of its row.
///
/// # Errors
/// [`DecodeError`] naming the malformed part.
pub fn known(head: &[u8]) -> Result<KnownRequest, DecodeError> {
    let from: v1::RequestHead = parts::read("RequestHead", head)?;
    Ok(KnownRequest {
        body: parts::hash("RequestHead.body", &from.body)?,
        births: parts::births(from.first_birth, from.count, from.listed),
    })
}
