//! Who may act for whom.
//!
//! Owns the principal and its scope. Refuses to know credentials: the server's identity does.

use std::collections::BTreeSet;

use crate::error::Refusal;

/// The tenants somebody may act for.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TenantScope {
    /// Every tenant.
    #[default]
    Any,
    /// These alone.
    Only(BTreeSet<Box<str>>),
}

impl TenantScope {
    /// Whether a tenant is in it.
    #[must_use]
    pub fn includes(&self, tenant: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Only(tenants) => tenants.contains(tenant),
        }
    }

    /// The tenants that both scopes include.
    #[must_use]
    pub fn narrowed_to(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Any, scope) | (scope, Self::Any) => scope.clone(),
            (Self::Only(a), Self::Only(b)) => Self::Only(a.intersection(b).cloned().collect()),
        }
    }
}

/// Who calls: comes with every command. The default is the server with no identity configured,
/// where a request's tenant is taken at its word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Principal {
    /// For the record; empty where no identity is configured.
    pub name: Box<str>,
    /// Whom it may act for.
    pub tenants: TenantScope,
}

impl Principal {
    /// Refuses to create for a tenant out of scope.
    ///
    /// # Errors
    /// [`Refusal::PermissionDenied`].
    pub fn may_create_for(&self, tenant: &str) -> Result<(), Refusal> {
        if self.tenants.includes(tenant) {
            return Ok(());
        }
        let principal = self.name.to_string();
        Err(Refusal::PermissionDenied {
            principal,
            tenant: tenant.to_owned(),
        })
    }

    /// Whether a tenant's things can be seen at all: what cannot is not found.
    #[must_use]
    pub fn sees(&self, tenant: &str) -> bool {
        self.tenants.includes(tenant)
    }
}
