//! The log: every fact must be possible after the facts before it, and durable facts must remain.
//!
//! Owns two states built from the same facts: from all facts handed to the store, and from all
//! facts the store has made durable. Refuses to look at replies: the ledger does.

mod births;
mod kin;
mod leases;
mod over;
mod replay;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use backlane_engine::command::OfferSpec;
use backlane_engine::fact::{
    Ended, Entity, ExecutionChange, ExecutionFact, Fact, FactKind, Living, OutcomeKind,
    RequeueCause, RunChange, WakeCause,
};
use backlane_engine::rules::id::{Birth, LeaseToken};
use backlane_engine::rules::status::{EndReason, Phase, Status};
use backlane_engine::state::State;
use backlane_store::{Commit, Store};

use replay::{read, refold};

use super::edges::EdgeCheck;
use super::families;
use super::moves::{check_move, check_run};
use super::rows::rows_fit;
use super::turns::Pools;
use super::{Checked, broken, must, same_state};

const ACKNOWLEDGED: &str = "nothing acknowledged is ever lost";
const TERMINAL: &str = "nothing follows a terminal status";
const TOKENS: &str = "lease tokens are never reused";
const LIMITS: &str = "no limit is exceeded";
const ORDER: &str = "no worker gets an execution while a better one was admissible";
const EARLY: &str = "nothing is due before its time";
const LEGAL: &str = "only legal transitions happen";
const FOLD: &str = "applying the log leads to the state in memory";

/// Longest time that an execution may be withheld from the worker that released it, in
/// milliseconds.
const PAUSE_MS: u64 = 5_000;

/// The offer of each worker, by name.
pub type Offers = BTreeMap<Arc<str>, OfferSpec>;

/// The position of a fact in the log. A crash may undo the fact.
#[derive(Debug, Clone, Copy)]
struct At {
    sequence: u64,
    at_ms: u64,
}

/// The check that follows a log.
#[derive(Debug)]
pub struct LogCheck {
    shard: u16,
    emitted: State,
    durable: State,
    under_way: VecDeque<Vec<Fact>>,
    next_emitted: u64,
    next_durable: u64,
    tokens: BTreeMap<LeaseToken, Birth>,
    reported: BTreeMap<LeaseToken, (At, OutcomeKind)>,
    undelivered: BTreeSet<LeaseToken>,
    ended: BTreeMap<Birth, (At, Status)>,
    discarded: BTreeMap<Birth, At>,
    deleted: BTreeMap<Birth, At>,
    released: BTreeMap<(Birth, Arc<str>), u64>,
    jumped_at_ms: u64,
    walls: Walls,
    pools: Pools,
    edges: EdgeCheck,
    /// The offer of each worker.
    pub offers: Offers,
    /// The limit on a tenant's unfinished executions.
    pub max_queue: u64,
    /// The largest number of unfinished executions at any time.
    pub most_living: usize,
    /// The executions that redrive another one, each with that one.
    pub redriven: BTreeMap<Birth, Birth>,
    /// The number of suspensions that the end of a child ended.
    pub awaited: u64,
    /// Whether reads may fail, so that an execution may end because its payload was not read.
    pub misreads: bool,
}

/// The wall times of the steps since the last commit, in milliseconds since the epoch.
#[derive(Debug, Clone, Copy)]
struct Walls {
    earliest: u64,
    latest: u64,
    newest: u64,
}

impl Default for Walls {
    fn default() -> Self {
        Self {
            earliest: u64::MAX,
            latest: 0,
            newest: 0,
        }
    }
}

impl LogCheck {
    /// The check of an empty log.
    #[must_use]
    pub fn new(shard: u16, max_queue: u64) -> Self {
        Self {
            shard,
            emitted: State::new(shard),
            durable: State::new(shard),
            under_way: VecDeque::new(),
            next_emitted: 1,
            next_durable: 1,
            tokens: BTreeMap::new(),
            reported: BTreeMap::new(),
            undelivered: BTreeSet::new(),
            ended: BTreeMap::new(),
            discarded: BTreeMap::new(),
            deleted: BTreeMap::new(),
            released: BTreeMap::new(),
            jumped_at_ms: 0,
            walls: Walls::default(),
            pools: Pools::default(),
            edges: EdgeCheck::default(),
            offers: Offers::new(),
            max_queue,
            most_living: 0,
            redriven: BTreeMap::new(),
            awaited: 0,
            misreads: false,
        }
    }

    /// Has the tenants of an offer take turns from now on. Its workers must run everything for
    /// about the same time.
    pub fn watch_turns(&mut self, offer: OfferSpec) {
        self.pools.watch(offer);
    }

    /// The state after all facts that were handed to the store.
    #[must_use]
    pub const fn emitted(&self) -> &State {
        &self.emitted
    }

    /// The state after all facts that the store has made durable.
    #[must_use]
    pub const fn durable(&self) -> &State {
        &self.durable
    }

    /// The time and status of an execution's end, if it has ended.
    #[must_use]
    pub fn end_of(&self, birth: Birth) -> Option<(u64, Status)> {
        self.ended
            .get(&birth)
            .map(|(at, status)| (at.at_ms, *status))
    }

    /// The kind of report that a lease token's worker gave, if the report was accepted.
    #[must_use]
    pub fn report_of(&self, birth: Birth, token: LeaseToken) -> Option<OutcomeKind> {
        let own = self.tokens.get(&token) == Some(&birth);
        self.reported
            .get(&token)
            .filter(|_| own)
            .map(|(_, kind)| *kind)
    }

    /// Whether the lease with this token ended because it never arrived at a worker.
    #[must_use]
    pub fn was_undelivered(&self, token: LeaseToken) -> bool {
        self.undelivered.contains(&token)
    }

    /// Notes a jump of the wall clock, around which logged times say nothing about pauses.
    pub const fn clock_jumped(&mut self, wall_ms: u64) {
        if wall_ms > self.jumped_at_ms {
            self.jumped_at_ms = wall_ms;
        }
    }

    /// Notes the wall time of a step, in which facts of the next commit may be decided.
    pub fn step_at(&mut self, wall_ms: u64) {
        self.walls.earliest = self.walls.earliest.min(wall_ms);
        self.walls.latest = self.walls.latest.max(wall_ms);
        self.walls.newest = wall_ms;
    }

    /// Checks a commit that was handed to the store.
    ///
    /// # Errors
    /// The first invariant that a fact violates.
    pub fn emit(&mut self, commit: &Commit) -> Checked {
        must(commit.first_sequence == self.next_emitted, FOLD, || {
            format!("{} is not {}", commit.first_sequence, self.next_emitted)
        })?;
        let facts = read(&commit.frame).map_err(|error| broken(FOLD, error))?;
        must(facts.len() == commit.count as usize, FOLD, || {
            format!("{} facts", facts.len())
        })?;
        rows_fit(commit, &facts)?;
        for fact in &facts {
            self.follow(fact)?;
            self.next_emitted += 1;
        }
        self.walls = Walls {
            earliest: self.walls.newest,
            latest: self.walls.newest,
            ..self.walls
        };
        self.most_living = self.most_living.max(self.emitted.slots().len());
        self.under_way.push_back(facts);
        Ok(())
    }

    /// Notes that the store has made all facts below a sequence number durable.
    ///
    /// # Errors
    /// The violation, if a fact is impossible.
    pub fn took(&mut self, next_sequence: u64) -> Checked {
        while self.next_durable < next_sequence {
            let Some(facts) = self.under_way.pop_front() else {
                return Err(broken(FOLD, "the store has facts that nobody handed to it"));
            };
            for fact in &facts {
                self.durable
                    .apply(fact)
                    .map_err(|error| broken(FOLD, error))?;
                self.next_durable += 1;
            }
        }
        Ok(())
    }

    /// Checks the store after the process ended and a new process took the store.
    ///
    /// # Errors
    /// The violation, if durable facts are missing.
    pub fn restart(&mut self, store: &mut dyn Store) -> Checked {
        let (folded, next_sequence) = refold(store, self.shard)?;
        must(next_sequence >= self.next_durable, ACKNOWLEDGED, || {
            format!(
                "the log ends before {next_sequence}; {} was durable",
                self.next_durable
            )
        })?;
        self.took(next_sequence)?;
        same_state(&self.durable, &folded)?;
        self.under_way.clear();
        self.emitted = folded;
        self.next_emitted = next_sequence;
        self.reported
            .retain(|_, (at, _)| at.sequence < next_sequence);
        self.ended.retain(|_, (at, _)| at.sequence < next_sequence);
        self.edges.restart(self.emitted.next_birth());
        self.discarded.retain(|_, at| at.sequence < next_sequence);
        self.deleted.retain(|_, at| at.sequence < next_sequence);
        self.released.clear();
        self.pools.restart();
        Ok(())
    }

    /// Checks that the log, applied from its beginning, leads to the state that the store made
    /// durable.
    ///
    /// # Errors
    /// The first difference.
    pub fn refold(&self, store: &mut dyn Store) -> Checked {
        same_state(&self.durable, &refold(store, self.shard)?.0)
    }

    fn follow(&mut self, fact: &Fact) -> Checked {
        must(fact.at_ms >= self.emitted.last_at_ms(), LEGAL, || {
            format!("time went back: {fact:?}")
        })?;
        let change = fact.kind.as_execution();
        let about = fact.kind.entity().and_then(Entity::execution);
        let over = about.and_then(|birth| self.ended.get(&birth));
        let dead = over.is_some_and(|(_, status)| status.is_dead_letter());
        let is_deleted = about.is_some_and(|birth| self.deleted.contains_key(&birth));
        let fits = match change.map(|it| &it.change) {
            Some(ExecutionChange::Discarded) => dead && !is_deleted,
            Some(ExecutionChange::Deleted) => over.is_some() && !is_deleted,
            _ => over.is_none(),
        };
        must(fits, TERMINAL, || format!("{fact:?}"))?;
        if let Some(change) = change {
            self.may_follow(change, fact)?;
        }
        let before = about.and_then(|birth| self.emitted.living(birth));
        self.emitted
            .apply(fact)
            .map_err(|error| broken(FOLD, error))?;
        if let FactKind::Run(change) = &fact.kind {
            let after = self.emitted.living(change.birth);
            check_run(&change.change, before.as_ref(), after.as_ref())?;
            let with_child = WakeCause::Child;
            let is_awaited =
                matches!(&change.change, RunChange::Woken { by, .. } if *by == with_child);
            self.awaited += u64::from(is_awaited);
            let ends = matches!(change.change, RunChange::Suspended { .. });
            let holding = before.and_then(|before| before.progress.holding);
            if let Some(holding) = holding.filter(|_| ends) {
                let at = self.at(fact.at_ms);
                self.reported
                    .insert(holding.token, (at, OutcomeKind::Suspended));
            }
            return Ok(());
        }
        let Some(change) = change else {
            return Ok(());
        };
        let after = self.emitted.living(change.birth);
        check_move(&change.change, before.as_ref(), after.as_ref())?;
        let at = self.at(fact.at_ms);
        self.remember(change, at, before.as_ref());
        Ok(())
    }

    const fn at(&self, at_ms: u64) -> At {
        At {
            sequence: self.next_emitted,
            at_ms,
        }
    }

    fn may_follow(&mut self, fact: &ExecutionFact, envelope: &Fact) -> Checked {
        let at_ms = envelope.at_ms;
        match &fact.change {
            ExecutionChange::Enqueued(living) => {
                self.edges.born(living);
                families::may_be_spawned(&self.emitted, living)?;
                let from = living.retried_from;
                self.redriven.extend(from.map(|from| (fact.birth, from)));
                self.may_be_born(living)
            }
            ExecutionChange::Leased { holding, .. } => {
                let before = self.tokens.insert(holding.token, fact.birth);
                must(before.is_none(), TOKENS, || format!("{:?}", holding.token))?;
                self.may_be_leased(fact.birth, &holding.worker, at_ms)
            }
            ExecutionChange::Due => self.may_be_due(fact.birth),
            ExecutionChange::Ended(ended) => {
                self.may_be_skipped(fact.birth, *ended, envelope.cause)?;
                self.may_cascade(fact.birth, ended.reason, envelope.cause)?;
                families::may_wait(&self.emitted, fact.birth, *ended, false)?;
                self.may_end(fact.birth, *ended)
            }
            ExecutionChange::Promoted { is_due } => self.may_be_promoted(fact.birth, *is_due),
            ExecutionChange::Concluded(verdict) => {
                let ended = verdict.ended;
                self.may_cascade(fact.birth, ended.reason, envelope.cause)?;
                families::may_wait(&self.emitted, fact.birth, ended, true)?;
                self.may_end(fact.birth, ended)
            }
            ExecutionChange::CancelRequested { reason } => {
                self.may_cascade(fact.birth, *reason, envelope.cause)
            }
            ExecutionChange::Carried(_)
            | ExecutionChange::Requeued { .. }
            | ExecutionChange::Discarded
            | ExecutionChange::Deleted => Ok(()),
        }
    }

    fn may_be_due(&self, birth: Birth) -> Checked {
        let pending = self.emitted.slot(birth).map(|slot| slot.phase) == Some(Phase::Pending);
        let extras = self.emitted.extras(birth).filter(|_| pending);
        self.has_come(extras.and_then(|extras| extras.not_before_ms))
    }

    fn may_end(&self, birth: Birth, ended: Ended) -> Checked {
        let damaged = ended.reason == EndReason::DataDamaged;
        must(self.misreads || !damaged, ACKNOWLEDGED, || {
            format!("{birth} ended as damaged")
        })?;
        let extras = self.emitted.extras(birth);
        self.has_come(match ended.reason {
            EndReason::Deadline => extras.and_then(|extras| extras.deadline_ms),
            EndReason::StartDeadline => extras.and_then(|extras| extras.start_deadline_ms),
            _ => None,
        })
    }

    /// Checks that the wall clock had reached a time, where there is one.
    fn has_come(&self, at_ms: Option<u64>) -> Checked {
        let latest_ms = self.walls.latest;
        must(at_ms.is_none_or(|at_ms| at_ms <= latest_ms), EARLY, || {
            format!("{at_ms:?} after {latest_ms}")
        })
    }

    fn remember(&mut self, fact: &ExecutionFact, at: At, before: Option<&Living>) {
        let holding = before.and_then(|before| before.progress.holding.as_ref());
        let outcome = match &fact.change {
            ExecutionChange::Ended(ended) => {
                self.ended.insert(fact.birth, (at, ended.status));
                ended.outcome
            }
            ExecutionChange::Requeued {
                cause, is_unbegun, ..
            } => {
                if let Some(holding) = holding.filter(|_| *is_unbegun) {
                    self.undelivered.insert(holding.token);
                }
                match (cause, holding) {
                    (RequeueCause::Released, Some(holding)) => {
                        let released = (fact.birth, holding.worker.clone());
                        self.released.insert(released, at.at_ms);
                    }
                    (RequeueCause::Undelivered, Some(holding)) => {
                        self.undelivered.insert(holding.token);
                    }
                    _ => {}
                }
                cause.outcome()
            }
            ExecutionChange::Discarded => {
                self.discarded.insert(fact.birth, at);
                None
            }
            ExecutionChange::Deleted => {
                self.deleted.insert(fact.birth, at);
                None
            }
            ExecutionChange::Concluded(verdict) => verdict.ended.outcome,
            ExecutionChange::Enqueued(_)
            | ExecutionChange::Carried(_)
            | ExecutionChange::Due
            | ExecutionChange::Leased { .. }
            | ExecutionChange::Promoted { .. }
            | ExecutionChange::CancelRequested { .. } => None,
        };
        if let (Some(kind), Some(holding)) = (outcome, holding) {
            self.reported.insert(holding.token, (at, kind));
        }
    }
}
