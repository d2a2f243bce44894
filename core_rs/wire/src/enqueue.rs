//! Requests that make executions.
//!
//! Owns their field rules and what is hashed of them. Refuses to know what becomes of them.

use std::sync::Arc;

use backlane_engine::command::{DedupPolicy, NewExecution, Request};
use backlane_engine::error::Invalid;
use backlane_engine::rules::access::Principal;
use backlane_engine::rules::id::{check_callable, check_name};
use backlane_engine::rules::limits::{Limits, MAX_WAIT_MS};
use backlane_engine::rules::status::Mode;

use crate::call::{Call, Context};
use crate::config::{self, Config};
use crate::error::ApiError;
use crate::fields::{self, Checked, broken, choice, instant, must, some_key};
use crate::generated::backlane::v1;
use crate::payload::PayloadParts;
use crate::{log, put, request, trace};

const MAX_DEDUP_KEY_BYTES: usize = 256;

/// One execution to make.
#[derive(Debug, Clone, PartialEq)]
pub struct EnqueueItem {
    /// What the engine decides on.
    pub new: NewExecution,
    /// What is kept beside it.
    pub payload: PayloadParts,
}

/// Executions to make, all or none.
#[derive(Debug, Clone, PartialEq)]
pub struct EnqueueBatch {
    /// Of one tenant; none has a request of its own.
    pub items: Vec<EnqueueItem>,
    /// Stands for all of them.
    pub request: Option<Request>,
    /// Whose.
    pub tenant: Arc<str>,
}

/// Reads and checks one message up an `EnqueueStream`. Its items are independent.
///
/// # Errors
/// [`ApiError`] where the message as a whole is not taken, which ends the stream.
pub fn decode_enqueue_stream(
    bytes: &[u8],
    context: &mut Context<'_>,
) -> Result<Vec<Result<EnqueueItem, ApiError>>, ApiError> {
    fields::size("items", bytes.len(), context.limits.max_batch_bytes)?;
    let message: v1::EnqueueStreamRequest = fields::message(bytes, context.limits)?;
    let most = context.limits.max_batch_items;
    let rule = format!("must hold at most {most} items");
    must(message.items.len() <= most, "items", &rule)?;
    let mut names = Names::default();
    let items = message.items.into_iter().enumerate().map(|(index, item)| {
        let made = independent(item, Mode::default(), &mut names, context);
        made.map_err(|fault| fault.in_item("items", index).into())
    });
    Ok(items.collect())
}

pub(crate) fn single(bytes: &[u8], context: &mut Context<'_>) -> Checked<Call> {
    let message = fields::message(bytes, context.limits)?;
    let item = independent(message, Mode::default(), &mut Names::default(), context)?;
    Ok(Call::Enqueue(Box::new(item)))
}

pub(crate) fn run(bytes: &[u8], context: &mut Context<'_>) -> Checked<Call> {
    let message: v1::RunRequest = fields::message(bytes, context.limits)?;
    let timeout_ms = fields::wait("timeout", message.timeout, MAX_WAIT_MS)?;
    let Some(message) = message.enqueue else {
        return broken("enqueue", "must be given");
    };
    let item = independent(message, Mode::Silent, &mut Names::default(), context);
    let item = Box::new(item.map_err(|fault| fault.within("enqueue"))?);
    Ok(Call::Run { item, timeout_ms })
}

pub(crate) fn batch(bytes: &[u8], context: &mut Context<'_>) -> Checked<Call> {
    fields::size("items", bytes.len(), context.limits.max_batch_bytes)?;
    let mut message: v1::EnqueueBatchRequest = fields::message(bytes, context.limits)?;
    fields::filled("items", &message.items, context.limits.max_batch_items)?;
    let mut names = Names::default();
    let tenant = names.tenant(&message.tenant_id, context.principal)?;
    let request = request::of_batch(&mut message)?;
    let items = message.items.iter().enumerate().map(|(index, item)| {
        let made = of_batch(item, &tenant, &mut names, context);
        made.map_err(|fault| fault.in_item("items", index))
    });
    let items = items.collect::<Checked<_>>()?;
    Ok(Call::EnqueueBatch(EnqueueBatch {
        items,
        request,
        tenant,
    }))
}

// An item with a tenant and a request id of its own.
fn independent(
    mut message: v1::EnqueueRequest,
    default_mode: Mode,
    names: &mut Names,
    context: &mut Context<'_>,
) -> Checked<EnqueueItem> {
    let tenant = names.tenant(&message.tenant_id, context.principal)?;
    let request = request::of_one(&mut message)?;
    let item = make(&message, tenant, default_mode, names, context)?;
    Ok(EnqueueItem {
        new: NewExecution {
            request,
            ..item.new
        },
        ..item
    })
}

fn of_batch(
    message: &v1::EnqueueRequest,
    tenant: &Arc<str>,
    names: &mut Names,
    context: &mut Context<'_>,
) -> Checked<EnqueueItem> {
    let is_same = message.tenant_id.is_empty() || *message.tenant_id == **tenant;
    must(is_same, "tenant_id", "must be empty or the batch's own")?;
    must(
        message.request_id.is_empty(),
        "request_id",
        "must be empty: the batch has its own",
    )?;
    make(message, tenant.clone(), Mode::default(), names, context)
}

fn make(
    message: &v1::EnqueueRequest,
    tenant: Arc<str>,
    default_mode: Mode,
    names: &mut Names,
    context: &mut Context<'_>,
) -> Checked<EnqueueItem> {
    let callable = names.callable(&message.callable_name)?;
    let config = config::check(
        message.config.as_ref(),
        message.max_worker_losses,
        default_mode,
    )?;
    let instants = Instants::check(message)?;
    check_sizes(message, context.limits)?;
    trace::check(&message.traceparent)?;
    let dedup_policy = choice(
        "dedup_policy",
        message.dedup_policy,
        DedupPolicy::from_number,
    )?;
    let dedup_key = some_key("dedup_key", &message.dedup_key, MAX_DEDUP_KEY_BYTES)?;
    let payload = payload(message, &tenant, &config, &instants, context.limits)?;
    let new = NewExecution {
        tenant,
        callable,
        priority: config.priority,
        policy: config.policy,
        not_before_ms: instants.not_before,
        start_deadline_ms: instants.start_deadline,
        deadline_ms: instants.deadline,
        request: None,
        dedup_key,
        dedup_policy: dedup_policy.unwrap_or_default(),
        payload_bytes: payload.bytes(),
        random: (context.random)(),
    };
    Ok(EnqueueItem { new, payload })
}

// The fields of `log.v1.Payload` but for id and time.
fn payload(
    message: &v1::EnqueueRequest,
    tenant: &str,
    config: &Config,
    instants: &Instants,
    limits: &Limits,
) -> Checked<PayloadParts> {
    let input = message.input.as_deref();
    let mut out = Vec::with_capacity(96 + tenant.len() + input.map_or(0, str::len));
    put::text(&mut out, 3, tenant);
    put::text(&mut out, 4, &message.callable_name);
    put::some_text(&mut out, 6, input);
    if !(message.context.is_empty() && message.metadata.is_empty()) {
        put::bytes(&mut out, 7, &maps(message, limits)?);
    }
    put::message(&mut out, 8, |out| log::policy(out, &config.policy));
    put::message(&mut out, 9, |out| {
        put::uint(out, 1, config.mode as u32);
        put::uint(out, 2, config.priority);
    });
    put::some_uint(&mut out, 10, instants.not_before);
    put::some_uint(&mut out, 11, instants.start_deadline);
    put::some_uint(&mut out, 12, instants.deadline);
    put::text(&mut out, 13, &message.dedup_key);
    put::text(&mut out, 14, &message.traceparent);
    Ok(PayloadParts::of(out))
}

// The API's fields 5 and 15 of a BackgroundExecution, as a record will carry them.
fn maps(message: &v1::EnqueueRequest, limits: &Limits) -> Checked<Vec<u8>> {
    let mut out = Vec::new();
    for (key, value) in &message.context {
        put::message(&mut out, 5, |out| {
            put::text(out, 1, key);
            put::text(out, 2, value);
        });
    }
    let context_bytes = out.len();
    fields::size("context", context_bytes, limits.max_context_bytes)?;
    for (key, value) in &message.metadata {
        put::message(&mut out, 15, |out| {
            put::text(out, 1, key);
            put::bytes(out, 2, value.as_bytes());
        });
    }
    fields::size(
        "metadata",
        out.len() - context_bytes,
        limits.max_metadata_bytes,
    )?;
    Ok(out)
}

fn check_sizes(message: &v1::EnqueueRequest, limits: &Limits) -> Checked<()> {
    let input = message.input.as_ref().map_or(0, String::len);
    fields::size("input", input, limits.max_input_bytes)?;
    for (key, value) in &message.metadata {
        let field = || format!("metadata[{:?}]", start_of(key));
        let checked = value.check(limits.max_json_depth);
        checked.map_err(|problem| Invalid::new(field(), problem.to_string()))?;
    }
    Ok(())
}

// Enough of a key to know it by: an error is no place for 64 KiB of it.
fn start_of(key: &str) -> String {
    const MOST: usize = 32;
    let mut start: String = key.chars().take(MOST).collect();
    if start.len() < key.len() {
        start.push('…');
    }
    start
}

/// The instants of a request, in milliseconds since the epoch.
struct Instants {
    not_before: Option<u64>,
    start_deadline: Option<u64>,
    deadline: Option<u64>,
}

impl Instants {
    // Instants that have passed are taken: such an execution is ready, or times out, at once.
    fn check(message: &v1::EnqueueRequest) -> Checked<Self> {
        let not_before = instant("not_before", message.not_before)?;
        let later = |field, at| {
            let at = instant(field, at)?;
            let is_later = at.zip(not_before).is_none_or(|(at, begin)| at > begin);
            must(is_later, field, "must be later than not_before").map(|()| at)
        };
        Ok(Self {
            not_before,
            start_deadline: later("start_deadline", message.start_deadline)?,
            deadline: later("deadline", message.deadline)?,
        })
    }
}

/// The names seen last: neighbours share them, and then share one allocation and one check.
#[derive(Default)]
struct Names {
    tenant: Option<Arc<str>>,
    callable: Option<Arc<str>>,
}

impl Names {
    fn tenant(&mut self, name: &str, principal: &Principal) -> Checked<Arc<str>> {
        if let Some(known) = &self.tenant
            && **known == *name
        {
            return Ok(known.clone());
        }
        check_name("tenant_id", name)?;
        principal.may_create_for(name)?;
        Ok(self.tenant.insert(name.into()).clone())
    }

    fn callable(&mut self, name: &str) -> Checked<Arc<str>> {
        if let Some(known) = &self.callable
            && **known == *name
        {
            return Ok(known.clone());
        }
        check_callable("callable_name", name)?;
        Ok(self.callable.insert(name.into()).clone())
    }
}

#[cfg(test)]
mod tests;
