//! Limits: requests about how many executions run at once, and the replies.
//!
//! Owns the field rules of these requests. Refuses to know which executions a limit holds back: the
//! engine does.

use std::sync::Arc;

use backlane_engine::reply::LimitsNow;
use backlane_engine::rules::access::VisibleTenant;
use backlane_engine::rules::id::check_callable;

use crate::context::Context;
use crate::error::ApiError;
use crate::generated::backlane::v1;
use crate::query::listable;
use crate::{fields, put};

/// Sets or lifts a limit on running executions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetLimits {
    /// The tenant.
    pub tenant: VisibleTenant,
    /// The callable; `None` for the tenant as a whole.
    pub callable: Option<Arc<str>>,
    /// Most leased executions at once; `None` lifts the limit.
    pub max_running: Option<u32>,
}

/// Reads and checks a `SetLimitsRequest`.
///
/// # Errors
/// [`ApiError`] naming the broken field.
pub fn decode_set_limits(bytes: &[u8], context: &mut Context<'_>) -> Result<SetLimits, ApiError> {
    let message: v1::SetLimitsRequest = fields::message(bytes, context.limits)?;
    let tenant = listable(&message.tenant_id, context)?;
    let name = message.callable_name;
    if !name.is_empty() {
        check_callable("callable_name", &name)?;
    }
    Ok(SetLimits {
        tenant,
        callable: (!name.is_empty()).then(|| name.into()),
        max_running: message.max_running,
    })
}

/// Reads and checks a `ListLimitsRequest`.
///
/// # Errors
/// As [`decode_set_limits`].
pub fn decode_list_limits(
    bytes: &[u8],
    context: &mut Context<'_>,
) -> Result<VisibleTenant, ApiError> {
    let message: v1::ListLimitsRequest = fields::message(bytes, context.limits)?;
    Ok(listable(&message.tenant_id, context)?)
}

/// Encodes a `SetLimitsResponse`.
#[must_use]
pub fn set_limits_response(tenant: &str, limits: &LimitsNow) -> Vec<u8> {
    list_limits_response(tenant, std::slice::from_ref(limits))
}

/// Encodes a `ListLimitsResponse`.
#[must_use]
pub fn list_limits_response(tenant: &str, limits: &[LimitsNow]) -> Vec<u8> {
    let mut out = Vec::new();
    for limit in limits {
        put::message(&mut out, 1, |out| {
            put::text(out, 1, tenant);
            put::text(out, 2, limit.callable.as_deref().unwrap_or_default());
            put::some_uint(out, 3, limit.max_running);
            put::uint(out, 4, limit.running);
            put::uint(out, 5, limit.ready);
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::fixtures::{call, named};

    fn asking(tenant: &str, callable: &str) -> v1::SetLimitsRequest {
        v1::SetLimitsRequest {
            tenant_id: tenant.into(),
            callable_name: callable.into(),
            max_running: Some(0),
        }
    }

    #[test]
    fn a_limit_is_that_of_a_callable_or_of_the_tenant() {
        let of = |callable| call(decode_set_limits, &asking("acme", callable)).unwrap();
        assert_eq!(Some("mail.send"), of("mail.send").callable.as_deref());
        assert_eq!(None, of("").callable);
        assert_eq!(Some(0), of("").max_running);
    }

    #[test]
    fn a_broken_rule_names_its_field() {
        for (tenant, callable, field) in [
            ("", "f", "tenant_id"),
            ("a b", "f", "tenant_id"),
            ("acme", "mail.*", "callable_name"),
            ("acme", &"x".repeat(257), "callable_name"),
        ] {
            let refused = named(call(decode_set_limits, &asking(tenant, callable)));
            assert_eq!(format!("INVALID_ARGUMENT {field}"), refused);
        }
        let none = v1::ListLimitsRequest::default();
        let refused = named(call(decode_list_limits, &none));
        assert_eq!("INVALID_ARGUMENT tenant_id", refused);
    }

    #[test]
    fn a_lifted_limit_is_absent_and_a_limit_of_nothing_is_not() {
        let now = |max_running| LimitsNow {
            callable: Some("f".into()),
            max_running,
            running: 2,
            ready: 7,
        };
        for most in [None, Some(0), Some(3)] {
            let reply = set_limits_response("acme", &now(most));
            let limits = v1::SetLimitsResponse::decode(&reply[..]).unwrap().limits;
            let expected = v1::Limits {
                tenant_id: "acme".into(),
                callable_name: "f".into(),
                max_running: most,
                running: 2,
                ready: 7,
            };
            assert_eq!(Some(expected), limits);
        }
    }
}
