//! Requests about dead letters.
//!
//! Owns the field rules of these requests, and the token that ties a page to its list. Refuses to
//! know which executions are dead letters.

use backlane_engine::rules::access::VisibleTenant;
use backlane_engine::rules::id::{Birth, ExecutionId, check_callable, check_name};

use crate::context::{Context, View};
use crate::error::ApiError;
use crate::fields::{self, Fault, choice};
use crate::generated::backlane::v1;
use crate::page;
use crate::query::{DEFAULT_PAGE, each_once, listable, not_found};

const MAX_DISCARDS: usize = 1_000;

/// Lists dead letters, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct ListDeadLetters {
    /// The tenant of the executions.
    pub tenant: VisibleTenant,
    /// The callable that listed executions must have; empty for every callable.
    pub callable: Box<str>,
    /// Most records on a page.
    pub page_size: usize,
    /// Lists only executions with a lower birth number; `None` starts at the newest execution.
    pub before: Option<Birth>,
    /// The fields that the records carry.
    pub view: View,
}

impl ListDeadLetters {
    /// The token of the page that follows the execution `last` in this list.
    #[must_use]
    pub fn page_token(&self, last: Birth) -> String {
        page::page_token(&list_name(&self.tenant, &self.callable), None, last)
    }
}

/// The name that ties page tokens to one list. No tenant's name has a space.
fn list_name(tenant: &str, callable: &str) -> String {
    format!("dead letters of {tenant} {callable}")
}

/// Takes executions out of the dead letters.
#[derive(Debug, Clone, PartialEq)]
pub struct DiscardDeadLetters {
    /// The tenant of the executions; `None` where the tenant is outside of the caller's scope.
    pub tenant: Option<VisibleTenant>,
    /// The executions. An error stands for an id that cannot be discarded.
    pub ids: Vec<Result<ExecutionId, ApiError>>,
}

/// Reads and checks a `ListDeadLettersRequest`.
///
/// # Errors
/// [`ApiError`] naming the broken field, or saying that the caller may not act for the tenant.
pub fn decode_list_dead_letters(
    bytes: &[u8],
    context: &mut Context<'_>,
) -> Result<ListDeadLetters, ApiError> {
    let message: v1::ListDeadLettersRequest = fields::message(bytes, context.limits)?;
    let tenant = listable(&message.tenant_id, context)?;
    if !message.callable_name.is_empty() {
        check_callable("callable_name", &message.callable_name)?;
    }
    let most = context.limits.max_page;
    let page_size = fields::count("page_size", message.page_size, DEFAULT_PAGE.min(most), most)?;
    let token = Some(message.page_token.as_str()).filter(|token| !token.is_empty());
    let list = list_name(&tenant, &message.callable_name);
    let before = token.map(|token| page::parse(&list, None, token));
    Ok(ListDeadLetters {
        callable: message.callable_name.into(),
        page_size,
        before: before.transpose()?,
        view: choice("view", message.view, View::from_number)?.unwrap_or(View::Basic),
        tenant,
    })
}

/// Reads and checks a `DiscardDeadLettersRequest`. An id that cannot be read becomes an error in
/// the reply and does not refuse the request.
///
/// # Errors
/// [`ApiError`] naming the broken field.
pub fn decode_discard(
    bytes: &[u8],
    context: &mut Context<'_>,
) -> Result<DiscardDeadLetters, ApiError> {
    let message: v1::DiscardDeadLettersRequest = fields::message(bytes, context.limits)?;
    check_name("tenant_id", &message.tenant_id)?;
    fields::filled("execution_ids", &message.execution_ids, MAX_DISCARDS)?;
    each_once(&message.execution_ids)?;
    let tenant = context.principal.sees(&message.tenant_id);
    let ids = message.execution_ids.iter().enumerate().map(|(index, id)| {
        let parsed = ExecutionId::parse(&format!("execution_ids[{index}]"), id);
        let parsed = parsed.map_err(Fault::from)?;
        match tenant {
            Some(_) => Ok(parsed),
            None => Err(Fault::from(not_found(&message.tenant_id, id))),
        }
    });
    let ids = ids.map(|id| id.map_err(ApiError::from)).collect();
    Ok(DiscardDeadLetters { tenant, ids })
}

#[cfg(test)]
mod tests {
    use backlane_engine::rules::access::Principal;
    use prost::Message as _;

    use super::*;
    use crate::fixtures::{ID, acme_only, call, call_as, named, visible};

    fn list() -> v1::ListDeadLettersRequest {
        v1::ListDeadLettersRequest {
            tenant_id: "acme".into(),
            callable_name: "mail.send".into(),
            ..Default::default()
        }
    }

    #[test]
    fn a_list_has_the_defaults_of_lists() {
        let expected = ListDeadLetters {
            tenant: visible("acme"),
            callable: "mail.send".into(),
            page_size: 100,
            before: None,
            view: View::Basic,
        };
        assert_eq!(Ok(expected), call(decode_list_dead_letters, &list()));
    }

    #[test]
    fn a_page_token_is_for_the_same_tenant_and_callable_only() {
        let first = call(decode_list_dead_letters, &list()).unwrap();
        let next = v1::ListDeadLettersRequest {
            page_token: first.page_token(77),
            ..list()
        };
        let read = call(decode_list_dead_letters, &next).unwrap();
        assert_eq!(Some(77), read.before);
        let others = [
            v1::ListDeadLettersRequest {
                tenant_id: "other".into(),
                ..next.clone()
            },
            v1::ListDeadLettersRequest {
                callable_name: String::new(),
                ..next
            },
        ];
        for other in others {
            let refused = named(call(decode_list_dead_letters, &other));
            assert_eq!("INVALID_ARGUMENT page_token", refused);
        }
    }

    type Change<T> = (&'static str, fn(&mut T));

    #[test]
    fn every_broken_rule_of_a_list_names_its_field() {
        let broken: [Change<v1::ListDeadLettersRequest>; 5] = [
            ("tenant_id", |it| it.tenant_id.clear()),
            ("callable_name", |it| it.callable_name = "a b".into()),
            ("page_size", |it| it.page_size = 1_001),
            ("page_token", |it| it.page_token = "7".into()),
            ("view", |it| it.view = 9),
        ];
        for (field, change) in broken {
            let mut message = list();
            change(&mut message);
            let refused = named(call(decode_list_dead_letters, &message));
            assert_eq!(format!("INVALID_ARGUMENT {field}"), refused);
        }
        let principal = acme_only();
        let other = v1::ListDeadLettersRequest {
            tenant_id: "other".into(),
            ..list()
        };
        let refused = call_as(&principal, decode_list_dead_letters, &other.encode_to_vec());
        assert_eq!("PERMISSION_DENIED ", named(refused));
    }

    fn discard(ids: Vec<String>) -> v1::DiscardDeadLettersRequest {
        v1::DiscardDeadLettersRequest {
            tenant_id: "acme".into(),
            execution_ids: ids,
        }
    }

    #[test]
    fn every_id_of_a_discard_is_read_or_refused_on_its_own() {
        let ids = vec![ID.to_string(), "exec_?".into()];
        let read = call(decode_discard, &discard(ids)).unwrap();
        assert_eq!(Some(visible("acme")), read.tenant);
        assert_eq!(Ok(ID), read.ids[0]);
        let refused = named(read.ids[1].clone());
        assert_eq!("INVALID_ARGUMENT execution_ids[1]", refused);
    }

    #[test]
    fn every_broken_rule_of_a_discard_names_its_field() {
        let id = ID.to_string();
        let broken: [(&str, Vec<String>); 3] = [
            ("execution_ids", vec![]),
            ("execution_ids", vec![id.clone(); 1_001]),
            ("execution_ids[1]", vec![id; 2]),
        ];
        for (field, ids) in broken {
            let refused = named(call(decode_discard, &discard(ids)));
            assert_eq!(format!("INVALID_ARGUMENT {field}"), refused);
        }
    }

    #[test]
    fn executions_of_a_tenant_out_of_scope_are_not_found() {
        let mut message = discard(vec![ID.to_string()]);
        message.tenant_id = "other".into();
        let read = call_as(&acme_only(), decode_discard, &message.encode_to_vec()).unwrap();
        assert_eq!(None, read.tenant);
        assert_eq!("EXECUTION_NOT_FOUND ", named(read.ids[0].clone()));
        let anyone = call_as(
            &Principal::default(),
            decode_discard,
            &message.encode_to_vec(),
        );
        assert_eq!(Ok(ID), anyone.unwrap().ids[0]);
    }
}
