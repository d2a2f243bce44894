//! Offers: the callables and tenants that a worker names when it asks for leases.
//!
//! Owns the rules of worker ids, lease periods, callables and tenants, which `Lease`, `Work` and
//! `Peek` share. Refuses to know which executions match an offer.

use std::collections::BTreeSet;
use std::sync::Arc;

use backlane_engine::command::OfferSpec;
use backlane_engine::rules::access::{Principal, TenantScope};
use backlane_engine::rules::id::{check_callable, check_name};
use backlane_engine::rules::limits::{MAX_LEASE_MS, MIN_LEASE_MS};

use crate::fields::{self, Checked, broken, within};

/// Most callables, and most tenants, of one offer.
const MAX_OFFERED: usize = 1_000;

/// Checks the id of a worker.
pub(crate) fn worker(id: &str) -> Checked<Arc<str>> {
    check_name("worker_id", id)?;
    Ok(id.into())
}

/// Checks a lease period in milliseconds; `None` where the request sets none.
pub(crate) fn duration(asked: u64) -> Checked<Option<u64>> {
    match asked {
        0 => Ok(None),
        asked => within("lease_duration_ms", asked, &(MIN_LEASE_MS..=MAX_LEASE_MS)).map(Some),
    }
}

/// The offer of a worker, limited to the tenants that the caller may act for.
pub(crate) fn offer(
    callables: Vec<String>,
    tenants: Vec<String>,
    principal: &Principal,
) -> Checked<OfferSpec> {
    Ok(OfferSpec {
        callables: patterns(callables)?,
        tenants: self::tenants(tenants, principal)?,
    })
}

/// The tenants of an offer, all of which the caller may act for.
pub(crate) fn tenants(tenants: Vec<String>, principal: &Principal) -> Checked<TenantScope> {
    if tenants.is_empty() {
        return Ok(principal.tenants.clone());
    }
    fields::filled("tenant_ids", &tenants, MAX_OFFERED)?;
    for (index, tenant) in tenants.iter().enumerate() {
        check_name(&format!("tenant_ids[{index}]"), tenant)?;
        principal.may_act_for(tenant)?;
    }
    let tenants = tenants.into_iter().map(String::into_boxed_str).collect();
    Ok(TenantScope::Only(tenants))
}

/// Checks the callables of an offer: exact names, `prefix.*`, or `*`.
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
