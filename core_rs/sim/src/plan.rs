//! The plan of a run: how rough it is, drawn from its seed.
//!
//! Owns the knobs. Refuses to act.

use backlane_engine::rules::limits::Limits;
use backlane_runtime::Settings;

use crate::dice::Dice;

/// How rough a run is. Chances are in a thousand, a step.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The shard's settings.
    pub(crate) settings: Settings,
    /// Actions of clients in a step, at most.
    pub(crate) actions: u64,
    /// Crashes.
    pub(crate) crash: u64,
    /// Planned faults of the store.
    pub(crate) fault: u64,
    /// Messages that are lost.
    pub(crate) drop: u64,
    /// Steps that a message may take.
    pub(crate) delay: u64,
    /// Long pauses.
    pub(crate) leap: u64,
    /// Jumps of the wall clock alone.
    pub(crate) jump: u64,
    /// Limits set or lifted, the store full or not, drains.
    pub(crate) meddle: u64,
}

impl Plan {
    /// The plan of a run.
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

    /// Whether retention may remove what a run still speaks of.
    #[must_use]
    pub(crate) const fn forgets(&self) -> bool {
        self.settings.retention_ms < 24 * 3_600_000
    }
}
