//! The verbs about executions that are over, and those about tasks and progress.

use backlane_engine::command::{DedupPolicy, NewExecution, ProgressReport};
use backlane_engine::rules::id::Birth;

use crate::script::{Line, text};
use crate::view::show_task;
use crate::words::{Answer, refused, request};
use crate::world::{new_execution, visible};

use super::Stage;

impl Stage {
    pub(super) fn progress(&mut self, line: &Line) -> Answer {
        let held = self.held(line);
        let report = ProgressReport {
            fraction: line.get("fraction").map(|it| it.parse().expect("a number")),
            message: text(line.get("message").unwrap_or_default()).into(),
        };
        let settled = self.world.report_progress(&held, report);
        settled.map_or_else(|refusal| refused(&refusal), |settled| self.settled(settled))
    }

    /// Redrives an execution as the runtime does: what the line does not say is as it was.
    pub(super) fn redrive(&mut self, line: &Line) -> Answer {
        let of = self.names[line.get("of").expect("the execution to redrive")];
        let tenant = line.get("tenant").unwrap_or("acme");
        let old = self.made.get(&of).cloned();
        let mut new = NewExecution {
            not_before_ms: None,
            start_deadline_ms: None,
            deadline_ms: None,
            dedup_policy: DedupPolicy::Reject,
            ..old.expect("it was enqueued")
        };
        new.tenant = visible(tenant);
        let config = |(key, _): &(&str, &str)| ["priority", "timeout"].contains(key);
        if line.keyed().any(|word| config(&word)) {
            let NewExecution {
                priority, policy, ..
            } = new_execution(tenant, "mail");
            (new.priority, new.policy) = (priority, policy);
        }
        for (key, value) in line.keyed().filter(config) {
            self.set(&mut new, key, value);
        }
        let id = line.get("request_id");
        new.request = id.map(|id| request(&format!("redrive {tenant}"), id, &line.words));
        let is_anew = line.get("restart").is_some() || line.get("input").is_some();
        let steps = if is_anew {
            Vec::new()
        } else {
            self.world.audit.completed_steps(of)
        };
        match self.world.redrive_with(self.world.id(of), &new, steps) {
            Ok(made) => {
                self.made.entry(made.birth).or_insert(new);
                Answer::word(self.met(line.plain(0), made))
            }
            Err(refusal) => refused(&refusal),
        }
    }

    pub(super) fn discard(&mut self, line: &Line) -> Answer {
        let birth = self.birth(line);
        let tenant = line.get("tenant").unwrap_or("acme");
        match self.world.discard(tenant, self.world.id(birth)) {
            Ok(()) => Answer::word("discarded"),
            Err(refusal) => refused(&refusal),
        }
    }

    pub(super) fn dead_letters(&self, line: &Line) -> Answer {
        let tenant = line.get("tenant").unwrap_or("acme");
        let callable = line.get("callable");
        let audit = &self.world.audit;
        let dead = audit.dead.iter().rev().filter(|birth| {
            let last = &audit.lasts[birth];
            &*last.tenant == tenant && callable.is_none_or(|name| &*last.callable == name)
        });
        Answer::names(dead.map(|birth| self.name_of(*birth)).collect())
    }

    pub(super) fn task(&self, line: &Line) -> Answer {
        let birth = self.birth(line);
        let shown = line
            .keyed()
            .map(|(key, _)| (key.into(), show_task(&self.world, birth, key)));
        Answer {
            words: Vec::new(),
            fields: shown.collect(),
        }
    }

    pub(super) fn retried_from(&self, birth: Birth) -> String {
        let living = self.world.engine.state().living(birth);
        let last = living.or_else(|| self.world.audit.lasts.get(&birth).cloned());
        let from = last.and_then(|last| last.retried_from);
        from.map_or_else(|| "none".to_owned(), |from| self.name_of(from))
    }
}
