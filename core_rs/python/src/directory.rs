//! The check and the salvage of a data directory, as functions for Python.
//!
//! Owns the shape of their results. Refuses to hold the GIL while a directory is read.

use std::path::PathBuf;

use backlane_runtime::{Findings, Salvage, check, salvage};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::{from_salvage, from_store};

/// Read a data directory that no server uses, and report what is damaged.
#[pyfunction]
pub(crate) fn check_directory(py: Python<'_>, path: PathBuf) -> PyResult<Bound<'_, PyDict>> {
    let findings = py.detach(move || check(&path));
    let findings = findings.map_err(|error| from_store(&error))?;
    let result = PyDict::new(py);
    add_findings(&result, findings)?;
    Ok(result)
}

/// Write what is whole in a damaged data directory into a new one.
#[pyfunction]
pub(crate) fn salvage_directory(
    py: Python<'_>,
    path: PathBuf,
    new: PathBuf,
) -> PyResult<Bound<'_, PyDict>> {
    let saved = py.detach(move || salvage(&path, &new));
    let Salvage {
        findings,
        living,
        failed,
        uncertain,
        without_payload,
    } = saved.map_err(|error| from_salvage(&error))?;
    let result = PyDict::new(py);
    add_findings(&result, findings)?;
    result.set_item("living", living)?;
    result.set_item("failed", failed)?;
    result.set_item("uncertain", uncertain)?;
    result.set_item("without_payload", without_payload)?;
    Ok(result)
}

fn add_findings(result: &Bound<'_, PyDict>, findings: Findings) -> PyResult<()> {
    let Findings {
        frames,
        facts,
        rows,
        damage,
    } = findings;
    result.set_item("frames", frames)?;
    result.set_item("facts", facts)?;
    result.set_item("rows", rows)?;
    result.set_item("damage", damage)
}
