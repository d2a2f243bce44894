//! The exceptions of the bindings, all in one file.

use backlane_runtime::OpenError;
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
