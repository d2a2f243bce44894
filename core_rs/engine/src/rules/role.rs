//! Roles: the kinds of calls that a principal may make.
//!
//! Owns the names of the roles. Refuses to know which call needs which role: the table of calls in
//! the wire crate does.

/// The kinds of calls that a principal may make.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Role {
    /// May make every call.
    #[default]
    Admin,
    /// May make the calls of producers: enqueue, read, wait, cancel.
    Producer,
    /// May make the calls of workers: lease, renew, report.
    Worker,
}

impl Role {
    /// The role with this name; `None` for any other name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "admin" => Some(Self::Admin),
            "producer" => Some(Self::Producer),
            "worker" => Some(Self::Worker),
            _ => None,
        }
    }

    /// The name of the role.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Producer => "producer",
            Self::Worker => "worker",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_is_found_by_its_name() {
        for role in [Role::Admin, Role::Producer, Role::Worker] {
            assert_eq!(Some(role), Role::named(role.name()));
        }
        assert_eq!(None, Role::named("root"));
    }
}
