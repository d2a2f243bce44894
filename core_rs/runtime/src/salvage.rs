//! Saving what is whole in a damaged data directory into a new one.
//!
//! Owns the order of saving: all rows first, then one round of everything that is living, and then
//! a check of the new directory. Owns also what becomes of executions about which something is
//! lost. Refuses to change the damaged directory.

mod consequences;
mod heir;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use backlane_engine::fact::{
    AgendaChange, AgendaFact, ExecutionChange, Fact, FactKind, Item, Living, LogFact, RunChange,
    TenantFact,
};
use backlane_engine::rules::id::Birth;
use backlane_engine::rules::run::Action;
use backlane_engine::rules::status::Phase;
use backlane_engine::state::State;
use backlane_store::{Report, StoreError};
use thiserror::Error;

use crate::clock::Clock;
use crate::fresh::{self, FreshError};
use crate::inspect::{self, Findings, Owner, Survey};
use heir::{Heir, fact};

/// What a salvage found and saved. Executions are named by their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Salvage {
    /// The findings of the check. All rows that can be read were saved.
    pub findings: Findings,
    /// Number of executions that are living in the new directory.
    pub living: u64,
    /// Executions that ended as failed, with the code `DATA_DAMAGED`, because nothing that can be
    /// read tells how they ended or where they stood.
    pub failed: Vec<String>,
    /// Living executions that stand where the readable part of the log left them. Facts that are
    /// lost may have changed them, so that a worker may run them a second time.
    pub uncertain: Vec<String>,
    /// Living executions whose payload is lost. The server ends them as failed, with the code
    /// `DATA_DAMAGED`, when a worker asks for them.
    pub without_payload: Vec<String>,
}

/// Why nothing was salvaged.
#[derive(Debug, Error)]
pub enum SalvageError {
    /// The damaged directory cannot be read at all.
    #[error(transparent)]
    Reading(StoreError),
    /// Nothing in the damaged directory can be read, so that the new one would be empty.
    #[error("nothing in {} can be read: {what}; restore a backup", .path.display())]
    Nothing {
        /// The directory.
        path: PathBuf,
        /// The first damage.
        what: String,
    },
    /// The new directory cannot be made.
    #[error("{0}; the damaged directory was not changed")]
    Fresh(#[from] FreshError),
    /// The new directory cannot be written.
    #[error("the new directory cannot be written: {0}; the damaged directory was not changed")]
    Writing(StoreError),
    /// The new directory was written and is not whole: a defect, or a disk that is failing.
    #[error("the new directory {} is damaged as well: {what}", .path.display())]
    Unsound {
        /// The directory.
        path: PathBuf,
        /// The first damage in the directory.
        what: String,
    },
}

/// Writes everything that is whole in the directory `path` into the new directory `new`, which a
/// server can use like any other. The directory `path` is not changed.
///
/// # Errors
/// [`SalvageError`]; then there is no directory `new`, or `new` is empty as before.
pub fn salvage(path: &Path, new: &Path) -> Result<Salvage, SalvageError> {
    fresh::fill(new, |unfinished| {
        let saved = write(path, unfinished)?;
        verify(unfinished)?;
        Ok(saved)
    })
}

/// Checks the new directory. Rows that were lost are missing there too, and rows that could not be
/// decoded cannot be decoded there either: the findings tell of both.
fn verify(path: &Path) -> Result<(), SalvageError> {
    let surveyed = inspect::survey(path, &mut |_| ());
    let (survey, report) = surveyed.map_err(SalvageError::Writing)?;
    let mut damage = report.damage.into_iter().chain(survey.history.damage());
    damage.next().map_or(Ok(()), |what| {
        Err(SalvageError::Unsound {
            path: path.to_owned(),
            what,
        })
    })
}

fn write(path: &Path, new: &Path) -> Result<Salvage, SalvageError> {
    let mut heir = Heir::make(new).map_err(SalvageError::Writing)?;
    let surveyed = inspect::survey(path, &mut |row| heir.save(row));
    let (survey, report) = surveyed.map_err(SalvageError::Reading)?;
    if let (0, 0, Some(what)) = (report.frames, report.rows, report.damage.first()) {
        return Err(SalvageError::Nothing {
            path: path.to_owned(),
            what: what.clone(),
        });
    }
    settle(heir, survey, report).map_err(SalvageError::Writing)
}

/// Writes what follows from all rows and facts: the endings of executions about which too much is
/// lost, the request ids that only the log has, and the log.
fn settle(mut heir: Heir, mut survey: Survey, report: Report) -> Result<Salvage, StoreError> {
    let mut saved = Salvage {
        findings: survey.findings(report),
        ..Salvage::default()
    };
    let now_ms = Clock::real().now().wall_ms.max(last_at_ms(&survey));
    for owner in unended(&survey, &mut heir)?.into_values() {
        saved.failed.push(owner.id.to_string());
        heir.end_damaged(&owner, now_ms);
    }
    for request in survey.history.take_requests() {
        heir.save_request(request);
    }
    let living = living(&survey, &mut saved);
    saved.living = living.len() as u64;
    let is_whole = saved.findings.damage.is_empty();
    let items = consequences::items(&survey, is_whole, &living, &mut heir)?;
    heir.finish(&round(&survey, living, items), survey.history.epoch())?;
    Ok(saved)
}

/// The latest time in the log and in the rows: logged time never decreases.
fn last_at_ms(survey: &Survey) -> u64 {
    let in_log = survey.history.state().last_at_ms();
    in_log.max(survey.census.latest_ms())
}

/// The executions that are over, or were lost from the log, and have no ending that can be read.
fn unended(survey: &Survey, heir: &mut Heir) -> Result<BTreeMap<Birth, Owner>, StoreError> {
    let Survey {
        history, census, ..
    } = survey;
    let ended = history.ended().iter();
    let ended = ended.filter(|(birth, _)| !census.has_ending(**birth));
    let mut unended: BTreeMap<Birth, Owner> = ended
        .map(|(birth, owner)| (*birth, owner.clone()))
        .collect();
    unended.extend(lost_runs(survey));
    let orphans = survey.orphans().into_iter();
    let orphans: Vec<Birth> = orphans
        .filter(|birth| !unended.contains_key(birth))
        .collect();
    unended.extend(heir.owners(&orphans)?);
    Ok(unended)
}

/// The living executions that recorded actions of which the log does not tell: where they stood is
/// lost, and the next action would get the number of one that exists.
fn lost_runs(survey: &Survey) -> impl Iterator<Item = (Birth, Owner)> + '_ {
    let state = survey.history.state();
    let unended = survey.history.living();
    let unended = unended.filter(|birth| !survey.census.has_ending(*birth));
    let ahead = unended.filter(move |birth| survey.runs.is_ahead(*birth, state));
    ahead.filter_map(move |birth| {
        let Living { id, tenant, .. } = state.living(birth)?;
        Some((birth, Owner { id, tenant }))
    })
}

/// The executions that are living, as they stand in the new log.
fn living(survey: &Survey, saved: &mut Salvage) -> Vec<Living> {
    let Survey {
        history,
        census,
        runs,
    } = survey;
    let state = history.state();
    let unended = history.living().filter(|birth| !census.has_ending(*birth));
    let unended = unended.filter(|birth| !runs.is_ahead(*birth, state));
    let mut all = Vec::new();
    for mut living in unended.filter_map(|birth| state.living(birth)) {
        let birth = living.id.birth;
        let lags = catch_up(&mut living, census.last_attempt(birth));
        if lags || history.is_doubtful(birth) {
            saved.uncertain.push(living.id.to_string());
        }
        if !census.has_payload(birth) {
            saved.without_payload.push(living.id.to_string());
        }
        all.push(living);
    }
    all
}

/// The row of an attempt is written when the attempt is over. An execution that has not begun that
/// attempt, or is still in it, lost the facts about it: it is queued after that attempt, so that
/// no attempt gets the same row a second time. Returns whether that was so.
fn catch_up(living: &mut Living, last_attempt: u32) -> bool {
    let progress = &mut living.progress;
    let newest = progress.lease_ordinal();
    let is_over = newest == last_attempt && progress.holding.is_none();
    if last_attempt < newest || is_over {
        return false;
    }
    progress.attempt = last_attempt - progress.resumes;
    progress.phase = if progress.is_paused {
        Phase::Held
    } else {
        Phase::Ready
    };
    progress.backoff = None;
    if let Some(holding) = progress.holding.take() {
        progress.last_worker = Some(holding.worker);
    }
    // It was leased, so nothing is left that it waits for.
    living.waits_for = Box::default();
    true
}

/// The facts of the new log: one round. `items` are new on the agenda.
fn round(survey: &Survey, living: Vec<Living>, items: Vec<Item>) -> Vec<Fact> {
    let Survey {
        history, census, ..
    } = survey;
    let state = history.state();
    let next_birth = state.next_birth().max(census.highest() + 1);
    let began = FactKind::Log(LogFact::RoundBegan {
        next_birth,
        next_item: state.agenda().next() + items.len() as u64,
    });
    let limits = state.limits_after(None);
    let limits = limits.map(|(_, limit): (_, TenantFact)| FactKind::Tenant(limit));
    let old = state.agenda().items_after(0);
    let new = (state.agenda().next()..).zip(items);
    let agenda = old.chain(new).map(|(number, item)| {
        let change = AgendaChange::Carried(item);
        FactKind::Agenda(AgendaFact { number, change })
    });
    let carried = living.into_iter().flat_map(|living| {
        let birth = living.id.birth;
        let run = run_of(state, &living);
        let change = ExecutionChange::Carried(Box::new(living));
        [FactKind::execution(birth, change)].into_iter().chain(run)
    });
    let at_ms = last_at_ms(survey);
    let kinds = [began]
        .into_iter()
        .chain(limits)
        .chain(agenda)
        .chain(carried);
    kinds.map(|kind| fact(kind, at_ms)).collect()
}

/// The run of a living execution, as the new log carries it.
fn run_of(state: &State, living: &Living) -> Option<FactKind> {
    let (birth, progress) = (living.id.birth, &living.progress);
    let mut run = state.run(birth)?.into_owned();
    if progress.holding.is_none() && progress.phase != Phase::Suspended {
        // The facts about the end of the lease may be lost.
        let _ = run.course.take(Action::AttemptEnded);
    }
    Some(FactKind::run(birth, RunChange::Carried(Box::new(run))))
}
