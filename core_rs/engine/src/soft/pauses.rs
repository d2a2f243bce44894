//! Pauses: executions are withheld for a moment from the worker that released them.
//!
//! Owns the pauses and their number for each worker. Refuses to know why a worker releases. A
//! worker that released many executions gets nothing at all until some pauses are over: otherwise
//! each look for work would pass over all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::rules::id::Birth;
use crate::rules::limits::MAX_PAUSES;
use crate::time::Now;

/// The pauses, each with its end in monotonic milliseconds.
#[derive(Debug, Default)]
pub struct Pauses {
    by_execution: BTreeMap<Birth, Vec<(Arc<str>, u64)>>,
    // The number of pauses of each worker.
    by_worker: BTreeMap<Arc<str>, usize>,
}

impl Pauses {
    /// Withholds an execution from a worker.
    pub fn add(&mut self, birth: Birth, worker: Arc<str>, until_ms: u64) {
        *self.by_worker.entry(worker.clone()).or_default() += 1;
        let pauses = self.by_execution.entry(birth).or_default();
        pauses.push((worker, until_ms));
    }

    /// Time until which an execution is withheld from a worker.
    #[must_use]
    pub fn until(&self, birth: Birth, worker: &str, now: Now) -> Option<u64> {
        let pauses = self.by_execution.get(&birth)?;
        let of_worker = pauses.iter().filter(|(paused, _)| **paused == *worker);
        of_worker
            .map(|(_, until_ms)| *until_ms)
            .filter(|until_ms| *until_ms > now.mono_ms)
            .max()
    }

    /// Whether a worker has released so many executions that it gets nothing for now.
    #[must_use]
    pub fn are_many(&self, worker: &str) -> bool {
        let pauses = self.by_worker.get(worker);
        pauses.is_some_and(|pauses| *pauses >= MAX_PAUSES)
    }

    /// The first end of the pauses of an execution.
    #[must_use]
    pub fn next_end(&self, birth: Birth) -> Option<u64> {
        let pauses = self.by_execution.get(&birth)?;
        pauses.iter().map(|(_, until_ms)| *until_ms).min()
    }

    /// Lifts the pauses of an execution that are over. Returns whether there were any.
    pub fn lift(&mut self, birth: Birth, now: Now) -> bool {
        self.retain(birth, |until_ms| until_ms > now.mono_ms)
    }

    /// Removes the pauses of an execution that ended.
    pub fn remove(&mut self, birth: Birth) {
        self.retain(birth, |_| false);
    }

    fn retain(&mut self, birth: Birth, stays: impl Fn(u64) -> bool) -> bool {
        let Some(pauses) = self.by_execution.get_mut(&birth) else {
            return false;
        };
        let over = pauses.extract_if(.., |(_, until_ms)| !stays(*until_ms));
        let mut any = false;
        for (worker, _) in over {
            any = true;
            if let Some(count) = self.by_worker.get_mut(&worker) {
                *count -= 1;
                if *count == 0 {
                    self.by_worker.remove(&worker);
                }
            }
        }
        if pauses.is_empty() {
            self.by_execution.remove(&birth);
        }
        any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mono_ms: u64) -> Now {
        Now {
            wall_ms: 0,
            mono_ms,
        }
    }

    #[test]
    fn a_pause_concerns_one_worker_and_ends() {
        let mut pauses = Pauses::default();
        pauses.add(7, "w1".into(), 5_000);
        assert_eq!(Some(5_000), pauses.until(7, "w1", at(4_999)));
        assert_eq!(None, pauses.until(7, "w2", at(4_999)));
        assert_eq!(None, pauses.until(7, "w1", at(5_000)));
        assert!(pauses.lift(7, at(5_000)));
        assert!(pauses.by_execution.is_empty() && pauses.by_worker.is_empty());
    }

    #[test]
    fn a_worker_with_many_pauses_gets_nothing_until_one_is_over() {
        let mut pauses = Pauses::default();
        for birth in 1..=MAX_PAUSES as u64 {
            pauses.add(birth, "w1".into(), 5_000 + birth);
        }
        assert!(pauses.are_many("w1"));
        assert!(!pauses.are_many("w2"));
        pauses.lift(1, at(5_001));
        assert!(!pauses.are_many("w1"));
    }

    #[test]
    fn the_end_of_an_execution_ends_its_pauses() {
        let mut pauses = Pauses::default();
        pauses.add(7, "w1".into(), 5_000);
        pauses.add(7, "w2".into(), 5_000);
        pauses.remove(7);
        assert_eq!(None, pauses.next_end(7));
        assert!(pauses.by_worker.is_empty());
    }
}
