//! The verbs about executions that are over, and those about tasks and progress.

use std::collections::BTreeMap;

use backlane_engine::command::{
    DedupPolicy, Delete, Dependency, Dependent, NewExecution, ProgressReport, TakenStep,
};
use backlane_engine::fact::Actor;
use backlane_engine::rules::id::Birth;
use backlane_engine::rules::status::{ActorKind, EndReason};

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
            depends_on: Vec::new(),
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
        if let Some(names) = line.get("with_dependents") {
            return self.redrive_whole(line, names, (of, new), steps);
        }
        match self.world.redrive_with(self.world.id(of), &new, steps) {
            Ok(made) => {
                self.made.entry(made.birth).or_insert(new);
                Answer::word(self.met(line.plain(0), made))
            }
            Err(refusal) => refused(&refusal),
        }
    }

    /// Redrives an execution with the dependents that were skipped, which get these names.
    fn redrive_whole(
        &mut self,
        line: &Line,
        names: &str,
        (of, new): (Birth, NewExecution),
        steps: Vec<TakenStep>,
    ) -> Answer {
        let dependents = self.skipped_because_of(of);
        let id = self.world.id(of);
        match self
            .world
            .redrive_whole(id, &new, steps, dependents.clone())
        {
            Ok(redriven) => {
                let names = names.split(',').filter(|name| *name != "none");
                let names: Vec<_> = names.collect();
                assert_eq!(names.len(), redriven.dependents.len(), "{redriven:?}");
                for (name, id) in names.iter().zip(redriven.dependents) {
                    self.names.insert((*name).to_owned(), id.birth);
                }
                self.made.entry(redriven.made.birth).or_insert(new);
                self.note_dependents(of, dependents);
                Answer::word(self.met(line.plain(0), redriven.made))
            }
            Err(refusal) => refused(&refusal),
        }
    }

    /// Notes what the redrives of dependents depend on.
    fn note_dependents(&mut self, of: Birth, dependents: Vec<Dependent>) {
        let olds = dependents.iter().map(|one| one.id.birth);
        let newest: Vec<_> = [of]
            .into_iter()
            .chain(olds)
            .map(|old| self.newest_redrive(old))
            .collect();
        for (mut one, birth) in dependents.into_iter().zip(&newest[1..]) {
            for on in &mut one.new.depends_on {
                if let Dependency::Item(at) = *on {
                    let at = usize::try_from(at).expect("few");
                    *on = Dependency::Execution(self.world.id(newest[at]));
                }
            }
            self.made.entry(*birth).or_insert(one.new);
        }
    }

    fn newest_redrive(&self, old: Birth) -> Birth {
        let state = self.world.engine.state();
        let lasts = self.world.audit.lasts.iter();
        let over = lasts.filter(|(_, last)| last.retried_from == Some(old));
        let over = over.map(|(birth, _)| *birth).max();
        state.redrive_of(old).or(over).expect("a redrive")
    }

    /// The executions that were skipped because of one, as the runtime finds them.
    fn skipped_because_of(&self, of: Birth) -> Vec<Dependent> {
        let mut places = BTreeMap::from([(of, 0)]);
        let mut found = Vec::new();
        for (birth, old) in self.made.range(of + 1..) {
            let end = self.world.audit.ends.get(birth);
            let is_skipped = end.is_some_and(|end| end.reason == EndReason::DependencyFailed);
            let place = |on: &Dependency| match on {
                Dependency::Execution(id) => places.get(&id.birth).copied(),
                Dependency::Item(_) => panic!("not of a batch"),
            };
            if !is_skipped || !old.depends_on.iter().any(|on| place(on).is_some()) {
                continue;
            }
            let on = old.depends_on.iter();
            let on = on.map(|on| place(on).map_or(*on, Dependency::Item));
            found.push(Dependent {
                id: self.world.id(*birth),
                new: NewExecution {
                    depends_on: on.collect(),
                    request: None,
                    ..old.clone()
                },
                has_waited: true,
            });
            places.insert(*birth, u32::try_from(places.len()).expect("few"));
        }
        found
    }

    pub(super) fn discard(&mut self, line: &Line) -> Answer {
        let birth = self.birth(line);
        let tenant = line.get("tenant").unwrap_or("acme");
        match self.world.discard(tenant, self.world.id(birth)) {
            Ok(()) => Answer::word("discarded"),
            Err(refusal) => refused(&refusal),
        }
    }

    pub(super) fn delete(&mut self, line: &Line) -> Answer {
        let birth = self.birth(line);
        let delete = Delete {
            tenant: visible(line.get("tenant").unwrap_or("acme")),
            id: self.world.id(birth),
            actor: Actor::named(ActorKind::Client, ""),
        };
        self.world.tick();
        let (known, now) = (self.world.known(), self.world.now);
        let answer = self.world.engine.delete(&delete, &known, now);
        self.world.settle();
        match answer {
            Ok(()) => Answer::word("deleted"),
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
