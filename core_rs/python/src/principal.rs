//! The caller of a call, as the Python server identified it.

use std::sync::Arc;

use backlane_runtime::{Role, TenantScope};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// The caller of a call. A principal never changes.
#[pyclass(frozen, module = "backlane._core")]
pub(crate) struct Principal {
    pub(crate) inner: Arc<backlane_runtime::Principal>,
}

#[pymethods]
impl Principal {
    #[new]
    #[pyo3(signature = (name, tenants=None, role="admin"))]
    fn new(name: &str, tenants: Option<Vec<String>>, role: &str) -> PyResult<Self> {
        let only = |tenants: Vec<String>| {
            TenantScope::Only(tenants.into_iter().map(String::into_boxed_str).collect())
        };
        let unknown = || {
            let expected = "'admin', 'producer' or 'worker'";
            PyValueError::new_err(format!("role must be {expected}, not {role:?}"))
        };
        let inner = backlane_runtime::Principal {
            name: name.into(),
            tenants: tenants.map_or(TenantScope::Any, only),
            role: Role::named(role).ok_or_else(unknown)?,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    #[getter]
    fn name(&self) -> &str {
        &self.inner.name
    }

    #[getter]
    fn tenants(&self) -> Option<Vec<&str>> {
        match &self.inner.tenants {
            TenantScope::Any => None,
            TenantScope::Only(tenants) => Some(tenants.iter().map(AsRef::as_ref).collect()),
        }
    }

    #[getter]
    fn role(&self) -> &'static str {
        self.inner.role.name()
    }
}
