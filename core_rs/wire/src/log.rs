//! Facts in the log on disk.
//!
//! Owns the encoding and decoding of `log.v1.Fact`, and the refusal of facts that this version does
//! not know: applying a fact that is only half understood would lead to a wrong state. Each entity
//! with many kinds of facts has a module of its own. Refuses to know frames, sequences and files.

mod agenda;
mod execution;
pub(crate) mod parts;
pub(crate) mod run;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use backlane_engine::fact::{Entity, Fact, FactKind, LogFact, RequestFact, TenantFact};
use prost::Message as _;

use crate::generated::backlane::log::v1;
use crate::scan::{Fields, Wire};
use crate::{DecodeError, put};

/// The version of facts that this program writes, and the newest version that it reads.
const VERSION: u64 = 1;

const AT_MS: u32 = 1;
const VERSION_TAG: u32 = 2;
const ACTOR: u32 = 3;
const CAUSE: u32 = 4;
const EXECUTION: u32 = 8;
const TENANT: u32 = 9;
const REQUEST: u32 = 10;
const LOG: u32 = 11;
const RUN: u32 = 12;
const AGENDA: u32 = 13;

/// Appends an encoded `log.v1.Fact`, preceded by its length.
pub fn encode_fact(fact: &Fact, out: &mut Vec<u8>) {
    put::prefixed(out, |out| {
        put::uint(out, AT_MS, fact.at_ms);
        parts::put_actor(out, ACTOR, &fact.actor);
        if let Some(cause) = fact.cause {
            put::message(out, CAUSE, |out| put_entity(out, cause));
        }
        match &fact.kind {
            FactKind::Execution(fact) => {
                put::message(out, EXECUTION, |out| execution::put_fact(out, fact));
            }
            FactKind::Tenant(fact) => put::message(out, TENANT, |out| put_tenant(out, fact)),
            FactKind::Request(fact) => put::message(out, REQUEST, |out| {
                parts::put_request(out, 1, &fact.request);
                parts::put_births(out, &fact.births);
            }),
            FactKind::Log(fact) => put::message(out, LOG, |out| put_log(out, fact)),
            FactKind::Run(fact) => put::message(out, RUN, |out| run::put_fact(out, fact)),
            FactKind::Agenda(fact) => {
                put::message(out, AGENDA, |out| agenda::put_fact(out, *fact));
            }
        }
    });
}

fn put_entity(out: &mut Vec<u8>, entity: Entity) {
    match entity {
        Entity::Execution(birth) => put::some_uint(out, 1, Some(birth)),
        Entity::Agenda(number) => put::some_uint(out, 2, Some(number)),
    }
}

fn put_log(out: &mut Vec<u8>, fact: &LogFact) {
    match fact {
        LogFact::RoundBegan {
            next_birth,
            next_item,
        } => put::message(out, 1, |out| {
            put::uint(out, 1, *next_birth);
            put::uint(out, 2, *next_item);
        }),
    }
}

fn put_tenant(out: &mut Vec<u8>, fact: &TenantFact) {
    match fact {
        TenantFact::LimitSet {
            tenant,
            callable,
            max_running,
        } => put::message(out, 1, |out| {
            put::text(out, 1, tenant);
            put::some_text(out, 2, callable.as_deref());
            put::some_uint(out, 3, *max_running);
        }),
    }
}

/// Passes every fact of a frame to `each`, in order.
///
/// # Errors
/// A [`DecodeError`] naming the malformed, missing or unknown part, or the error that `each`
/// returned.
pub fn decode_facts<E: From<DecodeError>>(
    frame: &[u8],
    each: &mut dyn FnMut(Fact) -> Result<(), E>,
) -> Result<(), E> {
    facts(frame).try_for_each(|fact| each(fact?))
}

/// The facts of a frame in order, each by itself: a fact that cannot be decoded does not hide
/// those after it. Where the frame is cut off, the last one says so.
pub fn facts(frame: &[u8]) -> impl Iterator<Item = Result<Fact, DecodeError>> + '_ {
    let mut unread = Fields::of(frame);
    std::iter::from_fn(move || {
        if unread.rest().is_empty() {
            return None;
        }
        let read = unread.length_delimited().map(fact);
        Some(read.unwrap_or_else(|| {
            unread = Fields::of(&[]);
            Err(DecodeError::malformed("Fact", &"it is cut off"))
        }))
    })
}

fn fact(bytes: &[u8]) -> Result<Fact, DecodeError> {
    let (mut at_ms, mut actor, mut cause, mut kind) = (0, None, None, None);
    for field in Fields::of(bytes) {
        let (number, wire) = field.map_err(|error| DecodeError::malformed("Fact", &error))?;
        match (number, wire) {
            (AT_MS, Wire::Varint(at)) => at_ms = at,
            (VERSION_TAG, Wire::Varint(version)) if version <= VERSION => {}
            (VERSION_TAG, wire) => {
                return Err(DecodeError::UnknownNumber {
                    what: "Fact.version",
                    number: wire.uint(),
                });
            }
            (ACTOR, wire) => actor = Some(parts::read("Fact.actor", wire.bytes())?),
            (CAUSE, wire) => cause = Some(entity(wire.bytes())?),
            (number, wire) => kind = Some(self::kind(number, wire.bytes())?),
        }
    }
    Ok(Fact {
        at_ms,
        actor: parts::actor(parts::present("Fact.actor", actor)?)?,
        cause,
        kind: parts::present("Fact.kind", kind)?,
    })
}

fn entity(bytes: &[u8]) -> Result<Entity, DecodeError> {
    let from: v1::Entity = parts::read("Fact.cause", bytes)?;
    match parts::present("Entity.entity", from.entity)? {
        v1::entity::Entity::Execution(birth) => Ok(Entity::Execution(birth)),
        v1::entity::Entity::Agenda(number) => Ok(Entity::Agenda(number)),
    }
}

fn kind(number: u32, bytes: &[u8]) -> Result<FactKind, DecodeError> {
    Ok(match number {
        EXECUTION => {
            let from = v1::ExecutionFact::decode(bytes);
            let from = from.map_err(|error| DecodeError::malformed("Fact.execution", &error))?;
            FactKind::Execution(execution::fact(from)?)
        }
        TENANT => FactKind::Tenant(tenant(parts::read("Fact.tenant", bytes)?)?),
        REQUEST => {
            let from: v1::RequestFact = parts::read("Fact.request", bytes)?;
            let request = parts::present("RequestFact.request", from.request)?;
            FactKind::Request(RequestFact {
                request: parts::request(&request)?,
                births: parts::births(from.first_birth, from.count, from.listed),
            })
        }
        AGENDA => FactKind::Agenda(agenda::fact(parts::read("Fact.agenda", bytes)?)?),
        LOG => FactKind::Log(log_fact(parts::read("Fact.log", bytes)?)?),
        RUN => FactKind::Run(run::fact(parts::read("Fact.run", bytes)?)?),
        number => return Err(DecodeError::UnknownKind { number }),
    })
}

fn tenant(from: v1::TenantFact) -> Result<TenantFact, DecodeError> {
    use v1::tenant_fact::Change;
    match parts::change("TenantFact", from.change)? {
        Change::LimitSet(set) => Ok(TenantFact::LimitSet {
            tenant: set.tenant.into(),
            callable: set.callable.map(Arc::from),
            max_running: set.max_running,
        }),
    }
}

fn log_fact(from: v1::LogFact) -> Result<LogFact, DecodeError> {
    use v1::log_fact::Change;
    match parts::change("LogFact", from.change)? {
        Change::RoundBegan(began) => Ok(LogFact::RoundBegan {
            next_birth: began.next_birth,
            next_item: began.next_item,
        }),
    }
}
