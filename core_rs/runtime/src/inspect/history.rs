//! The history: a fold of a log that may be damaged.
//!
//! Owns the way past facts that are lost, that cannot be decoded, or that cannot follow: they are
//! named and skipped, and the executions whose state they leave doubtful are remembered. Refuses
//! to know rows, except those of request ids, which the log repeats.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use backlane_engine::fact::{
    Births, Ended, ExecutionChange, ExecutionFact, Fact, FactKind, RequestFact, RequestKey,
};
use backlane_engine::row::RequestRow;
use backlane_engine::rules::id::{Birth, ExecutionId};
use backlane_engine::rules::status::{EndReason, Status};
use backlane_engine::state::{Impossible, State};
use backlane_store::{Frame, Key, Row};
use backlane_wire::facts;

use crate::recover::SHARD;

/// The most lines about single facts. One lost frame can leave thousands of facts that cannot
/// follow.
const FACT_LINES: u64 = 100;

/// An execution by its id, with its tenant.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    pub(crate) id: ExecutionId,
    pub(crate) tenant: Arc<str>,
}

/// What a log says, as far as it can be read.
#[derive(Debug)]
pub(crate) struct History {
    state: State,
    facts: u64,
    skipped: u64,
    damage: Vec<String>,
    epoch: u64,
    doubtful: BTreeSet<Birth>,
    ended: BTreeMap<Birth, Owner>,
    // Those of the executions that ended which completed.
    completed: BTreeSet<Birth>,
    // The request ids of the log that no row was seen of.
    requests: BTreeMap<[u8; 16], RequestRow>,
    // First sequence number of the last frame, and the sequence number after that frame.
    last: Option<(u64, u64)>,
}

impl History {
    pub(super) fn new() -> Self {
        Self {
            state: State::new(SHARD),
            facts: 0,
            skipped: 0,
            damage: Vec::new(),
            epoch: 0,
            doubtful: BTreeSet::new(),
            ended: BTreeMap::new(),
            completed: BTreeSet::new(),
            requests: BTreeMap::new(),
            last: None,
        }
    }

    /// Folds the next frame that can be read.
    pub(super) fn frame(&mut self, frame: &Frame) {
        let first = frame.first_sequence;
        if self.last.is_some_and(|(_, next)| next != first) {
            self.facts_are_lost();
        }
        let mut sequence = first;
        for fact in facts(&frame.bytes) {
            match fact {
                Ok(fact) => self.follow(sequence, &fact),
                Err(error) => {
                    self.skip(format!("fact {sequence} cannot be decoded: {error}"));
                    self.facts_are_lost();
                }
            }
            sequence += 1;
        }
        let next = first + u64::from(frame.count);
        if sequence != next {
            let (held, last) = (sequence - first, next - 1);
            self.skip(format!(
                "the frame with facts {first} to {last} holds {held} facts"
            ));
            self.facts_are_lost();
        }
        self.facts += sequence - first;
        self.last = Some((first, next));
    }

    /// The log is over. Where the store found damage after the last frame, what that damage hides
    /// is unknown.
    pub(super) fn end(&mut self, damage: &[String]) {
        let from = self.last.map_or(0, |(first, _)| first);
        let is_lost = |line: &String| fact_named_in(line).is_some_and(|fact| fact > from);
        if damage.iter().any(is_lost) {
            self.facts_are_lost();
        }
    }

    /// A row that was saved. The log need not repeat it.
    pub(super) fn row(&mut self, row: &Row) {
        if let Key::Digest { digest, .. } = &row.key {
            self.requests.remove(digest);
        }
    }

    fn follow(&mut self, sequence: u64, fact: &Fact) {
        self.note(fact);
        match self.state.apply(fact) {
            Ok(Some(last)) => {
                let (id, tenant) = (last.id, last.tenant);
                self.doubtful.remove(&id.birth);
                self.ended.insert(id.birth, Owner { id, tenant });
                self.completed.extend(completed_by(fact));
            }
            Ok(None) => self.is_certain(fact),
            Err(impossible) => {
                self.skip(format!("fact {sequence} cannot follow: {impossible}"));
                self.contradicted(fact, &impossible);
            }
        }
    }

    /// Whatever happened before, the state of an execution that was born or carried is known.
    fn is_certain(&mut self, fact: &Fact) {
        if let Some(ExecutionFact { birth, change }) = fact.kind.as_execution()
            && let ExecutionChange::Enqueued(_) | ExecutionChange::Carried(_) = change
        {
            self.doubtful.remove(birth);
        }
    }

    /// A carried execution is what it is carried as, since all of it is in that fact. After any
    /// other fact the execution stays as it was.
    fn contradicted(&mut self, fact: &Fact, impossible: &Impossible) {
        if let FactKind::Run(change) = &fact.kind {
            self.doubtful.insert(change.birth);
        }
        let Some(ExecutionFact { birth, .. }) = fact.kind.as_execution() else {
            return;
        };
        self.doubtful.insert(*birth);
        if let Impossible::CarriedDiffers { .. } = impossible {
            let forgotten = Ended {
                status: Status::Failed,
                reason: EndReason::DataDamaged,
                outcome: None,
            };
            let kind = FactKind::execution(*birth, ExecutionChange::Ended(forgotten));
            let forgets = Fact {
                kind,
                ..fact.clone()
            };
            let replaced = self.state.apply(&forgets).is_ok() && self.state.apply(fact).is_ok();
            if replaced {
                self.doubtful.remove(birth);
            }
        }
    }

    /// Notes the epoch of a lease and the request ids of a fact.
    fn note(&mut self, fact: &Fact) {
        match &fact.kind {
            FactKind::Execution(change) => match &change.change {
                ExecutionChange::Enqueued(living) => {
                    if let Some(request) = living.request {
                        self.used(request, Births::of(&[change.birth]), fact.at_ms);
                    }
                }
                ExecutionChange::Deleted => {
                    self.ended.remove(&change.birth);
                }
                ExecutionChange::Leased { holding, .. } => self.held(holding.token.epoch),
                ExecutionChange::Carried(living) => {
                    let holding = living.progress.holding.as_ref();
                    self.held(holding.map_or(0, |holding| holding.token.epoch));
                }
                _ => {}
            },
            FactKind::Request(RequestFact { request, births }) => {
                self.used(*request, births.clone(), fact.at_ms);
            }
            FactKind::Tenant(_) | FactKind::Log(_) | FactKind::Run(_) | FactKind::Agenda(_) => {}
        }
    }

    fn held(&mut self, epoch: u64) {
        self.epoch = self.epoch.max(epoch);
    }

    fn used(&mut self, request: RequestKey, births: Births, at_ms: u64) {
        let row = RequestRow {
            at_ms,
            request,
            births,
        };
        self.requests.insert(request.key, row);
    }

    /// Facts are lost: anything may have happened to the executions that are living now.
    fn facts_are_lost(&mut self) {
        self.doubtful.extend(self.state.slots().births_from(0));
    }

    fn skip(&mut self, line: String) {
        self.skipped += 1;
        if self.skipped <= FACT_LINES {
            self.damage.push(line);
        }
    }

    /// The state that the facts give.
    pub(crate) const fn state(&self) -> &State {
        &self.state
    }

    /// The executions that are living as far as the log tells.
    pub(crate) fn living(&self) -> impl Iterator<Item = Birth> + '_ {
        self.state.slots().births_from(0)
    }

    /// Whether facts that cannot be read may have changed an execution.
    pub(crate) fn is_doubtful(&self, birth: Birth) -> bool {
        self.doubtful.contains(&birth)
    }

    /// The executions that ended as far as the log tells.
    pub(crate) const fn ended(&self) -> &BTreeMap<Birth, Owner> {
        &self.ended
    }

    /// Whether the log tells that an execution completed.
    pub(crate) fn has_completed(&self, birth: Birth) -> bool {
        self.completed.contains(&birth)
    }

    /// The request ids of the log whose rows could not be read.
    pub(crate) fn take_requests(&mut self) -> impl Iterator<Item = RequestRow> + use<> {
        std::mem::take(&mut self.requests).into_values()
    }

    /// The highest epoch under which a lease was given.
    pub(crate) const fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) const fn facts(&self) -> u64 {
        self.facts
    }

    /// The facts that were skipped, one line each for the first ones.
    pub(crate) fn damage(&self) -> impl Iterator<Item = String> + '_ {
        let more = self.skipped.saturating_sub(FACT_LINES);
        let more = (more > 0).then(|| format!("{more} more facts cannot be followed"));
        self.damage.iter().cloned().chain(more)
    }
}

/// The execution that a fact completes.
fn completed_by(fact: &Fact) -> Option<Birth> {
    let fact = fact.kind.as_execution()?;
    match fact.change {
        ExecutionChange::Ended(ended) if ended.status.is_success() => Some(fact.birth),
        _ => None,
    }
}

/// The number of the first fact that a line of the store's report names, if it names one.
fn fact_named_in(line: &str) -> Option<u64> {
    let mut words = line.split([' ', ':']);
    words.find(|word| matches!(*word, "fact" | "facts"))?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::fact_named_in;

    #[test]
    fn a_line_about_the_log_names_its_first_fact() {
        for line in [
            "facts 7 to 9 are missing from the log",
            "the frame with facts 7 to 9 is damaged: its checksum is wrong",
            "the frame that begins with fact 7 cannot be read: page 3",
            "frames from fact 7 on cannot be read: page 3",
        ] {
            assert_eq!(Some(7), fact_named_in(line), "{line}");
        }
        assert_eq!(None, fact_named_in("payload 7 is damaged: its head"));
    }
}
