//! Steps, suspensions, inputs and pauses among the actions of clients.
//!
//! Owns what workers record and wait for, and what clients do about it. Refuses to judge replies.

use backlane_engine::rules::status::Phase;
use backlane_engine::rules::step::StepId;
use backlane_runtime::Principal;

use crate::api::v1::{self, step_action::Action};
use crate::asked::Asked;
use crate::dice::Dice;
use crate::producers::REMEMBERED;
use crate::world::{World, only};

/// Keys of inputs, so few that inputs meet their waits.
const KEYS: u64 = 3;
/// Executions that are let go on at a time, when the faults are over.
const FREED: usize = 20;

fn step_id(dice: &mut Dice) -> String {
    let mut id = [0; 20];
    for part in id.chunks_mut(8) {
        let roll = dice.roll().to_le_bytes();
        part.copy_from_slice(&roll[..part.len()]);
    }
    StepId(id).to_string()
}

fn key(dice: &mut Dice) -> String {
    format!("k{}", dice.below(KEYS))
}

/// The actions of one report: steps that begin and end, and now and then one that stays open.
fn actions(dice: &mut Dice) -> Vec<v1::StepAction> {
    let mut actions = Vec::new();
    for _ in 0..dice.between(1, 3) {
        let id = step_id(dice);
        let started = v1::NewStep {
            step_id: id.clone(),
            name: format!("step {}", dice.below(4)),
            input: dice.chance(500).then(|| format!("{:x}", dice.roll())),
            ..Default::default()
        };
        actions.push(Action::Started(started));
        let error = v1::ExecutionError {
            category: v1::ErrorCategory::ToolError as i32,
            message: "no".into(),
            ..Default::default()
        };
        match dice.below(20) {
            0 => {}
            1 => actions.push(Action::Failed(v1::StepFailed {
                step_id: id,
                error: Some(error),
            })),
            _ => actions.push(Action::Completed(v1::StepCompleted {
                step_id: id,
                output: dice.chance(900).then(|| format!("{:x}", dice.roll())),
            })),
        }
    }
    if dice.chance(30) {
        // Nobody started this step, so the whole report is refused.
        let step_id = step_id(dice);
        let output = None;
        actions.push(Action::Completed(v1::StepCompleted { step_id, output }));
    }
    let some = |action| v1::StepAction {
        action: Some(action),
    };
    actions.into_iter().map(some).collect()
}

impl World {
    /// Has a worker record steps of a lease that it holds, or wait. Returns whether it did.
    pub(crate) fn record(&mut self, at: usize) -> bool {
        let many = self.workers[at].held.len();
        if many == 0 || !self.plan.steers || !self.dice.chance(250) {
            return false;
        }
        let parent = self.parent_among(at);
        let which = parent.unwrap_or_else(|| self.dice.index(many));
        let asked = if self.dice.chance(if parent.is_some() { 800 } else { 300 }) {
            let lease = self.workers[at].held.swap_remove(which);
            self.suspension(&lease)
        } else {
            let lease = self.workers[at].held[which].clone();
            self.step_report(lease)
        };
        self.call(asked, Principal::default(), Some(at));
        true
    }

    fn step_report(&mut self, lease: v1::LeaseRef) -> Asked {
        // The first report of a lease has a number, and is repeated if no reply comes.
        let is_first = self.numbered.insert(lease.lease_token.clone());
        let report = v1::StepReport {
            execution_id: lease.execution_id,
            lease_token: lease.lease_token,
            actions: actions(&mut self.dice),
            schema_version: "v1".into(),
            sequence: u32::from(is_first),
        };
        let reports = vec![report];
        Asked::Steps(v1::ReportStepsRequest { reports })
    }

    /// The step that a spawn is, in some spawns.
    pub(crate) fn spawning_step(&mut self) -> Option<v1::NewStep> {
        let is_step = self.plan.steers && self.dice.chance(500);
        is_step.then(|| v1::NewStep {
            step_id: step_id(&mut self.dice),
            name: "spawn".into(),
            ..Default::default()
        })
    }

    /// Remembers a child, so that its parent may wait for it.
    pub(crate) fn bear(&mut self, child: &v1::BackgroundExecution) {
        let parent = child.parent.as_ref().map(|link| link.parent_id.clone());
        let Some(parent) = parent else { return };
        if self.children.len() == REMEMBERED {
            let at = self.dice.index(REMEMBERED);
            self.children.swap_remove(at);
        }
        self.children.push((parent, child.execution_id.clone()));
    }

    /// A lease of a parent among those that a worker holds.
    fn parent_among(&self, at: usize) -> Option<usize> {
        let is_parent = |lease: &v1::LeaseRef| {
            let mut children = self.children.iter();
            children.any(|(parent, _)| *parent == lease.execution_id)
        };
        self.workers[at].held.iter().position(is_parent)
    }

    fn suspension(&mut self, lease: &v1::LeaseRef) -> Asked {
        let mut children = self.children.iter().rev();
        let child = children.find(|(parent, _)| *parent == lease.execution_id);
        let child = child.map(|(_, child)| child.clone());
        let dice = &mut self.dice;
        let waits = (0..dice.below(3)).map(|_| v1::WaitPoint {
            step_id: step_id(dice),
            name: "wait".into(),
            reason: i32::try_from(dice.below(9)).unwrap_or(0),
            key: if child.is_none() && dice.chance(700) {
                key(dice)
            } else {
                String::new()
            },
            wait_ms: dice.chance(500).then(|| dice.below(90_000)),
            child_execution_id: child.clone(),
            ..Default::default()
        });
        let suspension = v1::Suspension {
            execution_id: lease.execution_id.clone(),
            lease_token: lease.lease_token.clone(),
            waits: waits.collect(),
            schema_version: "v1".into(),
        };
        let suspensions = vec![suspension];
        Asked::Suspend(v1::SuspendRequest { suspensions })
    }

    /// Has a client act on the run of an execution. Returns whether it did.
    pub(crate) fn steer(&mut self) -> bool {
        if !self.plan.steers || !self.dice.chance(150) {
            return false;
        }
        let Some((tenant_id, execution_id)) = self.some_known() else {
            return false;
        };
        let principal = only(&tenant_id);
        let asked = match self.dice.below(10) {
            0..4 => Asked::Input(v1::ProvideInputRequest {
                tenant_id,
                execution_id,
                key: key(&mut self.dice),
                value: format!("{:x}", self.dice.roll()),
                request_id: if self.dice.chance(500) {
                    format!("input_{:x}", self.dice.roll())
                } else {
                    String::new()
                },
            }),
            4..6 => Asked::Pause(v1::PauseRequest {
                tenant_id,
                execution_id,
            }),
            6..8 => Asked::Resume(v1::ResumeRequest {
                tenant_id,
                execution_id,
            }),
            8 => Asked::Explain(v1::ExplainRequest {
                tenant_id,
                execution_id,
            }),
            _ => {
                let done = self.ledger.steps.of(&execution_id);
                let request = v1::GetExecutionRunRequest {
                    tenant_id,
                    execution_id,
                };
                Asked::Story(request, done)
            }
        };
        self.call(asked, principal, None);
        true
    }

    /// Lets executions go on that are paused or wait, when the faults are over.
    pub(crate) fn free(&mut self) {
        if !self.step.is_multiple_of(20) {
            return;
        }
        let state = self.log.emitted();
        let stuck = state.slots().births_from(0).filter(|birth| {
            let phase = state.slot(*birth).map(|slot| slot.phase);
            phase == Some(Phase::Suspended) || state.is_paused(*birth)
        });
        let stuck: Vec<_> = stuck
            .take(FREED)
            .filter_map(|birth| state.living(birth))
            .collect();
        for living in stuck {
            let asked = Asked::Resume(v1::ResumeRequest {
                tenant_id: living.tenant.to_string(),
                execution_id: living.id.to_string(),
            });
            self.call(asked, Principal::default(), None);
        }
    }
}
