//! The tally: counters that upkeep keeps from step to step.
//!
//! Owns the counters of rounds and audits. Refuses to act on them: `upkeep.rs` does.

/// Counters that upkeep keeps from step to step.
#[derive(Debug)]
pub(super) struct Tally {
    /// Whether more timers were due than one step looks at.
    pub(super) overdue: bool,
    pub(super) facts_since_round: u64,
    pub(super) facts_in_step: usize,
    /// Sequence number of the fact that began the current round.
    pub(super) round_began: Option<u64>,
    /// Time of the next audit, in monotonic milliseconds.
    pub(super) audit_at_ms: u64,
    /// The difference between the counts of running executions and the live leases at the newest
    /// audit.
    pub(super) permit_drift: u64,
}

impl Tally {
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
