//! Requests about runs that workers send: step reports and suspensions, in calls and on streams.
//!
//! Owns the field rules of these requests, and what of a step is kept for readers. Refuses to know
//! which action a run allows: the engine does.

use backlane_engine::command::{
    Held, NewAction, NewWait, NewWaitEnd, SpawnStep, StepReport, Suspension,
};
use backlane_engine::row::{ActionContents, Bytes};
use backlane_engine::rules::id::ExecutionId;
use backlane_engine::rules::limits::{Limits, MAX_RUN_BYTES};
use backlane_engine::rules::run::{Action, MAX_STEPS};
use backlane_engine::rules::step::{StepId, WaitReason};

use crate::context::Context;
use crate::error::ApiError;
use crate::fields::{self, Checked, broken, choice, must, text_of};
use crate::generated::backlane::v1;
use crate::row::action::{step_details, with_version};
use crate::scan::Fields;
use crate::{failure, worker};

/// The fields that repeat within each other: reports, their actions, their plans; or suspensions
/// and their waits.
const NESTED: [u32; 3] = [1, 3, 1];
/// Fields of an ordinary item. An action has fewer, a wait has more.
const FIELDS_PER_ITEM: usize = 4;
/// Most actions of one report.
const MAX_ACTIONS: usize = 1_000;
/// Most waits of one suspension.
const MAX_WAITS: usize = 100;
/// Longest name and longest key of a step, in bytes.
const MAX_NAME_BYTES: usize = 128;
/// Longest version of a callable, in bytes.
const MAX_VERSION_BYTES: usize = 128;
/// Longest hash of a step's arguments, in bytes.
const MAX_HASH_BYTES: usize = 32;
/// Longest reason for skipping a step, in bytes.
const MAX_REASON_BYTES: usize = 1_024;
/// 36 500 days.
const MAX_WAIT_MS: u64 = 36_500 * 24 * 3_600_000;

/// Step reports. An error stands for an item that could not be read.
pub type StepReports = Vec<Result<(Held, Versioned<StepReport>), ApiError>>;
/// Suspensions. An error stands for an item that could not be read.
pub type Suspensions = Vec<Result<(Held, Versioned<Suspension>), ApiError>>;

/// A command about a run, with the version of the callable that the worker runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Versioned<T> {
    /// The command.
    pub command: T,
    version: Box<str>,
}

impl Versioned<StepReport> {
    /// The command. With `is_first`, the version is recorded: the run has no step yet.
    #[must_use]
    pub fn recorded(mut self, is_first: bool) -> StepReport {
        let first = self.command.actions.first_mut();
        record(first.map(|it| &mut it.contents), &self.version, is_first);
        self.command
    }
}

impl Versioned<Suspension> {
    /// The command. With `is_first`, the version is recorded: the run has no step yet.
    #[must_use]
    pub fn recorded(mut self, is_first: bool) -> Suspension {
        let first = self.command.waits.first_mut();
        record(first.map(|it| &mut it.contents), &self.version, is_first);
        self.command
    }
}

impl Versioned<SpawnStep> {
    /// The command. With `is_first`, the version is recorded: the run has no step yet.
    #[must_use]
    pub fn recorded(mut self, is_first: bool) -> SpawnStep {
        record(Some(&mut self.command.contents), &self.version, is_first);
        self.command
    }
}

fn record(first: Option<&mut ActionContents>, version: &str, is_first: bool) {
    if let Some(contents) = first.filter(|_| is_first && !version.is_empty()) {
        contents.details = with_version(&contents.details, version);
    }
}

/// Reads and checks a `ReportStepsRequest`.
///
/// # Errors
/// [`ApiError`] naming the broken field.
pub fn decode_steps(bytes: &[u8], context: &mut Context<'_>) -> Result<StepReports, ApiError> {
    few_actions(bytes, context.limits)?;
    let message = fields::message(bytes, context.limits)?;
    Ok(reports(message, "reports", context.limits)?)
}

/// Reads and checks a `SuspendRequest`.
///
/// # Errors
/// [`ApiError`] naming the broken field.
pub fn decode_suspend(bytes: &[u8], context: &mut Context<'_>) -> Result<Suspensions, ApiError> {
    few_actions(bytes, context.limits)?;
    let message = fields::message(bytes, context.limits)?;
    Ok(suspensions(message, "suspensions", context)?)
}

/// Refuses a request with far too many actions, waits or planned steps before it is decoded.
pub(crate) fn few_actions(bytes: &[u8], limits: &Limits) -> Checked<()> {
    let nested = inside(bytes, &NESTED)?;
    fields::few(nested / FIELDS_PER_ITEM, limits)
}

/// Counts the fields of a message, and those of the messages in its fields of these numbers.
fn inside(message: &[u8], path: &[u32]) -> Checked<usize> {
    let mut count = fields::fields_in(message)?;
    if let Some((tag, deeper)) = path.split_first() {
        let fields = Fields::of(message).flatten();
        for (_, wire) in fields.filter(|(found, _)| found == tag) {
            // What is no message is refused when it is decoded.
            count += inside(wire.bytes(), deeper).unwrap_or(0);
        }
    }
    Ok(count)
}

/// The items of a `ReportStepsRequest`, checked. `list` is the path of the list.
pub(crate) fn reports(
    message: v1::ReportStepsRequest,
    list: &str,
    limits: &Limits,
) -> Checked<StepReports> {
    fields::filled("reports", &message.reports, limits.max_lease_items)?;
    Ok(worker::each_at(list, message.reports, |at, report| {
        let held = worker::holder(&report.execution_id, &report.lease_token)?;
        let version = version(&report.schema_version)?;
        fields::filled("actions", &report.actions, MAX_ACTIONS)?;
        let mut actions = Vec::with_capacity(report.actions.len());
        for (index, action) in report.actions.into_iter().enumerate() {
            let path = format!("{at}.actions[{index}]");
            let added = add(action, &path, limits, &mut actions);
            added.map_err(|fault| fault.in_item("actions", index))?;
        }
        let command = StepReport {
            actions,
            sequence: report.sequence,
        };
        Ok((held, Versioned { command, version }))
    }))
}

fn version(given: &str) -> Checked<Box<str>> {
    text_of("schema_version", given, 0..=MAX_VERSION_BYTES)?;
    Ok(given.into())
}

fn add(
    action: v1::StepAction,
    path: &str,
    limits: &Limits,
    actions: &mut Vec<NewAction>,
) -> Checked<()> {
    use v1::step_action::Action as Given;
    let (name, added) = match action.action {
        None => return broken("action", "must be given"),
        Some(Given::Planned(plan)) => ("planned", planned(plan, path, actions)),
        Some(Given::Started(new)) => ("started", started(new, path).map(|new| actions.push(new))),
        Some(Given::Completed(done)) => {
            let new = completed(done, path);
            ("completed", new.map(|new| actions.push(new)))
        }
        Some(Given::Failed(failed)) => {
            let new = self::failed(failed, path, limits);
            ("failed", new.map(|new| actions.push(new)))
        }
        Some(Given::Skipped(skipped)) => {
            let new = self::skipped(skipped, path);
            ("skipped", new.map(|new| actions.push(new)))
        }
    };
    added.map_err(|fault| fault.within(name))
}

fn planned(plan: v1::StepsPlanned, path: &str, actions: &mut Vec<NewAction>) -> Checked<()> {
    let rule = format!("must hold at most {MAX_STEPS} items");
    must(plan.steps.len() <= MAX_STEPS, "steps", &rule)?;
    actions.push(NewAction {
        action: Action::Plan,
        contents: ActionContents::default(),
        field: format!("{path}.planned").into(),
    });
    for (index, step) in plan.steps.into_iter().enumerate() {
        let new = new_step(step).map_err(|fault| fault.in_item("steps", index))?;
        let field = format!("{path}.planned.steps[{index}].step_id");
        actions.push(named(Action::StepAdded, new, field));
    }
    Ok(())
}

fn started(step: v1::NewStep, path: &str) -> Checked<NewAction> {
    let field = format!("{path}.started.step_id");
    Ok(named(Action::StepStarted, new_step(step)?, field))
}

fn completed(done: v1::StepCompleted, path: &str) -> Checked<NewAction> {
    let id = StepId::parse("step_id", &done.step_id)?;
    let contents = ActionContents {
        body: opaque("output", done.output)?,
        ..ActionContents::default()
    };
    let field = format!("{path}.completed.step_id");
    Ok(named(Action::StepCompleted, (id, contents), field))
}

fn failed(failed: v1::StepFailed, path: &str, limits: &Limits) -> Checked<NewAction> {
    let id = StepId::parse("step_id", &failed.step_id)?;
    let step = v1::Step {
        error: Some(failure::of_step(failed.error, limits)?),
        ..v1::Step::default()
    };
    let field = format!("{path}.failed.step_id");
    Ok(named(Action::StepFailed, (id, of_step(&step)), field))
}

fn skipped(skipped: v1::StepSkipped, path: &str) -> Checked<NewAction> {
    let id = StepId::parse("step_id", &skipped.step_id)?;
    let reason = skipped.reason;
    fields::size(
        "reason",
        reason.as_ref().map_or(0, String::len),
        MAX_REASON_BYTES,
    )?;
    let contents = ActionContents {
        body: opaque("reason", reason)?,
        ..ActionContents::default()
    };
    let field = format!("{path}.skipped.step_id");
    Ok(named(Action::StepSkipped, (id, contents), field))
}

fn named(
    action: fn(StepId) -> Action,
    (id, contents): (StepId, ActionContents),
    field: String,
) -> NewAction {
    NewAction {
        action: action(id),
        contents,
        field: field.into(),
    }
}

fn of_step(step: &v1::Step) -> ActionContents {
    ActionContents {
        details: step_details(step),
        ..ActionContents::default()
    }
}

/// Text that the server does not read.
fn opaque(field: &str, text: Option<String>) -> Checked<Option<Bytes>> {
    let most = usize::try_from(MAX_RUN_BYTES).unwrap_or(usize::MAX);
    fields::size(field, text.as_ref().map_or(0, String::len), most)?;
    Ok(text.map(|text| Bytes::from(text.into_bytes())))
}

fn new_step(new: v1::NewStep) -> Checked<(StepId, ActionContents)> {
    let id = StepId::parse("step_id", &new.step_id)?;
    if let Some(parent) = &new.parent_step_id {
        StepId::parse("parent_step_id", parent)?;
    }
    let kind = choice("step_type", new.step_type, step_type)?;
    text_of("name", &new.name, 1..=MAX_NAME_BYTES)?;
    check_source(new.source.as_ref()).map_err(|fault| fault.within("source"))?;
    fields::short("callable_id", new.callable_id.as_deref())?;
    fields::short("callable_type", new.callable_type.as_deref())?;
    check_key(&new.key, "key", &new.arguments_hash)?;
    let body = opaque("input", new.input)?;
    let step = v1::Step {
        parent_step_id: new.parent_step_id,
        step_type: kind.unwrap_or(v1::StepType::Function).into(),
        name: new.name,
        source: new.source,
        callable_id: new.callable_id,
        callable_type: new.callable_type,
        key: new.key,
        arguments_hash: new.arguments_hash,
        ..v1::Step::default()
    };
    let contents = ActionContents {
        body,
        ..of_step(&step)
    };
    Ok((id, contents))
}

/// The step of a parent in which it spawns a child, checked.
pub(crate) fn spawn_step(new: v1::NewStep, version: &str) -> Checked<Versioned<SpawnStep>> {
    let version = self::version(version)?;
    let (step, contents) = new_step(new).map_err(|fault| fault.within("step"))?;
    let command = SpawnStep { step, contents };
    Ok(Versioned { command, version })
}

fn step_type(number: u32) -> Option<v1::StepType> {
    v1::StepType::try_from(i32::try_from(number).ok()?).ok()
}

fn source_type(number: u32) -> Option<v1::StepSourceType> {
    v1::StepSourceType::try_from(i32::try_from(number).ok()?).ok()
}

fn check_source(source: Option<&v1::StepSource>) -> Checked<()> {
    let Some(source) = source else {
        return Ok(());
    };
    choice("source_type", source.source_type, source_type)?;
    fields::short("triggered_by", source.triggered_by.as_deref())?;
    fields::short("reason", source.reason.as_deref())?;
    fields::short("spawn_mode", source.spawn_mode.as_deref())
}

fn check_key(key: &str, field: &str, arguments_hash: &[u8]) -> Checked<()> {
    text_of(field, key, 0..=MAX_NAME_BYTES)?;
    fields::size("arguments_hash", arguments_hash.len(), MAX_HASH_BYTES)
}

/// The items of a `SuspendRequest`, checked. `list` is the path of the list.
pub(crate) fn suspensions(
    message: v1::SuspendRequest,
    list: &str,
    context: &Context<'_>,
) -> Checked<Suspensions> {
    let (limits, wall_ms) = (context.limits, context.wall_ms);
    fields::filled("suspensions", &message.suspensions, limits.max_lease_items)?;
    Ok(worker::each_at(list, message.suspensions, |at, given| {
        let held = worker::holder(&given.execution_id, &given.lease_token)?;
        let version = version(&given.schema_version)?;
        let rule = format!("must hold at most {MAX_WAITS} items");
        must(given.waits.len() <= MAX_WAITS, "waits", &rule)?;
        let mut waits = Vec::with_capacity(given.waits.len());
        for (index, point) in given.waits.into_iter().enumerate() {
            let wait = wait(point, wall_ms).map_err(|fault| fault.in_item("waits", index))?;
            waits.push(wait);
        }
        let command = Suspension {
            waits,
            field: at.into(),
        };
        Ok((held, Versioned { command, version }))
    }))
}

fn wait(point: v1::WaitPoint, wall_ms: u64) -> Checked<NewWait> {
    let step = StepId::parse("step_id", &point.step_id)?;
    text_of("name", &point.name, 1..=MAX_NAME_BYTES)?;
    let reason = choice("reason", point.reason, WaitReason::from_number)?;
    text_of("key", &point.key, 0..=MAX_NAME_BYTES)?;
    check_key(&point.step_key, "step_key", &point.arguments_hash)?;
    let child = point.child_execution_id.as_deref();
    let child = child.map(|child| ExecutionId::parse("child_execution_id", child));
    let child = child.transpose()?;
    let end = wait_end(&point)?;
    let key = Some(point.key).filter(|key| !key.is_empty());
    let shown = v1::Step {
        step_type: v1::StepType::Wait.into(),
        name: point.name,
        key: point.step_key,
        arguments_hash: point.arguments_hash,
        wait_reason: point.reason,
        wait_until: match end {
            NewWaitEnd::Never => None,
            NewWaitEnd::At(at_ms) => Some(at_ms),
            NewWaitEnd::After(ms) => Some(wall_ms.saturating_add(ms)),
        },
        child_execution_id: point.child_execution_id,
        input_key: key.clone(),
        ..v1::Step::default()
    };
    Ok(NewWait {
        step,
        reason: reason.unwrap_or_default(),
        key: key.map(String::into_boxed_str),
        end,
        child,
        contents: of_step(&shown),
    })
}

fn wait_end(point: &v1::WaitPoint) -> Checked<NewWaitEnd> {
    let until = fields::instant("wait_until", point.wait_until)?;
    let Some(wait_ms) = point.wait_ms else {
        return Ok(until.map_or(NewWaitEnd::Never, NewWaitEnd::At));
    };
    must(
        until.is_none(),
        "wait_ms",
        "must be absent if wait_until is given",
    )?;
    fields::within("wait_ms", wait_ms, &(0..=MAX_WAIT_MS)).map(NewWaitEnd::After)
}

#[cfg(test)]
mod tests;
