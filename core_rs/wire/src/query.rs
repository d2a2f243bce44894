//! Requests that look at executions, wait for them or cancel them.
//!
//! Owns their field rules, and that another tenant's things are not found. Refuses to know
//! where executions are.

use std::collections::{BTreeMap, BTreeSet};

use backlane_engine::command::OfferSpec;
use backlane_engine::error::Refusal;
use backlane_engine::rules::access::{Principal, TenantScope};
use backlane_engine::rules::id::{ExecutionId, check_name};
use backlane_engine::rules::limits::MAX_WAIT_MS;
use backlane_engine::rules::status::Status;

use crate::call::{Call, Context, View, WaitCall};
use crate::error::ApiError;
use crate::fields::{self, Checked, Fault, broken, choice, must, within};
use crate::generated::backlane::v1;
use crate::{page, worker};

const DEFAULT_PAGE: usize = 100;
const DEFAULT_PEEK: usize = 10;
const MAX_WAIT_IDS: usize = 1_000;

pub(crate) fn get(bytes: &[u8], context: &Context<'_>) -> Checked<Call> {
    let message: v1::GetRequest = fields::message(bytes, context.limits)?;
    let view = choice("view", message.view, View::from_number)?.unwrap_or(View::Full);
    let id = visible(&message.tenant_id, &message.execution_id, context.principal)?;
    Ok(Call::Get {
        tenant: message.tenant_id.into(),
        id,
        view,
    })
}

pub(crate) fn cancel(bytes: &[u8], context: &Context<'_>) -> Checked<Call> {
    let message: v1::CancelRequest = fields::message(bytes, context.limits)?;
    let id = visible(&message.tenant_id, &message.execution_id, context.principal)?;
    Ok(Call::Cancel {
        tenant: message.tenant_id.into(),
        id,
    })
}

// An id within a tenant that the caller sees; what it does not see is not found.
fn visible(tenant: &str, id: &str, principal: &Principal) -> Checked<ExecutionId> {
    check_name("tenant_id", tenant)?;
    let parsed = ExecutionId::parse("execution_id", id)?;
    seen(tenant, id, principal)?;
    Ok(parsed)
}

fn seen(tenant: &str, id: &str, principal: &Principal) -> Checked<()> {
    if principal.sees(tenant) {
        return Ok(());
    }
    let (execution_id, tenant) = (id.to_owned(), tenant.to_owned());
    Err(Refusal::ExecutionNotFound {
        execution_id,
        tenant,
    }
    .into())
}

// A tenant whose things the caller may list and count.
fn listable(tenant: &str, context: &Context<'_>) -> Checked<Box<str>> {
    check_name("tenant_id", tenant)?;
    context.principal.may_create_for(tenant)?;
    Ok(tenant.into())
}

pub(crate) fn list(bytes: &[u8], context: &Context<'_>) -> Checked<Call> {
    let message: v1::ListRequest = fields::message(bytes, context.limits)?;
    let tenant = listable(&message.tenant_id, context)?;
    let status = choice("status", message.status, Status::from_number)?;
    let most = context.limits.max_page;
    let token = Some(message.page_token.as_str()).filter(|token| !token.is_empty());
    Ok(Call::List {
        status,
        page_size: fields::count("page_size", message.page_size, DEFAULT_PAGE.min(most), most)?,
        before: token
            .map(|token| page::parse(&tenant, status, token))
            .transpose()?,
        view: choice("view", message.view, View::from_number)?.unwrap_or(View::Basic),
        tenant,
    })
}

pub(crate) fn peek(bytes: &[u8], context: &Context<'_>) -> Checked<Call> {
    let message: v1::PeekRequest = fields::message(bytes, context.limits)?;
    let tenant = listable(&message.tenant_id, context)?;
    let most = context.limits.max_page;
    let limit = fields::count("limit", message.limit, DEFAULT_PEEK.min(most), most)?;
    let callables = match message.callables {
        none if none.is_empty() => BTreeSet::from(["*".into()]),
        callables => worker::patterns(callables)?,
    };
    let tenants = TenantScope::Only(BTreeSet::from([tenant.clone()]));
    Ok(Call::Peek {
        tenant,
        limit,
        offer: OfferSpec { callables, tenants },
    })
}

pub(crate) fn queue_stats(bytes: &[u8], context: &Context<'_>) -> Checked<Call> {
    let message: v1::GetQueueStatsRequest = fields::message(bytes, context.limits)?;
    let tenant = listable(&message.tenant_id, context)?;
    Ok(Call::GetQueueStats { tenant })
}

pub(crate) fn wait(bytes: &[u8], context: &Context<'_>) -> Checked<Call> {
    let message: v1::WaitRequest = fields::message(bytes, context.limits)?;
    check_name("tenant_id", &message.tenant_id)?;
    fields::filled("execution_ids", &message.execution_ids, MAX_WAIT_IDS)?;
    each_once(&message.execution_ids)?;
    let needed = needed(&message)?;
    let timeout_ms = fields::wait("timeout", message.timeout, MAX_WAIT_MS)?;
    let tenant = message.tenant_id;
    let ids = message.execution_ids.iter().enumerate().map(|(index, id)| {
        let parsed = ExecutionId::parse(&format!("execution_ids[{index}]"), id);
        let seen = parsed.map_err(Fault::from).and_then(|parsed| {
            seen(&tenant, id, context.principal)?;
            Ok(parsed)
        });
        seen.map_err(ApiError::from)
    });
    let ids = ids.collect();
    Ok(Call::Wait(WaitCall {
        tenant: tenant.into(),
        ids,
        needed,
        timeout_ms,
    }))
}

fn each_once(ids: &[String]) -> Checked<()> {
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
        "must be given with WAIT_FOR_COUNT alone",
    )?;
    Ok(if wait_for == v1::WaitFor::Any {
        1
    } else {
        most
    })
}

#[cfg(test)]
mod tests;
