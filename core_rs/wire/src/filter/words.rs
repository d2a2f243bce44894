//! Words: the names of fields and values in filters.
//!
//! Owns these names. Refuses to know their meaning.

use backlane_engine::rules::status::{EndReason, Status};

use super::clause::{NameField, NumberField, TimeField};

/// A field, as a filter names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Status,
    Reason,
    Metadata,
    Name(NameField),
    Number(NumberField),
    Time(TimeField),
}

/// Every field, in the order in which errors list them.
pub(super) const FIELDS: [(&str, Field); 12] = [
    ("status", Field::Status),
    ("callable", Field::Name(NameField::Callable)),
    ("worker", Field::Name(NameField::Worker)),
    ("parent", Field::Name(NameField::Parent)),
    ("trigger", Field::Name(NameField::Trigger)),
    ("reason", Field::Reason),
    ("metadata", Field::Metadata),
    ("queued_at", Field::Time(TimeField::Queued)),
    ("started_at", Field::Time(TimeField::Started)),
    ("completed_at", Field::Time(TimeField::Completed)),
    ("priority", Field::Number(NumberField::Priority)),
    ("attempt", Field::Number(NumberField::Attempt)),
];

/// The field of a name.
pub(super) fn field(name: &str) -> Option<Field> {
    let found = FIELDS.iter().find(|(known, _)| *known == name);
    found.map(|(_, field)| *field)
}

/// The status of a name, in lower or upper case.
pub(super) fn status(name: &str) -> Option<Status> {
    let fits = |status: &Status| status.name().eq_ignore_ascii_case(name);
    Status::ALL.iter().copied().find(fits)
}

/// The reason of a name, in lower or upper case.
pub(super) fn reason(name: &str) -> Option<EndReason> {
    let fits = |reason: &EndReason| reason_name(*reason).eq_ignore_ascii_case(name);
    EndReason::ALL.iter().copied().find(fits)
}

/// The name of a reason: that of the API's `EndReason`, without its prefix.
pub(super) const fn reason_name(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Completed => "COMPLETED",
        EndReason::Failed => "FAILED",
        EndReason::AttemptTimeout => "ATTEMPT_TIMEOUT",
        EndReason::WorkerLost => "WORKER_LOST",
        EndReason::StartDeadline => "START_DEADLINE",
        EndReason::Deadline => "DEADLINE",
        EndReason::CancelRequested => "CANCEL_REQUESTED",
        EndReason::Cascade => "CASCADE",
        EndReason::Replaced => "REPLACED",
        EndReason::DependencyFailed => "DEPENDENCY_FAILED",
        EndReason::DataDamaged => "DATA_DAMAGED",
    }
}
