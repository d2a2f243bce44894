//! Checking a data directory that no server uses.
//!
//! Owns the whole look at a directory: the store reads every frame and every row and verifies the
//! checksums, the facts are decoded and folded, and the rows are decoded. Refuses to change
//! anything.

mod census;
mod history;
mod runs;

use std::cell::RefCell;
use std::path::Path;

use backlane_store::{Frame, Report, Row, StoreError};

pub(crate) use census::Census;
pub(crate) use history::{History, Owner};
pub(crate) use runs::Runs;

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Frames of the log that can be read.
    pub frames: u64,
    /// Facts in these frames, with those that cannot be decoded.
    pub facts: u64,
    /// Rows that can be read.
    pub rows: u64,
    /// The damage, one line for each damaged frame, fact, row or page. Empty if the directory is
    /// whole.
    pub damage: Vec<String>,
}

/// Reads every frame, every fact and every row of a data directory, and reports what is damaged.
/// Nothing is changed.
///
/// # Errors
/// `InUse` if a server holds the directory; `OlderVersion` or `NewerVersion` if a version wrote
/// the directory whose format this one cannot read; `Corrupt` if another program wrote the
/// database; `Io` if there is no database or the file system refuses.
pub fn check(path: &Path) -> Result<Findings, StoreError> {
    let (survey, report) = survey(path, &mut |_| ())?;
    Ok(survey.findings(report))
}

/// Everything that a directory holds, as far as that can be read.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) history: History,
    pub(crate) census: Census,
    pub(crate) runs: Runs,
}

/// Reads a whole directory. Each row that is whole is passed on, after the whole log was folded.
pub(crate) fn survey(
    path: &Path,
    each: &mut dyn FnMut(Row),
) -> Result<(Survey, Report), StoreError> {
    let survey = RefCell::new(Survey {
        history: History::new(),
        census: Census::default(),
        runs: Runs::default(),
    });
    let mut frame = |frame: Frame| survey.borrow_mut().history.frame(&frame);
    let mut row = |row: Row| {
        survey.borrow_mut().count(&row);
        each(row);
    };
    let report = backlane_store::salvage(path, &mut frame, &mut row)?;
    let mut survey = survey.into_inner();
    survey.history.end(&report.damage);
    survey.runs.end(survey.history.state());
    Ok((survey, report))
}

impl Survey {
    fn count(&mut self, row: &Row) {
        self.history.row(row);
        let state = self.history.state();
        self.census.row(row, |birth| state.slot(birth).is_some());
        self.runs.row(row, state);
    }

    /// The findings of a check, from what the store reported and what was surveyed.
    pub(crate) fn findings(&self, report: Report) -> Findings {
        let mut damage = report.damage;
        damage.extend(self.history.damage());
        damage.extend_from_slice(self.census.damage());
        damage.extend_from_slice(self.runs.illegal());
        if damage.is_empty() {
            // Elsewhere the missing rows are those on the damaged pages, which are named already.
            damage = self.missing_rows();
        }
        Findings {
            frames: report.frames,
            facts: self.history.facts(),
            rows: report.rows,
            damage,
        }
    }

    /// The rows that must exist and do not: each execution has a payload, each one that is
    /// over has an ending, and the actions of a run have no gaps.
    fn missing_rows(&self) -> Vec<String> {
        let Self {
            history,
            census,
            runs,
        } = self;
        let living = history.living().chain(census.endings().iter().copied());
        let payloads = living.filter(|birth| !census.has_payload(*birth));
        let payloads = payloads.map(|birth| format!("payload {birth} is missing"));
        let endings = self.orphans().into_iter();
        let endings = endings.map(|birth| format!("ending {birth} is missing"));
        let actions = runs.missing(history.state()).into_iter();
        payloads.chain(endings).chain(actions).collect()
    }

    /// Executions that have a payload and no ending, and that are not living either.
    pub(crate) fn orphans(&self) -> Vec<u64> {
        let payloads = self.census.payloads().iter().copied();
        let unended = payloads.filter(|birth| !self.census.has_ending(*birth));
        let state = self.history.state();
        unended
            .filter(|birth| state.slot(*birth).is_none())
            .collect()
    }
}
