//! The API's errors.
//!
//! Owns every reason with its status code, and the message and variables of each error. Refuses to
//! know how an error is encoded: `rpc_status.rs` does that.

use std::collections::BTreeMap;
use std::fmt;

use backlane_engine::error::{Invalid, Refusal};
use backlane_engine::rules::status::Status;
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
        match refusal {
            Refusal::Invalid(invalid) => invalid.into(),
            Refusal::RunTooLarge { field, limit, unit } => Self::run_too_large(&field, limit, unit),
            // The details of the contradiction go to the server's log, not to the client.
            Refusal::SetAside { execution_id, .. } => Self::internal(&execution_id),
            refusal => {
                let error = Self::new(reason_of(&refusal), refusal.to_string());
                let variables = variables_of(refusal).into_iter();
                variables.fold(error, |error, (name, value)| error.with(name, &value))
            }
        }
    }
}

const fn reason_of(refusal: &Refusal) -> Reason {
    match refusal {
        Refusal::Invalid(_) => Reason::InvalidArgument,
        Refusal::ExecutionNotFound { .. } | Refusal::DependencyNotFound { .. } => {
            Reason::ExecutionNotFound
        }
        Refusal::ExecutionDeleted { .. } => Reason::ExecutionDeleted,
        Refusal::RequestIdReused { .. } => Reason::RequestIdReused,
        Refusal::AlreadyExists { .. } | Refusal::InputExists { .. } => Reason::AlreadyExists,
        Refusal::TransitionNotAllowed { .. }
        | Refusal::EndDecided { .. }
        | Refusal::RunTransitionNotAllowed { .. } => Reason::TransitionNotAllowed,
        Refusal::RunTooLarge { .. } => Reason::TooLarge,
        Refusal::LeaseLost { .. } => Reason::LeaseLost,
        Refusal::QueueFull { .. } => Reason::QueueFull,
        Refusal::DiskFull => Reason::DiskFull,
        Refusal::Draining => Reason::Draining,
        Refusal::RoleDenied { .. } | Refusal::PermissionDenied { .. } => Reason::PermissionDenied,
        Refusal::SetAside { .. } => Reason::Internal,
        Refusal::DataDamaged { .. } => Reason::DataDamaged,
    }
}

/// The variables of the message of a refusal.
fn variables_of(refusal: Refusal) -> Vec<(&'static str, String)> {
    match refusal {
        Refusal::Invalid(_)
        | Refusal::RunTooLarge { .. }
        | Refusal::SetAside { .. }
        | Refusal::DiskFull
        | Refusal::Draining => Vec::new(),
        Refusal::ExecutionNotFound {
            execution_id: id,
            tenant,
        } => vec![("execution_id", id), ("tenant_id", tenant)],
        Refusal::DependencyNotFound {
            field,
            execution_id: id,
            tenant,
        } => vec![
            ("field", field),
            ("execution_id", id),
            ("tenant_id", tenant),
        ],
        Refusal::ExecutionDeleted { request_id } | Refusal::RequestIdReused { request_id } => {
            vec![("request_id", request_id)]
        }
        Refusal::AlreadyExists {
            dedup_key: key,
            execution_id: id,
        } => vec![("dedup_key", key), ("execution_id", id)],
        Refusal::InputExists {
            execution_id: id,
            key,
        } => vec![("execution_id", id), ("key", key)],
        Refusal::TransitionNotAllowed {
            execution_id: id,
            status,
            event,
        } => of_change(id, ("status", status.name()), event),
        Refusal::EndDecided {
            execution_id: id,
            event,
        } => of_change(id, ("status", Status::Running.name()), event),
        Refusal::RunTransitionNotAllowed {
            execution_id: id,
            state,
            event,
        } => of_change(id, ("state", state.name()), event),
        Refusal::LeaseLost { execution_id: id } => vec![("execution_id", id)],
        Refusal::QueueFull { tenant, limit } => {
            vec![("tenant_id", tenant), ("limit", limit.to_string())]
        }
        Refusal::RoleDenied {
            principal,
            role,
            needed,
        } => vec![
            ("principal", principal),
            ("role", role.name().to_owned()),
            ("needed", needed.name().to_owned()),
        ],
        Refusal::DataDamaged { subject, what } => vec![("subject", subject), ("what", what)],
        Refusal::PermissionDenied { principal, tenant } => {
            vec![("principal", principal), ("tenant_id", tenant)]
        }
    }
}

fn of_change(
    id: String,
    (name, state): (&'static str, &str),
    event: &str,
) -> Vec<(&'static str, String)> {
    vec![
        ("execution_id", id),
        (name, state.to_owned()),
        ("event", event.to_owned()),
    ]
}
