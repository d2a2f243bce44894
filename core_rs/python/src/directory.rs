//! Check, salvage, backup and restore of a data directory, as functions for Python.
//!
//! Owns the shape of their results. Refuses to hold the GIL while a directory is read.

use std::path::Path;

use backlane_runtime::{CopyError, Findings, Salvage, backup, check, restore, salvage};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::{from_copy, from_salvage, from_store};

/// Read a data directory that no server uses, and report what is damaged.
#[pyfunction]
pub(crate) fn check_directory<'py>(py: Python<'py>, path: &str) -> PyResult<Bound<'py, PyDict>> {
    let findings = py.detach(|| check(Path::new(path)));
    let findings = findings.map_err(|error| from_store(&error))?;
    let result = PyDict::new(py);
    add_findings(&result, findings)?;
    Ok(result)
}

/// Write what is whole in a damaged data directory into a new one.
#[pyfunction]
pub(crate) fn salvage_directory<'py>(
    py: Python<'py>,
    path: &str,
    new: &str,
) -> PyResult<Bound<'py, PyDict>> {
    let saved = py.detach(|| salvage(Path::new(path), Path::new(new)));
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

/// Copy a data directory, which a server may be using, into a new one.
#[pyfunction]
pub(crate) fn backup_directory<'py>(
    py: Python<'py>,
    path: &str,
    new: &str,
) -> PyResult<Bound<'py, PyDict>> {
    copied(py, || backup(Path::new(path), Path::new(new)))
}

/// Copy a backup into a new data directory.
#[pyfunction]
#[pyo3(signature = (path, new, *, accept_loss=false))]
pub(crate) fn restore_directory<'py>(
    py: Python<'py>,
    path: &str,
    new: &str,
    accept_loss: bool,
) -> PyResult<Bound<'py, PyDict>> {
    copied(py, || restore(Path::new(path), Path::new(new), accept_loss))
}

fn copied(
    py: Python<'_>,
    copy: impl FnOnce() -> Result<Findings, CopyError> + Send,
) -> PyResult<Bound<'_, PyDict>> {
    let findings = py.detach(copy).map_err(|error| from_copy(&error))?;
    let result = PyDict::new(py);
    add_findings(&result, findings)?;
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
