//! Payloads: the requests that executions were created from.
//!
//! Owns the encoding of `log.v1.PayloadHead` and of the body, and a view of the head that copies
//! nothing. Refuses to know the state of an execution.

use backlane_engine::row::{Payload, PayloadRow};
use backlane_engine::rules::id::{Birth, ExecutionId};
use backlane_engine::rules::status::Cancellation;

use crate::log::parts;
use crate::scan::Fields;
use crate::{DecodeError, put};

const QUEUED_AT_MS: u32 = 4;
const DEPENDS_ON: u32 = 16;
/// The field with the id of the execution that this one redrives.
pub(crate) const RETRIED_FROM: u32 = 21;
/// The API's `PARENT_TYPE_EXECUTION`.
const EXECUTION: u64 = 3;

/// Encodes the `log.v1.PayloadHead` of a new execution: what the engine decided is added to what
/// the client gave. The order of protobuf's fields does not matter. Returns the body as well.
#[must_use]
pub fn encode(row: PayloadRow) -> (Vec<u8>, Option<Vec<u8>>) {
    let Payload {
        head: mut out,
        body,
    } = row.payload;
    parts::put_id(&mut out, &row.id);
    put::uint(&mut out, QUEUED_AT_MS, row.queued_at_ms);
    for id in &row.depends_on {
        put::bytes(&mut out, DEPENDS_ON, &id.to_bytes());
    }
    (out, body)
}

/// The fields of an encoded head, without copies. An absent field is empty or zero.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct HeadView<'a> {
    seconds: u32,
    random: u64,
    salt: u32,
    pub(crate) queued_at_ms: u64,
    pub(crate) tenant: &'a [u8],
    pub(crate) callable: &'a [u8],
    pub(crate) policy: &'a [u8],
    pub(crate) mode: u64,
    pub(crate) priority: u64,
    pub(crate) not_before_ms: Option<u64>,
    pub(crate) start_deadline_ms: Option<u64>,
    pub(crate) deadline_ms: Option<u64>,
    pub(crate) dedup_key: Option<&'a [u8]>,
    pub(crate) traceparent: Option<&'a [u8]>,
    pub(crate) metadata: &'a [u8],
    pub(crate) has_dependencies: bool,
    retried_from: Option<&'a [u8]>,
    pub(crate) parent_id: &'a [u8],
    pub(crate) parent_type: u64,
    pub(crate) spawn_child: &'a [u8],
}

impl<'a> HeadView<'a> {
    /// Reads the fields of an encoded `log.v1.PayloadHead`.
    pub(crate) fn of(head: &'a [u8]) -> Result<Self, DecodeError> {
        let mut view = Self::default();
        for field in Fields::of(head) {
            let (tag, wire) =
                field.map_err(|error| DecodeError::malformed("PayloadHead", &error))?;
            match tag {
                1 => view.seconds = parts::narrow("PayloadHead.seconds", wire.uint())?,
                2 => view.random = wire.uint(),
                3 => view.salt = parts::narrow("PayloadHead.salt", wire.uint())?,
                QUEUED_AT_MS => view.queued_at_ms = wire.uint(),
                5 => view.tenant = wire.bytes(),
                6 => view.callable = wire.bytes(),
                7 => view.policy = wire.bytes(),
                8 => view.mode = wire.uint(),
                9 => view.priority = wire.uint(),
                10 => view.not_before_ms = Some(wire.uint()),
                11 => view.start_deadline_ms = Some(wire.uint()),
                12 => view.deadline_ms = Some(wire.uint()),
                13 => view.dedup_key = Some(wire.bytes()),
                14 => view.traceparent = Some(wire.bytes()),
                15 => view.metadata = wire.bytes(),
                DEPENDS_ON => view.has_dependencies = true,
                RETRIED_FROM => view.retried_from = Some(wire.bytes()),
                17 => view.parent_id = wire.bytes(),
                18 => view.parent_type = wire.uint(),
                19 => view.spawn_child = wire.bytes(),
                _ => {}
            }
        }
        Ok(view)
    }

    /// The id of the execution that this one redrives.
    pub(crate) fn retried_from(&self) -> Result<Option<ExecutionId>, DecodeError> {
        let read = |bytes: &[u8]| match bytes.try_into() {
            Ok(bytes) => Ok(ExecutionId::from_bytes(bytes)),
            Err(_) => Err(DecodeError::malformed(
                "PayloadHead.retried_from",
                &"it must have 20 bytes",
            )),
        };
        self.retried_from.map(read).transpose()
    }

    /// The id of the execution. The head holds every part of the id except the birth number.
    pub(crate) fn id(&self, birth: Birth) -> Result<ExecutionId, DecodeError> {
        parts::id(birth, self.seconds, self.random, self.salt)
    }
}

/// The ids of the executions that must complete first, from an encoded head.
pub(crate) fn depends_on(head: &[u8]) -> impl Iterator<Item = ExecutionId> + '_ {
    let fields = Fields::of(head).filter_map(Result::ok);
    let ids = fields.filter(|(tag, _)| *tag == DEPENDS_ON);
    ids.filter_map(|(_, wire)| Some(ExecutionId::from_bytes(wire.bytes().try_into().ok()?)))
}

/// What an execution waited for, as its payload says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waited {
    /// Time of the enqueue, in milliseconds since the epoch.
    pub queued_at_ms: u64,
    /// The executions that must complete first.
    pub depends_on: Vec<ExecutionId>,
}

/// What an execution waited for, from the head of its payload.
///
/// # Errors
/// [`DecodeError`] where the head is malformed.
pub fn waited(head: &[u8]) -> Result<Waited, DecodeError> {
    Ok(Waited {
        queued_at_ms: HeadView::of(head)?.queued_at_ms,
        depends_on: depends_on(head).collect(),
    })
}

/// The id of an execution, from the head of its payload.
///
/// # Errors
/// [`DecodeError`] where the head is malformed.
pub fn id(birth: Birth, head: &[u8]) -> Result<ExecutionId, DecodeError> {
    HeadView::of(head)?.id(birth)
}

/// The name of an execution's callable, from the head of its payload.
///
/// # Errors
/// [`DecodeError`] where the head is malformed.
pub fn callable(head: &[u8]) -> Result<&str, DecodeError> {
    let name = str::from_utf8(HeadView::of(head)?.callable);
    name.map_err(|error| DecodeError::malformed("PayloadHead.callable", &error))
}

/// What the end of an execution means for its descendants, from the head of its payload.
///
/// # Errors
/// [`DecodeError`] where the head is malformed.
pub fn cancellation(head: &[u8]) -> Result<Cancellation, DecodeError> {
    let policy = parts::read("PayloadHead.policy", HeadView::of(head)?.policy)?;
    parts::policy(policy).map(|policy| policy.cancellation)
}

/// The execution that spawned this one, from the head of its payload.
#[must_use]
pub fn parent(head: &[u8]) -> Option<ExecutionId> {
    let head = HeadView::of(head).ok()?;
    let is_execution = head.parent_type == EXECUTION;
    let id = str::from_utf8(head.parent_id)
        .ok()
        .filter(|_| is_execution)?;
    ExecutionId::parse("parent_id", id).ok()
}

/// The name of an execution's tenant, from the head of its payload.
///
/// # Errors
/// [`DecodeError`] where the head is malformed.
pub fn tenant(head: &[u8]) -> Result<&str, DecodeError> {
    let name = str::from_utf8(HeadView::of(head)?.tenant);
    name.map_err(|error| DecodeError::malformed("PayloadHead.tenant", &error))
}
