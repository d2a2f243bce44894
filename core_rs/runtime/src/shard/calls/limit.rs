//! The calls about limits on running executions.
//!
//! Owns the replies of these calls. Refuses to know which executions a limit holds back: the engine
//! does.

use backlane_engine::command::Known;
use backlane_engine::fact::Actor;
use backlane_engine::rules::access::VisibleTenant;
use backlane_engine::rules::status::ActorKind;
use backlane_wire::ApiError;
use backlane_wire::limit::{
    SetLimits, decode_list_limits, decode_set_limits, list_limits_response, set_limits_response,
};

use crate::message::Ticket;
use crate::shard::desk::Desk;
use crate::shard::room::{Caller, Job, Room};

/// Prepares a `SetLimits` call.
pub(crate) fn set(
    desk: &mut Desk,
    caller: &Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    let set = desk.with_context(&caller.principal, |context| {
        decode_set_limits(bytes, context)
    });
    Ok(Box::new(Setting {
        ticket: caller.ticket,
        actor: Actor::named(ActorKind::Operator, &caller.principal.name),
        set: set?,
    }))
}

struct Setting {
    ticket: Ticket,
    actor: Actor,
    set: SetLimits,
}

impl Job for Setting {
    fn decide(self: Box<Self>, room: &mut Room, _known: &Known) {
        let Self { ticket, actor, set } = *self;
        let (desk, tenant) = (&mut room.desk, set.tenant.shared());
        let (engine, now) = (&mut desk.engine, desk.now);
        let callable = set.callable.clone();
        let decided = engine.set_limit(actor, tenant, callable, set.max_running, now);
        desk.absorb();
        match decided {
            Ok(()) => {
                let limits = desk.engine.limits_now(&set.tenant, set.callable.as_ref());
                desk.reply(ticket, set_limits_response(&set.tenant, &limits));
            }
            Err(refusal) => desk.refuse(ticket, &refusal.into()),
        }
    }
}

/// Prepares a `ListLimits` call.
pub(crate) fn list(
    desk: &mut Desk,
    caller: &Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    let tenant = desk.with_context(&caller.principal, |context| {
        decode_list_limits(bytes, context)
    });
    let (ticket, tenant) = (caller.ticket, tenant?);
    Ok(Box::new(Listing { ticket, tenant }))
}

struct Listing {
    ticket: Ticket,
    tenant: VisibleTenant,
}

impl Job for Listing {
    fn decide(self: Box<Self>, room: &mut Room, _known: &Known) {
        let limits = room.desk.engine.all_limits(&self.tenant);
        let bytes = list_limits_response(&self.tenant, &limits);
        room.desk.reply(self.ticket, bytes);
    }
}
