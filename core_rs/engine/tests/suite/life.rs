//! One execution that a worker holds, for the tests of runs.
//!
//! Owns short words for what its worker and a client do. Refuses to judge.

use backlane_engine::command::{Held, NewAction, NewWait, NewWaitEnd, StepReport, Suspension};
use backlane_engine::error::Refusal;
use backlane_engine::reply::{Granted, Settled};
use backlane_engine::row::ActionContents;
use backlane_engine::rules::id::{Birth, ExecutionId};
use backlane_engine::rules::limits::Limits;
use backlane_engine::rules::run::{Action, RunState};
use backlane_engine::rules::status::Phase;
use backlane_engine::rules::step::{StepId, StepState, WaitReason};

use crate::world::{World, held, new_execution, offer};

pub(crate) const A: StepId = StepId([1; 20]);
pub(crate) const B: StepId = StepId([2; 20]);
pub(crate) const HOUR_MS: u64 = 3_600_000;

/// A world with one execution that a worker holds.
pub(crate) struct Life {
    pub(crate) world: World,
    pub(crate) birth: Birth,
    pub(crate) lease: Held,
}

pub(crate) fn life() -> Life {
    let mut world = World::new(Limits::default());
    let birth = world.make(&new_execution("acme", "agent"));
    let granted = world.lease("w1", offer(&["*"])).expect("it is ready");
    let lease = held(&world, &granted);
    Life {
        world,
        birth,
        lease,
    }
}

impl Life {
    pub(crate) fn id(&self) -> ExecutionId {
        self.world.id(self.birth)
    }

    pub(crate) fn phase(&self) -> Option<Phase> {
        let slot = self.world.engine.state().slot(self.birth);
        slot.map(|slot| slot.phase)
    }

    pub(crate) fn run_state(&self) -> RunState {
        self.world.engine.state().run_of(self.birth).course.state
    }

    pub(crate) fn step(&self, id: StepId) -> Option<StepState> {
        let run = self.world.engine.state().run_of(self.birth);
        run.course.step(id).map(|mark| mark.state)
    }

    pub(crate) fn report(&mut self, actions: &[Action]) -> Result<Settled, Refusal> {
        let lease = self.lease.clone();
        self.world.report_steps(&lease, report(actions, 0))
    }

    pub(crate) fn suspend(&mut self, waits: Vec<NewWait>) -> Result<Settled, Refusal> {
        let lease = self.lease.clone();
        self.world.suspend(&lease, &suspension(waits))
    }

    pub(crate) fn input(&mut self, key: &str) -> Result<bool, Refusal> {
        let id = self.id();
        let made = self.world.provide_input("acme", id, key, "\"yes\"", None);
        made.map(|made| made.existing)
    }

    pub(crate) fn lease_again(&mut self) -> Granted {
        let granted = self.world.lease("w2", offer(&["*"]));
        let granted = granted.expect("it is ready again");
        self.lease = held(&self.world, &granted);
        granted
    }

    pub(crate) fn kinds(&self) -> Vec<Action> {
        let rows = self.world.audit.actions.values();
        rows.map(|row| row.action).collect()
    }
}

pub(crate) fn report(actions: &[Action], sequence: u32) -> StepReport {
    let action = |(at, action): (usize, &Action)| NewAction {
        action: *action,
        contents: ActionContents::default(),
        field: format!("actions[{at}].step_id").into(),
    };
    let actions = actions.iter().enumerate().map(action).collect();
    StepReport { actions, sequence }
}

pub(crate) fn suspension(waits: Vec<NewWait>) -> Suspension {
    let field = "suspensions[0]".into();
    Suspension { waits, field }
}

pub(crate) fn wait(step: StepId, key: Option<&str>, end: NewWaitEnd) -> NewWait {
    NewWait {
        step,
        reason: WaitReason::Approval,
        key: key.map(Into::into),
        end,
        child: None,
        contents: ActionContents::default(),
    }
}

pub(crate) fn for_child(step: StepId, child: ExecutionId) -> NewWait {
    let child = Some(child);
    NewWait {
        child,
        ..wait(step, None, NewWaitEnd::Never)
    }
}

pub(crate) fn for_input(step: StepId) -> NewWait {
    wait(step, Some("approve"), NewWaitEnd::Never)
}
