//! The engine as one piece: state, soft state, and the facts on their way out.
//!
//! Owns the one place where a decided fact is applied. Refuses to hold rules: they are in
//! `decide` and `rules`.

use crate::command::{Finished, Known, OfferKey, OfferSpec, StreamKey};
use crate::fact::{Fact, FactKind, Living};
use crate::rules::id::{Birth, ExecutionId};
use crate::rules::limits::Limits;
use crate::soft::{About, Soft, Told};
use crate::state::{Impossible, State};
use crate::time::Now;

/// A fact that was decided and applied, to be made durable.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    /// The fact.
    pub fact: Fact,
    /// The last state of an execution that it ended.
    pub last: Option<Box<Living>>,
}

/// Decides commands for one shard.
///
/// A method that answers an error changed nothing. Everything else it decided waits in
/// [`Self::take_facts`]; no answer may leave before those facts are durable.
#[derive(Debug)]
pub struct Engine {
    pub(crate) state: State,
    pub(crate) soft: Soft,
    pub(crate) limits: Limits,
    pub(crate) epoch: u64,
    pub(crate) next_counter: u64,
    pub(crate) store_is_full: bool,
    pub(crate) walk: Option<Birth>,
    walk_end: Birth,
    facts: Vec<Decided>,
}

impl Engine {
    /// An engine over a folded state, which holds the shard under `epoch`.
    #[must_use]
    pub fn start(state: State, epoch: u64, limits: Limits, now: Now) -> Self {
        let soft = Soft::rebuild(&state, now);
        Self {
            state,
            soft,
            limits,
            epoch,
            next_counter: 1,
            store_is_full: false,
            walk: None,
            walk_end: 0,
            facts: Vec::new(),
        }
    }

    /// What is durable, or about to be.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// What is not.
    #[must_use]
    pub const fn soft(&self) -> &Soft {
        &self.soft
    }

    /// The limits it decides by.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The facts decided since the last call, in order.
    pub fn take_facts(&mut self) -> Vec<Decided> {
        std::mem::take(&mut self.facts)
    }

    /// What streams must be told once those facts are durable.
    pub fn take_told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.soft.told)
    }

    /// Tells whether the store still has room for new executions.
    pub const fn set_store_is_full(&mut self, full: bool) {
        self.store_is_full = full;
    }

    /// The index of request ids, to be told what is durable.
    pub const fn requests_mut(&mut self) -> &mut crate::state::RequestIndex {
        self.state.requests_mut()
    }

    /// Registers an offer; [`Self::release_offer`] gives it back.
    pub fn acquire_offer(&mut self, spec: OfferSpec) -> OfferKey {
        self.soft.offers.acquire(spec, self.state.tenants())
    }

    /// Gives an offer back.
    pub fn release_offer(&mut self, key: OfferKey) {
        self.soft.offers.release(key);
    }

    /// A frame came on a worker's stream.
    pub fn stream_frame(&mut self, stream: StreamKey, now: Now) {
        self.soft.holds.frame(stream, now);
    }

    /// A worker's stream ended: its leases wait a grace for it to come back.
    pub fn stream_ended(&mut self, stream: StreamKey, now: Now) {
        for birth in self.soft.holds.stream_ended(stream, now) {
            self.soft.rearm(birth);
        }
    }

    /// An execution that is over: as it was read, or as it was decided since the facts were
    /// taken last, which no reader can know of.
    pub(crate) fn finished(&self, id: &ExecutionId, known: &Known) -> Option<Finished> {
        let read = known.finished.get(&id.birth).cloned().flatten();
        let decided = || {
            self.facts
                .iter()
                .rev()
                .find_map(|decided| ended(decided, id.birth))
        };
        read.or_else(decided).filter(|done| done.id == *id)
    }

    /// Applies a decided fact and queues it for the log.
    pub(crate) fn commit(&mut self, kind: FactKind, now: Now) {
        let at_ms = self.at_ms(now);
        let about = self.about(&kind);
        let fact = Fact { at_ms, kind };
        match self.state.apply(&fact) {
            Ok(last) => {
                let about = about.or_else(|| self.about(&fact.kind));
                self.soft.follow(&self.state, &fact.kind, about, now);
                self.facts.push(Decided { fact, last });
            }
            // `decide` looked at this very state: such a fact cannot have been decided.
            Err(impossible) => debug_assert!(false, "{impossible}"),
        }
    }

    /// The time a fact is logged with: it never decreases.
    pub(crate) fn at_ms(&self, now: Now) -> u64 {
        now.wall_ms.max(self.state.last_at_ms())
    }

    fn about(&self, kind: &FactKind) -> Option<About> {
        let birth = match kind {
            FactKind::Enqueued(living) | FactKind::Carried(living) => living.id.birth,
            FactKind::Ended(ended) => ended.birth,
            FactKind::Due(birth)
            | FactKind::Leased { birth, .. }
            | FactKind::Requeued { birth, .. }
            | FactKind::CancelRequested { birth, .. } => *birth,
            _ => return None,
        };
        let queue = self.state.slot(birth)?.queue;
        Some(About {
            birth,
            queue,
            id: self.state.id(birth)?,
        })
    }

    /// Begins a walk over the living, so that the log before it may be trimmed when it is over.
    pub fn begin_round(&mut self, now: Now) {
        self.walk = Some(0);
        self.walk_end = self.state.next_birth();
        self.commit(
            FactKind::RoundBegan {
                next_birth: self.walk_end,
            },
            now,
        );
        for limit in self.state.limits_set() {
            self.commit(limit, now);
        }
    }

    /// Not applied, but for its time: what was taken from the state just now is what it is.
    fn carry_one(&mut self, birth: Birth, now: Now) {
        if let Some(living) = self.state.living(birth) {
            let at_ms = self.at_ms(now);
            self.state.pass_time(at_ms);
            let kind = FactKind::Carried(Box::new(living));
            let fact = Fact { at_ms, kind };
            self.facts.push(Decided { fact, last: None });
        }
    }

    /// Carries at most so many of the living. Answers whether the round is over.
    pub fn carry(&mut self, most: usize, now: Now) -> bool {
        let Some(cursor) = self.walk else { return true };
        let births = self.state.slots().births_from(cursor);
        let births: Vec<_> = births
            .take_while(|birth| *birth < self.walk_end)
            .take(most)
            .collect();
        for birth in &births {
            self.carry_one(*birth, now);
        }
        self.walk = if births.len() < most {
            None
        } else {
            births.last().map(|last| last + 1)
        };
        self.walk.is_none()
    }
}

fn ended(decided: &Decided, birth: Birth) -> Option<Finished> {
    let last = decided
        .last
        .as_ref()
        .filter(|last| last.id.birth == birth)?;
    let FactKind::Ended(ended) = &decided.fact.kind else {
        return None;
    };
    Some(Finished {
        id: last.id,
        tenant: (*last.tenant).into(),
        status: ended.status,
        outcome: last.progress.outcome,
    })
}

/// Folds a log.
///
/// # Errors
/// [`Impossible`] where a fact does not fit what came before: the log is damaged.
pub fn fold(state: &mut State, fact: &Fact) -> Result<(), Impossible> {
    state.apply(fact).map(drop)
}
