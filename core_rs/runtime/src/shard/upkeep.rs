//! Upkeep: sealing commits, carrying the living, trimming, drain.
//!
//! Owns when a round of carrying begins and what the store may forget. Refuses to stop for any of
//! it: each step does a bounded share.

use backlane_store::Maintenance;

use crate::message::Output;

use super::Shard;

/// The living carried in a step of a round, at least.
const CARRY_AT_LEAST: usize = 8;
/// Facts decided for each of the living carried. One for each would write nearly every fact
/// twice while many are living; one for two keeps up to 7 facts for each of them in the log.
const FACTS_A_CARRY: usize = 2;
/// Rows the store forgets in one go.
const FORGET_ROWS: usize = 512;
/// How often retention is looked at and permits are audited, milliseconds.
const AUDIT_EVERY_MS: u64 = 10_000;

#[derive(Debug)]
pub(super) struct Upkeep {
    /// More timers were due than one step looks at.
    pub(super) overdue: bool,
    facts_since_round: u64,
    facts_in_step: usize,
    round_began: Option<u64>,
    audit_at_ms: u64,
    permit_drift: u64,
}

impl Upkeep {
    pub(super) const fn new(facts_in_log: u64) -> Self {
        Self {
            overdue: false,
            facts_since_round: facts_in_log,
            facts_in_step: 0,
            round_began: None,
            audit_at_ms: 0,
            permit_drift: 0,
        }
    }

    pub(super) const fn count_fact(&mut self) {
        self.facts_since_round += 1;
        self.facts_in_step += 1;
    }
}

impl Shard {
    /// Hands the pending commit over if none is under way, and lets out what may leave.
    pub(super) fn seal(&mut self) {
        let mark = self.engine.requests_mut().mark();
        let commit = self.journal.seal(mark);
        self.out.extend(commit.map(Output::Append));
        self.journal.release(&mut self.out);
    }

    /// Everything below a sequence is durable.
    pub(super) fn committed(&mut self, durable: u64) {
        let now_ms = self.now.wall_ms;
        if let Some(mark) = self.journal.committed(durable) {
            let requests = self.engine.requests_mut();
            requests.durable_up_to(mark);
            requests.expire(now_ms);
        }
        self.records.evict(self.journal.durable());
    }

    /// A bounded share of what keeps the log short.
    pub(super) fn maintain(&mut self) {
        let decided = std::mem::take(&mut self.upkeep.facts_in_step);
        let living = self.engine.state().slots().len() as u64;
        let enough = self.settings.round_after_facts + living;
        if self.upkeep.round_began.is_none() && self.upkeep.facts_since_round > enough {
            self.upkeep.round_began = Some(self.journal.next_sequence());
            self.engine.begin_round(self.now);
        }
        if let Some(began) = self.upkeep.round_began
            && decided > 0
            && self
                .engine
                .carry((decided / FACTS_A_CARRY).max(CARRY_AT_LEAST), self.now)
        {
            self.upkeep.round_began = None;
            self.absorb_timers();
            self.upkeep.facts_since_round = 0;
            self.forget(began);
        }
        self.absorb_timers();
        self.upkeep.facts_in_step = 0;
        if self.now.mono_ms >= self.upkeep.audit_at_ms {
            self.upkeep.audit_at_ms = self.now.mono_ms + AUDIT_EVERY_MS;
            self.upkeep.permit_drift = self.engine.state().permit_drift();
            self.forget(0);
        }
    }

    /// How far the counts of running executions were from the live leases at the newest audit.
    #[must_use]
    pub const fn permit_drift(&self) -> u64 {
        self.upkeep.permit_drift
    }

    fn forget(&mut self, trim_below_sequence: u64) {
        let now_ms = self.now.wall_ms;
        self.journal.park(Output::Maintain(Maintenance {
            trim_below_sequence,
            expire_finished_before_ms: now_ms.saturating_sub(self.settings.retention_ms),
            drop_request_hours_below: backlane_engine::state::oldest_hour(now_ms),
            limit: FORGET_ROWS,
        }));
    }

    pub(super) fn drain(&mut self) {
        self.draining = true;
        self.finish_polls();
        self.finish_waits();
        self.drain_streams();
    }
}
