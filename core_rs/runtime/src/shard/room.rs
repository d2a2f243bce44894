//! The room: the desk, and all calls and streams that wait.
//!
//! Owns the way of a job: the rows that the decision needs are read first, then the job is decided.
//! Also owns the reads in progress. Refuses to know any call: each family of calls implements
//! [`Job`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use backlane_engine::command::{Known, Needs, Read};
use backlane_engine::rules::access::Principal;
use backlane_engine::rules::id::Birth;
use backlane_store::{ENDING, Key, Lookup, Part, Stored};
use backlane_wire::row;

use crate::message::{Found, Output, Query, ReadId, Ticket, Wanted};

use super::desk::Desk;
use super::stream::Streams;
use super::takers::Takers;
use super::waits::Waits;

/// The desk, and all calls and streams that wait.
pub(super) struct Room {
    pub(super) desk: Desk,
    pub(super) takers: Takers,
    pub(super) waits: Waits,
    pub(super) streams: Streams,
    /// The calls that walk through executions, and whose callers are not gone.
    pub(super) walks: BTreeSet<Ticket>,
    reads: Reads,
}

/// The caller of a unary call that waits for its reply.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) ticket: Ticket,
    pub(super) principal: Arc<Principal>,
    pub(super) timeout_ms: Option<u64>,
}

/// A checked request that may need a read before it is decided.
pub(super) trait Job: Send {
    /// The rows that must be read before the decision. The runtime calls this again with the rows
    /// that were read, until nothing more is needed.
    fn needs(&self, _desk: &Desk, _known: &Known) -> Needs {
        Needs::default()
    }

    /// Decides the request, then replies or starts the read that the reply needs.
    fn decide(self: Box<Self>, room: &mut Room, known: &Known);
}

/// The continuation of a read.
pub(super) type Then = Box<dyn FnOnce(&mut Room, Found) + Send>;

#[derive(Default)]
struct Reads {
    waiting: BTreeMap<ReadId, Then>,
    last: ReadId,
}

impl Room {
    pub(super) fn new(desk: Desk) -> Self {
        Self {
            desk,
            takers: Takers::default(),
            waits: Waits::default(),
            streams: Streams::default(),
            walks: BTreeSet::new(),
            reads: Reads::default(),
        }
    }

    /// Whether no read is in progress.
    pub(super) fn has_read_all(&self) -> bool {
        self.reads.waiting.is_empty()
    }

    /// Decides a job, after reading the rows that it needs.
    pub(super) fn run(&mut self, job: Box<dyn Job>, mut known: Known) {
        // Deleted since they were read.
        let gone = &self.desk.gone;
        for (_, read) in known.finished.iter_mut().filter(|one| gone.has(*one.0)) {
            *read = Read::Absent;
        }
        let needs = job.needs(&self.desk, &known);
        if needs.is_empty() {
            return job.decide(self, &known);
        }
        let query = self.missing(needs, &mut known);
        if query.is_empty() {
            return self.run(job, known);
        }
        let asked = query.clone();
        let then = Box::new(move |room: &mut Self, found: Found| {
            learn(&mut known, &asked, &found);
            room.run(job, known);
        });
        self.read(query, false, then);
    }

    /// The part of the needs that must be read. Rows in memory are added to `known`.
    pub(super) fn missing(&self, needs: Needs, known: &mut Known) -> Query {
        let since_hour = backlane_engine::state::oldest_hour(self.desk.engine.retention_now_ms());
        let mut query = Query {
            requests: needs.requests,
            since_hour,
            ..Query::default()
        };
        for birth in needs.finished {
            let key = Key::Number(birth);
            if self.desk.gone.has(birth) {
                known.finished.insert(birth, Read::Absent);
                continue;
            }
            match self.desk.cache.get(&ENDING, key.clone()) {
                Some(stored) => {
                    known.finished.insert(birth, finished(birth, stored));
                }
                None => query.rows.push(Wanted {
                    family: &ENDING,
                    key,
                    part: Part::Head,
                }),
            }
        }
        query
    }

    /// Reads, then calls `then`. With `parked`, the read waits until all decisions so far are
    /// durable.
    pub(super) fn read(&mut self, query: Query, parked: bool, then: Then) {
        self.reads.last += 1;
        let id = self.reads.last;
        self.reads.waiting.insert(id, then);
        let read = Output::Read(id, query);
        if parked {
            self.desk.journal.park(read);
        } else {
            self.desk.out.push(read);
        }
    }

    /// Continues after a read has finished.
    pub(super) fn read_done(&mut self, id: ReadId, found: Found) {
        if let Some(then) = self.reads.waiting.remove(&id) {
            then(self, found);
        }
    }
}

fn finished(birth: Birth, stored: &Stored) -> Read<backlane_engine::command::Finished> {
    let tenant = stored.listing.as_ref().map(|listing| &*listing.tenant);
    let read = row::ending::finished(birth, tenant.unwrap_or_default(), &stored.head);
    read.map_or_else(|error| Read::Damaged(error.to_string().into()), Read::Found)
}

fn learn(known: &mut Known, query: &Query, found: &Found) {
    for key in &query.requests {
        let read = match found.requests.get(key) {
            Some(Lookup::Found(stored)) => match row::request::known(&stored.head) {
                Ok(request) => Read::Found(request),
                Err(error) => Read::Damaged(error.to_string().into()),
            },
            Some(Lookup::Damaged(damage)) => Read::Damaged(damage.to_string().into()),
            Some(Lookup::Absent) | None => Read::Absent,
        };
        known.requests.insert(*key, read);
    }
    for wanted in &query.rows {
        let Key::Number(birth) = wanted.key else {
            continue;
        };
        let read = match found.row(wanted.family, &wanted.key) {
            Some(Lookup::Found(stored)) => finished(birth, stored),
            Some(Lookup::Damaged(damage)) => Read::Damaged(damage.to_string().into()),
            Some(Lookup::Absent) | None => Read::Absent,
        };
        known.finished.insert(birth, read);
    }
}
