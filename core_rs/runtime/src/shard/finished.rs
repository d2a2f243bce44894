//! What leaves the engine as facts becomes rows and bytes of the pending commit.

use std::sync::Arc;

use backlane_engine::Decided;
use backlane_engine::fact::{Births, Ended, FactKind, Living, RequestKey};
use backlane_engine::rules::id::Birth;
use backlane_store::{Bytes, FinishedRow, RequestRow};
use backlane_wire::{Ending, PayloadParts, encode_fact};

use super::Shard;

impl Shard {
    /// Takes what the engine decided into the pending commit. `parts` are what new executions
    /// are made with, in order.
    pub(super) fn absorb<'a>(&mut self, parts: impl IntoIterator<Item = &'a PayloadParts>) {
        let mut parts = parts.into_iter();
        for decided in self.engine.take_facts() {
            let sequence = self.journal.next_sequence();
            encode_fact(&decided.fact, &mut self.journal.pending.frame);
            self.journal.count_fact();
            self.upkeep.count_fact();
            let at_ms = decided.fact.at_ms;
            match &decided.fact.kind {
                FactKind::Enqueued(living) => {
                    if let Some(parts) = parts.next() {
                        self.keep_payload(living, parts, sequence);
                    }
                    if let Some(request) = living.request {
                        let births = Births::Run {
                            first: living.id.birth,
                            count: 1,
                        };
                        self.keep_request(request, &births, at_ms);
                    }
                }
                FactKind::BatchAccepted { request, births } => {
                    self.keep_request(*request, births, at_ms);
                }
                FactKind::Ended(ended) => self.keep_ending(ended, &decided, sequence),
                _ => {}
            }
        }
    }

    /// What timers decided.
    pub(super) fn absorb_timers(&mut self) {
        self.absorb([]);
    }

    fn keep_payload(&mut self, living: &Living, parts: &PayloadParts, sequence: u64) {
        let bytes: Bytes = Arc::from(parts.encode(living));
        self.journal
            .pending
            .payloads
            .push((living.id.birth, bytes.clone()));
        self.records
            .insert_payload(living.id.birth, bytes, sequence);
    }

    fn keep_request(&mut self, request: RequestKey, births: &Births, at_ms: u64) {
        let (first_birth, count, listed) = match births {
            Births::Run { first, count } => (*first, *count, Vec::new()),
            Births::List(births) => (0, 0, births.to_vec()),
        };
        self.journal.pending.requests.push(RequestRow {
            hour: backlane_engine::state::hour_of(at_ms),
            key: request.key,
            body: request.body,
            first_birth,
            count,
            listed,
        });
    }

    fn keep_ending(&mut self, ended: &Ended, decided: &Decided, sequence: u64) {
        let Some(last) = &decided.last else { return };
        let at_ms = decided.fact.at_ms;
        let ending: Bytes = Arc::from(Ending::of(ended, last, at_ms).encode());
        self.journal.pending.finished.push(FinishedRow {
            birth: ended.birth,
            tenant: (*last.tenant).into(),
            status: ended.status as u8,
            finished_at_ms: at_ms,
            ending: ending.clone(),
        });
        self.records.insert_ending(ended.birth, ending, sequence);
        self.ended(ended.birth);
    }

    /// Whether an execution is unfinished.
    pub(super) fn is_living(&self, birth: Birth) -> bool {
        self.engine.state().slot(birth).is_some()
    }
}
