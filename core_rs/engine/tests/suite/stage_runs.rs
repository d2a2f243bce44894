//! The stage of runs: steps, suspensions, inputs, pauses, and the run as users see it.
//!
//! Owns what the verbs of runs do on an engine. Refuses to compare replies with expectations.

use backlane_engine::command::{NewAction, NewWait, NewWaitEnd, StepReport, Suspension};
use backlane_engine::error::Refusal;
use backlane_engine::fact::RequeueCause;
use backlane_engine::row::{ActionContents, ActionRow};
use backlane_engine::rules::id::{Birth, ExecutionId};
use backlane_engine::rules::run::{Action, Course, RunState};
use backlane_engine::rules::status::{Phase, Status};
use backlane_engine::rules::step::{StepId, WaitReason};

use crate::script::{Line, duration, instant, text};
use crate::stage::Stage;
use crate::view::show;
use crate::words::{Answer, refused, request};
use crate::world::World;

/// The id of the step with this name: the name itself, filled up with zeros.
pub(crate) fn step(name: &str) -> StepId {
    let mut id = [0; 20];
    id[..name.len()].copy_from_slice(name.as_bytes());
    StepId(id)
}

fn name_of(id: StepId) -> String {
    let name = id.0.into_iter().take_while(|byte| *byte != 0);
    name.map(char::from).collect()
}

/// Splits `name:rest` into both.
fn halves(word: &str) -> (&str, Option<&str>) {
    word.split_once(':')
        .map_or((word, None), |(name, rest)| (name, Some(text(rest))))
}

fn actions(line: &Line) -> Vec<NewAction> {
    let mut all = Vec::new();
    for (key, value) in line.keyed() {
        let (name, rest) = halves(value);
        let mut add = |action, body: Option<&str>| {
            let body = body.map(|body| body.as_bytes().into());
            all.push(NewAction {
                action,
                contents: ActionContents {
                    body,
                    ..ActionContents::default()
                },
                field: "reports[0]".into(),
            });
        };
        match key {
            "plan" => {
                add(Action::Plan, None);
                let names = value.split(',').filter(|name| *name != "none");
                names.for_each(|name| add(Action::StepAdded(step(name)), None));
            }
            "start" => add(Action::StepStarted(step(name)), rest),
            "complete" => add(Action::StepCompleted(step(name)), rest),
            "fail" => add(Action::StepFailed(step(name)), None),
            "skip" => add(Action::StepSkipped(step(name)), rest),
            _ => {}
        }
    }
    all
}

impl Stage {
    pub(crate) fn steps(&mut self, line: &Line) -> Answer {
        let held = self.held(line);
        let sequence = line.get("sequence").map_or(0, |number| {
            number.parse().expect("the number of the report")
        });
        let actions = actions(line);
        let settled = self
            .world
            .report_steps(&held, StepReport { actions, sequence });
        settled.map_or_else(|refusal| refused(&refusal), |settled| self.settled(settled))
    }

    pub(crate) fn suspend(&mut self, line: &Line) -> Answer {
        let held = self.held(line);
        let reason = line.get("reason").map(reason).unwrap_or_default();
        let given = line.keyed().filter(|(key, _)| *key == "wait");
        let now_ms = self.world.now.wall_ms;
        let child = |name: &str| self.world.id(self.names[name]);
        let waits = given
            .map(|(_, value)| wait(value, reason, now_ms, child))
            .collect();
        let field = "suspensions[0]".into();
        let settled = self.world.suspend(&held, &Suspension { waits, field });
        settled.map_or_else(|refusal| refused(&refusal), |settled| self.settled(settled))
    }

    pub(crate) fn input(&mut self, line: &Line) -> Answer {
        let birth = self.birth(line);
        let (tenant, key) = (line.get("tenant").unwrap_or("acme"), line.plain(1));
        let value = text(line.plain(2));
        let given = line.get("request_id");
        let scope = format!("input {birth} {key} {value}");
        let given = given.map(|id| {
            let request = request("input", id, &[]);
            let body = crate::words::digest(&scope);
            let key = backlane_engine::fact::RequestKey {
                body,
                ..request.key
            };
            backlane_engine::command::Request { key, ..request }
        });
        let id = self.world.id(birth);
        match self.world.provide_input(tenant, id, key, value, given) {
            Ok(made) => {
                let answer = Answer::word(show(&self.world, birth, "status"));
                answer.with("existing", &made.existing)
            }
            Err(refusal) => refused(&refusal),
        }
    }

    pub(crate) fn control(&mut self, line: &Line) -> Answer {
        let birth = self.birth(line);
        let (tenant, id) = (line.get("tenant").unwrap_or("acme"), self.world.id(birth));
        let changed: Result<(), Refusal> = match &*line.verb {
            "pause" => self.world.pause(tenant, id),
            _ => self.world.resume(tenant, id),
        };
        match changed {
            Ok(()) => Answer::word(show(&self.world, birth, "status")),
            Err(refusal) => refused(&refusal),
        }
    }

    pub(crate) fn run(&self, line: &Line) -> Answer {
        let birth = self.birth(line);
        let told = told(&self.world, birth);
        let is_paused = self.world.engine.state().is_paused(birth);
        let slot = self.world.engine.state().slot(birth);
        let is_decided = slot.is_some_and(|slot| slot.phase == Phase::Ending);
        let (state, reason) = match told.course.state {
            _ if is_decided => (RunState::Waiting, Some(WaitReason::SubAgent)),
            state if is_paused && !state.is_terminal() => (RunState::Paused, None),
            state => (state, told.reason.filter(|_| state == RunState::Waiting)),
        };
        Answer::default()
            .with("state", &state.name().to_lowercase())
            .with("reason", &reason.map_or_else(|| "none".into(), reason_name))
            .with("steps", &listed(&told, |_| true))
    }

    /// The steps that a lease carries.
    pub(crate) fn steps_of_lease(&self, birth: Birth) -> String {
        use backlane_engine::rules::step::StepState as S;
        let told = told(&self.world, birth);
        listed(&told, |state| {
            matches!(state, S::Completed | S::Failed | S::Running)
        })
    }
}

fn wait(
    given: &str,
    reason: WaitReason,
    now_ms: u64,
    id_of: impl Fn(&str) -> ExecutionId,
) -> NewWait {
    let mut parts = given.split(':');
    let name = parts.next().expect("a name");
    let key = parts.next().filter(|key| !key.is_empty());
    let last = parts.next();
    let child = last.and_then(|last| last.strip_prefix('@')).map(id_of);
    let end = match last {
        _ if child.is_some() => NewWaitEnd::Never,
        None => NewWaitEnd::Never,
        Some(at) if at.starts_with(['+', '-']) => NewWaitEnd::At(instant(at, now_ms)),
        Some(after) => NewWaitEnd::After(duration(after)),
    };
    NewWait {
        step: step(name),
        reason,
        key: key.map(Into::into),
        end,
        child,
        contents: ActionContents::default(),
    }
}

/// The run of an execution, folded from what was recorded.
#[derive(Default)]
struct Told {
    course: Course,
    attempt: u32,
    reason: Option<WaitReason>,
    outputs: std::collections::BTreeMap<StepId, String>,
}

fn told(world: &World, birth: Birth) -> Told {
    let rows: Vec<_> = world
        .audit
        .actions
        .range((birth, 0)..=(birth, u32::MAX))
        .collect();
    let ends = world.audit.attempts.range((birth, 0)..=(birth, u32::MAX));
    let mut ends: Vec<_> = ends.map(|(_, end)| end).collect();
    ends.retain(|end| end.cause != RequeueCause::Suspended);
    let mut told = Told::default();
    let mut ends = ends.into_iter().peekable();
    for (_, row) in &rows {
        while let Some(end) = ends.next_if(|end| end.actions < row.ordinal) {
            told.lease_ended(end.attempt);
        }
        told.reach(row.attempt);
        told.course
            .take(row.action)
            .expect("a recorded action is legal");
        told.note(row, world);
    }
    for end in ends {
        told.lease_ended(end.attempt);
    }
    let living = world.engine.state().slot(birth);
    let last = world
        .audit
        .lasts
        .get(&birth)
        .map(|last| last.progress.attempt);
    told.reach(living.map(|slot| slot.attempt).or(last).unwrap_or(0));
    if let Some(run) = world.engine.state().run(birth) {
        assert_eq!(
            run.course, told.course,
            "what was recorded leads to another run"
        );
    }
    if let Some(end) = world.audit.ends.get(&birth) {
        let action = match end.status {
            Status::Completed => Action::Complete,
            Status::Cancelled => Action::Cancel,
            _ => Action::Fail,
        };
        told.course.take(action).expect("a run can end");
    }
    told
}

impl Told {
    fn reach(&mut self, attempt: u32) {
        if attempt > self.attempt {
            self.attempt = attempt;
            let _ = self.course.take(Action::Start);
        }
    }

    fn lease_ended(&mut self, attempt: u32) {
        self.reach(attempt);
        let _ = self.course.take(Action::AttemptEnded);
    }

    fn note(&mut self, row: &ActionRow, world: &World) {
        if let Action::Wait(reason) = row.action {
            self.reason = Some(reason);
        }
        let of = row.contents.body_of.map_or(row.ordinal, |other| other);
        let body = world.audit.actions[&(row.birth, of)].contents.body.clone();
        let (Action::StepCompleted(id) | Action::StepSkipped(id) | Action::StepCarried(id)) =
            row.action
        else {
            return;
        };
        if let Some(body) = body {
            let text = String::from_utf8_lossy(&body).into_owned();
            self.outputs.insert(id, text);
        }
    }
}

/// The steps as `name:state` or `name:state:output`, separated by commas.
fn listed(
    told: &Told,
    is_shown: impl Fn(backlane_engine::rules::step::StepState) -> bool,
) -> String {
    let steps = told.course.steps.iter().filter(|mark| is_shown(mark.state));
    let texts = steps.map(|mark| {
        let state = format!("{:?}", mark.state).to_lowercase();
        let output = told.outputs.get(&mark.id);
        let output = output.map_or_else(String::new, |output| format!(":{output}"));
        format!("{}:{state}{output}", name_of(mark.id))
    });
    let texts: Vec<_> = texts.collect();
    if texts.is_empty() {
        "none".into()
    } else {
        texts.join(",")
    }
}

fn reason(name: &str) -> WaitReason {
    let mut named = WaitReason::ALL.iter().copied();
    named
        .find(|reason| reason_name(*reason) == name)
        .unwrap_or_else(|| panic!("no reason is called {name}"))
}

fn reason_name(reason: WaitReason) -> String {
    match reason {
        WaitReason::Unspecified => "none",
        WaitReason::Approval => "approval",
        WaitReason::UserInput => "user_input",
        WaitReason::RateLimit => "rate_limit",
        WaitReason::External => "external",
        WaitReason::Checkpoint => "checkpoint",
        WaitReason::CostThreshold => "cost_threshold",
        WaitReason::MemoryPressure => "memory_pressure",
        WaitReason::SubAgent => "sub_agent",
    }
    .into()
}
