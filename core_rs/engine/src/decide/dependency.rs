//! Dependencies of new executions: which they wait for, and what is refused.
//!
//! Owns the rules about the executions that an enqueue names. Refuses to know what happens when
//! such an execution ends: the agenda does.

use std::collections::{BTreeMap, BTreeSet};

use crate::command::{Dependency, Known, Needs, NewExecution, Read};
use crate::engine::Engine;
use crate::error::{Invalid, Refusal};
use crate::rules::access::VisibleTenant;
use crate::rules::id::{Birth, ExecutionId};
use crate::rules::limits::MAX_DEPENDENCIES;
use crate::rules::status::{Phase, Status};
use crate::time::Now;

/// Most executions that one call looks at to find out whether executions wait for others, besides
/// those that the call names.
const MOST_LOOKS: usize = 100_000;

/// How many executions a call may still look at.
#[derive(Debug)]
pub(super) struct Looks(usize);

impl Default for Looks {
    fn default() -> Self {
        Self(MOST_LOOKS)
    }
}

/// What one call has made so far.
#[derive(Debug, Default)]
pub(super) struct Sofar {
    /// The executions that the items led to, in order.
    pub(super) ids: Vec<ExecutionId>,
    /// The executions that were replaced, each with the one that took its place.
    pub(super) successors: BTreeMap<Birth, Birth>,
    pub(super) looks: Looks,
}

impl Sofar {
    fn newest(&self, mut birth: Birth) -> Birth {
        while let Some(successor) = self.successors.get(&birth) {
            birth = *successor;
        }
        birth
    }
}

/// The dependencies of a new execution.
#[derive(Debug, Default)]
pub(super) struct Upstreams {
    /// The ids, in the order in which the request named them.
    pub(super) ids: Vec<ExecutionId>,
    /// Those that are unfinished.
    pub(super) waits_for: BTreeSet<Birth>,
    /// One that ended otherwise than completed.
    pub(super) failed: Option<Birth>,
}

impl Engine {
    /// The finished executions that must be known before executions with these dependencies can be
    /// enqueued.
    pub(super) fn needs_for_dependencies<'a>(
        &self,
        new: impl IntoIterator<Item = &'a NewExecution>,
        known: &Known,
    ) -> Needs {
        let ids = new.into_iter().flat_map(|new| named(new).map(|(_, id)| id));
        self.needs_for(ids, known)
    }

    /// Applies what is due for the dependencies of a new execution.
    pub(super) fn catch_up_dependencies(&mut self, new: &NewExecution, now: Now) {
        for (_, id) in named(new) {
            if self.state.find(&new.tenant, id).is_some() {
                self.catch_up(id.birth, now);
            }
        }
    }

    /// Checks the dependencies of the item at a position of a call. `holder` is the execution that
    /// the item would replace.
    pub(super) fn may_depend(
        &self,
        new: &NewExecution,
        position: usize,
        holder: Option<Birth>,
        known: &Known,
    ) -> Result<(), Refusal> {
        if new.depends_on.len() > MAX_DEPENDENCIES {
            let rule = format!("must name at most {MAX_DEPENDENCIES} executions");
            return Err(Invalid::new("depends_on", rule).into());
        }
        for (at, id) in named(new) {
            let field = || format!("depends_on[{at}]");
            if Some(id.birth) == holder {
                let rule = "must not name the execution that this one replaces";
                return Err(Invalid::new(field(), rule).into());
            }
            let exists = self.state.find(&new.tenant, id).is_some()
                || self.ended_as(&new.tenant, id, known)?.is_some();
            if !exists {
                return Err(Refusal::DependencyNotFound {
                    field: field(),
                    execution_id: id.to_string(),
                    tenant: new.tenant.to_string(),
                });
            }
        }
        for (at, item) in items(new) {
            if usize::try_from(item).is_ok_and(|item| item < position) {
                continue;
            }
            let field = format!("depends_on_items[{at}]");
            return Err(Invalid::new(field, "must be the position of an earlier item").into());
        }
        Ok(())
    }

    /// The final status of a tenant's execution; `None` if there is no such execution.
    fn ended_as(
        &self,
        tenant: &VisibleTenant,
        id: &ExecutionId,
        known: &Known,
    ) -> Result<Option<Status>, Refusal> {
        let done = self.finished(id, known)?;
        let done = done.filter(|done| *done.tenant == **tenant);
        Ok(done.map(|done| done.status))
    }

    /// The dependencies of a new execution whose dependencies were checked.
    pub(super) fn upstreams(&self, new: &NewExecution, sofar: &Sofar, known: &Known) -> Upstreams {
        let mut all = Upstreams::default();
        for dependency in &new.depends_on {
            let id = match dependency {
                Dependency::Execution(id) => *id,
                Dependency::Item(item) => match sofar.ids.get(*item as usize) {
                    Some(id) => *id,
                    None => continue,
                },
            };
            all.ids.push(id);
            let birth = sofar.newest(id.birth);
            let phase = self.state.slot(birth).map(|slot| slot.phase);
            if phase == Some(Phase::Ending) {
                // Its end is decided, and no execution completes that way.
                all.failed.get_or_insert(birth);
            } else if phase.is_some() {
                all.waits_for.insert(birth);
            } else if !is_completed(birth, known) {
                // What is not known as finished was unfinished when it was checked. Since then it
                // was replaced or skipped by this same call.
                all.failed.get_or_insert(birth);
            }
        }
        all
    }

    /// Whether any of these executions waits for the execution `target`, directly or by way of
    /// others. Where too many would have to be looked at, the answer is yes.
    pub(super) fn waits_for(
        &self,
        waiting: &BTreeSet<Birth>,
        target: Birth,
        looks: &mut Looks,
    ) -> bool {
        let edges = self.state.edges();
        if edges.awaited_gates(target).next().is_none() {
            return waiting.contains(&target);
        }
        let mut seen = waiting.clone();
        let mut line: Vec<Birth> = waiting.iter().copied().collect();
        while let Some(birth) = line.pop() {
            if birth == target {
                return true;
            }
            let upstream = edges.waits_for(birth).iter().map(|gate| edges.owner(*gate));
            for upstream in upstream.filter(|upstream| seen.insert(*upstream)) {
                let Some(left) = looks.0.checked_sub(1) else {
                    return true;
                };
                looks.0 = left;
                line.push(upstream);
            }
        }
        false
    }
}

fn is_completed(birth: Birth, known: &Known) -> bool {
    match known.finished.get(&birth) {
        Some(Read::Found(done)) => done.status.is_success(),
        Some(Read::Absent | Read::Damaged(_)) | None => false,
    }
}

/// The dependencies that are named by id, each with its position among these.
fn named(new: &NewExecution) -> impl Iterator<Item = (usize, &ExecutionId)> {
    let ids = new
        .depends_on
        .iter()
        .filter_map(|dependency| match dependency {
            Dependency::Execution(id) => Some(id),
            Dependency::Item(_) => None,
        });
    ids.enumerate()
}

/// The dependencies that are named by position, each with its position among these.
fn items(new: &NewExecution) -> impl Iterator<Item = (usize, u32)> {
    let items = new
        .depends_on
        .iter()
        .filter_map(|dependency| match dependency {
            Dependency::Execution(_) => None,
            Dependency::Item(item) => Some(*item),
        });
    items.enumerate()
}
