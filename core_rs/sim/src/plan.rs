//! The plan of a run: the number of faults and other events, drawn from its seed.
//!
//! Owns the parameters of a run. Refuses to act.

use backlane_engine::rules::limits::Limits;
use backlane_runtime::Settings;

use crate::dice::Dice;

/// The parameters of a run. Probabilities are per step, in a thousand.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The settings of the shard.
    pub(crate) settings: Settings,
    /// Most actions of clients per step.
    pub(crate) actions: u64,
    /// Probability of a crash.
    pub(crate) crash: u64,
    /// Probability of a fault of the store.
    pub(crate) fault: u64,
    /// Probability that a message is lost.
    pub(crate) drop: u64,
    /// Most steps that a message takes.
    pub(crate) delay: u64,
    /// Probability of a long pause.
    pub(crate) leap: u64,
    /// Probability of a jump of the wall clock alone.
    pub(crate) jump: u64,
    /// Probability that a limit is set or lifted, that the store becomes full or has room again, or
    /// that the server drains.
    pub(crate) meddle: u64,
}

impl Plan {
    /// Draws the plan of a run.
    #[must_use]
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        let max_queue_per_tenant = if dice.chance(200) {
            dice.between(5, 40)
        } else {
            10_000
        };
        let settings = Settings {
            limits: Limits {
                max_queue_per_tenant,
                ..Limits::default()
            },
            cache_bytes: *dice.pick(&[0, 2_000, 50_000, 16 << 20]),
            retention_ms: *dice.pick(&[600_000, 7 * 24 * 3_600_000, 7 * 24 * 3_600_000]),
            round_after_facts: dice.between(20, 300),
            server_version: "sim",
        };
        Self {
            settings,
            actions: dice.between(1, 4),
            crash: *dice.pick(&[0, 3, 10, 30]),
            fault: *dice.pick(&[0, 0, 5, 20]),
            drop: *dice.pick(&[0, 10, 50, 150]),
            delay: *dice.pick(&[0, 2, 8]),
            leap: *dice.pick(&[0, 5, 20, 60]),
            jump: *dice.pick(&[0, 0, 3, 10]),
            meddle: *dice.pick(&[0, 3, 10]),
        }
    }

    /// Whether retention may remove executions that clients of the run still use.
    #[must_use]
    pub(crate) const fn forgets(&self) -> bool {
        self.settings.retention_ms < 24 * 3_600_000
    }
}
