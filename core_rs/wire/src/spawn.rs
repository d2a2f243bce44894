//! Requests that spawn children.
//!
//! Owns the field rules of these requests. Refuses to know whether the parent may spawn: the engine
//! decides that.

use backlane_engine::command::{Held, NewExecution, SpawnStep};
use backlane_engine::rules::id::{ExecutionId, LeaseToken};

use crate::context::Context;
use crate::enqueue::child;
use crate::error::ApiError;
use crate::family;
use crate::fields::{self, Checked, broken, must};
use crate::generated::backlane::v1;
use crate::steps::{Versioned, spawn_step};

/// A request to spawn a child.
#[derive(Debug, Clone, PartialEq)]
pub enum Spawn {
    /// The parent runs the child inline: nothing is enqueued.
    Inline,
    /// The child is a background execution.
    Background(Box<Child>),
}

/// A child to enqueue, and the lease of its parent.
#[derive(Debug, Clone, PartialEq)]
pub struct Child {
    /// The child.
    pub new: NewExecution,
    /// The lease of the parent.
    pub parent: Held,
    /// The step of the parent, where the spawn is one.
    pub step: Option<Versioned<SpawnStep>>,
}

/// Reads and checks a `SpawnRequest`.
///
/// # Errors
/// [`ApiError`] naming the broken field, or saying that the caller lacks permission.
pub fn decode_spawn(bytes: &[u8], context: &mut Context<'_>) -> Result<Spawn, ApiError> {
    let message: v1::SpawnRequest = fields::message(bytes, context.limits)?;
    Ok(spawn(message, context)?)
}

fn spawn(message: v1::SpawnRequest, context: &mut Context<'_>) -> Checked<Spawn> {
    let parent = ExecutionId::parse("parent_execution_id", &message.parent_execution_id)?;
    must(
        !message.lease_token.is_empty(),
        "lease_token",
        "must be given",
    )?;
    family::check_mode(message.mode.as_ref())?;
    let own = family::cancellation(message.cancellation_policy)?;
    let Some(enqueue) = message.enqueue else {
        return broken("enqueue", "must be given");
    };
    let mode = message.mode.unwrap_or_default();
    if !family::should_run_background(&mode) {
        return Ok(Spawn::Inline);
    }
    let new = child(&enqueue, &message.parent_execution_id, context);
    let mut new = new.map_err(|fault| fault.within("enqueue"))?;
    if let Some(v1::spawn_mode::Mode::Child(child)) = &mode.mode {
        family::put_child(&mut new.payload.head, child, context.limits)?;
    }
    if message.cancellation_policy != 0 {
        new.policy.cancellation = own;
    }
    let parent = Held {
        id: parent,
        token: LeaseToken::parse(&message.lease_token),
    };
    let step = message.step;
    let step = step.map(|step| spawn_step(step, &message.schema_version));
    let step = step.transpose()?;
    Ok(Spawn::Background(Box::new(Child { new, parent, step })))
}

#[cfg(test)]
mod tests;
