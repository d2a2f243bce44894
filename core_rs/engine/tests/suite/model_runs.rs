//! Random histories of runs, compared with the model.
//!
//! Owns the expected result of each random step about a run. Refuses to know any other step.

use std::borrow::Cow;

use backlane_engine::command::{Held, NewAction, NewWait, NewWaitEnd, StepReport, Suspension};
use backlane_engine::fact::{Living, OutcomeKind};
use backlane_engine::row::ActionContents;
use backlane_engine::rules::id::{Birth, ExecutionId, LeaseToken};
use backlane_engine::rules::run::Action;
use backlane_engine::rules::status::Phase;
use backlane_engine::rules::step::{StepId, WaitReason};

use crate::model::Model;
use crate::steps::KEYS;

impl Model {
    /// The execution that was born `back` births ago, and its state if it is unfinished.
    fn picked_birth(&self, back: usize) -> Option<(ExecutionId, String, Option<Living>)> {
        let newest = self.world.engine.state().next_birth();
        let birth = newest
            .checked_sub(1 + back as u64)
            .filter(|birth| *birth > 0)?;
        let living = self.world.engine.state().living(birth);
        let ended = || self.world.audit.ends[&birth].tenant.clone();
        let tenant = living.as_ref().map_or_else(ended, |one| one.tenant.clone());
        Some((self.world.id(birth), tenant.to_string(), living))
    }

    /// Whether a token is the live one, and the number of facts so far.
    fn before(&self, birth: Birth, token: LeaseToken) -> (bool, usize) {
        let live = self.world.engine.state().holding(birth);
        let is_live = live.is_some_and(|holding| holding.token == token);
        (is_live, self.world.audit.log.len())
    }

    pub(crate) fn record(&mut self, back: usize, kind: usize, step: u8) {
        let Some((birth, token)) = self.picked(back) else {
            return;
        };
        let id = StepId([step; 20]);
        let action = [
            Action::Plan,
            Action::StepStarted(id),
            Action::StepCompleted(id),
            Action::StepFailed(id),
            Action::StepSkipped(id),
        ][kind];
        let (is_live, facts) = self.before(birth, token);
        let mut course = self.world.engine.state().run_of(birth).course;
        let expected = is_live && course.take(action).is_ok();
        let held = Held {
            id: self.world.id(birth),
            token: Some(token),
        };
        let report = StepReport {
            actions: vec![NewAction {
                action,
                contents: ActionContents::default(),
                field: "step_id".into(),
            }],
            sequence: 0,
        };
        let answer = self.world.report_steps(&held, report);
        assert_eq!(expected, answer.is_ok(), "{action:?}: {answer:?}");
        assert_eq!(facts + usize::from(expected), self.world.audit.log.len());
        if expected {
            assert_eq!(course, self.world.engine.state().run_of(birth).course);
        }
    }

    pub(crate) fn suspend(&mut self, back: usize, step: u8, ms: Option<u64>) {
        let Some((birth, token)) = self.picked(back) else {
            return;
        };
        let (is_live, facts) = self.before(birth, token);
        let held = Held {
            id: self.world.id(birth),
            token: Some(token),
        };
        let key = KEYS[usize::from(step) % KEYS.len()];
        let wait = NewWait {
            step: StepId([100 + step; 20]),
            reason: WaitReason::External,
            key: ms.is_none().then(|| key.into()),
            end: ms.map_or(NewWaitEnd::Never, NewWaitEnd::After),
            child: None,
            contents: ActionContents::default(),
        };
        let suspension = Suspension {
            waits: vec![wait],
            field: "suspension".into(),
        };
        let answer = self.world.suspend(&held, &suspension);
        if is_live && answer.is_ok() {
            self.outcomes.insert(birth, (token, OutcomeKind::Suspended));
            assert!(self.world.engine.state().holding(birth).is_none());
        } else {
            let same = (token, OutcomeKind::Suspended);
            let repeats = !is_live && self.outcomes.get(&birth) == Some(&same);
            assert_eq!(repeats, answer.is_ok(), "{answer:?}");
            assert_eq!(
                facts,
                self.world.audit.log.len(),
                "a refusal changed something"
            );
        }
    }

    pub(crate) fn input(&mut self, back: usize, key: &str) {
        let Some((id, tenant, before)) = self.picked_birth(back) else {
            return;
        };
        let run = self.world.engine.state().run(id.birth).map(Cow::into_owned);
        let waits = run
            .as_ref()
            .is_some_and(|run| run.active().any(|wait| wait.key.as_deref() == Some(key)));
        let kept = run.is_some_and(|run| run.input(key).is_some());
        let answer = self.world.provide_input(&tenant, id, key, "1", None);
        assert_eq!(before.is_some() && !kept, answer.is_ok(), "{answer:?}");
        if waits {
            let phase = self
                .world
                .engine
                .state()
                .slot(id.birth)
                .map(|slot| slot.phase);
            assert_eq!(Some(Phase::Ready), phase);
        }
    }

    pub(crate) fn pause(&mut self, back: usize) {
        let Some((id, tenant, before)) = self.picked_birth(back) else {
            return;
        };
        let answer = self.world.pause(&tenant, id);
        let may = |one: &Living| one.progress.is_paused || one.progress.phase != Phase::Suspended;
        assert_eq!(
            before.is_some_and(|one| may(&one)),
            answer.is_ok(),
            "{answer:?}"
        );
        if answer.is_ok() {
            assert!(self.world.engine.state().is_paused(id.birth));
        }
    }

    pub(crate) fn resume(&mut self, back: usize) {
        let Some((id, tenant, before)) = self.picked_birth(back) else {
            return;
        };
        let answer = self.world.resume(&tenant, id);
        let may = |one: &Living| one.progress.is_paused || one.progress.phase == Phase::Suspended;
        assert_eq!(
            before.is_some_and(|one| may(&one)),
            answer.is_ok(),
            "{answer:?}"
        );
        if answer.is_ok() {
            assert!(!self.world.engine.state().is_paused(id.birth));
        }
    }
}
