//! Actions: what was recorded of a run.
//!
//! Owns the encoding of `log.v1.ActionHead` and of an action's details. The body is the text of the
//! action; that of a step which a redrive carried over has two texts. Refuses to know what a run
//! shows: [`crate::run`] does.

use backlane_engine::row::{ActionContents, ActionRow, Bytes};
use backlane_engine::rules::id::{Birth, ExecutionId};

use crate::generated::backlane::{log, v1};
use crate::log::{parts, run};
use crate::{DecodeError, put};

/// Encodes the `log.v1.ActionHead` of an action.
#[must_use]
pub fn head(row: &ActionRow) -> Vec<u8> {
    let mut out = Vec::with_capacity(48 + row.contents.details.len());
    put::uint(&mut out, 1, row.at_ms);
    put::uint(&mut out, 2, row.attempt);
    put::uint(&mut out, 3, run::number_of(row.action));
    if let Some(step) = row.action.step() {
        put::bytes(&mut out, 4, &step.0);
    }
    if let backlane_engine::rules::run::Action::Wait(reason) = row.action {
        put::uint(&mut out, 5, reason as u32);
    }
    put::filled(&mut out, 6, &row.contents.details);
    put::uint(&mut out, 7, row.contents.body_of.unwrap_or(0));
    if let Some(child) = &row.contents.child {
        put::bytes(&mut out, 8, &child.to_bytes());
    }
    out
}

/// Reads an action from its key, its head and its body.
///
/// # Errors
/// [`DecodeError`] naming the malformed, missing or unknown part.
pub fn read(
    birth: Birth,
    ordinal: u32,
    head: &[u8],
    body: Option<Bytes>,
) -> Result<ActionRow, DecodeError> {
    let from: log::v1::ActionHead = parts::read("ActionHead", head)?;
    let reason = run::reason("ActionHead.reason", from.reason)?;
    let step = || run::step("ActionHead.step", &from.step);
    Ok(ActionRow {
        birth,
        ordinal,
        at_ms: from.at_ms,
        attempt: from.attempt,
        action: run::action("ActionHead.kind", from.kind, step, reason)?,
        contents: ActionContents {
            body,
            body_of: Some(from.body_of).filter(|action| *action != 0),
            child: from.child.as_deref().map(child).transpose()?,
            details: from.details.into(),
        },
    })
}

fn child(bytes: &[u8]) -> Result<ExecutionId, DecodeError> {
    let wrong = |_| DecodeError::malformed("ActionHead.child", &"it must have 20 bytes");
    bytes.try_into().map(ExecutionId::from_bytes).map_err(wrong)
}

/// The details of an action, decoded.
#[derive(Debug, Default)]
pub(crate) struct Details {
    /// The fields of the step that the action brings along.
    pub(crate) step: v1::Step,
    /// The version of the callable.
    pub(crate) schema_version: String,
}

/// Reads the details of an action.
pub(crate) fn details(encoded: &[u8]) -> Result<Details, DecodeError> {
    let from: log::v1::ActionDetails = parts::read("ActionHead.details", encoded)?;
    Ok(Details {
        step: parts::read("ActionDetails.step", &from.step)?,
        schema_version: from.schema_version,
    })
}

/// Encodes the details of an action about a step.
pub(crate) fn step_details(step: &v1::Step) -> Box<[u8]> {
    let step = prost::Message::encode_to_vec(step);
    let mut out = Vec::with_capacity(step.len() + 3);
    put::filled(&mut out, 1, &step);
    out.into()
}

/// The contents of an action that carries a step over. Its two texts are in the body, so that a
/// head stays small.
pub(crate) fn carried_contents(mut step: v1::Step) -> ActionContents {
    let texts = v1::Step {
        input: step.input.take(),
        output: step.output.take(),
        ..v1::Step::default()
    };
    let body = prost::Message::encode_to_vec(&texts);
    ActionContents {
        details: step_details(&step),
        body: (!body.is_empty()).then(|| body.into()),
        ..ActionContents::default()
    }
}

/// The step that such an action carries over, from its details and its body.
pub(crate) fn carried(step: v1::Step, body: Option<&[u8]>) -> Result<v1::Step, DecodeError> {
    let texts: v1::Step = parts::read("the body", body.unwrap_or_default())?;
    let (input, output) = (texts.input, texts.output);
    Ok(v1::Step {
        input,
        output,
        ..step
    })
}

/// The same details, with the version of the callable.
pub(crate) fn with_version(details: &[u8], version: &str) -> Box<[u8]> {
    let mut out = details.to_vec();
    put::text(&mut out, 2, version);
    out.into()
}

/// Encodes the details of an input that is kept.
pub(crate) fn input_details(key: &str) -> Box<[u8]> {
    let mut out = Vec::with_capacity(key.len() + 3);
    put::text(&mut out, 3, key);
    out.into()
}
