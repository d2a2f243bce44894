//! The API's errors.
//!
//! Owns every reason with its status code, and the message and variables of each error. Refuses to
//! know how an error is encoded: `rpc_status.rs` does that.

use std::collections::BTreeMap;
use std::fmt;

use backlane_engine::error::{Invalid, Refusal};
use strum::VariantArray;

/// How long a client should wait after a refusal for lack of room, in milliseconds.
const RETRY_FULL_MS: u64 = 1_000;
/// How long a client should wait for a server that is about to stop or lost its store, in
/// milliseconds.
const RETRY_UNAVAILABLE_MS: u64 = 500;

/// Why a call failed, as a code for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, VariantArray)]
pub enum Reason {
    /// A field breaks its rule.
    InvalidArgument,
    /// The caller can see no execution with this id.
    ExecutionNotFound,
    /// The execution existed and has been removed.
    ExecutionDeleted,
    /// The request id was used before with another body.
    RequestIdReused,
    /// An unfinished execution holds the dedup key.
    AlreadyExists,
    /// The execution's status does not allow this change.
    TransitionNotAllowed,
    /// The lease token is not the current one of the execution.
    LeaseLost,
    /// The tenant's queue is full.
    QueueFull,
    /// A quota is used up.
    QuotaExceeded,
    /// Too many calls, streams or bytes at once.
    RateLimited,
    /// A field or message is over a size limit. Never a sign of load.
    TooLarge,
    /// The disk is almost full: the store accepts only what ends executions.
    DiskFull,
    /// The server is about to stop.
    Draining,
    /// The store does not answer.
    StoreUnavailable,
    /// The credential is missing or wrong.
    Unauthenticated,
    /// The caller may not do this for this tenant, or lacks the role.
    PermissionDenied,
    /// Data that the reply needs is damaged on the disk.
    DataDamaged,
    /// A fault of the server.
    Internal,
}

impl Reason {
    /// Every reason, once.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The name of the reason, as `ErrorInfo.reason` carries it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::ExecutionNotFound => "EXECUTION_NOT_FOUND",
            Self::ExecutionDeleted => "EXECUTION_DELETED",
            Self::RequestIdReused => "REQUEST_ID_REUSED",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::TransitionNotAllowed => "TRANSITION_NOT_ALLOWED",
            Self::LeaseLost => "LEASE_LOST",
            Self::QueueFull => "QUEUE_FULL",
            Self::QuotaExceeded => "QUOTA_EXCEEDED",
            Self::RateLimited => "RATE_LIMITED",
            Self::TooLarge => "TOO_LARGE",
            Self::DiskFull => "DISK_FULL",
            Self::Draining => "DRAINING",
            Self::StoreUnavailable => "STORE_UNAVAILABLE",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::DataDamaged => "DATA_DAMAGED",
            Self::Internal => "INTERNAL",
        }
    }

    /// The gRPC status code of the reason, as a number.
    #[must_use]
    pub const fn code(self) -> i32 {
        match self {
            Self::InvalidArgument => 3,
            Self::ExecutionNotFound | Self::ExecutionDeleted => 5,
            Self::RequestIdReused | Self::AlreadyExists => 6,
            Self::PermissionDenied => 7,
            Self::QueueFull | Self::QuotaExceeded | Self::RateLimited | Self::DiskFull => 8,
            Self::TransitionNotAllowed | Self::LeaseLost => 9,
            Self::TooLarge => 11,
            Self::Internal => 13,
            Self::DataDamaged => 15,
            Self::Draining | Self::StoreUnavailable => 14,
            Self::Unauthenticated => 16,
        }
    }

    /// How long to wait before the same call may succeed, in milliseconds; `None` where waiting
    /// does not help.
    #[must_use]
    pub const fn retry_after_ms(self) -> Option<u64> {
        match self {
            Self::QueueFull | Self::QuotaExceeded | Self::RateLimited | Self::DiskFull => {
                Some(RETRY_FULL_MS)
            }
            Self::Draining | Self::StoreUnavailable => Some(RETRY_UNAVAILABLE_MS),
            _ => None,
        }
    }
}

/// An error as a client sees it. The refused call or item changed nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    pub(crate) reason: Reason,
    pub(crate) message: String,
    // Every variable of the message, by name.
    pub(crate) metadata: BTreeMap<&'static str, String>,
    // The fields that were refused, with the rule of each.
    pub(crate) violations: Vec<Invalid>,
    pub(crate) retry_after_ms: Option<u64>,
}

impl ApiError {
    /// An error whose message has no variables.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            metadata: BTreeMap::new(),
            violations: Vec::new(),
            retry_after_ms: reason.retry_after_ms(),
        }
    }

    /// Adds a variable of the message to the error's metadata.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: &dyn fmt::Display) -> Self {
        self.metadata.insert(key, value.to_string());
        self
    }

    /// Replaces the reason's usual delay before a retry. The delay is in milliseconds.
    #[must_use]
    pub const fn retry_after(mut self, ms: u64) -> Self {
        self.retry_after_ms = Some(ms);
        self
    }

    /// A refusal of a field whose size is over its limit. Both numbers are bytes.
    #[must_use]
    pub fn too_large(field: &str, limit: usize, size: usize) -> Self {
        let rule = format!("is {size} bytes long, which is over the limit of {limit}");
        let mut error = Self::new(Reason::TooLarge, format!("{field}: {rule}"))
            .with("field", &field)
            .with("limit", &limit)
            .with("size", &size);
        error.violations.push(Invalid::new(field, rule));
        error
    }

    /// A refusal of a field with which a run would hold more than it may.
    fn run_too_large(field: &str, limit: u64, unit: &str) -> Self {
        let rule = format!("is too much: a run may hold {limit} {unit}");
        let mut error = Self::new(Reason::TooLarge, format!("{field}: {rule}"))
            .with("field", &field)
            .with("limit", &limit)
            .with("unit", &unit);
        error.violations.push(Invalid::new(field, rule));
        error
    }

    /// A fault of the server. The server's log has the details under the correlation id.
    #[must_use]
    pub fn internal(correlation_id: &str) -> Self {
        let message = format!("internal error; correlation id {correlation_id}");
        Self::new(Reason::Internal, message).with("correlation_id", &correlation_id)
    }

    /// The refusal of a call that needs the store while the store does not answer.
    #[must_use]
    pub fn store_unavailable() -> Self {
        Self::new(Reason::StoreUnavailable, "the store does not answer")
    }

    /// The refusal of a call over a limit on load. `what` names the limit, such as `calls in
    /// flight`.
    #[must_use]
    pub fn rate_limited(what: &'static str, limit: usize) -> Self {
        let message = format!("more than {limit} {what}");
        Self::new(Reason::RateLimited, message)
            .with("what", &what)
            .with("limit", &limit)
    }

    /// The refusal of a caller without a valid credential.
    #[must_use]
    pub fn unauthenticated() -> Self {
        Self::new(
            Reason::Unauthenticated,
            "the credential is missing or wrong",
        )
    }

    /// Why the call failed, for programs.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// Why the call failed, for people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The value of a variable of the message.
    #[must_use]
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.reason.name(), self.message)
    }
}

impl std::error::Error for ApiError {}

impl From<Invalid> for ApiError {
    fn from(invalid: Invalid) -> Self {
        let mut error = Self::new(Reason::InvalidArgument, invalid.to_string())
            .with("field", &invalid.field)
            .with("rule", &invalid.rule);
        error.violations.push(invalid);
        error
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        let of = |reason| Self::new(reason, message);
        match refusal {
            Refusal::Invalid(invalid) => invalid.into(),
            Refusal::ExecutionNotFound {
                execution_id,
                tenant,
            } => of(Reason::ExecutionNotFound)
                .with("execution_id", &execution_id)
                .with("tenant_id", &tenant),
            Refusal::DependencyNotFound {
                field,
                execution_id,
                tenant,
            } => of(Reason::ExecutionNotFound)
                .with("field", &field)
                .with("execution_id", &execution_id)
                .with("tenant_id", &tenant),
            Refusal::ExecutionDeleted { request_id } => {
                of(Reason::ExecutionDeleted).with("request_id", &request_id)
            }
            Refusal::RequestIdReused { request_id } => {
                of(Reason::RequestIdReused).with("request_id", &request_id)
            }
            Refusal::AlreadyExists {
                dedup_key,
                execution_id,
            } => of(Reason::AlreadyExists)
                .with("dedup_key", &dedup_key)
                .with("execution_id", &execution_id),
            Refusal::TransitionNotAllowed {
                execution_id,
                status,
                event,
            } => of(Reason::TransitionNotAllowed)
                .with("execution_id", &execution_id)
                .with("status", &status.name())
                .with("event", &event),
            Refusal::RunTransitionNotAllowed {
                execution_id,
                state,
                event,
            } => of(Reason::TransitionNotAllowed)
                .with("execution_id", &execution_id)
                .with("state", &state.name())
                .with("event", &event),
            Refusal::RunTooLarge { field, limit, unit } => Self::run_too_large(&field, limit, unit),
            Refusal::InputExists { execution_id, key } => of(Reason::AlreadyExists)
                .with("execution_id", &execution_id)
                .with("key", &key),
            Refusal::LeaseLost { execution_id } => {
                of(Reason::LeaseLost).with("execution_id", &execution_id)
            }
            Refusal::QueueFull { tenant, limit } => of(Reason::QueueFull)
                .with("tenant_id", &tenant)
                .with("limit", &limit),
            Refusal::DiskFull => of(Reason::DiskFull),
            Refusal::Draining => of(Reason::Draining),
            Refusal::RoleDenied {
                principal,
                role,
                needed,
            } => of(Reason::PermissionDenied)
                .with("principal", &principal)
                .with("role", &role.name())
                .with("needed", &needed.name()),
            // The details of the contradiction go to the server's log, not to the client.
            Refusal::SetAside { execution_id, .. } => Self::internal(&execution_id),
            Refusal::DataDamaged { subject, what } => of(Reason::DataDamaged)
                .with("subject", &subject)
                .with("what", &what),
            Refusal::PermissionDenied { principal, tenant } => of(Reason::PermissionDenied)
                .with("principal", &principal)
                .with("tenant_id", &tenant),
        }
    }
}
