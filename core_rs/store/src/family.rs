//! The declarations of all row families: one declaration is one table.
//!
//! Owns each family's number, key, mode, index and retention. Every store derives the table, the
//! writes, the reads and the expiry of a family from its declaration. Refuses to know what the
//! bytes of a row mean.

/// The declaration of one family of rows.
///
/// The rules for a list of families: numbers and names are unique; [`Mode::Once`] with
/// [`Retention::Hourly`] exactly for [`KeyKind::Digest`]; `listed` only with
/// [`KeyKind::Number`]; [`Retention::Starts`] and [`Retention::With`] only with
/// [`KeyKind::Number`] and [`KeyKind::Ordinal`].
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// The number that goes into every row's checksum. A number is never reused.
    pub number: u16,
    /// The name of the table: lower-case letters and underscores.
    pub name: &'static str,
    /// The kind of key that identifies a row.
    pub key: KeyKind,
    /// What a second put of the same key does.
    pub mode: Mode,
    /// When a row is removed without a [`Change::Delete`](crate::Change::Delete).
    pub retention: Retention,
    /// Whether rows carry a [`Listing`](crate::Listing), by which they can be listed.
    pub listed: bool,
    /// The format number of the data directory that introduced this family.
    pub since: u32,
}

/// The kinds of key a family can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// The number of an entity. Numbers mostly grow, so that writing appends to the table.
    Number,
    /// The number of an entity and the position of the row within that entity.
    Ordinal,
    /// A tenant and a name.
    Name,
    /// A digest within an hour.
    Digest,
}

/// What a second put of the same key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The second put is refused together with its whole commit. Digest families are the
    /// exception: they keep every row, and reading finds the newest.
    Once,
    /// The second put replaces the first. Rows carry a version number.
    Replace,
}

/// When rows are removed without being deleted one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// Rows stay until they are deleted.
    Kept,
    /// A put starts the retention period of the entity `number` at the put's `at_ms`. When the
    /// entity expires, its rows in all families of the class are removed.
    Starts(Class),
    /// Rows are removed when the entity of the same number expires.
    With(Class),
    /// Rows are partitioned by hour, and a whole hour is dropped at once.
    Hourly,
}

/// A retention class: entities of one class share one retention period.
///
/// The number of a class is written to disk and never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Class {
    /// Executions that have ended.
    Execution = 1,
}

impl Family {
    /// The class whose expiry removes rows of this family, if any.
    pub(crate) fn class(&self) -> Option<Class> {
        match self.retention {
            Retention::Starts(class) | Retention::With(class) => Some(class),
            Retention::Kept | Retention::Hourly => None,
        }
    }

    /// The class for which a put of this family starts the retention period, if any.
    pub(crate) fn starts(&self) -> Option<Class> {
        match self.retention {
            Retention::Starts(class) => Some(class),
            _ => None,
        }
    }
}

/// The payload of an execution, by the execution's number.
pub static PAYLOAD: Family = Family {
    number: 1,
    name: "payload",
    key: KeyKind::Number,
    mode: Mode::Once,
    retention: Retention::With(Class::Execution),
    listed: false,
    since: 2,
};

/// The final record of an execution, by the execution's number.
pub static ENDING: Family = Family {
    number: 2,
    name: "ending",
    key: KeyKind::Number,
    mode: Mode::Replace,
    retention: Retention::Starts(Class::Execution),
    listed: true,
    since: 2,
};

/// The outcome of a request, by the digest of its request id.
pub static REQUEST: Family = Family {
    number: 3,
    name: "request",
    key: KeyKind::Digest,
    mode: Mode::Once,
    retention: Retention::Hourly,
    listed: false,
    since: 2,
};

/// The leases that did not end their execution, by the execution's number and the lease's ordinal.
pub static ATTEMPT: Family = Family {
    number: 4,
    name: "attempt",
    key: KeyKind::Ordinal,
    mode: Mode::Once,
    retention: Retention::With(Class::Execution),
    listed: false,
    since: 3,
};

/// The recorded actions of an execution's run, by the execution's number and the action's number.
pub static ACTION: Family = Family {
    number: 5,
    name: "action",
    key: KeyKind::Ordinal,
    mode: Mode::Once,
    retention: Retention::With(Class::Execution),
    listed: false,
    since: 4,
};

/// The executions that failed or timed out and were not discarded, by the execution's number. The
/// rows have no content: that they exist says everything.
pub static DEAD_LETTER: Family = Family {
    number: 6,
    name: "dead_letter",
    key: KeyKind::Number,
    mode: Mode::Replace,
    retention: Retention::With(Class::Execution),
    listed: true,
    since: 4,
};

/// All families of this version, in the order in which their tables are written.
pub static FAMILIES: &[&Family] = &[&PAYLOAD, &ENDING, &REQUEST, &ATTEMPT, &ACTION, &DEAD_LETTER];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{FAMILIES, Family, KeyKind, Mode, Retention};

    fn is_sound(family: &Family) -> bool {
        let hourly = family.retention == Retention::Hourly;
        let expires = family.class().is_some();
        match family.key {
            KeyKind::Digest => hourly && family.mode == Mode::Once && !family.listed,
            KeyKind::Number => !hourly,
            KeyKind::Ordinal => !hourly && !family.listed,
            KeyKind::Name => !hourly && !expires && !family.listed,
        }
    }

    #[test]
    fn every_declaration_keeps_the_rules_for_families() {
        let unsound = FAMILIES.iter().filter(|family| !is_sound(family));
        assert_eq!(0, unsound.count());
    }

    #[test]
    fn numbers_and_names_are_unique() {
        let numbers: BTreeSet<_> = FAMILIES.iter().map(|family| family.number).collect();
        let names: BTreeSet<_> = FAMILIES.iter().map(|family| family.name).collect();
        assert_eq!(
            (FAMILIES.len(), FAMILIES.len()),
            (numbers.len(), names.len())
        );
    }
}
