//! Access: the tenants that a caller may act for.
//!
//! Owns the principal and its tenant scope. Refuses to know credentials: the server checks those.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::Arc;

use crate::error::Refusal;
use crate::rules::role::Role;

/// The tenants that a principal may act for, or that a worker serves.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TenantScope {
    /// Every tenant.
    #[default]
    Any,
    /// Only these tenants.
    Only(BTreeSet<Box<str>>),
}

impl TenantScope {
    /// Whether the scope includes a tenant.
    #[must_use]
    pub fn includes(&self, tenant: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Only(tenants) => tenants.contains(tenant),
        }
    }
}

/// A tenant that one caller may act for. Only a [`Principal`] creates this type, so code that holds
/// a value cannot have skipped the check.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct VisibleTenant(Arc<str>);

impl VisibleTenant {
    /// The tenant's name, as a shared string.
    #[must_use]
    pub fn shared(&self) -> Arc<str> {
        self.0.clone()
    }
}

impl Deref for VisibleTenant {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// The caller of a command. The default principal is the caller of a server without configured
/// identities: it may make every call, for every tenant that a request names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Principal {
    /// The principal's name, as kept in records; empty where no identity is configured.
    pub name: Arc<str>,
    /// The tenants that the principal may act for.
    pub tenants: TenantScope,
    /// The calls that the principal may make.
    pub role: Role,
}

impl Principal {
    /// Checks that the principal may act for a tenant, before a call creates or lists executions.
    ///
    /// # Errors
    /// [`Refusal::PermissionDenied`] where the tenant is outside of the principal's scope.
    pub fn may_act_for(&self, tenant: &str) -> Result<VisibleTenant, Refusal> {
        self.sees(tenant).ok_or_else(|| Refusal::PermissionDenied {
            principal: self.name.to_string(),
            tenant: tenant.to_owned(),
        })
    }

    /// The tenant, for reading its executions; `None` where the tenant is outside of the scope, so
    /// that its executions count as not found.
    #[must_use]
    pub fn sees(&self, tenant: &str) -> Option<VisibleTenant> {
        let visible = self.tenants.includes(tenant);
        visible.then(|| VisibleTenant(tenant.into()))
    }

    /// Whether the tenant of an existing execution is in scope.
    #[must_use]
    pub fn may_see(&self, tenant: &str) -> bool {
        self.tenants.includes(tenant)
    }

    /// Refuses a call that needs another role.
    ///
    /// # Errors
    /// [`Refusal::RoleDenied`] where the principal's role does not allow the call.
    pub fn may_call(&self, needed: Role) -> Result<(), Refusal> {
        if self.role == Role::Admin || self.role == needed {
            return Ok(());
        }
        Err(Refusal::RoleDenied {
            principal: self.name.to_string(),
            role: self.role,
            needed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_role(role: Role) -> Principal {
        Principal {
            role,
            ..Principal::default()
        }
    }

    #[test]
    fn an_admin_may_make_every_call_and_other_roles_their_own_calls() {
        let roles = [Role::Admin, Role::Producer, Role::Worker];
        let allowed = roles.map(|role| roles.map(|needed| of_role(role).may_call(needed).is_ok()));
        let expected = [
            [true, true, true],
            [false, true, false],
            [false, false, true],
        ];
        assert_eq!(expected, allowed);
    }

    #[test]
    fn a_tenant_out_of_scope_is_denied_or_not_found() {
        let acme = Principal {
            tenants: TenantScope::Only(["acme".into()].into()),
            ..Principal::default()
        };
        assert_eq!(Ok("acme"), acme.may_act_for("acme").as_deref());
        assert!(acme.may_act_for("other").is_err());
        assert_eq!(None, acme.sees("other"));
    }
}
