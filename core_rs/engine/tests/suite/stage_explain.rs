//! The stage of explanations: the reasons of an execution, in the words of scenarios.
//!
//! Owns the words of the reasons. Refuses to compare them with the expectations of a scenario.

use std::collections::BTreeMap;

use backlane_engine::reason::{Awaited, LimitReached, Reason};
use backlane_engine::rules::id::ExecutionId;

use crate::script::Line;
use crate::stage::Stage;
use crate::view::{actor_name, relative, show};
use crate::words::Answer;

/// The fields of an answer, with the kind of the reason in front.
type Fields = BTreeMap<&'static str, String>;

impl Stage {
    pub(crate) fn explain(&self, line: &Line) -> Answer {
        let birth = self.birth(line);
        let (engine, now) = (&self.world.engine, self.world.now);
        let Some(told) = engine.explain(birth, &[], now) else {
            let status = show(&self.world, birth, "status");
            return Answer::word("finished").with("finished.status", &status);
        };
        let mut answer = Answer::names(Vec::new());
        if !told.reasons.is_empty() {
            answer.words.clear();
        }
        for reason in &told.reasons {
            let (kind, fields) = self.worded(reason);
            answer.words.push(kind.to_owned());
            for (key, value) in fields {
                answer = answer.with(&format!("{kind}.{key}"), &value);
            }
        }
        answer
    }

    fn worded(&self, reason: &Reason) -> (&'static str, Fields) {
        let at = |at_ms: u64| relative(at_ms, self.world.now.wall_ms);
        let some = |at_ms: Option<u64>| at_ms.map_or_else(|| "none".into(), at);
        match reason {
            Reason::SetAside { .. } => ("set_aside", Fields::new()),
            Reason::AwaitsDependencies { unmet, .. } => {
                let ids: Vec<_> = unmet.iter().map(|(id, _)| *id).collect();
                ("unmet_dependencies", [("of", self.names_of(&ids))].into())
            }
            Reason::NotDue { until_at_ms } => ("not_due", [("until", at(*until_at_ms))].into()),
            Reason::BackingOff {
                until_at_ms,
                attempt,
            } => {
                let attempt = attempt.expect("an attempt that failed").to_string();
                let fields = [("until", at(*until_at_ms)), ("attempt", attempt)];
                ("backing_off", fields.into())
            }
            Reason::Paused { pause } => {
                let pause = pause.as_ref().expect("a pause of this program version");
                let by = actor_name(&pause.actor);
                let fields = [("by", by), ("since", at(pause.at_ms))];
                ("paused", fields.into())
            }
            Reason::Suspended { waits } => ("suspended", self.waits(waits)),
            Reason::Running(one) => {
                let cancel = one.cancel.is_some().to_string();
                let fields = [
                    ("worker", one.worker.to_string()),
                    ("attempt", one.attempt.to_string()),
                    ("since", at(one.since_at_ms)),
                    ("cancel_requested", cancel),
                    ("pause_requested", one.pause_requested.to_string()),
                ];
                ("running", fields.into())
            }
            Reason::AwaitsChildren {
                ended, descendants, ..
            } => {
                let status = ended.status.name().to_owned();
                let fields = [("status", status), ("of", self.names_of(descendants))];
                ("awaits_descendants", fields.into())
            }
            Reason::TenantLimit(limit) => ("tenant_limit", self.limited(limit)),
            Reason::CallableLimit(limit) => ("callable_limit", self.limited(limit)),
            Reason::NoWorker { last_at_ms } => ("no_worker", [("last", some(*last_at_ms))].into()),
            Reason::Withheld {
                worker,
                until_at_ms,
            } => {
                let fields = [
                    ("worker", worker.to_string()),
                    ("until", some(*until_at_ms)),
                ];
                ("withheld", fields.into())
            }
            Reason::SlotsTaken { workers, held } => {
                let fields = [("workers", workers.to_string()), ("held", held.to_string())];
                ("slots_taken", fields.into())
            }
            Reason::Ahead(count) => ("ahead", [("count", count.count.to_string())].into()),
            Reason::Turn(count) => ("turn", [("tenants", count.count.to_string())].into()),
        }
    }

    fn waits(&self, waits: &[Awaited]) -> Fields {
        let at = |at_ms: u64| relative(at_ms, self.world.now.wall_ms);
        let keys = waits.iter().filter_map(|wait| wait.key.clone());
        let keys: Vec<_> = keys.map(String::from).collect();
        let until = waits.iter().filter_map(|wait| wait.until_at_ms).min();
        let children: Vec<_> = waits.iter().filter_map(|wait| wait.child).collect();
        let listed = |words: String| {
            if words.is_empty() {
                "none".into()
            } else {
                words
            }
        };
        [
            ("keys", listed(keys.join(","))),
            ("until", until.map_or_else(|| "none".into(), at)),
            ("children", listed(self.names_of(&children))),
        ]
        .into()
    }

    fn limited(&self, limit: &LimitReached) -> Fields {
        [
            ("limit", limit.limit.to_string()),
            ("running", limit.running.to_string()),
            ("holders", self.names_of(&limit.holders)),
        ]
        .into()
    }

    fn names_of(&self, ids: &[ExecutionId]) -> String {
        let names: Vec<_> = ids.iter().map(|id| self.name_of(id.birth)).collect();
        names.join(",")
    }
}
