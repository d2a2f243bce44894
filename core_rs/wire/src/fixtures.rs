//! Values for tests: arbitrary facts and rows, and the context that a request is checked in.
//!
//! Owns the strategies that make them. Refuses to be compiled outside of tests.

use std::sync::Arc;

use backlane_engine::fact::{
    Actor, AgendaChange, AgendaFact, Backoff, Births, CancelAsked, Ended, Entity, ErrorRecord,
    ExecutionChange, Fact, FactKind, Holding, Item, Living, LogFact, Outcome, OutcomeKind, Policy,
    Progress, RequestFact, RequestKey, RequeueCause, TenantFact, Verdict, Work,
};
use backlane_engine::row::{AttemptRow, EndingRow, Payload, PayloadRow, RequestRow};
use backlane_engine::rules::access::{Principal, TenantScope, VisibleTenant};
use backlane_engine::rules::id::{ExecutionId, LeaseToken};
use backlane_engine::rules::limits::Limits;
use backlane_engine::rules::retry::{Category, Retry, Strategy as Growth};
use backlane_engine::rules::status::{ActorKind, Cancellation, EndReason, Phase, Status};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use crate::{ApiError, Context};

pub(crate) mod runs;

/// An id that a server could have made.
/// The head of the payload row of an execution.
pub(crate) fn payload_head(id: &ExecutionId, head: Vec<u8>) -> Vec<u8> {
    let payload = Payload { head, body: None };
    let row = PayloadRow {
        id: *id,
        queued_at_ms: 7,
        depends_on: Box::default(),
        payload,
    };
    crate::row::payload::encode(row).0
}

pub(crate) const ID: ExecutionId = ExecutionId {
    seconds: 390_000_000,
    salt: 3,
    birth: 77,
    random: 0x0123_4567_89AB_CDEF,
};

/// A caller who may act for the tenant `acme` only.
pub(crate) fn acme_only() -> Principal {
    let tenants = TenantScope::Only(["acme".into()].into());
    Principal {
        name: "acme-key".into(),
        tenants,
        ..Principal::default()
    }
}

/// A tenant, seen by a caller who may act for every tenant.
pub(crate) fn visible(tenant: &str) -> VisibleTenant {
    Principal::default().sees(tenant).unwrap()
}

/// A function that reads and checks one kind of request.
pub(crate) type Decode<T> = fn(&[u8], &mut Context<'_>) -> Result<T, ApiError>;

/// Checks a request of a caller with every permission, within the default limits.
pub(crate) fn call<T>(decode: Decode<T>, message: &impl prost::Message) -> Result<T, ApiError> {
    call_as(&Principal::default(), decode, &message.encode_to_vec())
}

/// Checks an encoded request of the given caller, within the default limits.
pub(crate) fn call_as<T>(
    principal: &Principal,
    decode: Decode<T>,
    bytes: &[u8],
) -> Result<T, ApiError> {
    with_context(principal, |context| decode(bytes, context))
}

/// The wall clock of every context, in milliseconds since the epoch.
pub(crate) const NOW_MS: u64 = 1_700_000_000_000;

/// Calls `run` with a context of the default limits.
pub(crate) fn with_context<T>(principal: &Principal, run: impl FnOnce(&mut Context<'_>) -> T) -> T {
    let mut random = || 5;
    let limits = Limits::default();
    run(&mut Context {
        limits: &limits,
        principal,
        random: &mut random,
        wall_ms: NOW_MS,
    })
}

/// The reason and the first refused field of an error, as `REASON field`.
pub(crate) fn named<T: std::fmt::Debug>(result: Result<T, ApiError>) -> String {
    let error = result.unwrap_err();
    let field = error.metadata("field").unwrap_or_default();
    format!("{} {field}", error.reason().name())
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,12}"
}

fn shared() -> impl Strategy<Value = Arc<str>> {
    text().prop_map(Arc::from)
}

fn token() -> impl Strategy<Value = LeaseToken> {
    any::<(u16, u64, u64, u64)>().prop_map(|(shard, epoch, counter, random)| LeaseToken {
        shard,
        epoch,
        counter,
        random,
    })
}

fn holding() -> impl Strategy<Value = Holding> {
    let names = (shared(), shared());
    (token(), names, any::<u64>()).prop_map(|(token, (worker, principal), duration_ms)| Holding {
        token,
        worker,
        principal,
        duration_ms,
    })
}

pub(crate) fn actor() -> impl Strategy<Value = Actor> {
    (select(ActorKind::ALL), text()).prop_map(|(kind, id)| Actor {
        kind,
        id: id.into(),
    })
}

fn cancel() -> impl Strategy<Value = CancelAsked> {
    (any::<u64>(), select(EndReason::ALL), actor()).prop_map(|(at_ms, reason, actor)| CancelAsked {
        at_ms,
        reason,
        actor,
    })
}

fn outcome() -> impl Strategy<Value = Outcome> {
    (token(), select(OutcomeKind::ALL)).prop_map(|(token, kind)| Outcome { token, kind })
}

fn id() -> impl Strategy<Value = ExecutionId> {
    any::<(u32, u16, u64, u64)>().prop_map(|(seconds, salt, birth, random)| ExecutionId {
        seconds,
        salt,
        birth: birth >> 16,
        random,
    })
}

fn retry() -> impl Strategy<Value = Retry> {
    let numbers = (1..=u32::MAX, any::<u64>(), 0.0..f64::MAX, any::<u64>());
    let rest = (select(Growth::ALL), any::<bool>(), 0..1_u32 << 9);
    (numbers, rest).prop_map(
        |((most, initial, multiplier, cap), (strategy, jitter, on))| Retry {
            max_attempts: most,
            strategy,
            initial_delay_ms: initial,
            backoff_multiplier: multiplier,
            max_delay_ms: cap,
            jitter,
            retry_on: on & !1,
        },
    )
}

pub(crate) fn policy() -> impl Strategy<Value = Policy> {
    let numbers = (any::<u64>(), any::<u32>());
    let rules = (of(retry()), select(Cancellation::ALL));
    (numbers, rules).prop_map(|(numbers, (retry, cancellation))| Policy {
        timeout_ms: numbers.0,
        max_worker_losses: numbers.1,
        retry,
        cancellation,
    })
}

prop_compose! {
    pub(crate) fn progress()(
        phase in select(Phase::ALL),
        (attempt, spent, losses, undelivered) in any::<(u32, u32, u8, u8)>(),
        (version, updated_at_ms) in (0..u32::MAX, any::<u64>()),
        (started_at_ms, backoff) in (any::<Option<u64>>(), of(backoff())),
        (holding, last_worker) in (of(holding()), of(shared())),
        (cancel, outcome, last_failed) in (of(cancel()), of(outcome()), any::<Option<u32>>()),
        (resumes, is_paused, leased_at_ms) in any::<(u32, bool, Option<u64>)>(),
    ) -> Progress {
        Progress {
            phase, attempt, spent, losses, undelivered, version, updated_at_ms, started_at_ms,
            backoff, holding, last_worker, last_failed, cancel, outcome, resumes, is_paused,
            leased_at_ms,
        }
    }
}

fn backoff() -> impl Strategy<Value = Backoff> {
    let any = any::<(u64, u64)>();
    any.prop_map(|(delay_ms, until_ms)| Backoff { delay_ms, until_ms })
}

pub(crate) fn request() -> impl Strategy<Value = RequestKey> {
    any::<([u8; 16], [u8; 16])>().prop_map(|(key, body)| RequestKey { key, body })
}

prop_compose! {
    pub(crate) fn living()(
        id in id(),
        (tenant, callable) in (shared(), shared()),
        (priority, queued_at_ms, payload_bytes) in any::<(u8, u64, u32)>(),
        (policy, progress) in (policy(), progress()),
        instants in any::<(Option<u64>, Option<u64>, Option<u64>)>(),
        (dedup_key, request) in (of(text()), of(request())),
        edges in (vec(any::<u64>(), 0..4), vec(any::<u64>(), 0..4)),
        retried_from in any::<Option<u64>>(),
        family in (vec(any::<u64>(), 0..4), of(verdict())),
    ) -> Living {
        Living {
            id, tenant, callable, priority, queued_at_ms, policy, payload_bytes, progress, request,
            retried_from,
            not_before_ms: instants.0,
            start_deadline_ms: instants.1,
            deadline_ms: instants.2,
            dedup_key: dedup_key.map(String::into_boxed_str),
            waits_for: edges.0.into(),
            stands_for: edges.1.into(),
            ancestors: family.0.into(),
            verdict: family.1.map(Box::new),
        }
    }
}

pub(crate) fn error_record() -> impl Strategy<Value = ErrorRecord> {
    let parts = (select(Category::ALL), text(), of(text()));
    let rest = (any::<u32>(), any::<u64>());
    (parts, rest).prop_map(|((category, message, code), (attempt, at))| ErrorRecord {
        category,
        message: message.into(),
        code: code.map(String::into_boxed_str),
        attempt,
        occurred_at_ms: at,
        // Field 8 of the API's ExecutionError.
        extra: [0x40, 0x2A].into(),
    })
}

fn verdict() -> impl Strategy<Value = Verdict> {
    let rest = (any::<bool>(), of(error_record()));
    (ended(), actor(), rest).prop_map(|(ended, actor, (ended_lease, error))| Verdict {
        ended,
        actor,
        ended_lease,
        error,
    })
}

fn ended() -> impl Strategy<Value = Ended> {
    let why = (select(Status::ALL), select(EndReason::ALL));
    let outcome = of(select(OutcomeKind::ALL));
    (why, outcome).prop_map(|((status, reason), outcome)| Ended {
        status,
        reason,
        outcome,
    })
}

prop_compose! {
    pub(crate) fn ending()(
        (id, tenant, ended) in (id(), shared(), ended()),
        (actor, error) in (actor(), of(error_record())),
        (ended_at_ms, ended_lease) in any::<(u64, bool)>(),
        output in of(vec(any::<u8>(), 0..40)),
        progress in progress(),
    ) -> EndingRow {
        EndingRow {
            id, tenant, actor, ended_at_ms, ended_lease, progress,
            status: ended.status,
            reason: ended.reason,
            output: output.map(Arc::from),
            error: error.map(Box::new),
        }
    }
}

prop_compose! {
    pub(crate) fn attempt()(
        (birth, ordinal, attempt, actions) in any::<(u64, u32, u32, u32)>(),
        (worker, error) in (shared(), of(error_record())),
        (started_at_ms, ended_at_ms) in any::<(u64, u64)>(),
        cause in select(RequeueCause::ALL),
    ) -> AttemptRow {
        let error = error.map(Box::new);
        AttemptRow {
            birth, ordinal, attempt, worker, started_at_ms, ended_at_ms, cause, error, actions,
        }
    }
}

pub(crate) fn request_row() -> impl Strategy<Value = RequestRow> {
    (any::<u64>(), request(), births()).prop_map(|(at_ms, request, births)| RequestRow {
        at_ms,
        request,
        births,
    })
}

pub(crate) fn births() -> impl Strategy<Value = Births> {
    prop_oneof![
        any::<(u64, u32)>().prop_map(|(first, count)| Births::Run { first, count }),
        vec(any::<u64>(), 1..5).prop_map(|listed| Births::List(listed.into())),
    ]
}

fn change() -> impl Strategy<Value = ExecutionChange> {
    let requeued = (select(RequeueCause::ALL), of(backoff()), any::<bool>());
    let requeued = requeued.prop_map(|(cause, backoff, is_unbegun)| ExecutionChange::Requeued {
        cause,
        backoff,
        is_unbegun,
    });
    prop_oneof![
        Just(ExecutionChange::Due),
        (holding(), any::<u32>())
            .prop_map(|(holding, attempt)| ExecutionChange::Leased { holding, attempt }),
        requeued,
        select(EndReason::ALL).prop_map(|reason| ExecutionChange::CancelRequested { reason }),
        ended().prop_map(ExecutionChange::Ended),
        any::<bool>().prop_map(|is_due| ExecutionChange::Promoted { is_due }),
        Just(ExecutionChange::Discarded),
        Just(ExecutionChange::Deleted),
        verdict().prop_map(|verdict| ExecutionChange::Concluded(Box::new(verdict))),
    ]
}

fn item() -> impl Strategy<Value = Item> {
    let numbers = any::<(u64, u64, u64, bool)>();
    numbers.prop_map(|(after, ended, gate, completed)| {
        let work = if gate % 4 == 0 {
            Work::Cancel { ancestor: ended }
        } else {
            Work::Settle {
                ended,
                gate,
                completed,
            }
        };
        Item { work, after }
    })
}

fn on_agenda() -> impl Strategy<Value = AgendaChange> {
    prop_oneof![
        item().prop_map(AgendaChange::Opened),
        item().prop_map(AgendaChange::Carried),
        any::<u64>().prop_map(|after| AgendaChange::Advanced { after }),
        Just(AgendaChange::Closed),
    ]
}

fn kind() -> impl Strategy<Value = FactKind> {
    let limit = (shared(), of(shared()), any::<Option<u32>>());
    let of_living = |living: Living, carried| {
        let (birth, living) = (living.id.birth, Box::new(living));
        let change = if carried {
            ExecutionChange::Carried(living)
        } else {
            ExecutionChange::Enqueued(living)
        };
        FactKind::execution(birth, change)
    };
    prop_oneof![
        (living(), any::<bool>()).prop_map(move |(living, carried)| of_living(living, carried)),
        (any::<u64>(), change()).prop_map(|(birth, change)| FactKind::execution(birth, change)),
        limit.prop_map(|(tenant, callable, max_running)| {
            FactKind::Tenant(TenantFact::LimitSet {
                tenant,
                callable,
                max_running,
            })
        }),
        any::<(u64, u64)>().prop_map(|(next_birth, next_item)| {
            FactKind::Log(LogFact::RoundBegan {
                next_birth,
                next_item,
            })
        }),
        (any::<u64>(), on_agenda())
            .prop_map(|(number, change)| { FactKind::Agenda(AgendaFact { number, change }) }),
        (request(), births())
            .prop_map(|(request, births)| FactKind::Request(RequestFact { request, births })),
        (any::<u64>(), runs::change()).prop_map(|(birth, change)| FactKind::run(birth, change)),
    ]
}

pub(crate) fn fact() -> impl Strategy<Value = Fact> {
    let cause = of(prop_oneof![
        any::<u64>().prop_map(Entity::Execution),
        any::<u64>().prop_map(Entity::Agenda),
    ]);
    (any::<u64>(), actor(), cause, kind()).prop_map(|(at_ms, actor, cause, kind)| Fact {
        at_ms,
        actor,
        cause,
        kind,
    })
}

/// A JSON value that nests a few levels deep.
pub(crate) fn json() -> impl Strategy<Value = prost_types::Value> {
    use prost_types::value::Kind;
    let leaf = prop_oneof![
        Just(Kind::NullValue(0)),
        any::<bool>().prop_map(Kind::BoolValue),
        (-1e300..1e300).prop_map(Kind::NumberValue),
        text().prop_map(Kind::StringValue),
    ];
    let leaf = leaf.prop_map(|kind| prost_types::Value { kind: Some(kind) });
    leaf.prop_recursive(4, 32, 4, |inner| {
        let list = vec(inner.clone(), 0..4)
            .prop_map(|values| Kind::ListValue(prost_types::ListValue { values }));
        let fields = proptest::collection::btree_map(text(), inner, 0..4);
        let object = fields.prop_map(|fields| Kind::StructValue(prost_types::Struct { fields }));
        prop_oneof![list, object].prop_map(|kind| prost_types::Value { kind: Some(kind) })
    })
}
