//! The exceptions of the bindings, all in one file.

use backlane_runtime::{CopyError, OpenError, SalvageError, StoreError};
use pyo3::exceptions::PyException;
use pyo3::{PyErr, create_exception};

create_exception!(
    _core,
    CoreError,
    PyException,
    "The core cannot do what was asked."
);
create_exception!(
    _core,
    DataInUseError,
    CoreError,
    "Another process has the data directory."
);
create_exception!(
    _core,
    DataCorruptError,
    CoreError,
    "The core refuses to start on this data."
);

/// The Python exception for a core that could not be opened.
pub(crate) fn from_open(error: &OpenError) -> PyErr {
    let message = error.to_string();
    if error.is_in_use() {
        DataInUseError::new_err(message)
    } else if error.is_corrupt() {
        DataCorruptError::new_err(message)
    } else {
        CoreError::new_err(message)
    }
}

/// The exception that a refusal of a directory becomes.
pub(crate) fn from_store(error: &StoreError) -> PyErr {
    let message = error.to_string();
    match error {
        StoreError::InUse { .. } => DataInUseError::new_err(message),
        StoreError::Corrupt { .. } | StoreError::NewerVersion { .. } => {
            DataCorruptError::new_err(message)
        }
        _ => CoreError::new_err(message),
    }
}

/// The exception that a refused salvage becomes.
pub(crate) fn from_salvage(error: &SalvageError) -> PyErr {
    match error {
        SalvageError::Reading(error) => from_store(error),
        SalvageError::Nothing { .. } => DataCorruptError::new_err(error.to_string()),
        _ => CoreError::new_err(error.to_string()),
    }
}

/// The exception that a refused backup or restore becomes.
pub(crate) fn from_copy(error: &CopyError) -> PyErr {
    match error {
        CopyError::Store(error) => from_store(error),
        CopyError::Damaged { .. } => DataCorruptError::new_err(error.to_string()),
        CopyError::Fresh(_) => CoreError::new_err(error.to_string()),
    }
}
