//! Errors on the wire: `google.rpc.Status` and its details.
//!
//! Owns which details go with which error. Refuses to know why a call failed.

use prost::Message;
use prost_types::{Any, Duration};

use crate::error::ApiError;
use crate::generated::google::rpc::bad_request::FieldViolation;
use crate::generated::google::rpc::quota_failure::Violation;
use crate::generated::google::rpc::{BadRequest, ErrorInfo, QuotaFailure, RetryInfo, Status};

const DOMAIN: &str = "backlane";
const RESOURCE_EXHAUSTED: i32 = 8;

impl ApiError {
    /// Encodes the `google.rpc.Status`: exactly one `ErrorInfo`, and the other details that help
    /// the caller.
    #[must_use]
    pub fn to_status(&self) -> Vec<u8> {
        let details = [
            Some(any("ErrorInfo", &self.error_info())),
            self.bad_request().map(|detail| any("BadRequest", &detail)),
            self.quota_failure()
                .map(|detail| any("QuotaFailure", &detail)),
            self.retry_info().map(|detail| any("RetryInfo", &detail)),
        ];
        let status = Status {
            code: self.reason.code(),
            message: self.message.clone(),
            details: details.into_iter().flatten().collect(),
        };
        status.encode_to_vec()
    }

    fn error_info(&self) -> ErrorInfo {
        let owned = |(key, value): (&&str, &String)| ((*key).to_owned(), value.clone());
        ErrorInfo {
            reason: self.reason.name().to_owned(),
            domain: DOMAIN.to_owned(),
            metadata: self.metadata.iter().map(owned).collect(),
        }
    }

    fn bad_request(&self) -> Option<BadRequest> {
        let violations = self.violations.iter().map(|invalid| FieldViolation {
            field: invalid.field.clone(),
            description: invalid.rule.clone(),
            ..FieldViolation::default()
        });
        let field_violations: Vec<_> = violations.collect();
        (!field_violations.is_empty()).then_some(BadRequest { field_violations })
    }

    fn quota_failure(&self) -> Option<QuotaFailure> {
        let subject = self.metadata.get("tenant_id");
        let violation = Violation {
            subject: subject.map_or_else(|| "server".into(), |name| format!("tenant:{name}")),
            description: self.message.clone(),
            ..Violation::default()
        };
        (self.reason.code() == RESOURCE_EXHAUSTED).then(|| QuotaFailure {
            violations: vec![violation],
        })
    }

    fn retry_info(&self) -> Option<RetryInfo> {
        let delay = std::time::Duration::from_millis(self.retry_after_ms?);
        let retry_delay = Some(Duration::try_from(delay).unwrap_or_default());
        Some(RetryInfo { retry_delay })
    }
}

fn any(name: &str, detail: &impl Message) -> Any {
    let type_url = format!("type.googleapis.com/google.rpc.{name}");
    Any {
        type_url,
        value: detail.encode_to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use backlane_engine::error::{Invalid, Refusal};
    use backlane_engine::rules::role::Role;
    use backlane_engine::rules::run::RunState;
    use backlane_engine::rules::status;
    use prost::Message;

    use super::*;
    use crate::Reason;
    use crate::generated::google::rpc::Code;

    fn refusals() -> Vec<Refusal> {
        let (execution_id, tenant) = ("exec_1".to_owned(), "acme".to_owned());
        let request_id = "r-1".to_owned();
        vec![
            Refusal::Invalid(Invalid::new("items[3].input", "must be nice")),
            Refusal::ExecutionNotFound {
                execution_id: execution_id.clone(),
                tenant,
            },
            Refusal::ExecutionDeleted {
                request_id: request_id.clone(),
            },
            Refusal::RequestIdReused { request_id },
            Refusal::AlreadyExists {
                dedup_key: "key-1".into(),
                execution_id: execution_id.clone(),
            },
            Refusal::TransitionNotAllowed {
                execution_id: execution_id.clone(),
                status: status::Status::Completed,
                event: "cancelled",
            },
            Refusal::RunTransitionNotAllowed {
                execution_id: execution_id.clone(),
                state: RunState::Waiting,
                event: "paused",
            },
            Refusal::RunTooLarge {
                field: "value".into(),
                limit: 10,
                unit: "bytes",
            },
            Refusal::InputExists {
                execution_id: execution_id.clone(),
                key: "k".into(),
            },
            Refusal::LeaseLost { execution_id },
            Refusal::QueueFull {
                tenant: "acme".into(),
                limit: 10,
            },
            Refusal::DiskFull,
            Refusal::Draining,
            Refusal::PermissionDenied {
                principal: "alice".into(),
                tenant: "acme".into(),
            },
            Refusal::RoleDenied {
                principal: "alice".into(),
                role: Role::Producer,
                needed: Role::Worker,
            },
            Refusal::DataDamaged {
                subject: "exec_1".into(),
                what: "row payload 7".into(),
            },
        ]
    }

    fn errors() -> Vec<ApiError> {
        let mut errors: Vec<ApiError> = refusals().into_iter().map(ApiError::from).collect();
        errors.extend([
            ApiError::too_large("input", 5, 6),
            ApiError::internal("c-1"),
            ApiError::store_unavailable(),
            ApiError::rate_limited("calls in flight", 7),
            ApiError::unauthenticated(),
            ApiError::new(Reason::QuotaExceeded, "the quota is used up"),
        ]);
        errors
    }

    fn detail<M: Message + Default>(error: &ApiError, name: &str) -> Vec<M> {
        let status = Status::decode(&error.to_status()[..]).unwrap();
        let url = format!("type.googleapis.com/google.rpc.{name}");
        let details = status.details.iter().filter(|any| any.type_url == url);
        details
            .map(|any| M::decode(&any.value[..]).unwrap())
            .collect()
    }

    #[test]
    fn every_reason_has_an_example() {
        let mut reasons: Vec<Reason> = errors().iter().map(ApiError::reason).collect();
        reasons.sort_unstable();
        reasons.dedup();
        assert_eq!(Reason::ALL, reasons);
    }

    #[test]
    fn every_error_has_one_error_info_of_its_reason() {
        for error in errors() {
            let status = Status::decode(&error.to_status()[..]).unwrap();
            let [info] = &detail::<ErrorInfo>(&error, "ErrorInfo")[..] else {
                panic!("{error}")
            };
            assert_eq!(
                (error.reason().name(), "backlane"),
                (&*info.reason, &*info.domain)
            );
            assert_eq!(error.message(), status.message);
            assert_eq!(error.reason().code(), status.code);
        }
    }

    #[test]
    fn every_variable_of_a_message_is_in_its_metadata() {
        for error in errors() {
            let rest = error
                .metadata
                .values()
                .fold(error.message.clone(), |rest, value| {
                    assert!(rest.contains(value.as_str()), "{error}: {value}");
                    rest.replacen(value.as_str(), "", 1)
                });
            for variable in [
                "exec_1",
                "acme",
                "r-1",
                "key-1",
                "c-1",
                "items",
                "completed",
                "7",
            ] {
                assert!(
                    !rest.contains(variable),
                    "{error}: the metadata lacks {variable}"
                );
            }
        }
    }

    #[test]
    fn the_status_code_of_most_reasons_is_named_like_the_reason() {
        for &reason in Reason::ALL {
            let code = Code::try_from(reason.code()).unwrap().as_str_name();
            let alike = match reason {
                Reason::ExecutionNotFound | Reason::ExecutionDeleted => "NOT_FOUND",
                Reason::RequestIdReused => "ALREADY_EXISTS",
                Reason::TransitionNotAllowed | Reason::LeaseLost => "FAILED_PRECONDITION",
                Reason::QueueFull
                | Reason::QuotaExceeded
                | Reason::RateLimited
                | Reason::DiskFull => "RESOURCE_EXHAUSTED",
                Reason::TooLarge => "OUT_OF_RANGE",
                Reason::DataDamaged => "DATA_LOSS",
                Reason::Draining | Reason::StoreUnavailable => "UNAVAILABLE",
                same => same.name(),
            };
            assert_eq!(alike, code, "{reason:?}");
        }
    }

    #[test]
    fn the_status_code_decides_the_details() {
        for error in errors() {
            let code = error.reason().code();
            let fields = detail::<BadRequest>(&error, "BadRequest").len();
            let quotas = detail::<QuotaFailure>(&error, "QuotaFailure").len();
            let retries = detail::<RetryInfo>(&error, "RetryInfo").len();
            // Codes 3 and 11 are INVALID_ARGUMENT and OUT_OF_RANGE; 8 is RESOURCE_EXHAUSTED; 14 is
            // UNAVAILABLE.
            assert_eq!(usize::from(code == 3 || code == 11), fields, "{error}");
            assert_eq!(usize::from(code == 8), quotas, "{error}");
            assert_eq!(usize::from(code == 8 || code == 14), retries, "{error}");
        }
    }

    #[test]
    fn a_broken_rule_names_its_field_and_a_delay_its_length() {
        let invalid = ApiError::from(Invalid::new("items[3].input", "must be nice"));
        let [request] = &detail::<BadRequest>(&invalid, "BadRequest")[..] else {
            panic!()
        };
        let violation = &request.field_violations[0];
        assert_eq!(
            ("items[3].input", "must be nice"),
            (&*violation.field, &*violation.description)
        );
        let limited = ApiError::rate_limited("calls", 7).retry_after(1_500);
        let [retry] = &detail::<RetryInfo>(&limited, "RetryInfo")[..] else {
            panic!()
        };
        assert_eq!(
            Some(Duration {
                seconds: 1,
                nanos: 500_000_000
            }),
            retry.retry_delay
        );
    }
}
