//! The stage of explanations: the reasons of an execution, in the words of scenarios.

use std::collections::BTreeMap;

use backlane_sim::api::{millis, v1};
use backlane_wire::Method;
use v1::reason::Kind;

use crate::script::Line;
use crate::stage::{Answer, Stage};
use crate::view::{actor, seen, status};

/// The fields of an answer, with the kind of the reason in front.
type Fields = BTreeMap<&'static str, String>;

impl Stage {
    pub(crate) fn explain(&mut self, line: &Line) -> Answer {
        let (tenant_id, execution_id) = self.named(line);
        let request = v1::ExplainRequest {
            tenant_id,
            execution_id,
        };
        let told = match self.ask::<v1::ExplainResponse>(Method::Explain, &request) {
            Ok(told) => told,
            Err(refused) => return refused,
        };
        let mut words = Vec::new();
        let mut answer = Answer::default();
        for reason in told.reasons {
            assert!(!reason.text.is_empty());
            let (kind, fields) = self.worded(reason.kind.expect("a kind"));
            words.push(kind.to_owned());
            for (key, value) in fields {
                answer = answer.with(&format!("{kind}.{key}"), &value);
            }
        }
        answer.words = Answer::words(words).words;
        answer
    }

    fn worded(&self, kind: Kind) -> (&'static str, Fields) {
        let now_ms = self.now_ms();
        let at = |at: Option<prost_types::Timestamp>| {
            at.map_or_else(|| "none".into(), |at| seen(millis(&at), now_ms))
        };
        match kind {
            Kind::Finished(one) => ("finished", [("status", status(one.status()))].into()),
            Kind::SetAside(_) => ("set_aside", Fields::new()),
            Kind::UnmetDependencies(one) => {
                let ids = one.unmet.into_iter().map(|one| one.execution_id);
                ("unmet_dependencies", [("of", self.names_of(ids))].into())
            }
            Kind::NotDue(one) => ("not_due", [("until", at(one.until))].into()),
            Kind::BackingOff(one) => {
                let attempt = one.error.expect("its error").attempt.to_string();
                let fields = [("until", at(one.until)), ("attempt", attempt)];
                ("backing_off", fields.into())
            }
            Kind::Paused(one) => {
                let by = actor(&one.by.expect("a pause of this program version"));
                ("paused", [("by", by), ("since", at(one.since))].into())
            }
            Kind::Suspended(one) => ("suspended", self.awaited(one.waits)),
            Kind::Running(one) => {
                let fields = [
                    ("worker", one.worker_id),
                    ("attempt", one.attempt.to_string()),
                    ("since", at(one.since)),
                    ("cancel_requested", one.cancel_requested.to_string()),
                    ("pause_requested", one.pause_requested.to_string()),
                ];
                ("running", fields.into())
            }
            Kind::AwaitsDescendants(one) => {
                let status = status(one.status());
                let of = self.names_of(one.execution_ids.into_iter());
                (
                    "awaits_descendants",
                    [("status", status), ("of", of)].into(),
                )
            }
            Kind::TenantLimit(one) => ("tenant_limit", self.limited(one)),
            Kind::CallableLimit(one) => ("callable_limit", self.limited(one)),
            Kind::NoWorker(one) => ("no_worker", [("last", at(one.last_offered_at))].into()),
            Kind::Withheld(one) => {
                let fields = [("worker", one.worker_id), ("until", at(one.until))];
                ("withheld", fields.into())
            }
            Kind::SlotsTaken(one) => {
                let (workers, held) = (one.workers.to_string(), one.held.to_string());
                ("slots_taken", [("workers", workers), ("held", held)].into())
            }
            Kind::Ahead(one) => ("ahead", [("count", one.count.to_string())].into()),
            Kind::Turn(one) => ("turn", [("tenants", one.tenants.to_string())].into()),
        }
    }

    fn awaited(&self, waits: Vec<v1::reason::Wait>) -> Fields {
        let keys = waits.iter().filter_map(|wait| wait.input_key.clone());
        let keys: Vec<_> = keys.collect();
        let until = waits
            .iter()
            .filter_map(|wait| wait.until.as_ref().map(millis));
        let until = until.min().map(|at_ms| seen(at_ms, self.now_ms()));
        let children = waits.into_iter().filter_map(|wait| wait.child_execution_id);
        let children = self.names_of(children);
        let listed = |words: String| {
            if words.is_empty() {
                "none".into()
            } else {
                words
            }
        };
        [
            ("keys", listed(keys.join(","))),
            ("until", until.unwrap_or_else(|| "none".into())),
            ("children", listed(children)),
        ]
        .into()
    }

    fn limited(&self, one: v1::reason::LimitReached) -> Fields {
        [
            ("limit", one.limit.to_string()),
            ("running", one.running.to_string()),
            ("holders", self.names_of(one.holder_ids.into_iter())),
        ]
        .into()
    }

    fn names_of(&self, ids: impl Iterator<Item = String>) -> String {
        let names: Vec<_> = ids.filter_map(|id| self.name_of(&id)).collect();
        names.join(",")
    }
}
