//! Who calls, as Python's identity decided.

use std::sync::Arc;

use backlane_runtime::TenantScope;
use pyo3::prelude::*;

/// Who calls; it never changes.
#[pyclass(frozen, module = "backlane._core")]
pub(crate) struct Principal {
    pub(crate) inner: Arc<backlane_runtime::Principal>,
    role: String,
}

#[pymethods]
impl Principal {
    #[new]
    #[pyo3(signature = (name, tenants=None, role="admin"))]
    fn new(name: &str, tenants: Option<Vec<String>>, role: &str) -> Self {
        let only = |tenants: Vec<String>| {
            TenantScope::Only(tenants.into_iter().map(String::into_boxed_str).collect())
        };
        let tenants = tenants.map_or(TenantScope::Any, only);
        let inner = Arc::new(backlane_runtime::Principal {
            name: name.into(),
            tenants,
        });
        Self {
            inner,
            role: role.to_owned(),
        }
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
    fn role(&self) -> &str {
        &self.role
    }
}
