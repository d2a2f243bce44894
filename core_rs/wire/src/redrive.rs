//! Redrives: the request, and the new execution that is made from an old payload.
//!
//! Owns the field rules of the request, and which parts of the old payload the new execution takes
//! over. Refuses to know which executions may be redriven: the engine does.

use backlane_engine::command::{DedupPolicy, Dependency, NewExecution, Request};
use backlane_engine::fact::Actor;
use backlane_engine::row::Payload;
use backlane_engine::rules::id::ExecutionId;
use backlane_engine::rules::status::{ActorKind, Mode};

use crate::config::{self, Config};
use crate::context::Context;
use crate::enqueue::id_random;
use crate::error::ApiError;
use crate::fields;
use crate::generated::backlane::log::v1 as log;
use crate::generated::backlane::v1;
use crate::log::parts;
use crate::query::{Named, visible};
use crate::row::payload::RETRIED_FROM;
use crate::scan::Fields;
use crate::{DecodeError, put, request};

/// The API's `PARENT_TYPE_STEP` and `PARENT_TYPE_EXECUTION`.
const STEP: u32 = 2;
const EXECUTION: u32 = 3;

/// Enqueues an execution that is over once more.
#[derive(Debug, Clone, PartialEq)]
pub struct Redrive {
    /// The execution that is over.
    pub named: Named,
    /// The request id, where the client gave one.
    pub request: Option<Request>,
    /// Whether the new execution begins anew, whatever the old one completed.
    restart: bool,
    /// Whether the dependents that were skipped are enqueued once more as well.
    pub with_dependents: bool,
    change: Change,
}

/// What the new execution has instead of what the old one had.
#[derive(Debug, Clone, PartialEq)]
struct Change {
    input: Option<String>,
    // Its limit on worker losses is that of the old execution.
    config: Option<Config>,
}

/// Reads and checks a `RedriveRequest`.
///
/// # Errors
/// [`ApiError`] naming the broken field, or saying that the caller can see no such execution.
pub fn decode_redrive(bytes: &[u8], context: &mut Context<'_>) -> Result<Redrive, ApiError> {
    let message: v1::RedriveRequest = fields::message(bytes, context.limits)?;
    let named = visible(&message.tenant_id, &message.execution_id, context.principal)?;
    let request = request::of_redrive(&message)?;
    let input = message.input.as_ref().map_or(0, String::len);
    fields::size("input", input, context.limits.max_input_bytes)?;
    let given = message.config.as_ref();
    let config = given.map(|given| config::check(Some(given), None, Mode::default()));
    Ok(Redrive {
        named,
        request,
        restart: message.restart,
        with_dependents: message.with_dependents,
        change: Change {
            input: message.input,
            config: config.transpose()?,
        },
    })
}

impl Redrive {
    /// Whether the new execution takes over the steps that the old one completed. With another
    /// input they might be others.
    #[must_use]
    pub const fn carries_steps(&self) -> bool {
        !self.restart && self.change.input.is_none()
    }

    /// The new execution, made from the payload of the old one.
    ///
    /// # Errors
    /// [`DecodeError`] where the payload is malformed, or is that of another execution.
    pub fn remake(
        &self,
        head: &[u8],
        body: Option<&[u8]>,
        context: &mut Context<'_>,
    ) -> Result<NewExecution, DecodeError> {
        let old = Old::read(&self.named.id, head)?;
        let config = self.change.config(&old);
        let body = self.change.body(body)?;
        // What the old execution waited for is over.
        let new = self.made(old, config, body, Vec::new(), context);
        Ok(NewExecution {
            request: self.request.clone(),
            ..new
        })
    }

    /// The new execution for a dependent that was skipped, made from its payload. It is as it was
    /// but for its times and for what it depends on.
    ///
    /// # Errors
    /// [`DecodeError`] where the payload is malformed, or is that of another execution.
    pub fn remake_dependent(
        &self,
        id: &ExecutionId,
        (head, body): (&[u8], Option<&[u8]>),
        depends_on: Vec<Dependency>,
        context: &mut Context<'_>,
    ) -> Result<NewExecution, DecodeError> {
        let old = Old::read(id, head)?;
        let (config, body) = (old.config, body.map(<[u8]>::to_vec));
        Ok(self.made(old, config, body, depends_on, context))
    }

    fn made(
        &self,
        old: Old,
        config: Config,
        body: Option<Vec<u8>>,
        depends_on: Vec<Dependency>,
        context: &mut Context<'_>,
    ) -> NewExecution {
        let payload = Payload {
            head: self.head(&old, &config),
            body,
        };
        NewExecution {
            tenant: self.named.tenant.clone(),
            callable: old.head.callable.into(),
            priority: config.priority,
            policy: config.policy,
            not_before_ms: None,
            start_deadline_ms: None,
            deadline_ms: None,
            request: None,
            dedup_key: old.head.dedup_key.map(Into::into),
            // Another execution that holds the key is not this one's redrive.
            dedup_policy: DedupPolicy::Reject,
            payload,
            retried_from: Some(old.id.birth),
            depends_on,
            parent: None,
            actor: Actor::named(ActorKind::Client, &context.principal.name),
            random: id_random(context),
        }
    }

    // The fields of `log.v1.PayloadHead` that the engine does not decide.
    fn head(&self, old: &Old, config: &Config) -> Vec<u8> {
        let (id, old) = (old.id, &old.head);
        let mut out = Vec::with_capacity(160 + old.metadata.len());
        put::text(&mut out, 5, &self.named.tenant);
        put::text(&mut out, 6, &old.callable);
        put::message(&mut out, 7, |out| parts::put_policy(out, &config.policy));
        put::uint(&mut out, 8, config.mode as u32);
        put::uint(&mut out, 9, config.priority);
        put::some_text(&mut out, 13, old.dedup_key.as_deref());
        put::some_text(&mut out, 14, old.traceparent.as_deref());
        put::filled(&mut out, 15, &old.metadata);
        // A redrive is no child: the cascade of the old parent is over.
        if !matches!(old.parent_type, STEP | EXECUTION) {
            put::text(&mut out, 17, &old.parent_id);
            put::uint(&mut out, 18, old.parent_type);
        }
        put::bytes(&mut out, RETRIED_FROM, &id.to_bytes());
        out
    }
}

impl Change {
    fn config(&self, old: &Old) -> Config {
        let Some(mut config) = self.config else {
            return old.config;
        };
        config.policy.max_worker_losses = old.config.policy.max_worker_losses;
        config.policy.cancellation = old.config.policy.cancellation;
        config
    }

    /// The body of the new payload: the new input, if there is one, and the old context.
    fn body(&self, old: Option<&[u8]>) -> Result<Option<Vec<u8>>, DecodeError> {
        let Some(input) = &self.input else {
            return Ok(old.map(<[u8]>::to_vec));
        };
        let mut out = Vec::with_capacity(16 + input.len());
        put::bytes(&mut out, 4, input.as_bytes());
        for field in Fields::of(old.unwrap_or_default()) {
            let field = field.map_err(|error| DecodeError::malformed("payload body", &error))?;
            if let (5, wire) = field {
                put::bytes(&mut out, 5, wire.bytes());
            }
        }
        Ok(Some(out))
    }
}

/// An old payload's head, with its id and with its config as the engine knows it.
struct Old {
    id: ExecutionId,
    head: log::PayloadHead,
    config: Config,
}

impl Old {
    fn read(id: &ExecutionId, head: &[u8]) -> Result<Self, DecodeError> {
        let head: log::PayloadHead = parts::read("PayloadHead", head)?;
        let own = parts::id(id.birth, head.seconds, head.random, head.salt)?;
        if own != *id {
            let what = "it belongs to another execution";
            return Err(DecodeError::malformed("PayloadHead", &what));
        }
        let policy = parts::present("PayloadHead.policy", head.policy)?;
        let config = Config {
            mode: parts::known("PayloadHead.mode", head.mode, Mode::from_number)?,
            priority: parts::narrow("PayloadHead.priority", head.priority)?,
            policy: parts::policy(policy)?,
        };
        Ok(Self {
            id: own,
            head,
            config,
        })
    }
}

#[cfg(test)]
mod tests;
