//! Reads: what waits for the store, and how it goes on.
//!
//! Owns the two reasons to read: a decision that rests on what is not in memory, and an answer
//! that shows it. Refuses to read itself.

use std::collections::{BTreeMap, BTreeSet};

use backlane_engine::command::{Known, KnownRequest, Needs};
use backlane_engine::fact::Births;
use backlane_engine::rules::id::Birth;
use backlane_store::{Bytes, RequestRow};
use backlane_wire::finished;

use crate::message::{Found, Output, Query, ReadId};

use super::Shard;
use super::answer::Answer;
use super::calls::Job;

/// What a read is for.
#[derive(Debug)]
pub(super) enum Purpose {
    /// A decision, with what is known already.
    Decide(Box<Job>, Known, Query),
    /// An answer.
    Show(Box<Answer>),
}

/// The reads under way.
#[derive(Debug, Default)]
pub(super) struct Reads {
    waiting: BTreeMap<ReadId, Purpose>,
    last: ReadId,
}

impl Reads {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn start(&mut self, purpose: Purpose) -> ReadId {
        self.last += 1;
        self.waiting.insert(self.last, purpose);
        self.last
    }
}

impl Shard {
    /// Reads what a decision needs, from memory where it is there, and goes on with it.
    pub(super) fn read_for_decision(&mut self, job: Box<Job>, mut known: Known, needs: Needs) {
        let since_hour = backlane_engine::state::oldest_hour(self.now.wall_ms);
        let mut query = Query {
            requests: needs.requests,
            since_hour,
            ..Query::default()
        };
        for birth in needs.finished {
            match (self.records.payload(birth), self.records.ending(birth)) {
                (Some(payload), Some(ending)) => {
                    let done = self.finished_of(birth, payload, ending);
                    known.finished.insert(birth, done);
                }
                (payload, ending) => {
                    query.payloads.extend(payload.is_none().then_some(birth));
                    query.endings.extend(ending.is_none().then_some(birth));
                }
            }
        }
        if query.payloads.is_empty() && query.endings.is_empty() && query.requests.is_empty() {
            return self.run(job, known);
        }
        let id = self.reads.start(Purpose::Decide(job, known, query.clone()));
        self.out.push(Output::Read(id, query));
    }

    /// Reads what an answer shows. With `parked`, only after what was decided so far is durable.
    pub(super) fn read_for_answer(&mut self, answer: Box<Answer>, query: Query, parked: bool) {
        let id = self.reads.start(Purpose::Show(answer));
        let read = Output::Read(id, query);
        if parked {
            self.journal.park(read);
        } else {
            self.out.push(read);
        }
    }

    pub(super) fn read_done(&mut self, id: ReadId, found: &Found) {
        match self.reads.waiting.remove(&id) {
            Some(Purpose::Decide(job, mut known, query)) => {
                self.learn(&mut known, &query, found);
                self.run(job, known);
            }
            Some(Purpose::Show(answer)) => self.show(*answer, found),
            None => {}
        }
    }

    fn learn(&self, known: &mut Known, query: &Query, found: &Found) {
        for key in &query.requests {
            let read = found.requests.get(key).map(known_request);
            known.requests.insert(*key, read);
        }
        let births: BTreeSet<_> = query.payloads.iter().chain(&query.endings).collect();
        for birth in births {
            let payload = self
                .records
                .payload(*birth)
                .or_else(|| found.payloads.get(birth));
            let ending = self
                .records
                .ending(*birth)
                .or_else(|| found.endings.get(birth));
            let done = payload.zip(ending);
            let done = done.and_then(|(payload, ending)| self.finished_of(*birth, payload, ending));
            known.finished.insert(*birth, done);
        }
    }

    fn finished_of(
        &self,
        birth: Birth,
        payload: &Bytes,
        ending: &Bytes,
    ) -> Option<backlane_engine::command::Finished> {
        finished(birth, self.engine.state().shard(), payload, ending).ok()
    }
}

fn known_request(row: &RequestRow) -> KnownRequest {
    let births = if row.count > 0 {
        Births::Run {
            first: row.first_birth,
            count: row.count,
        }
    } else {
        Births::List(row.listed.clone().into_boxed_slice())
    };
    KnownRequest {
        body: row.body,
        births,
    }
}
