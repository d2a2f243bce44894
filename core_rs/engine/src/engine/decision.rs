//! Decisions: a fact that is not applied yet, with the contents of its rows.
//!
//! Owns how a decision leads to rows. Refuses to decide or apply anything.

use crate::fact::{
    Actor, Births, Entity, ErrorRecord, ExecutionChange, ExecutionFact, Fact, FactKind, Living,
    RequestFact, RequestKey, RequeueCause, RunChange, RunFact,
};
use crate::row::{
    ActionContents, ActionRow, AttemptRow, Bytes, EndingRow, KEPT_ATTEMPTS, Payload, PayloadRow,
    RequestRow, Row,
};
use crate::rules::id::{Birth, ExecutionId};
use crate::state::{State, actions_of};

/// A decided fact, and the further contents of its rows.
#[derive(Debug)]
pub(crate) struct Decision {
    pub(crate) actor: Actor,
    pub(crate) cause: Option<Entity>,
    pub(crate) kind: FactKind,
    pub(crate) contents: Contents,
}

/// Data that goes into rows only, not into the fact.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) payload: Option<Payload>,
    pub(crate) output: Option<Bytes>,
    pub(crate) error: Option<Box<ErrorRecord>>,
    /// The contents of the actions that the fact records, in order.
    pub(crate) actions: Vec<ActionContents>,
    /// The dependencies of a new execution.
    pub(crate) depends_on: Box<[ExecutionId]>,
}

impl Decision {
    /// A decision without contents for rows.
    pub(crate) fn of(actor: Actor, kind: FactKind) -> Self {
        Self {
            actor,
            cause: None,
            kind,
            contents: Contents::default(),
        }
    }

    /// The same decision, caused by the change of another entity.
    pub(crate) fn because_of(self, cause: Entity) -> Self {
        let cause = Some(cause);
        Self { cause, ..self }
    }

    /// The same decision, with contents for its rows.
    pub(crate) fn with(self, contents: Contents) -> Self {
        Self { contents, ..self }
    }

    /// The same decision, with an error for its row.
    pub(crate) fn with_error(self, error: impl Into<Box<ErrorRecord>>) -> Self {
        let error = Some(error.into());
        self.with(Contents {
            error,
            ..Contents::default()
        })
    }
}

/// The rows of a fact that was just applied. `held` says whether the execution was leased before
/// the fact; `last` is the last state of an execution that the fact ended.
pub(crate) fn rows_of(
    state: &State,
    fact: &Fact,
    contents: Contents,
    held: bool,
    last: Option<Box<Living>>,
) -> Vec<Row> {
    match &fact.kind {
        FactKind::Execution(change) => of_execution(state, change, fact, contents, (held, last)),
        FactKind::Request(RequestFact { request, births }) => {
            vec![request_row(*request, births.clone(), fact.at_ms)]
        }
        FactKind::Run(change) => of_run(state, change, contents.actions, fact.at_ms),
        FactKind::Tenant(_) | FactKind::Log(_) | FactKind::Agenda(_) => Vec::new(),
    }
}

fn of_execution(
    state: &State,
    fact: &ExecutionFact,
    envelope: &Fact,
    contents: Contents,
    (held, last): (bool, Option<Box<Living>>),
) -> Vec<Row> {
    match &fact.change {
        ExecutionChange::Enqueued(living) => of_birth(living, contents, envelope.at_ms),
        ExecutionChange::Requeued { cause, .. } => {
            of_attempt(state, fact.birth, *cause, contents.error, envelope.at_ms)
        }
        ExecutionChange::Ended(ended) => {
            let Some(last) = last else {
                return Vec::new();
            };
            let actor = &envelope.actor;
            of_end(EndingRow {
                id: last.id,
                tenant: last.tenant,
                status: ended.status,
                reason: ended.reason,
                actor: actor_of_end(actor, last.progress.last_worker.as_deref()),
                ended_at_ms: envelope.at_ms,
                ended_lease: last.verdict.map_or(held, |verdict| verdict.ended_lease),
                output: contents.output,
                error: contents.error,
                progress: last.progress,
            })
        }
        ExecutionChange::Discarded => vec![Row::DeadLetterDropped { birth: fact.birth }],
        ExecutionChange::Concluded(verdict) if verdict.ended_lease => {
            let cause = RequeueCause::of_end(verdict.ended);
            let error = verdict.error.clone().map(Box::new);
            of_attempt(state, fact.birth, cause, error, envelope.at_ms)
        }
        ExecutionChange::Deleted => vec![Row::Erased { birth: fact.birth }],
        ExecutionChange::Carried(_)
        | ExecutionChange::Due
        | ExecutionChange::Leased { .. }
        | ExecutionChange::Promoted { .. }
        | ExecutionChange::Concluded(_)
        | ExecutionChange::CancelRequested { .. } => Vec::new(),
    }
}

fn of_end(ending: EndingRow) -> Vec<Row> {
    let dead_letter = ending.dead_letter();
    let ending = Row::Ending(Box::new(ending));
    [ending].into_iter().chain(dead_letter).collect()
}

/// The actor that the ending names. The fact names the worker only by the lease; readers of the
/// ending see the worker's id.
fn actor_of_end(actor: &Actor, holder: Option<&str>) -> Actor {
    if *actor == Actor::holder() {
        return Actor::named(actor.kind, holder.unwrap_or_default());
    }
    actor.clone()
}

fn of_birth(living: &Living, contents: Contents, at_ms: u64) -> Vec<Row> {
    let payload = contents.payload.unwrap_or_default();
    let mut rows = vec![Row::Payload(Box::new(PayloadRow {
        id: living.id,
        queued_at_ms: living.queued_at_ms,
        depends_on: contents.depends_on,
        payload,
    }))];
    rows.extend(living.request.map(|request| {
        let births = Births::Run {
            first: living.id.birth,
            count: 1,
        };
        request_row(request, births, at_ms)
    }));
    rows
}

fn request_row(request: RequestKey, births: Births, at_ms: u64) -> Row {
    Row::Request(Box::new(RequestRow {
        at_ms,
        request,
        births,
    }))
}

fn of_run(state: &State, fact: &RunFact, contents: Vec<ActionContents>, at_ms: u64) -> Vec<Row> {
    let birth = fact.birth;
    let actions = actions_of(&fact.change);
    let recorded = state.run(birth).map_or(0, |run| run.actions);
    let attempt = state.slot(birth).map_or(0, |slot| slot.attempt);
    let first = recorded.saturating_sub(u32::try_from(actions.len()).unwrap_or(u32::MAX)) + 1;
    let contents = contents
        .into_iter()
        .chain(std::iter::repeat_with(Default::default));
    let rows = actions.into_iter().zip(contents).zip(first..);
    let rows = rows.map(|((action, contents), ordinal)| {
        Row::Action(Box::new(ActionRow {
            birth,
            ordinal,
            at_ms,
            attempt,
            action,
            contents,
        }))
    });
    let mut rows: Vec<_> = rows.collect();
    if matches!(fact.change, RunChange::Suspended { .. }) {
        rows.extend(of_attempt(
            state,
            birth,
            RequeueCause::Suspended,
            None,
            at_ms,
        ));
    }
    rows
}

fn of_attempt(
    state: &State,
    birth: Birth,
    cause: RequeueCause,
    error: Option<Box<ErrorRecord>>,
    at_ms: u64,
) -> Vec<Row> {
    let Some(slot) = state.slot(birth) else {
        return Vec::new();
    };
    let worker = state
        .extras(birth)
        .and_then(|extras| extras.last_worker.clone());
    let ordinal = state.lease_ordinal(birth);
    let mut rows = vec![Row::Attempt(Box::new(AttemptRow {
        birth,
        ordinal,
        attempt: slot.attempt,
        worker: worker.unwrap_or_default(),
        started_at_ms: state.leased_at_ms(birth),
        ended_at_ms: at_ms,
        cause,
        error,
        actions: state.run(birth).map_or(0, |run| run.actions),
    }))];
    if let Some(dropped) = ordinal.checked_sub(KEPT_ATTEMPTS).filter(|last| *last > 0) {
        rows.push(Row::AttemptDropped {
            birth,
            ordinal: dropped,
        });
    }
    rows
}
