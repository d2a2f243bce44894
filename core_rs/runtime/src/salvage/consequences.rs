//! Consequences: what the ends in the new directory mean for the executions that are living there.
//!
//! Owns the items that the new agenda needs besides those of the old log: the facts about these
//! consequences are lost, or the salvage itself ended an execution. Refuses to change executions:
//! the next start works the agenda off, as after every other end.

use std::collections::{BTreeMap, BTreeSet};

use backlane_engine::fact::{Item, Living, Work};
use backlane_engine::row::EndingRow;
use backlane_engine::rules::id::Birth;
use backlane_engine::rules::status::{Cancellation, EndReason, Phase};
use backlane_store::StoreError;

use super::heir::Heir;
use crate::inspect::Survey;

/// Everything that tells what became of executions that are not living.
struct Ends<'a> {
    survey: &'a Survey,
    // Whether everything could be read: then what has no ending completed long ago.
    is_whole: bool,
    living: BTreeSet<Birth>,
    // The living execution that opens a gate which it took over.
    heirs: BTreeMap<Birth, Birth>,
    endings: BTreeMap<Birth, EndingRow>,
    policies: BTreeMap<Birth, Cancellation>,
    // The old agenda: how far each piece of work has got.
    on_agenda: BTreeMap<Task, Birth>,
}

/// A piece of work of the agenda, whichever end led to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    Settle(Birth, bool),
    Cancel(Birth),
}

impl From<Work> for Task {
    fn from(work: Work) -> Self {
        match work {
            Work::Settle {
                gate, completed, ..
            } => Self::Settle(gate, completed),
            Work::Cancel { ancestor } => Self::Cancel(ancestor),
        }
    }
}

/// The items for the new agenda.
pub(super) fn items(
    survey: &Survey,
    is_whole: bool,
    living: &[Living],
    heir: &mut Heir,
) -> Result<Vec<Item>, StoreError> {
    let ends = Ends::of(survey, is_whole, living, heir)?;
    // By gate: the execution that ended, and whether it completed.
    let mut gates: BTreeMap<Birth, (Birth, bool)> = BTreeMap::new();
    for one in living.iter().filter(|one| !one.waits_for.is_empty()) {
        for (gate, opens) in ends.settled_for(one) {
            let ended = ends.owner(gate);
            let settled = gates.entry(gate).or_insert((ended, true));
            settled.1 &= opens;
        }
    }
    let cancels = living.iter().filter_map(|one| ends.cancels(one));
    let cancels: BTreeSet<Birth> = cancels.collect();
    let settle = gates.into_iter().map(|(gate, (ended, completed))| {
        let work = Work::Settle {
            ended,
            gate,
            completed,
        };
        Item { work, after: 0 }
    });
    let cancel = cancels.into_iter().map(|ancestor| {
        let work = Work::Cancel { ancestor };
        Item { work, after: 0 }
    });
    Ok(settle.chain(cancel).collect())
}

impl<'a> Ends<'a> {
    fn of(
        survey: &'a Survey,
        is_whole: bool,
        all: &[Living],
        heir: &mut Heir,
    ) -> Result<Self, StoreError> {
        let mut ends = Self {
            survey,
            is_whole,
            living: all.iter().map(|one| one.id.birth).collect(),
            heirs: all.iter().flat_map(taken_over).collect(),
            endings: BTreeMap::new(),
            policies: BTreeMap::new(),
            on_agenda: BTreeMap::new(),
        };
        for (_, item) in survey.history.state().agenda().items_after(0) {
            let after = ends.on_agenda.entry(item.work.into()).or_insert(item.after);
            *after = item.after.min(*after);
        }
        let gates = all.iter().flat_map(|one| one.waits_for.iter());
        let owners = gates.map(|gate| ends.owner(*gate));
        let ancestors = all.iter().flat_map(|one| one.ancestors.iter().copied());
        let gone = owners.chain(ancestors);
        let gone: BTreeSet<Birth> = gone.filter(|birth| !ends.living.contains(birth)).collect();
        let gone: Vec<Birth> = gone.into_iter().collect();
        ends.endings = heir.endings(&gone)?;
        ends.policies = heir.policies(&gone)?;
        Ok(ends)
    }

    /// The execution that opens a gate.
    fn owner(&self, gate: Birth) -> Birth {
        let heir = self.heirs.get(&gate).copied();
        heir.unwrap_or_else(|| self.survey.history.state().edges().owner(gate))
    }

    /// The gates that must be settled for a blocked execution, each with whether it opens: those
    /// that will never open, or else one of its gates if all are open.
    fn settled_for(&self, one: &Living) -> Vec<(Birth, bool)> {
        let birth = one.id.birth;
        let gates = one.waits_for.iter().copied();
        let (gone, awaited): (Vec<_>, Vec<_>) =
            gates.partition(|gate| !self.living.contains(&self.owner(*gate)));
        let is_failed = |gate: &Birth| !self.opens(*gate, birth);
        let mut settled: Vec<(Birth, bool)> = gone
            .iter()
            .copied()
            .filter(is_failed)
            .map(|gate| (gate, false))
            .collect();
        if settled.is_empty() && awaited.is_empty() {
            settled.extend(gone.first().map(|gate| (*gate, true)));
        }
        settled.retain(|(gate, opens)| !self.will_do(Task::Settle(*gate, *opens), birth));
        settled
    }

    /// Whether a gate whose execution is not living is open. What depends on an execution whose
    /// end is lost does not run.
    fn opens(&self, gate: Birth, dependent: Birth) -> bool {
        let history = &self.survey.history;
        if history.state().agenda().has_failed(gate) {
            return false;
        }
        match self.endings.get(&self.owner(gate)) {
            // Its successor is gone as well. The log tells how that ended, if all of it is there.
            Some(ending) if ending.reason == EndReason::Replaced => !history.is_doubtful(dependent),
            Some(ending) => ending.status.is_success(),
            None => self.is_whole || history.has_completed(self.owner(gate)),
        }
    }

    /// Whether an item of the old agenda will come to an execution.
    fn will_do(&self, task: Task, birth: Birth) -> bool {
        let after = self.on_agenda.get(&task);
        after.is_some_and(|after| *after < birth)
    }

    /// The ancestor whose end should have cancelled an execution, and whose agenda does not.
    fn cancels(&self, one: &Living) -> Option<Birth> {
        let is_asked = one.progress.cancel.is_some() || one.progress.phase == Phase::Ending;
        let mut ancestors = one.ancestors.iter().copied();
        let is_reached = |ancestor: &Birth| self.will_do(Task::Cancel(*ancestor), one.id.birth);
        if is_asked || one.ancestors.iter().any(is_reached) {
            return None;
        }
        ancestors.find(|ancestor| self.cascades(*ancestor))
    }

    fn cascades(&self, ancestor: Birth) -> bool {
        let policy = self.policies.get(&ancestor).copied().unwrap_or_default();
        let is_bad = self.endings.get(&ancestor).is_some_and(|ending| {
            !ending.status.is_success() && ending.reason != EndReason::Cascade
        });
        // Its ending may be lost, and the log still tell that it completed.
        let completed = self.survey.history.has_completed(ancestor);
        policy == Cancellation::Cascade && is_bad && !completed
    }
}

/// The gates that an execution took over, each with the execution.
fn taken_over(one: &Living) -> impl Iterator<Item = (Birth, Birth)> + '_ {
    let gates = one.stands_for.iter().copied();
    gates.map(|gate| (gate, one.id.birth))
}
