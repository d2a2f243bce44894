//! Errors on the wire: `google.rpc.Status` and its details.
//!
//! Owns which details go with which error. Refuses to know why anything failed.

use prost::Message;
use prost_types::{Any, Duration};

use crate::error::ApiError;
use crate::generated::google::rpc::bad_request::FieldViolation;
use crate::generated::google::rpc::quota_failure::Violation;
use crate::generated::google::rpc::{BadRequest, ErrorInfo, QuotaFailure, RetryInfo, Status};

const DOMAIN: &str = "backlane";
const RESOURCE_EXHAUSTED: i32 = 8;

impl ApiError {
    /// The encoded `google.rpc.Status`: exactly one `ErrorInfo`, and what else helps.
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
