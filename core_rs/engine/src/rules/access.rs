//! Access: who may act for which tenant.
//!
//! Owns the principal and its scope. Refuses to know credentials: the server's identity
//! does.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::Arc;

use crate::error::Refusal;
use crate::rules::role::Role;

/// The tenants that somebody may act for.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TenantScope {
    /// Every tenant.
    #[default]
    Any,
    /// These tenants alone.
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

/// A tenant that one caller may act for. Only a [`Principal`] makes one, so that code which holds
/// this type cannot have skipped the check.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct VisibleTenant(Arc<str>);

impl VisibleTenant {
    /// The tenant's name, shared.
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

/// The caller of a command. The default is the caller of a server with no identity configured: it
/// may make every call, and a request's tenant is taken at its word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Principal {
    /// The principal's name, for the record; empty where no identity is configured.
    pub name: Arc<str>,
    /// The tenants that the principal may act for.
    pub tenants: TenantScope,
    /// The calls that the principal may make.
    pub role: Role,
}

impl Principal {
    /// The tenant to create something for, or to list.
    ///
    /// # Errors
    /// [`Refusal::PermissionDenied`] where the tenant is out of scope.
    pub fn may_act_for(&self, tenant: &str) -> Result<VisibleTenant, Refusal> {
        self.sees(tenant).ok_or_else(|| Refusal::PermissionDenied {
            principal: self.name.to_string(),
            tenant: tenant.to_owned(),
        })
    }

    /// The tenant whose things are to be looked at; `None` where the tenant is out of scope, and
    /// so its things are not found.
    #[must_use]
    pub fn sees(&self, tenant: &str) -> Option<VisibleTenant> {
        let visible = self.tenants.includes(tenant);
        visible.then(|| VisibleTenant(tenant.into()))
    }

    /// Whether the tenant of something that exists already is in scope.
    #[must_use]
    pub fn may_see(&self, tenant: &str) -> bool {
        self.tenants.includes(tenant)
    }

    /// Refuses a call that needs another role.
    ///
    /// # Errors
    /// [`Refusal::RoleDenied`].
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
    fn an_admin_may_make_every_call_and_the_others_their_own() {
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
    fn a_tenant_out_of_scope_is_denied_or_not_seen() {
        let acme = Principal {
            tenants: TenantScope::Only(["acme".into()].into()),
            ..Principal::default()
        };
        assert_eq!(Ok("acme"), acme.may_act_for("acme").as_deref());
        assert!(acme.may_act_for("other").is_err());
        assert_eq!(None, acme.sees("other"));
    }
}
