//! What an execution is made with, as it is kept beside the log.
//!
//! Owns the encoding of `log.v1.Payload` and a view of it that copies nothing. Refuses to know
//! where an execution stands.

use backlane_engine::fact::Living;
use backlane_engine::rules::id::{Birth, ExecutionId};

use crate::DecodeError;
use crate::put;
use crate::scan::Fields;

// The fields that an engine's decision adds: id and time, at their longest for this century.
const STAMP_BYTES: usize = 6 + 9 + 7;

/// All of a payload that is known before the engine gives it an id and a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadParts {
    // Encoded but for the fields 1, 2 and 5.
    body: Vec<u8>,
}

impl PayloadParts {
    /// Of the encoded fields without id and time.
    pub(crate) const fn of(body: Vec<u8>) -> Self {
        Self { body }
    }

    /// Encoded size in bytes, id and time included.
    #[must_use]
    pub fn bytes(&self) -> u32 {
        u32::try_from(self.body.len() + STAMP_BYTES).unwrap_or(u32::MAX)
    }

    /// The encoded `log.v1.Payload` of the execution that was made of it.
    #[must_use]
    pub fn encode(&self, living: &Living) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.body.len() + STAMP_BYTES + 4);
        put::uint(&mut out, 1, living.id.seconds);
        put::fixed64(&mut out, 2, living.id.random);
        put::uint(&mut out, 5, living.queued_at_ms);
        out.extend_from_slice(&self.body);
        out
    }
}

/// A payload's fields, in place. What is absent is empty or zero.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PayloadView<'a> {
    pub(crate) seconds: u32,
    pub(crate) random: u64,
    pub(crate) tenant: &'a [u8],
    pub(crate) callable: &'a [u8],
    pub(crate) queued_at_ms: u64,
    pub(crate) input: Option<&'a [u8]>,
    pub(crate) maps: &'a [u8],
    pub(crate) policy: &'a [u8],
    pub(crate) config: &'a [u8],
    pub(crate) not_before_ms: Option<u64>,
    pub(crate) start_deadline_ms: Option<u64>,
    pub(crate) deadline_ms: Option<u64>,
    pub(crate) dedup_key: Option<&'a [u8]>,
    pub(crate) traceparent: Option<&'a [u8]>,
}

impl<'a> PayloadView<'a> {
    /// The fields of an encoded `log.v1.Payload`.
    pub(crate) fn of(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut view = Self::default();
        for field in Fields::of(payload) {
            let (tag, wire) = field.map_err(|error| DecodeError::malformed("Payload", &error))?;
            match tag {
                1 => view.seconds = u32::try_from(wire.uint()).unwrap_or(u32::MAX),
                2 => view.random = wire.uint(),
                3 => view.tenant = wire.bytes(),
                4 => view.callable = wire.bytes(),
                5 => view.queued_at_ms = wire.uint(),
                6 => view.input = Some(wire.bytes()),
                7 => view.maps = wire.bytes(),
                8 => view.policy = wire.bytes(),
                9 => view.config = wire.bytes(),
                10 => view.not_before_ms = Some(wire.uint()),
                11 => view.start_deadline_ms = Some(wire.uint()),
                12 => view.deadline_ms = Some(wire.uint()),
                13 => view.dedup_key = Some(wire.bytes()),
                14 => view.traceparent = Some(wire.bytes()),
                _ => {}
            }
        }
        Ok(view)
    }

    /// The execution's id: the payload holds what its birth number and shard leave open.
    pub(crate) const fn id(&self, birth: Birth, shard: u16) -> ExecutionId {
        ExecutionId {
            seconds: self.seconds,
            shard,
            birth,
            random: self.random,
        }
    }
}
