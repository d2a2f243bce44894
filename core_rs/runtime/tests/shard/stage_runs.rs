//! The stage of runs: steps, suspensions, inputs, pauses and the view of a run, each as a call.
//!
//! Owns what the verbs of runs do on a shard. Refuses to compare replies with expectations.

use backlane_runtime::Method;
use backlane_sim::api::{timestamp, v1};
use v1::step_action::Action;

use crate::script::{Line, duration, instant, text};
use crate::stage::{Answer, Stage};
use crate::view::{status, word};

/// The id of the step with this name: the name itself, filled up with zeros.
fn step_id(name: &str) -> String {
    let mut id = [0; 20];
    id[..name.len()].copy_from_slice(name.as_bytes());
    backlane_engine::rules::step::StepId(id).to_string()
}

/// Splits `name:rest` into both.
fn halves(word: &str) -> (&str, Option<String>) {
    word.split_once(':')
        .map_or((word, None), |(name, rest)| (name, Some(text(rest).into())))
}

pub(crate) fn new(name: &str, input: Option<String>) -> v1::NewStep {
    v1::NewStep {
        step_id: step_id(name),
        name: name.into(),
        input,
        ..Default::default()
    }
}

fn action(key: &str, value: &str) -> Option<v1::StepAction> {
    let (name, rest) = halves(value);
    let step_id = step_id(name.split(',').next().unwrap_or_default());
    let action = match key {
        "plan" => {
            let names = value.split(',').filter(|name| *name != "none");
            let steps = names.map(|name| new(name, None)).collect();
            Action::Planned(v1::StepsPlanned { steps })
        }
        "start" => Action::Started(new(name, rest)),
        "complete" => Action::Completed(v1::StepCompleted {
            step_id,
            output: rest,
        }),
        "fail" => Action::Failed(v1::StepFailed {
            step_id,
            error: Some(v1::ExecutionError {
                category: v1::ErrorCategory::ToolError as i32,
                message: rest.unwrap_or_default(),
                ..Default::default()
            }),
        }),
        "skip" => Action::Skipped(v1::StepSkipped {
            step_id,
            reason: rest,
        }),
        _ => return None,
    };
    let action = Some(action);
    Some(v1::StepAction { action })
}

fn wait(given: &str, reason: i32, now_ms: u64, id_of: impl Fn(&str) -> String) -> v1::WaitPoint {
    let mut parts = given.split(':');
    let name = parts.next().expect("a name");
    let mut point = v1::WaitPoint {
        step_id: step_id(name),
        name: name.into(),
        reason,
        key: parts.next().unwrap_or_default().into(),
        ..Default::default()
    };
    match parts.next() {
        None => {}
        Some(child) if child.starts_with('@') => {
            point.child_execution_id = Some(id_of(&child[1..]));
        }
        Some(at) if at.starts_with(['+', '-']) => {
            point.wait_until = Some(timestamp(instant(at, now_ms)));
        }
        Some(after) => point.wait_ms = Some(duration(after)),
    }
    point
}

impl Stage {
    pub(crate) fn steps(&mut self, line: &Line) -> Answer {
        let v1::LeaseRef {
            execution_id,
            lease_token,
        } = self.held(line);
        let actions = line.keyed().filter_map(|(key, value)| action(key, value));
        let report = v1::StepReport {
            execution_id,
            lease_token,
            actions: actions.collect(),
            sequence: line
                .get("sequence")
                .map_or(0, |number| number.parse().expect("a number")),
            ..Default::default()
        };
        let reports = vec![report];
        let request = v1::ReportStepsRequest { reports };
        let reply = self.ask::<v1::ReportStepsResponse>(Method::ReportSteps, &request);
        reply.map_or_else(|refused| refused, |reply| self.settled(&reply.outcomes[0]))
    }

    pub(crate) fn suspend(&mut self, line: &Line) -> Answer {
        let v1::LeaseRef {
            execution_id,
            lease_token,
        } = self.held(line);
        let reason = line.get("reason").map_or(0, |name| {
            let name = format!("WAIT_REASON_{}", name.to_uppercase());
            v1::WaitReason::from_str_name(&name)
                .expect("a reason")
                .into()
        });
        let now_ms = self.now_ms();
        let waits = line.keyed().filter(|(key, _)| *key == "wait");
        let id_of = |name: &str| self.ids[name].1.clone();
        let suspension = v1::Suspension {
            execution_id,
            lease_token,
            waits: waits
                .map(|(_, value)| wait(value, reason, now_ms, id_of))
                .collect(),
            ..Default::default()
        };
        let suspensions = vec![suspension];
        let request = v1::SuspendRequest { suspensions };
        let reply = self.ask::<v1::SuspendResponse>(Method::Suspend, &request);
        reply.map_or_else(|refused| refused, |reply| self.settled(&reply.outcomes[0]))
    }

    pub(crate) fn input(&mut self, line: &Line) -> Answer {
        let (_, execution_id) = self.named(line);
        let request = v1::ProvideInputRequest {
            tenant_id: line.get("tenant").unwrap_or("acme").into(),
            execution_id,
            key: line.plain(1).into(),
            value: text(line.plain(2)).into(),
            request_id: line.get("request_id").unwrap_or_default().into(),
        };
        match self.ask::<v1::ProvideInputResponse>(Method::ProvideInput, &request) {
            Ok(reply) => {
                let record = reply.execution.expect("a record");
                let answer = Answer::words(vec![status(record.status())]);
                answer.with("existing", &reply.existing)
            }
            Err(refused) => refused,
        }
    }

    pub(crate) fn control(&mut self, line: &Line) -> Answer {
        let (_, execution_id) = self.named(line);
        let tenant_id = line.get("tenant").unwrap_or("acme").to_owned();
        let reply = if line.verb == "pause" {
            let request = v1::PauseRequest {
                tenant_id,
                execution_id,
            };
            self.ask::<v1::PauseResponse>(Method::Pause, &request)
                .map(|reply| reply.execution)
        } else {
            let request = v1::ResumeRequest {
                tenant_id,
                execution_id,
            };
            self.ask::<v1::ResumeResponse>(Method::Resume, &request)
                .map(|reply| reply.execution)
        };
        match reply {
            Ok(record) => Answer::words(vec![status(record.expect("a record").status())]),
            Err(refused) => refused,
        }
    }

    pub(crate) fn run(&mut self, line: &Line) -> Answer {
        let (tenant_id, execution_id) = self.named(line);
        let request = v1::GetExecutionRunRequest {
            tenant_id,
            execution_id,
        };
        let reply = self.ask::<v1::GetExecutionRunResponse>(Method::GetExecutionRun, &request);
        let run = match reply {
            Ok(reply) => reply.execution.expect("a run"),
            Err(refused) => return refused,
        };
        let steps: Vec<_> = run.step_order.iter().map(|id| &run.steps[id]).collect();
        let reason = word(run.wait_reason().as_str_name(), "WAIT_REASON_");
        let reason = if reason == "unspecified" {
            "none".into()
        } else {
            reason
        };
        let state = word(run.state().as_str_name(), "EXECUTION_STATE_");
        Answer::default()
            .with("state", &state)
            .with("reason", &reason)
            .with("steps", &listed(steps))
    }
}

/// The steps as `name:state` or `name:state:output`, separated by commas.
pub(crate) fn listed<'a>(steps: impl IntoIterator<Item = &'a v1::Step>) -> String {
    let texts = steps.into_iter().map(|step| {
        let state = word(step.state().as_str_name(), "STEP_STATE_");
        let output = step.output.as_ref();
        let output = output.map_or_else(String::new, |output| format!(":{output}"));
        format!("{}:{state}{output}", step.name)
    });
    let texts: Vec<_> = texts.collect();
    if texts.is_empty() {
        "none".into()
    } else {
        texts.join(",")
    }
}
