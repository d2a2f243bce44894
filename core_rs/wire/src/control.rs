//! Requests of producers about the run of one execution: look at it, provide an input, pause it,
//! resume it.
//!
//! Owns the field rules of these requests. Refuses to know what a run allows: the engine does.

use std::sync::Arc;

use backlane_engine::command::{Control, NewInput};
use backlane_engine::fact::Actor;
use backlane_engine::rules::limits::MAX_RUN_BYTES;
use backlane_engine::rules::status::ActorKind;

use crate::context::Context;
use crate::error::ApiError;
use crate::fields::{self, text_of};
use crate::generated::backlane::v1;
use crate::query::{Named, visible};
use crate::request;
use crate::row::action::input_details;

/// Longest key of an input, in bytes.
const MAX_KEY_BYTES: usize = 128;

/// Reads and checks a `GetExecutionRunRequest`.
///
/// # Errors
/// [`ApiError`] naming the broken field, or saying that the caller can see no such execution.
pub fn decode_get_run(bytes: &[u8], context: &mut Context<'_>) -> Result<Named, ApiError> {
    let message: v1::GetExecutionRunRequest = fields::message(bytes, context.limits)?;
    let (tenant, id) = (&message.tenant_id, &message.execution_id);
    Ok(visible(tenant, id, context.principal)?)
}

/// Reads and checks a `ProvideInputRequest`.
///
/// # Errors
/// As [`decode_get_run`].
pub fn decode_input(bytes: &[u8], context: &mut Context<'_>) -> Result<NewInput, ApiError> {
    let message: v1::ProvideInputRequest = fields::message(bytes, context.limits)?;
    let (tenant, id) = (&message.tenant_id, &message.execution_id);
    let Named { tenant, id } = visible(tenant, id, context.principal)?;
    text_of("key", &message.key, 1..=MAX_KEY_BYTES)?;
    let most = usize::try_from(MAX_RUN_BYTES).unwrap_or(usize::MAX);
    fields::size("value", message.value.len(), most)?;
    Ok(NewInput {
        tenant,
        id,
        request: request::of_input(&message)?,
        details: input_details(&message.key),
        key: message.key.into(),
        value: Arc::from(message.value.into_bytes()),
        actor: actor(context),
    })
}

/// Reads and checks a `PauseRequest`.
///
/// # Errors
/// As [`decode_get_run`].
pub fn decode_pause(bytes: &[u8], context: &mut Context<'_>) -> Result<Control, ApiError> {
    let message: v1::PauseRequest = fields::message(bytes, context.limits)?;
    control(&message.tenant_id, &message.execution_id, context)
}

/// Reads and checks a `ResumeRequest`.
///
/// # Errors
/// As [`decode_get_run`].
pub fn decode_resume(bytes: &[u8], context: &mut Context<'_>) -> Result<Control, ApiError> {
    let message: v1::ResumeRequest = fields::message(bytes, context.limits)?;
    control(&message.tenant_id, &message.execution_id, context)
}

fn control(tenant: &str, id: &str, context: &Context<'_>) -> Result<Control, ApiError> {
    let Named { tenant, id } = visible(tenant, id, context.principal)?;
    let actor = actor(context);
    Ok(Control { tenant, id, actor })
}

fn actor(context: &Context<'_>) -> Actor {
    Actor::named(ActorKind::Client, &context.principal.name)
}

#[cfg(test)]
mod tests;
