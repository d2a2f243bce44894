//! Roles: the kinds of calls that somebody may make.
//!
//! Owns their names. Refuses to know which call needs which role: the wire's table of calls does.

/// The kinds of calls that somebody may make.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Role {
    /// Every call.
    #[default]
    Admin,
    /// The calls of producers: enqueue, look, wait, cancel.
    Producer,
    /// The calls of workers: lease, renew, report.
    Worker,
}

impl Role {
    /// The role of that name.
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
    fn every_role_has_a_name_that_leads_back() {
        for role in [Role::Admin, Role::Producer, Role::Worker] {
            assert_eq!(Some(role), Role::named(role.name()));
        }
        assert_eq!(None, Role::named("root"));
    }
}
