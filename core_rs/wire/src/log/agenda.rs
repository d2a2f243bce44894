//! Facts about the agenda: encoding and decoding.
//!
//! Owns the encoding of `AgendaFact`. Refuses to know the enclosing `Fact`.

use backlane_engine::fact::{AgendaChange, AgendaFact, Item, Work};

use super::parts;
use crate::generated::backlane::log::v1;
use crate::{DecodeError, put};

/// Writes the fields of an `AgendaFact`.
pub(super) fn put_fact(out: &mut Vec<u8>, fact: AgendaFact) {
    put::uint(out, 1, fact.number);
    match fact.change {
        AgendaChange::Opened(item) => put::message(out, 2, |out| put_item(out, item)),
        AgendaChange::Carried(item) => put::message(out, 3, |out| put_item(out, item)),
        AgendaChange::Advanced { after } => {
            put::message(out, 4, |out| put::uint(out, 1, after));
        }
        AgendaChange::Closed => put::message(out, 5, |_| ()),
    }
}

fn put_item(out: &mut Vec<u8>, item: Item) {
    put::uint(out, 1, item.after);
    match item.work {
        Work::Settle {
            ended,
            gate,
            completed,
        } => put::message(out, 2, |out| {
            put::uint(out, 1, ended);
            put::uint(out, 2, gate);
            put::uint(out, 3, completed);
        }),
    }
}

/// The engine's fact for a decoded message.
pub(super) fn fact(from: v1::AgendaFact) -> Result<AgendaFact, DecodeError> {
    use v1::agenda_fact::Change;
    let change = match parts::change("AgendaFact", from.change)? {
        Change::Opened(from) => AgendaChange::Opened(item(from)?),
        Change::Carried(from) => AgendaChange::Carried(item(from)?),
        Change::Advanced(from) => AgendaChange::Advanced { after: from.after },
        Change::Closed(_) => AgendaChange::Closed,
    };
    Ok(AgendaFact {
        number: from.number,
        change,
    })
}

fn item(from: v1::Item) -> Result<Item, DecodeError> {
    let work = match parts::change("Item", from.work)? {
        v1::item::Work::Settle(from) => Work::Settle {
            ended: from.ended,
            gate: from.gate,
            completed: from.completed,
        },
    };
    Ok(Item {
        work,
        after: from.after,
    })
}
