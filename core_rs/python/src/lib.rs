//! Backlane's Python bindings: thin classes over the runtime. No rule of the domain lives here.

use pyo3::prelude::*;

/// The native half of Backlane.
#[pymodule]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
