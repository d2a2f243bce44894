//! Requests that read executions, wait for them or cancel them.
//!
//! Owns the field rules of these requests, and the check of the tenant: for a tenant outside of the
//! caller's scope a request is refused, or its executions count as not found. Refuses to know where
//! executions are kept.

use std::collections::{BTreeMap, BTreeSet};

use backlane_engine::command::OfferSpec;
use backlane_engine::error::Refusal;
use backlane_engine::rules::access::{Principal, TenantScope, VisibleTenant};
use backlane_engine::rules::id::{Birth, ExecutionId, check_name};
use backlane_engine::rules::limits::MAX_WAIT_MS;
use backlane_engine::rules::status::Status;

use crate::context::{Context, View};
use crate::error::ApiError;
use crate::fields::{self, Checked, Fault, broken, choice, must, within};
use crate::filter::Filter;
use crate::generated::backlane::v1;
use crate::{offer, page};

pub(crate) const DEFAULT_PAGE: usize = 100;
const DEFAULT_PEEK: usize = 10;
const MAX_WAIT_IDS: usize = 1_000;

/// One execution of a tenant, as a request names it.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    /// The tenant that the request names.
    pub tenant: VisibleTenant,
    /// Id of the execution.
    pub id: ExecutionId,
}

/// Reads one execution.
#[derive(Debug, Clone, PartialEq)]
pub struct Get {
    /// The execution.
    pub named: Named,
    /// The fields that the record carries.
    pub view: View,
}

/// Lists executions, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct List {
    /// The tenant of the executions.
    pub tenant: VisibleTenant,
    /// The status that listed executions must have; `None` for every status.
    pub status: Option<Status>,
    /// Most records on a page.
    pub page_size: usize,
    /// Lists only executions with a lower birth number; `None` starts at the newest execution.
    pub before: Option<Birth>,
    /// The fields that the records carry.
    pub view: View,
    /// Lists only the children of this execution.
    pub parent: Option<ExecutionId>,
    /// Lists only what the filter keeps. The filter does not have the status and the parent.
    pub filter: Option<Box<Filter>>,
}

impl List {
    /// What ties page tokens to the list, beside the status.
    #[must_use]
    pub fn scope(&self) -> String {
        scope(&self.tenant, self.parent.as_ref(), self.filter.as_deref())
    }
}

// No name of a tenant has a space.
fn scope(tenant: &str, parent: Option<&ExecutionId>, filter: Option<&Filter>) -> String {
    let parent = parent.map(|parent| format!(" {parent}"));
    let filter = filter.map(|filter| format!(" where {}", filter.text()));
    [Some(tenant.to_owned()), parent, filter]
        .into_iter()
        .flatten()
        .collect()
}

/// Counts executions.
#[derive(Debug, Clone, PartialEq)]
pub struct Count {
    /// The tenant of the executions.
    pub tenant: VisibleTenant,
    /// Counts only what the filter keeps.
    pub filter: Filter,
}

/// Waits until enough of the named executions have ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Wait {
    /// The tenant of the executions; `None` where the tenant is outside of the caller's scope.
    pub tenant: Option<VisibleTenant>,
    /// The executions to wait for. An error stands for an id that cannot be waited for, and counts
    /// as ended.
    pub ids: Vec<Result<ExecutionId, ApiError>>,
    /// Number of executions that must have ended.
    pub needed: usize,
    /// Longest wait, in milliseconds.
    pub timeout_ms: u64,
}

/// Shows the executions of a tenant that would be leased next.
#[derive(Debug, Clone, PartialEq)]
pub struct Peek {
    /// The tenant whose executions are shown.
    pub tenant: VisibleTenant,
    /// Most executions to show.
    pub limit: usize,
    /// The callables to look at, limited to that tenant.
    pub offer: OfferSpec,
}

/// Lists the attempts of one execution, oldest first.
#[derive(Debug, Clone, PartialEq)]
pub struct ListAttempts {
    /// The execution.
    pub named: Named,
    /// Most attempts on a page.
    pub page_size: usize,
    /// Lists only attempts whose lease has a higher ordinal.
    pub after: u32,
}

/// Reads and checks a `ListAttemptsRequest`.
///
/// # Errors
/// As [`decode_get`].
pub fn decode_list_attempts(
    bytes: &[u8],
    context: &mut Context<'_>,
) -> Result<ListAttempts, ApiError> {
    let message: v1::ListAttemptsRequest = fields::message(bytes, context.limits)?;
    let named = visible(&message.tenant_id, &message.execution_id, context.principal)?;
    let most = context.limits.max_page;
    let page_size = fields::count("page_size", message.page_size, DEFAULT_PAGE.min(most), most)?;
    let token = Some(message.page_token.as_str()).filter(|token| !token.is_empty());
    let after = token.map(|token| page::parse(&message.execution_id, None, token));
    let after = u32::try_from(after.transpose()?.unwrap_or(0));
    Ok(ListAttempts {
        named,
        page_size,
        after: after.unwrap_or(u32::MAX),
    })
}

/// Reads and checks a `GetRequest`.
///
/// # Errors
/// [`ApiError`] naming the broken field, or saying that the caller can see no such execution.
pub fn decode_get(bytes: &[u8], context: &mut Context<'_>) -> Result<Get, ApiError> {
    let message: v1::GetRequest = fields::message(bytes, context.limits)?;
    let view = choice("view", message.view, View::from_number)?.unwrap_or(View::Full);
    let named = visible(&message.tenant_id, &message.execution_id, context.principal)?;
    Ok(Get { named, view })
}

/// Reads and checks a `CancelRequest`.
///
/// # Errors
/// As [`decode_get`].
pub fn decode_cancel(bytes: &[u8], context: &mut Context<'_>) -> Result<Named, ApiError> {
    let message: v1::CancelRequest = fields::message(bytes, context.limits)?;
    let (tenant, id) = (&message.tenant_id, &message.execution_id);
    Ok(visible(tenant, id, context.principal)?)
}

/// Reads and checks a `DeleteRequest`.
///
/// # Errors
/// As [`decode_get`].
pub fn decode_delete(bytes: &[u8], context: &mut Context<'_>) -> Result<Named, ApiError> {
    let message: v1::DeleteRequest = fields::message(bytes, context.limits)?;
    let (tenant, id) = (&message.tenant_id, &message.execution_id);
    Ok(visible(tenant, id, context.principal)?)
}

// The execution that a request names. An execution of a tenant outside of the caller's scope counts
// as not found.
pub(crate) fn visible(tenant: &str, id: &str, principal: &Principal) -> Checked<Named> {
    check_name("tenant_id", tenant)?;
    let parsed = ExecutionId::parse("execution_id", id)?;
    let visible = principal.sees(tenant);
    let tenant = visible.ok_or_else(|| not_found(tenant, id))?;
    Ok(Named { tenant, id: parsed })
}

pub(crate) fn not_found(tenant: &str, id: &str) -> Refusal {
    Refusal::ExecutionNotFound {
        execution_id: id.to_owned(),
        tenant: tenant.to_owned(),
    }
}

// The tenant that a request names; refused unless the caller may list and count its executions.
pub(crate) fn listable(tenant: &str, context: &Context<'_>) -> Checked<VisibleTenant> {
    check_name("tenant_id", tenant)?;
    Ok(context.principal.may_act_for(tenant)?)
}

/// Reads and checks a `ListRequest`.
///
/// # Errors
/// [`ApiError`] naming the broken field, or saying that the caller may not act for the tenant.
pub fn decode_list(bytes: &[u8], context: &mut Context<'_>) -> Result<List, ApiError> {
    let message: v1::ListRequest = fields::message(bytes, context.limits)?;
    let tenant = listable(&message.tenant_id, context)?;
    let status = choice("status", message.status, Status::from_number)?;
    let most = context.limits.max_page;
    let token = Some(message.page_token.as_str()).filter(|token| !token.is_empty());
    let parent = Some(&message.parent_execution_id).filter(|parent| !parent.is_empty());
    let parent = parent.map(|parent| ExecutionId::parse("parent_execution_id", parent));
    let parent = parent.transpose()?;
    let filter = Filter::read(&message.filter, context.wall_ms)?.map(Box::new);
    let scope = scope(&tenant, parent.as_ref(), filter.as_deref());
    Ok(List {
        status,
        page_size: fields::count("page_size", message.page_size, DEFAULT_PAGE.min(most), most)?,
        before: token
            .map(|token| page::parse(&scope, status, token))
            .transpose()?,
        view: choice("view", message.view, View::from_number)?.unwrap_or(View::Basic),
        tenant,
        parent,
        filter,
    })
}

/// Reads and checks a `CountRequest`.
///
/// # Errors
/// As [`decode_list`].
pub fn decode_count(bytes: &[u8], context: &mut Context<'_>) -> Result<Count, ApiError> {
    let message: v1::CountRequest = fields::message(bytes, context.limits)?;
    let tenant = listable(&message.tenant_id, context)?;
    let filter = Filter::read(&message.filter, context.wall_ms)?;
    let filter = filter.unwrap_or_else(Filter::everything);
    Ok(Count { tenant, filter })
}

/// Reads and checks a `PeekRequest`.
///
/// # Errors
/// As [`decode_list`].
pub fn decode_peek(bytes: &[u8], context: &mut Context<'_>) -> Result<Peek, ApiError> {
    let message: v1::PeekRequest = fields::message(bytes, context.limits)?;
    let tenant = listable(&message.tenant_id, context)?;
    let most = context.limits.max_page;
    let limit = fields::count("limit", message.limit, DEFAULT_PEEK.min(most), most)?;
    let callables = match message.callables {
        none if none.is_empty() => BTreeSet::from(["*".into()]),
        callables => offer::patterns(callables)?,
    };
    let tenants = TenantScope::Only(BTreeSet::from([(*tenant).into()]));
    Ok(Peek {
        tenant,
        limit,
        offer: OfferSpec { callables, tenants },
    })
}

/// Reads and checks a `GetQueueStatsRequest`.
///
/// # Errors
/// As [`decode_list`].
pub fn decode_queue_stats(
    bytes: &[u8],
    context: &mut Context<'_>,
) -> Result<VisibleTenant, ApiError> {
    let message: v1::GetQueueStatsRequest = fields::message(bytes, context.limits)?;
    Ok(listable(&message.tenant_id, context)?)
}

/// Reads and checks a `WaitRequest`. An id that cannot be read becomes an error in the reply and
/// does not refuse the request.
///
/// # Errors
/// [`ApiError`] naming the broken field.
pub fn decode_wait(bytes: &[u8], context: &mut Context<'_>) -> Result<Wait, ApiError> {
    let message: v1::WaitRequest = fields::message(bytes, context.limits)?;
    check_name("tenant_id", &message.tenant_id)?;
    fields::filled("execution_ids", &message.execution_ids, MAX_WAIT_IDS)?;
    each_once(&message.execution_ids)?;
    let needed = needed(&message)?;
    let timeout_ms = fields::wait("timeout", message.timeout, MAX_WAIT_MS)?;
    let tenant = context.principal.sees(&message.tenant_id);
    let ids = message.execution_ids.iter().enumerate().map(|(index, id)| {
        let parsed = ExecutionId::parse(&format!("execution_ids[{index}]"), id);
        let parsed = parsed.map_err(Fault::from)?;
        if tenant.is_none() {
            return Err(Fault::from(not_found(&message.tenant_id, id)));
        }
        Ok(parsed)
    });
    let ids = ids.map(|id| id.map_err(ApiError::from)).collect();
    Ok(Wait {
        tenant,
        ids,
        needed,
        timeout_ms,
    })
}

pub(crate) fn each_once(ids: &[String]) -> Checked<()> {
    let mut first = BTreeMap::new();
    for (index, id) in ids.iter().enumerate() {
        if let Some(earlier) = first.insert(id, index) {
            let rule = format!("must not repeat execution_ids[{earlier}]");
            return broken(&format!("execution_ids[{index}]"), rule);
        }
    }
    Ok(())
}

fn needed(message: &v1::WaitRequest) -> Checked<usize> {
    let most = message.execution_ids.len();
    let known = |number| {
        i32::try_from(number)
            .ok()
            .and_then(|number| v1::WaitFor::try_from(number).ok())
    };
    let wait_for = choice("wait_for", message.wait_for, known)?.unwrap_or(v1::WaitFor::All);
    let count = usize::try_from(message.count).unwrap_or(usize::MAX);
    if wait_for == v1::WaitFor::Count {
        return within("count", count, &(1..=most));
    }
    must(
        count == 0,
        "count",
        "must be given with WAIT_FOR_COUNT, and only then",
    )?;
    Ok(if wait_for == v1::WaitFor::Any {
        1
    } else {
        most
    })
}

#[cfg(test)]
mod tests;
