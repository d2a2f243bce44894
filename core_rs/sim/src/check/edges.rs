//! Edges: no execution runs before its dependencies completed, and none is skipped without cause.
//!
//! Owns the dependencies of every execution as its birth named them. Refuses to share code with the
//! engine's own edges: each dependency is looked up among the ends.

use std::collections::{BTreeMap, BTreeSet};

use backlane_engine::fact::Living;
use backlane_engine::rules::id::Birth;
use backlane_engine::rules::status::Status;

use super::{Checked, must};

const WAITS: &str = "no execution runs before its dependencies completed";
const SKIPPED: &str = "an execution is skipped exactly when a dependency did not complete";

/// The dependencies of all executions, and the executions that took the place of others.
#[derive(Debug, Default)]
pub(super) struct EdgeCheck {
    depends_on: BTreeMap<Birth, Box<[Birth]>>,
    // The executions that took over a gate, one after the other. A crash may undo the newest.
    heirs: BTreeSet<(Birth, Birth)>,
}

impl EdgeCheck {
    pub(super) fn born(&mut self, living: &Living) {
        let birth = living.id.birth;
        self.depends_on.remove(&birth);
        if !living.waits_for.is_empty() {
            self.depends_on.insert(birth, living.waits_for.clone());
        }
        let gates = living.stands_for.iter().copied();
        self.heirs.extend(gates.map(|gate| (gate, birth)));
    }

    /// Forgets what a crash undid: the births from `next_birth` on.
    pub(super) fn restart(&mut self, next_birth: Birth) {
        self.depends_on.retain(|birth, _| *birth < next_birth);
        self.heirs.retain(|(_, heir)| *heir < next_birth);
    }

    fn dependencies(&self, birth: Birth) -> impl Iterator<Item = Birth> + '_ {
        let gates = self.depends_on.get(&birth).into_iter().flatten();
        gates.map(|gate| {
            let mut heirs = self.heirs.range((*gate, 0)..=(*gate, Birth::MAX));
            heirs.next_back().map_or(*gate, |(_, heir)| *heir)
        })
    }

    /// Checks that all dependencies have completed. `end_of` knows how executions ended.
    pub(super) fn may_run(
        &self,
        birth: Birth,
        end_of: impl Fn(Birth) -> Option<Status>,
    ) -> Checked {
        let mut dependencies = self.dependencies(birth);
        let open = dependencies.find(|one| end_of(*one) != Some(Status::Completed));
        must(open.is_none(), WAITS, || format!("{birth} before {open:?}"))
    }

    /// Checks that a dependency has ended otherwise than completed. `cause` is the one that the
    /// fact names.
    pub(super) fn may_be_skipped(
        &self,
        birth: Birth,
        cause: Option<Birth>,
        end_of: impl Fn(Birth) -> Option<Status>,
    ) -> Checked {
        let failed = |one: Birth| end_of(one).is_some_and(|status| !status.is_success());
        let mut dependencies = self.dependencies(birth).chain(cause);
        must(dependencies.any(failed), SKIPPED, || {
            format!("{birth} because of {cause:?}")
        })
    }
}
