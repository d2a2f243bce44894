//! Advances: the newest progress of every leased execution.
//!
//! Owns the limit on how often an execution shows something new: once in [`PROGRESS_MS`]. Reports
//! that come sooner wait, and of those that wait the newest wins. It is shown to whoever looks
//! after the pause, so no timer is needed. Refuses to know whose lease is live.

use std::collections::BTreeMap;

use crate::command::ProgressReport;
use crate::rules::id::Birth;
use crate::rules::limits::PROGRESS_MS;
use crate::time::Now;

/// The progress of every execution that has reported one under its live lease.
#[derive(Debug, Default)]
pub struct Advances {
    by_birth: BTreeMap<Birth, Advance>,
}

#[derive(Debug)]
struct Advance {
    shown: ProgressReport,
    /// Time from which something new may be shown, in monotonic milliseconds.
    next_ms: u64,
    waiting: Option<ProgressReport>,
}

impl Advances {
    /// Takes a report. It is shown at once, or when the pause after the one before it is over.
    pub fn report(&mut self, birth: Birth, report: ProgressReport, now: Now) {
        let mut advance = self.by_birth.remove(&birth);
        if let Some(advance) = &mut advance {
            advance.show_waiting(now);
        }
        let advance = match advance {
            Some(advance) if now.mono_ms < advance.next_ms => Advance {
                waiting: Some(report),
                ..advance
            },
            _ => Advance {
                shown: report,
                next_ms: now.mono_ms.saturating_add(PROGRESS_MS),
                waiting: None,
            },
        };
        self.by_birth.insert(birth, advance);
    }

    /// The progress that an execution shows now.
    #[must_use]
    pub fn shown(&self, birth: Birth, now: Now) -> Option<&ProgressReport> {
        let advance = self.by_birth.get(&birth)?;
        let waiting = advance.waiting.as_ref();
        let newest = waiting.filter(|_| advance.next_ms <= now.mono_ms);
        Some(newest.unwrap_or(&advance.shown))
    }

    /// Forgets the progress of an execution whose lease ended.
    pub fn remove(&mut self, birth: Birth) {
        self.by_birth.remove(&birth);
    }

    /// The executions that have a progress.
    pub fn births(&self) -> impl Iterator<Item = Birth> + '_ {
        self.by_birth.keys().copied()
    }
}

impl Advance {
    /// Shows the report that waits, as of the time when its pause was over.
    fn show_waiting(&mut self, now: Now) {
        if self.next_ms <= now.mono_ms
            && let Some(report) = self.waiting.take()
        {
            self.shown = report;
            self.next_ms = self.next_ms.saturating_add(PROGRESS_MS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mono_ms: u64) -> Now {
        Now {
            wall_ms: 1,
            mono_ms,
        }
    }

    fn report(fraction: f64) -> ProgressReport {
        ProgressReport {
            fraction: Some(fraction),
            message: "text".into(),
        }
    }

    fn shown(advances: &Advances, mono_ms: u64) -> Option<f64> {
        advances.shown(7, at(mono_ms))?.fraction
    }

    #[test]
    fn the_first_report_is_shown_at_once_and_the_newest_of_the_rest_after_the_pause() {
        let mut advances = Advances::default();
        for (mono_ms, fraction) in [(1_000, 0.1), (1_001, 0.2), (1_099, 0.3)] {
            advances.report(7, report(fraction), at(mono_ms));
        }
        assert_eq!(Some(0.1), shown(&advances, 1_099));
        assert_eq!(Some(0.3), shown(&advances, 1_100));
    }

    #[test]
    fn a_thousand_reports_in_a_second_show_ten_different_values() {
        let mut advances = Advances::default();
        let mut seen = Vec::new();
        for mono_ms in 0..1_000_u32 {
            advances.report(7, report(mono_ms.into()), at(mono_ms.into()));
            seen.extend(shown(&advances, mono_ms.into()));
        }
        seen.dedup();
        assert_eq!(10, seen.len(), "{seen:?}");
    }

    #[test]
    fn a_report_that_waited_has_its_own_pause() {
        let mut advances = Advances::default();
        for (mono_ms, fraction) in [(0, 0.1), (50, 0.2), (101, 0.3)] {
            advances.report(7, report(fraction), at(mono_ms));
        }
        let seen = [101, 199, 200].map(|mono_ms| shown(&advances, mono_ms));
        assert_eq!([Some(0.2), Some(0.2), Some(0.3)], seen);
    }

    #[test]
    fn the_end_of_a_lease_forgets_it() {
        let mut advances = Advances::default();
        advances.report(7, report(0.5), at(0));
        advances.remove(7);
        assert_eq!(
            (None, 0),
            (shown(&advances, 500), advances.births().count())
        );
    }
}
