//! Refusals: the errors of the engine.
//!
//! Owns the kinds of refusals with their named fields. Refuses to know their codes in the API.

use thiserror::Error;

use crate::rules::role::Role;
use crate::rules::status::{RunState, Status};

/// A field that breaks its rule.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field}: {rule}")]
pub struct Invalid {
    /// Path of the field in the request, such as `items[3].config.priority`.
    pub field: String,
    /// The rule that the field breaks, worded to follow the field's name.
    pub rule: String,
}

impl Invalid {
    /// A refusal of a field for breaking a rule.
    pub fn new(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            rule: rule.into(),
        }
    }
}

/// Why a command was refused. A refused command has changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// A field breaks its rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The execution does not exist, or belongs to another tenant.
    #[error("{}", not_found(execution_id, tenant))]
    ExecutionNotFound {
        /// Id of the execution, as the client sent it.
        execution_id: String,
        /// The tenant, as the client sent it; empty where the request names none.
        tenant: String,
    },
    /// A dependency does not exist, or belongs to another tenant.
    #[error("{field}: tenant {tenant} has no execution {execution_id}")]
    DependencyNotFound {
        /// Path of the field in the request, such as `items[3].depends_on[0]`.
        field: String,
        /// Id of the execution, as the client sent it.
        execution_id: String,
        /// The tenant, as the client sent it.
        tenant: String,
    },
    /// The request id was used, and retention has removed its execution.
    #[error("request id {request_id} was used before, and its execution has been deleted")]
    ExecutionDeleted {
        /// The request id, as the client sent it.
        request_id: String,
    },
    /// The request id was used before with another body.
    #[error("request id {request_id} was used before with another body")]
    RequestIdReused {
        /// The request id, as the client sent it.
        request_id: String,
    },
    /// An unfinished execution holds the dedup key.
    #[error("execution {execution_id} is unfinished and has the dedup key {dedup_key}")]
    AlreadyExists {
        /// The dedup key, as the client sent it.
        dedup_key: String,
        /// Id of the unfinished execution.
        execution_id: String,
    },
    /// The status of the execution does not allow this change.
    #[error("execution {execution_id} is {} and cannot be {event}", status.name())]
    TransitionNotAllowed {
        /// Id of the execution.
        execution_id: String,
        /// Current status of the execution.
        status: Status,
        /// The change that was asked for, such as `cancelled`.
        event: &'static str,
    },
    /// How the execution ends is decided, and it waits for its children. Nothing else about it
    /// can change.
    #[error(
        "execution {execution_id} cannot be {event}: its end is decided, and it waits for its \
         children"
    )]
    EndDecided {
        /// Id of the execution.
        execution_id: String,
        /// The change that was asked for, such as `cancelled`.
        event: &'static str,
    },
    /// The state of the run does not allow this change.
    #[error("the run of execution {execution_id} is {} and cannot be {event}", state.name())]
    RunTransitionNotAllowed {
        /// Id of the execution.
        execution_id: String,
        /// Current state of the run.
        state: RunState,
        /// The change that was asked for, such as `paused`.
        event: &'static str,
    },
    /// The run would hold more than a run may hold.
    #[error("{field}: the run would hold more than {limit} {unit}")]
    RunTooLarge {
        /// Path of the field that is too much.
        field: String,
        /// The limit.
        limit: u64,
        /// What the limit counts.
        unit: &'static str,
    },
    /// An input with this key waits for its wait already.
    #[error("execution {execution_id} has an input with the key {key} that no wait has taken yet")]
    InputExists {
        /// Id of the execution.
        execution_id: String,
        /// The key of the input.
        key: String,
    },
    /// The lease token is not the live one of the execution.
    #[error("this lease token of execution {execution_id} is no longer valid")]
    LeaseLost {
        /// Id of the execution.
        execution_id: String,
    },
    /// The tenant has as many unfinished executions as its limit allows.
    #[error("tenant {tenant} has reached its limit of {limit} unfinished executions")]
    QueueFull {
        /// The tenant's name.
        tenant: String,
        /// The limit on unfinished executions of the tenant.
        limit: u64,
    },
    /// The store is almost full and accepts only what ends executions.
    #[error("the disk of the server is almost full: new executions are refused")]
    DiskFull,
    /// The server is about to stop.
    #[error("the server is about to stop")]
    Draining,
    /// The principal may not act for this tenant.
    #[error("{principal} may not act for tenant {tenant}")]
    PermissionDenied {
        /// Name of the principal.
        principal: String,
        /// The tenant that the call names.
        tenant: String,
    },
    /// The principal's role does not allow this call.
    #[error("{principal} has the role {}; this call needs the role {}", role.name(), needed.name())]
    RoleDenied {
        /// Name of the principal.
        principal: String,
        /// The role of the principal.
        role: Role,
        /// The role that the call needs.
        needed: Role,
    },
    /// A decision about this execution could not be applied, because its state contradicts itself.
    /// The execution is set aside until the next restart; all other executions continue.
    #[error("execution {execution_id} is set aside until the next restart: {why}")]
    SetAside {
        /// Id of the execution.
        execution_id: String,
        /// The contradiction.
        why: String,
    },
    /// A row that the reply needs is damaged on the disk.
    #[error("the data of {subject} is damaged on the disk: {what}")]
    DataDamaged {
        /// The execution or the request id that the row belongs to.
        subject: String,
        /// The row, and the damage.
        what: String,
    },
}

impl Refusal {
    /// The same refusal, where the field that it names is part of a larger one.
    #[must_use]
    pub fn within(mut self, outer: &str) -> Self {
        if let Self::Invalid(Invalid { field, .. }) | Self::DependencyNotFound { field, .. } =
            &mut self
        {
            *field = format!("{outer}.{field}");
        }
        self
    }
}

fn not_found(execution_id: &str, tenant: &str) -> String {
    if tenant.is_empty() {
        return format!("there is no execution {execution_id}");
    }
    format!("tenant {tenant} has no execution {execution_id}")
}
