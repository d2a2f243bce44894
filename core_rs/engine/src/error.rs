//! What the engine answers when it refuses.
//!
//! Owns the variants with their named fields. Refuses to know their codes on the wire.

use thiserror::Error;

use crate::rules::role::Role;
use crate::rules::status::Status;

/// A field that breaks its rule.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field}: {rule}")]
pub struct Invalid {
    /// Path of the field in the request, such as `items[3].config.priority`.
    pub field: String,
    /// The rule it breaks, as a sentence that continues its name.
    pub rule: String,
}

impl Invalid {
    /// Names the field and the rule.
    pub fn new(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            rule: rule.into(),
        }
    }
}

/// Why a command was refused. It changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// A field breaks its rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// No such execution, or another tenant's.
    #[error("no execution {execution_id} in tenant {tenant}")]
    ExecutionNotFound {
        /// As it was asked for.
        execution_id: String,
        /// As it was asked for.
        tenant: String,
    },
    /// The request id is known, but its execution was removed by retention.
    #[error("the execution of request id {request_id} was removed")]
    ExecutionDeleted {
        /// As it was sent.
        request_id: String,
    },
    /// The request id came with another body before.
    #[error("request id {request_id} was used with another body")]
    RequestIdReused {
        /// As it was sent.
        request_id: String,
    },
    /// A living execution holds the dedup key.
    #[error("dedup key {dedup_key} is held by {execution_id}")]
    AlreadyExists {
        /// As it was sent.
        dedup_key: String,
        /// The living one.
        execution_id: String,
    },
    /// The status machine has no such transition.
    #[error("{execution_id} is {}: it cannot be {event}", status.name())]
    TransitionNotAllowed {
        /// Whose.
        execution_id: String,
        /// Where it stands.
        status: Status,
        /// What was asked, such as `cancelled`.
        event: &'static str,
    },
    /// The token is not the live one.
    #[error("the lease of {execution_id} is no longer held with this token")]
    LeaseLost {
        /// Whose.
        execution_id: String,
    },
    /// The tenant holds as many unfinished executions as it may.
    #[error("tenant {tenant} has {limit} unfinished executions, the most it may")]
    QueueFull {
        /// Whose queue.
        tenant: String,
        /// How many it may hold.
        limit: u64,
    },
    /// The store has room for ends only.
    #[error("the store is almost full: no new executions are taken")]
    DiskFull,
    /// The server is about to stop.
    #[error("the server is about to stop")]
    Draining,
    /// The principal may not act for this tenant.
    #[error("{principal} may not act for tenant {tenant}")]
    PermissionDenied {
        /// Who asked.
        principal: String,
        /// The tenant that the call was for.
        tenant: String,
    },
    /// The principal may not make this kind of call.
    #[error("{principal} is a {}: this call needs a {}", role.name(), needed.name())]
    RoleDenied {
        /// Name of the principal.
        principal: String,
        /// Its role.
        role: Role,
        /// The role that the call needs.
        needed: Role,
    },
    /// A decision about this execution could not be applied: its state is inconsistent. The
    /// execution is set aside until the next restart, and everything else goes on.
    #[error("{execution_id} is set aside: {why}")]
    SetAside {
        /// Id of the execution.
        execution_id: String,
        /// The contradiction.
        why: String,
    },
    /// A row that the answer rests on is damaged on the disk.
    #[error("the data of {subject} is damaged on the disk: {what}")]
    DataDamaged {
        /// The execution or the request id that the row belongs to.
        subject: String,
        /// The row, and the damage.
        what: String,
    },
}
