//! Upkeep: hands over commits, works off the agenda, continues rounds, trims the log, and applies
//! retention.
//!
//! Owns when a round begins and what the store may remove. Refuses to delay calls for upkeep: each
//! step does a bounded share.

use backlane_engine::rules::limits::AGENDA_CHUNK;
use backlane_store::{Class, Maintenance};

use crate::message::Output;

use super::desk::{Desk, Leaving};

/// Smallest number of unfinished executions that one step of a round carries.
const CARRY_AT_LEAST: usize = 8;
/// Number of decided facts per carried execution. With one fact per carried execution, nearly every
/// fact would be written twice while many executions are unfinished. With two, the log keeps up to
/// 7 facts per unfinished execution.
const FACTS_A_CARRY: usize = 2;
/// Most rows that the store removes in one go.
const FORGET_ROWS: usize = 512;
/// Milliseconds between two audits of the counts and two looks at retention.
const AUDIT_EVERY_MS: u64 = 10_000;

impl Desk {
    /// Hands over the pending commit if no commit is in progress, and releases outputs whose facts
    /// are durable.
    pub(super) fn seal(&mut self) {
        let mark = self.engine.requests_mut().mark();
        let commit = self.journal.seal(mark);
        self.out.extend(commit.map(Output::Append));
        self.journal.release(&mut self.out, self.now.mono_ms);
        self.leases_leave();
    }

    /// Notes the leases that leave with the outputs that were just released.
    fn leases_leave(&mut self) {
        let durable = self.journal.durable();
        let leaves = |leaving: &Leaving| leaving.rests_on <= durable;
        while self.leaving.front().is_some_and(leaves) {
            let Some(leaving) = self.leaving.pop_front() else {
                return;
            };
            for held in &leaving.held {
                self.engine.sent(held, self.now);
                if leaving.acknowledges {
                    self.engine.acknowledge(held, self.now);
                }
            }
        }
    }

    /// Notes that all facts below a sequence number are durable.
    pub(super) fn committed(&mut self, durable: u64) {
        let now_ms = self.engine.retention_now_ms();
        if let Some(mark) = self.journal.committed(durable) {
            let requests = self.engine.requests_mut();
            requests.durable_up_to(mark);
            requests.expire(now_ms);
        }
        self.watch_room();
        self.cache.evict(self.journal.durable());
        self.gone.evict(self.journal.durable());
    }

    /// Works off a bounded share of the agenda, unless as much waits for the disk already: the
    /// commits stay small, so that callers do not wait for a large one.
    pub(super) fn step_agenda(&mut self) {
        if self.can_step_agenda() {
            self.engine.step_agenda(AGENDA_CHUNK, self.now);
            self.absorb();
        }
    }

    /// Whether a step now would work off a share of the agenda.
    pub(super) fn can_step_agenda(&self) -> bool {
        self.journal.waiting_facts() < AGENDA_CHUNK && self.engine.has_agenda()
    }

    /// Does a bounded share of the work that keeps the log short.
    pub(super) fn maintain(&mut self) {
        let decided = std::mem::take(&mut self.tally.facts_in_step);
        self.go_on_with_round(decided);
        self.absorb();
        self.tally.facts_in_step = 0;
        if self.now.mono_ms >= self.tally.audit_at_ms {
            self.tally.audit_at_ms = self.now.mono_ms + AUDIT_EVERY_MS;
            self.audit();
        }
    }

    fn go_on_with_round(&mut self, decided: usize) {
        let living = self.engine.state().slots().len() as u64;
        let enough = self.settings.round_after_facts + living;
        if self.tally.round_began.is_none() && self.tally.facts_since_round > enough {
            self.tally.round_began = Some(self.journal.next_sequence());
            self.engine.begin_round(self.now);
        }
        let Some(began) = self.tally.round_began.filter(|_| decided > 0) else {
            return;
        };
        let most = (decided / FACTS_A_CARRY).max(CARRY_AT_LEAST);
        if self.engine.carry(most, self.now) {
            self.tally.round_began = None;
            self.absorb();
            self.tally.facts_since_round = 0;
            self.forget(began);
        }
    }

    /// Compares the counts of running executions with the live leases, reports contradictions, and
    /// continues retention.
    fn audit(&mut self) {
        self.tally.permit_drift = self.engine.state().permit_drift();
        let aside = self.engine.soft().all_set_aside();
        let lines = aside.map(|(entity, why)| format!("{entity:?} is set aside: {why}"));
        for line in lines.collect::<Vec<_>>() {
            self.notice(line);
        }
        self.forget(0);
    }

    fn forget(&mut self, trim_below_sequence: u64) {
        let now_ms = self.engine.retention_now_ms();
        let before_ms = now_ms.saturating_sub(self.settings.retention_ms);
        self.journal.park(Output::Maintain(Maintenance {
            trim_below_sequence,
            expire: Some((Class::Execution, before_ms)),
            drop_hours_below: backlane_engine::state::oldest_hour(now_ms),
            limit: FORGET_ROWS,
        }));
    }
}
