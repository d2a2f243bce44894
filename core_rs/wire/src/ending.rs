//! How an execution ended, as it is kept until retention removes it.
//!
//! Owns the encoding of `log.v1.Ending`. Refuses to know when one is written or removed.

use std::sync::Arc;

use backlane_engine::command::Finished;
use backlane_engine::fact::{Actor, Ended, ErrorRecord, Living, Progress};
use backlane_engine::rules::id::Birth;
use backlane_engine::rules::status::{EndReason, Status};
use prost::Message as _;

use crate::generated::backlane::log::v1;
use crate::payload::PayloadView;
use crate::{DecodeError, log, put};

/// How an execution ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ending {
    /// One of the four ends.
    pub status: Status,
    /// Why.
    pub reason: EndReason,
    /// Who.
    pub actor: Actor,
    /// When, milliseconds since the epoch.
    pub ended_at_ms: u64,
    /// The encoded result; exactly where completed.
    pub output: Option<Arc<[u8]>>,
    /// Exactly where failed or timed out.
    pub error: Option<Box<ErrorRecord>>,
    /// The state it ended in.
    pub progress: Progress,
}

impl Ending {
    /// Of an execution whose last state the engine gave with the fact of that time.
    #[must_use]
    pub fn of(ended: &Ended, last: &Living, at_ms: u64) -> Self {
        Self {
            status: ended.status,
            reason: ended.reason,
            actor: ended.actor.clone(),
            ended_at_ms: at_ms,
            output: ended.output.clone(),
            error: ended.error.clone(),
            progress: last.progress.clone(),
        }
    }

    /// The encoded `log.v1.Ending`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(96 + self.output.as_ref().map_or(0, |bytes| bytes.len()));
        put::uint(&mut out, 1, self.status as u32);
        put::uint(&mut out, 2, self.reason as u32);
        log::put_actor(&mut out, 3, &self.actor);
        put::uint(&mut out, 4, self.ended_at_ms);
        if let Some(output) = &self.output {
            put::bytes(&mut out, 5, output);
        }
        if let Some(error) = &self.error {
            put::message(&mut out, 6, |out| log::error_fields(out, error));
        }
        put::message(&mut out, 7, |out| log::progress(out, &self.progress));
        out
    }

    /// Reads an encoded `log.v1.Ending`.
    ///
    /// # Errors
    /// [`DecodeError`] naming what is malformed, missing or unknown.
    pub fn decode(ending: &[u8]) -> Result<Self, DecodeError> {
        let from = v1::Ending::decode(ending);
        let from = from.map_err(|error| DecodeError::malformed("Ending", &error))?;
        let unknown = |what, number: u32| DecodeError::UnknownNumber {
            what,
            number: number.into(),
        };
        let (status, reason) = (from.status, from.reason);
        let missing = |what| DecodeError::Missing { what };
        Ok(Self {
            status: Status::from_number(status).ok_or(unknown("Ending.status", status))?,
            reason: EndReason::from_number(reason).ok_or(unknown("Ending.reason", reason))?,
            actor: log::actor(from.actor.ok_or(missing("Ending.actor"))?)?,
            ended_at_ms: from.ended_at_ms,
            output: from.output.map(Arc::from),
            error: from.error.map(log::error_record).transpose()?.map(Box::new),
            progress: log::read_progress(from.progress.ok_or(missing("Ending.progress"))?)?,
        })
    }
}

/// What a decision needs of a finished execution, from its payload and its ending.
///
/// # Errors
/// [`DecodeError`] naming what is malformed, missing or unknown.
pub fn finished(
    birth: Birth,
    shard: u16,
    payload: &[u8],
    ending: &[u8],
) -> Result<Finished, DecodeError> {
    let payload = PayloadView::of(payload)?;
    let ending = Ending::decode(ending)?;
    let tenant = std::str::from_utf8(payload.tenant);
    let tenant = tenant.map_err(|error| DecodeError::malformed("Payload.tenant", &error))?;
    Ok(Finished {
        id: payload.id(birth, shard),
        tenant: tenant.into(),
        status: ending.status,
        outcome: ending.progress.outcome,
    })
}
