//! Requests that create executions.
//!
//! Owns the field rules of these requests and the form in which payloads are kept on disk. Refuses
//! to know how the executions go on.

use std::sync::Arc;

use backlane_engine::command::{DedupPolicy, Dependency, IdRandom, NewExecution, Request};
use backlane_engine::error::Invalid;
use backlane_engine::fact::Actor;
use backlane_engine::row::Payload;
use backlane_engine::rules::access::{Principal, VisibleTenant};
use backlane_engine::rules::id::{ExecutionId, check_callable, check_name};
use backlane_engine::rules::limits::{Limits, MAX_DEPENDENCIES, MAX_WAIT_MS};
use backlane_engine::rules::status::{ActorKind, Mode};

use crate::config::{self, Config};
use crate::context::Context;
use crate::error::ApiError;
use crate::fields::{self, Checked, broken, choice, instant, must, some_key};
use crate::generated::backlane::v1;
use crate::log::parts;
use crate::{family, put, request, trace};

const MAX_DEDUP_KEY_BYTES: usize = 256;
/// 36 500 days.
const MAX_DELAY_MS: u64 = 36_500 * 24 * 3_600_000;
/// Bytes of an ordinary payload head beside the tenant, with room for what the engine adds.
const HEAD_BYTES: usize = 120;

/// A batch of executions that are created together or not at all.
#[derive(Debug, Clone, PartialEq)]
pub struct EnqueueBatch {
    /// The executions, all of one tenant. None of them has a request id of its own.
    pub items: Vec<NewExecution>,
    /// The request id of the batch, where the client gave one.
    pub request: Option<Request>,
}

/// One execution to create, and the time to wait for its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The execution to create.
    pub new: NewExecution,
    /// Longest wait for the end of the execution, in milliseconds.
    pub timeout_ms: u64,
}

/// Reads and checks one message that a client sent on an `EnqueueStream`. Each item of the message
/// is accepted or refused on its own.
///
/// # Errors
/// [`ApiError`] where the whole message is refused, which ends the stream.
pub fn decode_enqueue_stream(
    bytes: &[u8],
    context: &mut Context<'_>,
) -> Result<Vec<Result<NewExecution, ApiError>>, ApiError> {
    fields::size("items", bytes.len(), context.limits.max_batch_bytes)?;
    let message: v1::EnqueueStreamRequest = fields::message(bytes, context.limits)?;
    let most = context.limits.max_batch_items;
    let rule = format!("must hold at most {most} items");
    must(message.items.len() <= most, "items", &rule)?;
    let mut names = Names::default();
    let items = message.items.into_iter().enumerate().map(|(index, item)| {
        let made = independent(&item, Mode::default(), &mut names, context);
        made.map_err(|fault| fault.in_item("items", index).into())
    });
    Ok(items.collect())
}

/// Reads and checks an `EnqueueRequest`.
///
/// # Errors
/// [`ApiError`] naming the broken field, or saying that the caller lacks permission.
pub fn decode_enqueue(bytes: &[u8], context: &mut Context<'_>) -> Result<NewExecution, ApiError> {
    let message = fields::message(bytes, context.limits)?;
    let new = independent(&message, Mode::default(), &mut Names::default(), context)?;
    Ok(new)
}

/// Reads and checks a `RunRequest`.
///
/// # Errors
/// As [`decode_enqueue`].
pub fn decode_run(bytes: &[u8], context: &mut Context<'_>) -> Result<Run, ApiError> {
    let message: v1::RunRequest = fields::message(bytes, context.limits)?;
    let timeout_ms = fields::wait("timeout", message.timeout, MAX_WAIT_MS)?;
    let Some(message) = message.enqueue else {
        return Ok(broken("enqueue", "must be given")?);
    };
    let new = independent(&message, Mode::Silent, &mut Names::default(), context);
    let new = new.map_err(|fault| fault.within("enqueue"))?;
    Ok(Run { new, timeout_ms })
}

/// Reads and checks an `EnqueueBatchRequest`.
///
/// # Errors
/// As [`decode_enqueue`].
pub fn decode_batch(bytes: &[u8], context: &mut Context<'_>) -> Result<EnqueueBatch, ApiError> {
    fields::size("items", bytes.len(), context.limits.max_batch_bytes)?;
    let message: v1::EnqueueBatchRequest = fields::message(bytes, context.limits)?;
    fields::filled("items", &message.items, context.limits.max_batch_items)?;
    let mut names = Names::default();
    let tenant = names.tenant(&message.tenant_id, context.principal)?;
    let request = request::of_batch(&message)?;
    let mut items = Vec::with_capacity(message.items.len());
    // Each message is freed as soon as its item is made, so that the next item takes its memory.
    for (index, item) in message.items.into_iter().enumerate() {
        let made = of_batch(&item, &tenant, &mut names, context);
        items.push(made.map_err(|fault| fault.in_item("items", index))?);
    }
    Ok(EnqueueBatch { items, request })
}

// Checks an item that names its own tenant and may have its own request id.
fn independent(
    message: &v1::EnqueueRequest,
    default_mode: Mode,
    names: &mut Names,
    context: &mut Context<'_>,
) -> Checked<NewExecution> {
    let tenant = names.tenant(&message.tenant_id, context.principal)?;
    must_stand_alone(message)?;
    let request = request::of_one(message)?;
    let new = make(message, tenant, default_mode, names, context)?;
    Ok(NewExecution { request, ..new })
}

fn must_stand_alone(message: &v1::EnqueueRequest) -> Checked<()> {
    must(
        message.depends_on_items.is_empty(),
        "depends_on_items",
        "must be empty outside of a batch",
    )
}

/// Checks a child that an execution spawns.
pub(crate) fn child(
    message: &v1::EnqueueRequest,
    parent_id: &str,
    context: &mut Context<'_>,
) -> Checked<NewExecution> {
    must(
        message.parent.is_none(),
        "parent",
        "must be absent: the spawn names the parent",
    )?;
    let names = &mut Names::default();
    let mut new = independent(message, Mode::default(), names, context)?;
    let head = &mut new.payload.head;
    family::put_parent(head, parent_id, v1::ParentType::Execution as i32);
    Ok(new)
}

fn of_batch(
    message: &v1::EnqueueRequest,
    tenant: &VisibleTenant,
    names: &mut Names,
    context: &mut Context<'_>,
) -> Checked<NewExecution> {
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
    tenant: VisibleTenant,
    default_mode: Mode,
    names: &mut Names,
    context: &mut Context<'_>,
) -> Checked<NewExecution> {
    let callable = names.callable(&message.callable_name)?;
    let mut config = config::check(
        message.config.as_ref(),
        message.max_worker_losses,
        default_mode,
    )?;
    config.policy.cancellation = family::cancellation(message.cancellation_policy)?;
    family::check_parent(message.parent.as_ref())?;
    let instants = Instants::check(message, context.wall_ms)?;
    check_sizes(message, context.limits)?;
    trace::check(&message.traceparent)?;
    let dedup_policy = choice(
        "dedup_policy",
        message.dedup_policy,
        DedupPolicy::from_number,
    )?;
    let dedup_key = some_key("dedup_key", &message.dedup_key, MAX_DEDUP_KEY_BYTES)?;
    let payload = Payload {
        head: head(message, &tenant, &config, &instants, context.limits)?,
        body: body(message, context.limits)?,
    };
    Ok(NewExecution {
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
        depends_on: dependencies(message)?,
        parent: None,
        payload,
        retried_from: None,
        actor: Actor::named(ActorKind::Client, &context.principal.name),
        random: id_random(context),
    })
}

// The dependencies: those that are named by id, then those by position. The engine checks that they
// exist.
fn dependencies(message: &v1::EnqueueRequest) -> Checked<Vec<Dependency>> {
    let count = message.depends_on.len() + message.depends_on_items.len();
    let rule = format!("must hold at most {MAX_DEPENDENCIES} together with depends_on_items");
    must(count <= MAX_DEPENDENCIES, "depends_on", &rule)?;
    let mut all = Vec::with_capacity(count);
    for (at, id) in message.depends_on.iter().enumerate() {
        let id = ExecutionId::parse(&format!("depends_on[{at}]"), id)?;
        all.push(Dependency::Execution(id));
    }
    let items = message.depends_on_items.iter().copied();
    all.extend(items.map(Dependency::Item));
    Ok(all)
}

pub(crate) fn id_random(context: &mut Context<'_>) -> IdRandom {
    let [low, high, ..] = (context.random)().to_le_bytes();
    IdRandom {
        salt: u16::from_le_bytes([low, high]),
        random: (context.random)(),
    }
}

// The fields of `log.v1.PayloadHead` that the client decides. The engine decides the other fields.
fn head(
    message: &v1::EnqueueRequest,
    tenant: &str,
    config: &Config,
    instants: &Instants,
    limits: &Limits,
) -> Checked<Vec<u8>> {
    let mut out = Vec::with_capacity(HEAD_BYTES + tenant.len());
    put::text(&mut out, 5, tenant);
    put::text(&mut out, 6, &message.callable_name);
    put::message(&mut out, 7, |out| parts::put_policy(out, &config.policy));
    put::uint(&mut out, 8, config.mode as u32);
    put::uint(&mut out, 9, config.priority);
    put::some_uint(&mut out, 10, instants.not_before);
    put::some_uint(&mut out, 11, instants.start_deadline);
    put::some_uint(&mut out, 12, instants.deadline);
    put::text(&mut out, 13, &message.dedup_key);
    put::text(&mut out, 14, &message.traceparent);
    if let Some(parent) = &message.parent {
        family::put_parent(&mut out, &parent.parent_id, parent.parent_type);
    }
    if !message.metadata.is_empty() {
        put::bytes(&mut out, 15, &metadata(message, limits)?);
    }
    Ok(out)
}

// The metadata, encoded as field 15 of the API's BackgroundExecution, so that a record can copy the
// bytes.
fn metadata(message: &v1::EnqueueRequest, limits: &Limits) -> Checked<Vec<u8>> {
    let mut out = Vec::new();
    for (key, value) in &message.metadata {
        put::message(&mut out, 15, |out| {
            put::text(out, 1, key);
            put::bytes(out, 2, value.as_bytes());
        });
    }
    fields::size("metadata", out.len(), limits.max_metadata_bytes)?;
    Ok(out)
}

// Input and context, encoded as fields 4 and 5 of the API's BackgroundExecution, so that a record
// can copy the bytes.
fn body(message: &v1::EnqueueRequest, limits: &Limits) -> Checked<Option<Vec<u8>>> {
    let input = message.input.as_deref();
    if input.is_none() && message.context.is_empty() {
        return Ok(None);
    }
    let mut out = Vec::with_capacity(16 + input.map_or(0, str::len));
    put::some_text(&mut out, 4, input);
    let input_bytes = out.len();
    for (key, value) in &message.context {
        put::message(&mut out, 5, |out| {
            put::text(out, 1, key);
            put::text(out, 2, value);
        });
    }
    let context_bytes = out.len() - input_bytes;
    fields::size("context", context_bytes, limits.max_context_bytes)?;
    Ok(Some(out))
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

// The first characters of a key, for an error message: a key may be 64 KiB long.
fn start_of(key: &str) -> String {
    const MOST: usize = 32;
    let mut start: String = key.chars().take(MOST).collect();
    if start.len() < key.len() {
        start.push('…');
    }
    start
}

/// The three times that a request may set, in milliseconds since the epoch.
struct Instants {
    not_before: Option<u64>,
    start_deadline: Option<u64>,
    deadline: Option<u64>,
}

impl Instants {
    // Times in the past are accepted: such an execution is ready, or times out, at once.
    fn check(message: &v1::EnqueueRequest, now_ms: u64) -> Checked<Self> {
        let given = instant("not_before", message.not_before)?;
        let not_before = match message.delay_ms {
            None => given,
            Some(delay_ms) => Some(now_ms.saturating_add(delay(message, delay_ms)?)),
        };
        let later = |field, at| {
            let at = instant(field, at)?;
            // The end of a delay differs between the repetitions of a request, which must not be
            // refused. So it is not compared.
            let is_later = at.zip(given).is_none_or(|(at, begin)| at > begin);
            must(is_later, field, "must be later than not_before").map(|()| at)
        };
        Ok(Self {
            not_before,
            start_deadline: later("start_deadline", message.start_deadline)?,
            deadline: later("deadline", message.deadline)?,
        })
    }
}

// A delay in milliseconds.
fn delay(message: &v1::EnqueueRequest, delay_ms: u64) -> Checked<u64> {
    let is_alone = message.not_before.is_none();
    must(
        is_alone,
        "delay_ms",
        "must be absent if not_before is given",
    )?;
    fields::within("delay_ms", delay_ms, &(0..=MAX_DELAY_MS))
}

/// The tenant and callable checked last. Neighbouring items often repeat these names; a repeated
/// name is checked once and shares one allocation.
#[derive(Default)]
struct Names {
    tenant: Option<VisibleTenant>,
    callable: Option<Arc<str>>,
}

impl Names {
    fn tenant(&mut self, name: &str, principal: &Principal) -> Checked<VisibleTenant> {
        if let Some(known) = &self.tenant
            && **known == *name
        {
            return Ok(known.clone());
        }
        check_name("tenant_id", name)?;
        let tenant = principal.may_act_for(name)?;
        Ok(self.tenant.insert(tenant).clone())
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
