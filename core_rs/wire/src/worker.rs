//! Requests of workers.
//!
//! Owns their field rules. Refuses to know which leases are alive.

use std::collections::BTreeSet;
use std::sync::Arc;

use backlane_engine::command::{Held, OfferSpec, Report};
use backlane_engine::rules::access::{Principal, TenantScope};
use backlane_engine::rules::id::{ExecutionId, LeaseToken, check_callable, check_name};
use backlane_engine::rules::limits::{
    DEFAULT_LEASE_MS, Limits, MAX_LEASE_MS, MAX_POLL_MS, MIN_LEASE_MS,
};

use crate::call::{Call, Context, LeaseCall};
use crate::error::ApiError;
use crate::failure;
use crate::fields::{self, Checked, Fault, broken, within};
use crate::generated::backlane::v1;
use crate::value::RawValue;

/// Most callables or tenants of one offer.
const MAX_OFFERED: usize = 1_000;

/// What became of leases; an error stands for an item that could not be read.
pub(crate) type Reports = Vec<Result<(Held, Report), ApiError>>;

pub(crate) fn lease(bytes: &[u8], context: &Context<'_>) -> Checked<Call> {
    let message: v1::LeaseRequest = fields::message(bytes, context.limits)?;
    let worker = worker(&message.worker_id)?;
    let most = context.limits.max_lease_items;
    Ok(Call::Lease(LeaseCall {
        worker,
        offer: offer(message.callables, message.tenant_ids, context.principal)?,
        max: fields::count("max_executions", message.max_executions, 1, most)?,
        duration_ms: duration(message.lease_duration_ms)?.unwrap_or(DEFAULT_LEASE_MS),
        wait_ms: within("wait_ms", message.wait_ms, &(0..=MAX_POLL_MS))?,
    }))
}

pub(crate) fn renew(bytes: &[u8], context: &Context<'_>) -> Checked<Call> {
    let message: v1::RenewLeasesRequest = fields::message(bytes, context.limits)?;
    fields::filled("leases", &message.leases, context.limits.max_lease_items)?;
    let duration_ms = duration(message.lease_duration_ms)?;
    Ok(Call::RenewLeases {
        items: each("leases", message.leases, |lease| held(&lease)),
        duration_ms,
    })
}

pub(crate) fn complete(bytes: &[u8], context: &Context<'_>) -> Checked<Call> {
    let items = completions(fields::message(bytes, context.limits)?, context.limits)?;
    Ok(Call::Report { items })
}

pub(crate) fn fail(bytes: &[u8], context: &Context<'_>) -> Checked<Call> {
    let items = failures(fields::message(bytes, context.limits)?, context.limits)?;
    Ok(Call::Report { items })
}

pub(crate) fn release(bytes: &[u8], context: &Context<'_>) -> Checked<Call> {
    let items = releases(fields::message(bytes, context.limits)?, context.limits)?;
    Ok(Call::Report { items })
}

/// The results of a `CompleteRequest`.
pub(crate) fn completions(message: v1::CompleteRequest, limits: &Limits) -> Checked<Reports> {
    fields::filled("results", &message.results, limits.max_lease_items)?;
    Ok(each("results", message.results, |result| {
        let held = holder(&result.execution_id, &result.lease_token)?;
        Ok((held, Report::Completed(output(result.output, limits)?)))
    }))
}

/// The errors of a `FailRequest`.
pub(crate) fn failures(message: v1::FailRequest, limits: &Limits) -> Checked<Reports> {
    fields::filled("failures", &message.failures, limits.max_lease_items)?;
    Ok(each("failures", message.failures, |failure| {
        let held = holder(&failure.execution_id, &failure.lease_token)?;
        Ok((
            held,
            Report::Failed(Box::new(failure::check(failure, limits)?)),
        ))
    }))
}

/// The leases of a `ReleaseRequest`.
pub(crate) fn releases(message: v1::ReleaseRequest, limits: &Limits) -> Checked<Reports> {
    fields::filled("releases", &message.releases, limits.max_lease_items)?;
    Ok(each("releases", message.releases, |lease| {
        Ok((held(&lease)?, Report::Released))
    }))
}

fn output(given: Option<RawValue>, limits: &Limits) -> Checked<Arc<[u8]>> {
    let Some(given) = given else {
        return Ok(RawValue::NULL.into());
    };
    fields::json(
        "output",
        &given,
        limits.max_output_bytes,
        limits.max_json_depth,
    )?;
    Ok(given.into_bytes().into())
}

fn each<I, T>(
    list: &str,
    items: Vec<I>,
    check: impl Fn(I) -> Checked<T>,
) -> Vec<Result<T, ApiError>> {
    let checked = items
        .into_iter()
        .enumerate()
        .map(|(index, item)| check(item).map_err(|fault| fault.in_item(list, index).into()));
    checked.collect()
}

/// Every lease of a list, or the fault of the first that cannot be read.
pub(crate) fn all_held(field: &str, leases: &[v1::LeaseRef], most: usize) -> Checked<Vec<Held>> {
    if leases.len() > most {
        return broken(field, format!("must hold at most {most} items"));
    }
    let named = |(index, lease)| held(lease).map_err(|fault: Fault| fault.in_item(field, index));
    leases.iter().enumerate().map(named).collect()
}

fn held(lease: &v1::LeaseRef) -> Checked<Held> {
    holder(&lease.execution_id, &lease.lease_token)
}

fn holder(id: &str, token: &str) -> Checked<Held> {
    let id = ExecutionId::parse("execution_id", id)?;
    Ok(Held {
        id,
        token: LeaseToken::parse(token),
    })
}

/// A worker's id.
pub(crate) fn worker(id: &str) -> Checked<Arc<str>> {
    check_name("worker_id", id)?;
    Ok(id.into())
}

/// A lease period in milliseconds; `None` where none is asked for.
pub(crate) fn duration(asked: u64) -> Checked<Option<u64>> {
    match asked {
        0 => Ok(None),
        asked => within("lease_duration_ms", asked, &(MIN_LEASE_MS..=MAX_LEASE_MS)).map(Some),
    }
}

/// What a worker offers, narrowed to the tenants that its caller may act for.
pub(crate) fn offer(
    callables: Vec<String>,
    tenants: Vec<String>,
    principal: &Principal,
) -> Checked<OfferSpec> {
    let callables = patterns(callables)?;
    if tenants.is_empty() {
        return Ok(OfferSpec {
            callables,
            tenants: principal.tenants.clone(),
        });
    }
    fields::filled("tenant_ids", &tenants, MAX_OFFERED)?;
    for (index, tenant) in tenants.iter().enumerate() {
        check_name(&format!("tenant_ids[{index}]"), tenant)?;
        principal.may_create_for(tenant)?;
    }
    let tenants = tenants.into_iter().map(String::into_boxed_str).collect();
    Ok(OfferSpec {
        callables,
        tenants: TenantScope::Only(tenants),
    })
}

/// Exact names, `prefix.*`, or `*`.
pub(crate) fn patterns(callables: Vec<String>) -> Checked<BTreeSet<Box<str>>> {
    fields::filled("callables", &callables, MAX_OFFERED)?;
    for (index, pattern) in callables.iter().enumerate() {
        let name = pattern.strip_suffix(".*").unwrap_or(pattern);
        let rule = "must be a callable's name, `prefix.*` or `*`";
        if pattern != "*" && check_callable("", name).is_err() {
            return broken(&format!("callables[{index}]"), rule);
        }
    }
    Ok(callables.into_iter().map(String::into_boxed_str).collect())
}

#[cfg(test)]
mod tests;
