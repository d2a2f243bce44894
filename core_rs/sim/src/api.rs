//! The API as a client sees it: messages and errors.
//!
//! Owns reading errors and times. Refuses to know the server's own types for them.

use prost::Message as _;

pub use crate::generated::backlane::v1;
pub use crate::generated::google::rpc;

/// The reason in an encoded `google.rpc.Status`: its `ErrorInfo.reason`, or the status code.
#[must_use]
pub fn reason(status: &[u8]) -> String {
    rpc::Status::decode(status).map_or_else(|error| error.to_string(), |status| reason_of(&status))
}

/// The reason in a `google.rpc.Status`: its `ErrorInfo.reason`, or the status code.
#[must_use]
pub fn reason_of(status: &rpc::Status) -> String {
    let infos = status
        .details
        .iter()
        .filter(|any| any.type_url.ends_with("/google.rpc.ErrorInfo"));
    let mut infos = infos.filter_map(|any| rpc::ErrorInfo::decode(&*any.value).ok());
    infos
        .next()
        .map_or_else(|| format!("code {}", status.code), |info| info.reason)
}

/// The milliseconds since the epoch of a timestamp.
#[must_use]
pub fn millis(at: &prost_types::Timestamp) -> u64 {
    let seconds = u64::try_from(at.seconds).unwrap_or(0);
    seconds * 1_000 + u64::try_from(at.nanos).unwrap_or(0) / 1_000_000
}

/// The timestamp of a time in milliseconds since the epoch.
#[must_use]
pub fn timestamp(at_ms: u64) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: i64::try_from(at_ms / 1_000).unwrap_or(i64::MAX),
        nanos: i32::try_from(at_ms % 1_000).unwrap_or(0) * 1_000_000,
    }
}

/// The duration of a number of milliseconds.
#[must_use]
pub fn span(ms: u64) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(ms / 1_000).unwrap_or(i64::MAX),
        nanos: i32::try_from(ms % 1_000).unwrap_or(0) * 1_000_000,
    }
}

/// A JSON value that holds this text.
#[must_use]
pub fn json_text(text: &str) -> prost_types::Value {
    prost_types::Value {
        kind: Some(prost_types::value::Kind::StringValue(text.to_owned())),
    }
}
