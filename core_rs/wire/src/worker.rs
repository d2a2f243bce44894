//! Requests of the unary calls of workers.
//!
//! Owns the field rules of these requests. Refuses to know which leases are live.

use std::sync::Arc;

use backlane_engine::command::{Held, OfferSpec, ProgressReport, Report};
use backlane_engine::rules::id::{ExecutionId, LeaseToken};
use backlane_engine::rules::limits::{
    DEFAULT_LEASE_MS, Limits, MAX_POLL_MS, MAX_PROGRESS_MESSAGE_BYTES,
};

use crate::context::Context;
use crate::error::ApiError;
use crate::fields::{self, Checked, Fault, broken, must, within};
use crate::generated::backlane::v1;
use crate::value::RawValue;
use crate::{failure, offer};

/// Results of leases. An error stands for an item that could not be read.
pub type Reports = Vec<Result<(Held, Report), ApiError>>;

/// Reports of progress. An error stands for an item that could not be read.
pub type Advances = Vec<Result<(Held, ProgressReport), ApiError>>;

/// Leases the best executions that match the worker's offer.
#[derive(Debug, Clone, PartialEq)]
pub struct Lease {
    /// Id of the worker.
    pub worker: Arc<str>,
    /// The offer, limited to the tenants that the caller may act for.
    pub offer: OfferSpec,
    /// Most executions to lease.
    pub max: usize,
    /// The lease period, in milliseconds.
    pub duration_ms: u64,
    /// Longest wait for the first execution, in milliseconds.
    pub wait_ms: u64,
}

/// Restarts the periods of leases.
#[derive(Debug, Clone, PartialEq)]
pub struct Renew {
    /// The leases to renew. An error stands for an item that could not be read.
    pub items: Vec<Result<Held, ApiError>>,
    /// The new lease period, in milliseconds; `None` keeps the period of each lease.
    pub duration_ms: Option<u64>,
}

/// Reads and checks a `LeaseRequest`.
///
/// # Errors
/// [`ApiError`] naming the broken field, or saying that the caller may not act for a tenant.
pub fn decode_lease(bytes: &[u8], context: &mut Context<'_>) -> Result<Lease, ApiError> {
    let message: v1::LeaseRequest = fields::message(bytes, context.limits)?;
    let worker = offer::worker(&message.worker_id)?;
    let most = context.limits.max_lease_items;
    Ok(Lease {
        worker,
        offer: offer::offer(message.callables, message.tenant_ids, context.principal)?,
        max: fields::count("max_executions", message.max_executions, 1, most)?,
        duration_ms: offer::duration(message.lease_duration_ms)?.unwrap_or(DEFAULT_LEASE_MS),
        wait_ms: within("wait_ms", message.wait_ms, &(0..=MAX_POLL_MS))?,
    })
}

/// Reads and checks a `RenewLeasesRequest`.
///
/// # Errors
/// [`ApiError`] naming the broken field.
pub fn decode_renew(bytes: &[u8], context: &mut Context<'_>) -> Result<Renew, ApiError> {
    let message: v1::RenewLeasesRequest = fields::message(bytes, context.limits)?;
    fields::filled("leases", &message.leases, context.limits.max_lease_items)?;
    let duration_ms = offer::duration(message.lease_duration_ms)?;
    Ok(Renew {
        items: each("leases", message.leases, |lease| held(&lease)),
        duration_ms,
    })
}

/// Reads and checks a `CompleteRequest`.
///
/// # Errors
/// [`ApiError`] naming the broken field.
pub fn decode_complete(bytes: &[u8], context: &mut Context<'_>) -> Result<Reports, ApiError> {
    let message = fields::message(bytes, context.limits)?;
    Ok(completions(message, context.limits)?)
}

/// Reads and checks a `FailRequest`.
///
/// # Errors
/// [`ApiError`] naming the broken field.
pub fn decode_fail(bytes: &[u8], context: &mut Context<'_>) -> Result<Reports, ApiError> {
    let message = fields::message(bytes, context.limits)?;
    Ok(failures(message, context.limits)?)
}

/// Reads and checks a `ReleaseRequest`.
///
/// # Errors
/// [`ApiError`] naming the broken field.
pub fn decode_release(bytes: &[u8], context: &mut Context<'_>) -> Result<Reports, ApiError> {
    let message = fields::message(bytes, context.limits)?;
    Ok(releases(message, context.limits)?)
}

/// Reads and checks a `ReportProgressRequest`.
///
/// # Errors
/// [`ApiError`] naming the broken field.
pub fn decode_progress(bytes: &[u8], context: &mut Context<'_>) -> Result<Advances, ApiError> {
    let message: v1::ReportProgressRequest = fields::message(bytes, context.limits)?;
    let most = context.limits.max_lease_items;
    fields::filled("reports", &message.reports, most)?;
    Ok(each("reports", message.reports, advance))
}

/// All items of a `ReportProgressRequest`, or the fault of the first that breaks a rule.
pub(crate) fn all_advances(
    message: v1::ReportProgressRequest,
    limits: &Limits,
) -> Checked<Vec<(Held, ProgressReport)>> {
    fields::filled("reports", &message.reports, limits.max_lease_items)?;
    let reports = message.reports.into_iter().enumerate();
    let checked = reports.map(|(index, report)| {
        advance(report).map_err(|fault: Fault| fault.in_item("reports", index))
    });
    checked.collect()
}

fn advance(report: v1::ProgressReport) -> Checked<(Held, ProgressReport)> {
    let held = holder(&report.execution_id, &report.lease_token)?;
    let fraction = report.fraction;
    // Not a number is in no range.
    let is_share = fraction.is_none_or(|fraction| (0.0..=1.0).contains(&fraction));
    must(is_share, "fraction", "must be 0 to 1")?;
    let size = report.message.len();
    fields::size("message", size, MAX_PROGRESS_MESSAGE_BYTES)?;
    let says_something = fraction.is_some() || size > 0;
    must(
        says_something,
        "fraction",
        "must be given, or message must be",
    )?;
    let message = report.message.into();
    Ok((held, ProgressReport { fraction, message }))
}

/// The items of a `CompleteRequest`, checked.
pub(crate) fn completions(message: v1::CompleteRequest, limits: &Limits) -> Checked<Reports> {
    fields::filled("results", &message.results, limits.max_lease_items)?;
    Ok(each("results", message.results, |result| {
        let held = holder(&result.execution_id, &result.lease_token)?;
        Ok((held, Report::Completed(output(result.output, limits)?)))
    }))
}

/// The items of a `FailRequest`, checked.
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

/// The items of a `ReleaseRequest`, checked.
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

/// The same for checks that need the path of the item.
pub(crate) fn each_at<I, T>(
    list: &str,
    items: Vec<I>,
    check: impl Fn(&str, I) -> Checked<T>,
) -> Vec<Result<T, ApiError>> {
    let checked = items.into_iter().enumerate().map(|(index, item)| {
        let at = format!("{list}[{index}]");
        check(&at, item).map_err(|fault| fault.within(&at).into())
    });
    checked.collect()
}

/// Every lease of a list, or the fault of the first lease that cannot be read.
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

pub(crate) fn holder(id: &str, token: &str) -> Checked<Held> {
    let id = ExecutionId::parse("execution_id", id)?;
    Ok(Held {
        id,
        token: LeaseToken::parse(token),
    })
}

#[cfg(test)]
mod tests;
