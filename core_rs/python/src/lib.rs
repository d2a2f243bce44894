//! Backlane's Python bindings: thin classes over the runtime. The bindings hold no rule of the
//! domain.

mod core;
mod directory;
mod error;
#[expect(
    unsafe_code,
    reason = "mimalloc can be told to give memory back only through its C interface"
)]
mod memory;
mod principal;

use mimalloc::MiMalloc;
use pyo3::prelude::*;

// The core makes and frees millions of small values, which are freed in another order, and partly
// by other threads, than they were made. glibc's allocator is slower at that.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The native half of Backlane.
#[pymodule]
mod _core {
    #[pymodule_export]
    use super::core::Core;
    #[pymodule_export]
    use super::directory::{
        backup_directory, check_directory, restore_directory, salvage_directory,
    };
    #[pymodule_export]
    use super::error::{CoreError, DataCorruptError, DataInUseError};
    #[pymodule_export]
    use super::principal::Principal;

    use pyo3::prelude::*;

    /// Return every `ErrorInfo.reason` that the core sends, with its gRPC status code.
    #[pyfunction]
    fn reasons() -> Vec<(&'static str, i32)> {
        backlane_runtime::Reason::ALL
            .iter()
            .map(|reason| (reason.name(), reason.code()))
            .collect()
    }

    /// Give memory that the core has freed back to the operating system. Takes milliseconds.
    ///
    /// The allocator does so by itself only while it is used, and an idle server does not use it.
    #[pyfunction]
    fn release_memory(py: Python<'_>) {
        py.detach(super::memory::release);
    }

    /// Return how the core was built: `release` or `debug`.
    #[pyfunction]
    const fn build_profile() -> &'static str {
        if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        }
    }

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
