//! The plan of a run: its situation, and the number of faults and other events, drawn from its
//! seed.
//!
//! Owns the parameters of a run. Refuses to act.

use backlane_engine::rules::limits::Limits;
use backlane_runtime::Settings;
use backlane_store::Volume;

use crate::dice::Dice;
use crate::names::Names;

/// What a run is about, beside what happens in every run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scene {
    /// A few tenants, callables and workers.
    Plain,
    /// Hundreds of tenants and callables.
    Wide,
    /// Inputs and outputs up to the limits.
    Heavy,
    /// Two kinds of workers of very different speeds, each with callables of its own.
    Pools,
    /// A worker that gives back whatever it leases.
    GivesBack,
    /// A small disk that executions fill.
    SmallDisk,
    /// A disk that other programs fill, until the reserve is used up.
    FullDisk,
}

impl Scene {
    fn draw(dice: &mut Dice) -> Self {
        match dice.below(24) {
            0 => Self::Wide,
            1 => Self::Heavy,
            2 => Self::Pools,
            3 => Self::GivesBack,
            4 => Self::SmallDisk,
            5 => Self::FullDisk,
            _ => Self::Plain,
        }
    }
}

/// The parameters of a run. Probabilities are per step, in a thousand.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// What the run is about.
    pub(crate) scene: Scene,
    /// The settings of the shard.
    pub(crate) settings: Settings,
    /// The names that clients use.
    pub(crate) names: Names,
    /// The part of the steps that the run has, in percent: some situations cost more time.
    pub(crate) percent: u64,
    /// Whether workers record steps and wait, and clients pause and provide inputs.
    pub(crate) steers: bool,
    /// Most actions of clients per step.
    pub(crate) actions: u64,
    /// Most executions of a batch.
    pub(crate) batch: u64,
    /// Probability that an input, an output, a context or metadata is large.
    pub(crate) large: u64,
    /// Probability of a crash.
    pub(crate) crash: u64,
    /// Probability of a fault of the store.
    pub(crate) fault: u64,
    /// Probability that a read goes on.
    pub(crate) read: u64,
    /// Probability that a read fails, for each read.
    pub(crate) misread: u64,
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

/// What replies may say because of the situation of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Excuses {
    /// Retention may remove executions that clients of the run still use.
    pub forgets: bool,
    /// Reads fail, so data may be called damaged.
    pub misreads: bool,
    /// The disk may be full.
    pub fills: bool,
}

impl Plan {
    /// Draws the plan of a run.
    #[must_use]
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        let scene = Scene::draw(dice);
        let max_queue_per_tenant = if scene == Scene::Plain && dice.chance(200) {
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
        let plan = Self {
            scene,
            settings,
            names: Names::few(),
            steers: scene == Scene::Plain,
            percent: 100,
            actions: dice.between(1, 4),
            batch: 12,
            large: 0,
            crash: *dice.pick(&[0, 3, 10, 30]),
            fault: *dice.pick(&[0, 0, 5, 20]),
            read: *dice.pick(&[600, 600, 600, 150]),
            misread: *dice.pick(&[0, 0, 0, 0, 0, 30]),
            drop: *dice.pick(&[0, 10, 50, 150]),
            delay: *dice.pick(&[0, 2, 8]),
            leap: *dice.pick(&[0, 5, 20, 60]),
            jump: *dice.pick(&[0, 0, 3, 10]),
            meddle: *dice.pick(&[0, 3, 10]),
        };
        plan.fit(dice)
    }

    /// Adapts what was drawn to the scene: a situation that needs time to build up has no crashes
    /// and no long pauses.
    fn fit(self, dice: &mut Dice) -> Self {
        match self.scene {
            Scene::Plain => self,
            Scene::Wide => Self {
                names: Names::many(dice),
                actions: self.actions.max(3),
                batch: 40,
                percent: 50,
                ..self
            },
            Scene::Heavy => Self {
                large: 40,
                percent: 50,
                crash: self.crash.min(3),
                ..self
            },
            Scene::Pools => Self {
                names: Names::of_pools(),
                actions: 1,
                percent: 80,
                ..self.calm()
            },
            Scene::GivesBack => Self {
                actions: 1,
                percent: 50,
                drop: 0,
                ..self.calm()
            },
            Scene::SmallDisk | Scene::FullDisk => Self {
                percent: 60,
                delay: 0,
                meddle: 0,
                crash: self.crash.min(3),
                ..self
            },
        }
    }

    fn calm(self) -> Self {
        Self {
            crash: 0,
            fault: 0,
            leap: 0,
            meddle: 0,
            ..self
        }
    }

    /// The disk that the run begins with.
    #[must_use]
    pub(crate) fn volume(&self) -> Volume {
        match self.scene {
            Scene::SmallDisk => Volume::new(DISK_BYTES, RESERVE_BYTES, KEPT_BYTES),
            Scene::FullDisk => Volume::new(DISK_BYTES, SMALL_RESERVE_BYTES, 0),
            _ => Volume::default(),
        }
    }

    /// What replies may say.
    #[must_use]
    pub(crate) const fn excuses(&self) -> Excuses {
        Excuses {
            forgets: self.settings.retention_ms < 24 * 3_600_000,
            misreads: self.misread > 0,
            fills: self.meddle > 0 || self.has_small_disk(),
        }
    }

    const fn has_small_disk(&self) -> bool {
        matches!(self.scene, Scene::SmallDisk | Scene::FullDisk)
    }
}

/// The size of a small disk.
const DISK_BYTES: u64 = 1 << 30;
/// The reserve of a small disk that only executions fill.
const RESERVE_BYTES: u64 = 512 << 10;
/// What stays free of new executions on a small disk: enough for the largest request.
pub(crate) const KEPT_BYTES: u64 = 2 << 20;
/// The reserve of a disk that other programs fill: a few reports use it up.
const SMALL_RESERVE_BYTES: u64 = 1 << 10;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn two_hundred_seeds_have_each_situation_several_times() {
        let mut seeds: BTreeMap<Scene, usize> = BTreeMap::new();
        for seed in 0..200 {
            let plan = Plan::draw(&mut Dice::new(seed));
            *seeds.entry(plan.scene).or_default() += 1;
        }
        assert_eq!(7, seeds.len(), "{seeds:?}");
        assert!(seeds.values().all(|many| *many >= 3), "{seeds:?}");
    }
}
