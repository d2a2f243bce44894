//! Applies facts about the agenda.
//!
//! Owns how a fact changes the open items. Refuses to know what the items lead to: those facts are
//! about executions.

use crate::fact::{AgendaChange, AgendaFact};
use crate::state::{Impossible, State};

impl State {
    /// Checks whether the state allows the fact. Changes nothing.
    pub(super) fn check_agenda(&self, fact: AgendaFact) -> Result<(), Impossible> {
        let number = fact.number;
        let known = self.agenda.item(number);
        let fits = match fact.change {
            AgendaChange::Opened(_) => known.is_none(),
            AgendaChange::Carried(item) => known.is_none_or(|known| known == item),
            AgendaChange::Advanced { .. } | AgendaChange::Closed => known.is_some(),
        };
        if fits {
            return Ok(());
        }
        Err(Impossible::Agenda { number })
    }

    /// Applies a fact that was checked.
    pub(super) fn apply_agenda(&mut self, fact: AgendaFact) {
        match fact.change {
            AgendaChange::Opened(item) | AgendaChange::Carried(item) => {
                self.agenda.open(fact.number, item);
            }
            AgendaChange::Advanced { after } => self.agenda.advance(fact.number, after),
            AgendaChange::Closed => self.agenda.close(fact.number),
        }
    }
}
