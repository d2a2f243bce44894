//! Redrives together with the dependents that were skipped.
//!
//! Owns which of the executions are made anew, for which an earlier redrive stands, and what the
//! new ones wait for. Refuses to know how the dependents are found.

use std::collections::BTreeMap;

use crate::command::{Dependency, Dependent, Known, NewExecution, Read, Redrive, TakenStep};
use crate::engine::Engine;
use crate::error::Refusal;
use crate::reply::{Made, Redriven};
use crate::rules::id::{Birth, ExecutionId};
use crate::time::Now;

use super::super::dependency::Sofar;
use super::super::run::run_changes;
use super::{existing, taken_over};

/// The new executions in order, and where each execution of the call is found: among these, or as
/// an unfinished redrive.
#[derive(Debug, Default)]
struct Plan {
    items: Vec<NewExecution>,
    places: Vec<Dependency>,
    // The places of items with a dedup key.
    keys: BTreeMap<Box<str>, Dependency>,
}

impl Engine {
    /// Finds what an earlier redrive with this request id made. `None` means that the redrive and
    /// its dependents are to be decided, with [`Self::redrive_whole`].
    ///
    /// # Errors
    /// Those of [`Self::find_redrive`]. Then nothing has changed.
    pub fn find_whole_redrive(
        &mut self,
        redrive: &Redrive,
        known: &Known,
        now: Now,
    ) -> Result<Option<Redriven>, Refusal> {
        let Some(births) = self.repeated(redrive.request.as_ref(), known)? else {
            self.may_be_redriven(redrive, known, now)?;
            return Ok(None);
        };
        let births = births.to_vec();
        let dependents = births.iter().skip(1);
        Ok(Some(Redriven {
            made: existing(births.first().copied().unwrap_or(0)),
            dependents: dependents
                .filter_map(|birth| self.id_of(*birth, known))
                .collect(),
        }))
    }

    /// Enqueues `new` as the redrive of an execution that is over, as [`Self::redrive`] does, and
    /// with it `dependents`, each after those that it depends on. An unfinished redrive of one of
    /// them is used as it is.
    ///
    /// # Errors
    /// Those of [`Self::redrive`] and of [`Self::enqueue_batch`]. Then nothing has changed.
    pub fn redrive_whole(
        &mut self,
        redrive: &Redrive,
        new: NewExecution,
        steps: Vec<TakenStep>,
        dependents: Vec<Dependent>,
        known: &Known,
        now: Now,
    ) -> Result<Redriven, Refusal> {
        if let Some(found) = self.find_whole_redrive(redrive, known, now)? {
            return Ok(found);
        }
        let taken_over = taken_over(&redrive.id, steps)?;
        let actor = new.actor.clone();
        let first = Dependent {
            id: redrive.id,
            new,
            has_waited: false,
        };
        let plan = self.plan([first].into_iter().chain(dependents), known, now);
        for item in &plan.items {
            self.catch_up_for(item, now);
        }
        if !plan.items.is_empty() {
            let checked = self.may_take(&plan.items, known);
            checked.map_err(|(_, refusal)| refusal)?;
        }
        let mut made = self.make_all(plan, known, now)?;
        if let Some((change, contents)) = taken_over.filter(|_| !made.made.existing) {
            let birth = made.made.birth;
            self.commit(run_changes(actor.clone(), birth, change, contents), now)?;
        }
        if let Some(request) = &redrive.request {
            let dependents = made.dependents.iter().map(|id| id.birth);
            let births: Vec<_> = [made.made.birth].into_iter().chain(dependents).collect();
            self.keep_request(request, actor, &births, now)?;
        }
        made.dependents.shrink_to_fit();
        Ok(made)
    }

    fn plan(&mut self, all: impl Iterator<Item = Dependent>, known: &Known, now: Now) -> Plan {
        let mut plan = Plan::default();
        for one in all {
            let old = one.id.birth;
            let living = self.living_redrive(old, now);
            if let Some(id) = living.and_then(|birth| self.state.id(birth)) {
                plan.places.push(Dependency::Execution(id));
                continue;
            }
            // Of several with one dedup key the oldest stands for all, as in a new enqueue.
            let key = one.new.dedup_key.clone();
            if let Some(place) = key.as_ref().and_then(|key| plan.keys.get(key)) {
                plan.places.push(*place);
                continue;
            }
            let depends_on = one.new.depends_on.iter();
            let depends_on = depends_on.filter(|on| !self.is_dropped(&one, on, known));
            let depends_on = depends_on.map(|on| plan.moved(*on)).collect();
            let position = u32::try_from(plan.items.len()).unwrap_or(u32::MAX);
            let place = Dependency::Item(position);
            plan.places.push(place);
            plan.keys.extend(key.map(|key| (key, place)));
            plan.items.push(NewExecution {
                depends_on,
                request: None,
                retried_from: Some(old),
                ..one.new
            });
        }
        plan
    }

    /// Whether a dependency has completed and retention has removed it. It ended before the
    /// dependent did. Had it ended otherwise than completed, the dependent would have ended with
    /// it, unless the dependent was born later.
    fn is_dropped(&self, one: &Dependent, on: &Dependency, known: &Known) -> bool {
        let Dependency::Execution(id) = on else {
            return false;
        };
        let is_gone = matches!(known.finished.get(&id.birth), Some(Read::Absent));
        one.has_waited && is_gone && self.state.slot(id.birth).is_none()
    }

    fn make_all(&mut self, plan: Plan, known: &Known, now: Now) -> Result<Redriven, Refusal> {
        let mut sofar = Sofar::default();
        for item in plan.items {
            self.make(item, &mut sofar, known, now)?;
        }
        let first = plan.places.first();
        let made = match first {
            Some(Dependency::Execution(id)) => existing(id.birth),
            Some(Dependency::Item(_)) | None => Made {
                birth: sofar.ids.first().map_or(0, |id| id.birth),
                existing: false,
            },
        };
        let is_own = |id: &ExecutionId| id.birth != made.birth;
        let dependents = sofar.ids.into_iter().filter(is_own).collect();
        Ok(Redriven { made, dependents })
    }

    /// The id of an execution that is unfinished, has just ended, or was read.
    fn id_of(&self, birth: Birth, known: &Known) -> Option<ExecutionId> {
        let just_ended = || self.just_ended(birth).map(|ending| ending.id);
        let read = || match known.finished.get(&birth) {
            Some(Read::Found(done)) => Some(done.id),
            Some(Read::Absent | Read::Damaged(_)) | None => None,
        };
        self.state.id(birth).or_else(just_ended).or_else(read)
    }
}

impl Plan {
    /// A dependency of a new execution: an execution of the call is found in its place.
    fn moved(&self, on: Dependency) -> Dependency {
        let Dependency::Item(at) = on else {
            return on;
        };
        let place = usize::try_from(at).ok().and_then(|at| self.places.get(at));
        place.copied().unwrap_or(on)
    }
}
