//! Soft state of runs: the effects of their facts outside of the durable state.
//!
//! Owns the monotonic ends of waits, and who is told of a pause. Refuses to decide facts.

use crate::fact::{Entity, RunChange, RunFact, WaitEnd};
use crate::reply::Notice;
use crate::rules::id::Birth;
use crate::rules::status::Phase;
use crate::soft::{About, Soft};
use crate::state::State;
use crate::time::Now;

impl Soft {
    /// Follows a fact about a run that was just applied.
    pub(super) fn follow_run(
        &mut self,
        state: &State,
        fact: &RunFact,
        about: Option<About>,
        now: Now,
    ) {
        let birth = fact.birth;
        match &fact.change {
            RunChange::Suspended { .. } => {
                self.drop_hold(state, birth, about, false, now);
                self.time_waits(state, birth, now);
            }
            RunChange::Woken { .. } => {
                self.backoffs.set(Entity::Execution(birth), None);
                self.rearm(Entity::Execution(birth));
            }
            RunChange::Paused { .. } => self.tell_of_pause(birth, about),
            RunChange::Carried(_)
            | RunChange::TakenOver { .. }
            | RunChange::Reported { .. }
            | RunChange::InputKept { .. }
            | RunChange::Unpaused { .. } => {}
        }
        if let Some(about) = about {
            self.publish(state, about.queue);
        }
    }

    /// Sets the wake of a suspended execution to the first end of its waits for a duration. The
    /// durable state has the ends of waits for an instant.
    pub(super) fn time_waits(&mut self, state: &State, birth: Birth, now: Now) {
        let is_suspended = |slot: &crate::state::Slot| slot.phase == Phase::Suspended;
        let run = state
            .run(birth)
            .filter(|_| state.slot(birth).is_some_and(is_suspended));
        let Some(run) = run else { return };
        let ends = run.active().filter_map(|wait| match wait.end {
            WaitEnd::After(pause) => Some(now.mono_end(pause.until_ms, pause.delay_ms)),
            WaitEnd::Never | WaitEnd::At(_) => None,
        });
        if let Some(first) = ends.min() {
            self.backoffs.set(Entity::Execution(birth), Some(first));
        }
        self.rearm(Entity::Execution(birth));
        let is_over = |child: Birth| state.slot(child).is_none();
        if run.active().any(|wait| wait.child.is_some_and(is_over)) {
            // The child ended, and its parent could not be changed then.
            self.wakes.set(Entity::Execution(birth), Some(0));
        }
    }

    fn tell_of_pause(&mut self, birth: Birth, about: Option<About>) {
        let hold = self.holds.get(birth).copied();
        if let (Some(hold), Some(about)) = (hold, about) {
            self.tell(&hold, about.id, Notice::Pause);
        }
    }
}
